/** The data areas of the driver dir: kept over another base, never mounted twice, never outside of the guest. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error } from '../../src/base/errors.ts'
import { guestFolder, type GuestFolder } from '../../src/deploy/drivers/folder.ts'
import type { WhileOff } from '../../src/deploy/driver.ts'
import { startedOf, startKeeper } from '../../src/deploy/drivers/keeper.ts'
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
  whileOff?: WhileOff,
): Promise<void> {
  const missing = process.getuid?.() !== 0 ? 'root' : findTool('busybox') ? '' : 'busybox'
  if (missing !== '') return t.skip(`needs ${missing}`)
  using place = temporaryDirectory()
  const bench = openBench(place.path, program, whileOff)
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

test('work on the layers of a guest finds it off, and nobody starts it meanwhile', async (t) => {
  let own: GuestFolder | undefined
  const seen: unknown[] = []
  const whileOff: WhileOff = async (_, { name }) => {
    const folder = own as GuestFolder
    // Whoever asks for a start now gets a keeper that ends at once.
    await startKeeper(folder)
    await startKeeper(folder)
    seen.push(name, startedOf(folder), livingOn(folder), folder.pointer('good'), folder.pointer('trial'))
  }
  await withBench(
    t,
    async (bench, folder) => {
      own = folder
      const { driver, guest, first, second } = bench
      await driver.prepare(guest, first, t.signal)
      await driver.switchTo(guest, first, 1, 3, t.signal)
      await until(bench, ({ health }) => health === 'pass', t.signal)
      assert.deepEqual(seen, [], 'a new guest has no layers yet')
      await driver.commit(guest, first, 1, t.signal)
      await driver.prepare(guest, second, t.signal)
      for (let times = 0; times < 2; times++) await driver.switchTo(guest, second, 2, 3, t.signal)
      assert.deepEqual(seen, [second.name, undefined, [], first.name, ''])
      await until(bench, ({ health, pointer }) => health === 'pass' && pointer === 'trial', t.signal)
      assert.deepEqual(await bench.starts(), [first.name, second.name])
      assert.equal(own.read('tries'), '2', 'no start of the trial is wasted')
      await driver.stop(guest, t.signal)
      assert.equal(startedOf(folder), undefined)
    },
    undefined,
    whileOff,
  )
})

test('work that fails takes the switch back: the guest goes on with what it had, and is not ended again', async (t) => {
  await withBench(
    t,
    async (bench, own) => {
      const { driver, guest, first, second } = bench
      const isUp = ({ health, digest }: { health: string; digest: string }): boolean =>
        health === 'pass' && digest === first.manifest
      await driver.prepare(guest, first, t.signal)
      await driver.switchTo(guest, first, 1, 3, t.signal)
      await until(bench, isUp, t.signal)
      await driver.commit(guest, first, 1, t.signal)
      await driver.prepare(guest, second, t.signal)
      await assert.rejects(driver.switchTo(guest, second, 2, 3, t.signal), /the disk is full/)
      const { bootId } = await until(bench, isUp, t.signal)
      assert.equal(own.pointer('trial'), '')
      await driver.switchTo(guest, second, 2, 3, t.signal)
      assert.equal((await driver.status(guest, t.signal)).bootId, bootId)
      await driver.rollback(guest, first, 2, t.signal)
      assert.equal((await driver.status(guest, t.signal)).bootId, bootId)
    },
    undefined,
    () => Promise.reject(new Error('the disk is full')),
  )
})

test('a guest whose controller is killed during that work starts by itself, and is switched by the next one', async (t) => {
  const done: string[] = []
  await withBench(
    t,
    async (bench, own) => {
      const { driver, guest, first, second, folder } = bench
      await driver.prepare(guest, first, t.signal)
      await driver.switchTo(guest, first, 1, 3, t.signal)
      await until(bench, ({ health }) => health === 'pass', t.signal)
      await driver.commit(guest, first, 1, t.signal)
      await driver.prepare(guest, second, t.signal)
      const before = startedOf(own)
      const mark = join(folder, 'held')
      const helper = join(import.meta.dirname, '../helpers/rs-killed-switch.ts')
      const controller = spawn(process.execPath, [helper, folder, '2', mark], { stdio: 'ignore' })
      const gone = once(controller, 'exit')
      while (!existsSync(mark) && controller.exitCode === null) await sleep(100)
      assert.ok(existsSync(mark))
      assert.equal(startedOf(own), undefined)
      controller.kill('SIGKILL')
      await gone
      const isFirst = ({ health, digest }: { health: string; digest: string }): boolean =>
        health === 'pass' && digest === first.manifest
      const again = await until(bench, isFirst, t.signal)
      assert.notEqual(again.bootId, before?.bootId)
      assert.ok(!existsSync(own.file('stopped')))
      await driver.switchTo(guest, second, 2, 3, t.signal)
      await until(bench, ({ health, digest }) => health === 'pass' && digest === second.manifest, t.signal)
      assert.deepEqual(done, [second.name])
      assert.deepEqual(await bench.starts(), [first.name, first.name, second.name])
    },
    undefined,
    (_, { name }) => {
      done.push(name)
      return Promise.resolve()
    },
  )
})
