/** The data areas of the driver dir: kept over another base, never mounted twice, never outside of the guest. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { guestFolder, type GuestFolder } from '../../src/deploy/drivers/folder.ts'
import { startedOf } from '../../src/deploy/drivers/keeper.ts'
import { livingOn } from '../../src/deploy/drivers/mounts.ts'
import { findTool } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { openBench } from '../helpers/fd-bench-dir.ts'
import { until } from '../helpers/fd-contract.ts'
import { makeOutput } from '../helpers/fd-output.ts'

type DirBench = ReturnType<typeof openBench>

async function withBench(
  t: TestContext,
  body: (bench: DirBench, own: GuestFolder) => Promise<void>,
  program?: readonly string[],
): Promise<void> {
  const missing = process.getuid?.() !== 0 ? 'root' : findTool('busybox') ? '' : 'busybox'
  if (missing !== '') return t.skip(`needs ${missing}`)
  using place = temporaryDirectory()
  const bench = openBench(place.path, program)
  try {
    await body(bench, guestFolder(join(bench.folder, '.stage5/guests'), bench.guest.name))
  } finally {
    await bench.driver.stop(bench.guest, new AbortController().signal)
  }
}

const lines = (path: string): string[] => readFileSync(path, 'utf8').trim().split('\n')

test('what a guest changed stays over another base and back, and what it left alone is the base that runs', async (t) => {
  await withBench(t, async (bench, own) => {
    const { driver, guest, first, second } = bench
    const inside = (path: string): string => readFileSync(`/proc/${startedOf(own)?.pid}/root${path}`, 'utf8')
    const isUp = ({ health }: { health: string }): boolean => health === 'pass'
    await driver.prepare(guest, first, t.signal)
    await driver.switchTo(guest, first, 1, 3, t.signal)
    await until(bench, isUp, t.signal)
    await driver.commit(guest, first, 1, t.signal)
    assert.equal(inside('/etc/toy/default'), 'default 1\n')
    await driver.prepare(guest, second, t.signal)
    await driver.switchTo(guest, second, 2, 3, t.signal)
    await until(bench, isUp, t.signal)
    assert.equal(inside('/etc/toy/default'), 'default 2\n')
    await driver.rollback(guest, first, 2, t.signal)
    await until(bench, isUp, t.signal)
    assert.equal(inside('/etc/toy/default'), 'default 1\n')
    const starts = [first.name, second.name, first.name]
    assert.deepEqual(inside('/etc/toy/starts').trim().split('\n'), starts)
    assert.equal(inside('/var/log/seeded'), 'from the base\n')
    await driver.stop(guest, t.signal)
    assert.deepEqual(lines(own.file('data/log/var/log/starts')), starts)
    assert.deepEqual(lines(own.file('data/conf/upper/etc/toy/starts')), starts)
    assert.ok(!existsSync(own.file('data/conf/upper/etc/toy/default')), 'the upper layer has changes only')
  })
})

function sleeps(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('sleep\0')
  } catch {
    return false
  }
}

/** Leaves a process behind that is in no group of its own program's. */
const LEAVES = [
  ...['chroot', '{root}', '/bin/sh', '-c'],
  'mkdir -p /dev; : >/dev/null; busybox setsid sleep 1000000 & echo ready; exec sleep 1000000',
]

test('what a guest left behind ends before its upper layers are mounted again, and when it is stopped', async (t) => {
  await withBench(
    t,
    async (bench, own) => {
      const { driver, guest, first } = bench
      /** The process that is not the program itself, once there is one. */
      const arrived = async (): Promise<number> => {
        let found: number | undefined
        const program = (): number | undefined => startedOf(own)?.pid
        await until(
          bench,
          ({ health }) => {
            found = livingOn(own).find((pid) => pid !== program() && sleeps(pid))
            return health === 'pass' && found !== undefined
          },
          t.signal,
        )
        return found as number
      }
      await driver.prepare(guest, first, t.signal)
      await driver.switchTo(guest, first, 1, 3, t.signal)
      const before = await arrived()
      const started = startedOf(own)
      assert.ok(started)
      process.kill(started.pid, 'SIGKILL')
      await until(bench, ({ bootId }) => bootId !== '' && bootId !== started.bootId, t.signal)
      const after = await arrived()
      assert.notEqual(after, before)
      assert.ok(!livingOn(own).includes(before))
      await driver.stop(guest, t.signal)
      assert.deepEqual(livingOn(own), [])
    },
    LEAVES,
  )
})

test('an area that is kept in another way than before is refused, and nothing of it is touched', async (t) => {
  await withBench(t, async ({ driver, guest, first, folder }, own) => {
    await driver.prepare(guest, first, t.signal)
    const boot = {
      data: [{ name: 'log', label: 'log', file: 'log.ext4', size: 1, paths: ['/var/log'], kind: 'overlay' }],
    }
    const other = makeOutput(folder, 2, { version: 'overlay', boot })
    await assert.rejects(driver.prepare(guest, other, t.signal), (error) => {
      assert.ok(isStage5Error(error, 'S5_IMAGE_INPUT'))
      assert.match(error.message, /expected the data area log to be a folder as it was, found an overlay/)
      return true
    })
    assert.ok(existsSync(own.file('data/log/var/log/seeded')))
  })
})

test('a symlink in the way leads no area out of the guest: it does not start', async (t) => {
  await withBench(t, async (bench, own) => {
    const { driver, guest, first, second, folder } = bench
    await driver.prepare(guest, first, t.signal)
    await driver.switchTo(guest, first, 1, 3, t.signal)
    await driver.commit(guest, first, 1, t.signal)
    const toy = join(folder, 'trees/2/etc/toy')
    rmSync(toy, { recursive: true })
    symlinkSync('/var/tmp', toy)
    await driver.prepare(guest, second, t.signal)
    await driver.switchTo(guest, second, 2, 2, t.signal)
    const seen = await until(bench, ({ pointer, power }) => pointer === 'good' && power === 'on', t.signal)
    assert.match(seen.detail, /\/etc\/toy leads elsewhere, and cannot be a data area/)
    assert.equal(startedOf(own)?.generation, first.name)
  })
})
