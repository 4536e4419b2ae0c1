/** Copies of a guest's data in the driver dir: byte for byte what it was, wherever the switch, the trial or the keeper ends. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error } from '../../src/base/errors.ts'
import type { DriverGeneration, Observed } from '../../src/deploy/driver.ts'
import { guestFolder, type GuestFolder } from '../../src/deploy/drivers/folder.ts'
import { startedOf } from '../../src/deploy/drivers/keeper.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import type { DataStep } from '../../src/fleet/data-schema.ts'
import { openBench } from '../helpers/fd-bench-dir.ts'
import { until } from '../helpers/fd-contract.ts'

/** A second base rewrites what it finds; each start adds a line. */
const PROGRAM = [
  ...['chroot', '{root}', '/bin/sh', '-c'],
  'cd /var/log; echo $STAGE5_GENERATION >>starts; echo $STAGE5_GENERATION >>/etc/toy/starts; ' +
    'case $STAGE5_GENERATION in g1-*) ;; *) echo migrated >table; busybox rm -f second link; echo new >fresh;; esac; ' +
    'echo ready; exec sleep 1000000',
]
const KEEP: DataStep = { kind: 'snapshot', tag: 'r1-g2' }
const GIVE_BACK: DataStep = { kind: 'restore', tag: 'r1-g2' }

type Bench = ReturnType<typeof openBench>

async function withGuest(
  t: TestContext,
  body: (bench: Bench, own: GuestFolder) => Promise<void>,
): Promise<void> {
  const missing =
    process.getuid?.() !== 0
      ? 'root'
      : ['busybox', 'getfattr', 'setfattr'].find((name) => findTool(name) === undefined)
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  using place = temporaryDirectory()
  const bench = openBench(place.path, PROGRAM)
  const own = guestFolder(join(bench.folder, '.stage5/guests'), bench.guest.name)
  const { driver, guest, first, second } = bench
  try {
    await driver.prepare(guest, first, t.signal)
    await driver.switchTo(guest, first, 1, 3, t.signal)
    await until(bench, runs(first), t.signal)
    await driver.commit(guest, first, 1, t.signal)
    await driver.prepare(guest, second, t.signal, KEEP)
    await writeData(own)
    await body(bench, own)
  } finally {
    await driver.stop(guest, new AbortController().signal)
  }
}

/** All that a copy must not lose: hard links, holes, owners, attributes, symlinks, times, odd names. */
async function writeData(own: GuestFolder): Promise<void> {
  const log = own.file('data/log/var/log')
  writeFileSync(join(log, 'table'), 'schema 5\n')
  writeFileSync(join(log, 'second'), Buffer.from([0, 255, 10, 128]))
  linkSync(join(log, 'second'), join(log, 'linked'))
  symlinkSync('nowhere', join(log, 'link'))
  mkdirSync(join(log, 'a name\nof two lines'), { mode: 0o711 })
  writeFileSync(join(log, 'sparse'), 'end')
  truncateSync(join(log, 'sparse'), 50_000_000)
  await run(['chown', '1234:4321', join(log, 'second')])
  await run(['setfattr', '-n', 'trusted.toy', '-v', 'kept', join(log, 'second')])
  await run(['touch', '-d', '2001-02-03T04:05:06.789', join(log, 'second')])
}

/** What is below `data/`: names, content, links, owners, modes, times, attributes and blocks; but for lines of starts. */
async function dataOf(own: GuestFolder): Promise<string[]> {
  const shell = [
    'cd "$1"',
    "find . -name starts -o -path '*/work/*' -prune -o -printf '%p %y %m %U:%G %s %n %T@ %l\\n'",
    'find . -type f ! -name starts -exec sha256sum {} +',
    "getfattr -R -h -d -m - --absolute-names . | grep -v '^# file'",
    'du -k log/var/log/sparse 2>/dev/null',
  ].join('; ')
  const { stdout } = await run(['sh', '-c', shell, 'sh', own.file('data')], { accept: 'any' })
  return stdout.toString().split('\n').sort()
}

function runs({ manifest }: DriverGeneration, pointer?: string): (seen: Observed) => boolean {
  return (seen) =>
    seen.health === 'pass' && seen.digest === manifest && (pointer === undefined || seen.pointer === pointer)
}

const table = (own: GuestFolder): string => readFileSync(own.file('data/log/var/log/table'), 'utf8')
const startsIn = (own: GuestFolder): string[] =>
  readFileSync(own.file('data/log/var/log/starts'), 'utf8').trim().split('\n')

test('what a new base migrated is gone after the way back, and what was there is there to the byte', async (t) => {
  await withGuest(t, async (bench, own) => {
    const { driver, guest, first, second } = bench
    const before = await dataOf(own)
    for (let times = 0; times < 2; times++) await driver.switchTo(guest, second, 2, 3, t.signal, KEEP)
    await until(bench, runs(second, 'trial'), t.signal)
    assert.equal(table(own), 'migrated\n')
    assert.notDeepEqual(await dataOf(own), before)
    for (let times = 0; times < 2; times++) await driver.rollback(guest, first, 3, t.signal)
    await until(bench, runs(first), t.signal)
    assert.deepEqual(await dataOf(own), before)
    assert.deepEqual(startsIn(own), [first.name, first.name])
    // Another switch finds no copy of the one that failed, and takes its own.
    writeFileSync(own.file('data/log/var/log/table'), 'schema 5, later\n')
    const later = await dataOf(own)
    await driver.switchTo(guest, second, 4, 3, t.signal, { kind: 'snapshot', tag: 'r2-g2' })
    await until(bench, runs(second, 'trial'), t.signal)
    await driver.commit(guest, second, 4, t.signal)
    const migrated = startsIn(own)
    assert.deepEqual(migrated, [first.name, first.name, second.name])

    // Kept while the rollout is under way: the way back of the whole of it, which finds what it left when it fails.
    await assert.rejects(driver.switchTo(guest, first, 5, 3, t.signal, GIVE_BACK), (error) => {
      assert.ok(isStage5Error(error, 'S5_FILE_MISSING'))
      return true
    })
    await driver.switchTo(guest, first, 6, 3, t.signal, { kind: 'restore', tag: 'r2-g2' })
    await until(bench, runs(first, 'trial'), t.signal)
    assert.deepEqual(await dataOf(own), later)
    await driver.rollback(guest, second, 7, t.signal)
    await until(bench, runs(second), t.signal)
    assert.deepEqual(startsIn(own), [...migrated, second.name])
    await driver.switchTo(guest, first, 8, 3, t.signal, { kind: 'restore', tag: 'r2-g2' })
    await until(bench, runs(first, 'trial'), t.signal)
    await driver.commit(guest, first, 8, t.signal)
    assert.deepEqual(await dataOf(own), later)
    await driver.collect(guest, [first.name, second.name], t.signal)
    assert.ok(!existsSync(own.file('before')), 'nothing is left when the rollout is over')
    assert.deepEqual(await dataOf(own), later)
  })
})

test('a trial that uses up its starts goes back to the old data by itself, with nobody there', async (t) => {
  await withGuest(t, async (bench, own) => {
    const { driver, guest, first, second } = bench
    const before = await dataOf(own)
    await driver.switchTo(guest, second, 2, 1, t.signal, KEEP)
    await until(bench, runs(second, 'trial'), t.signal)
    const trial = startedOf(own)
    assert.ok(trial)
    process.kill(-trial.pid, 'SIGKILL')
    await until(bench, runs(first), t.signal)
    assert.deepEqual(await dataOf(own), before)
    assert.equal(readFileSync(own.file('before', second.name, 'log/var/log/table'), 'utf8'), 'migrated\n')
    await driver.rollback(guest, first, 3, t.signal)
    assert.deepEqual(await dataOf(own), before)
    // Whoever starts it by hand after all does not find what it wrote then, but what the guest has now.
    await driver.rollback(guest, second, 4, t.signal)
    await until(bench, runs(second, 'good'), t.signal)
    assert.deepEqual(startsIn(own), [first.name, first.name, second.name])
    assert.ok(!existsSync(own.file('before')))
  })
})

test('an exchange that was cut off between its renames is finished by the next start', async (t) => {
  await withGuest(t, async (bench, own) => {
    const { driver, guest, first, second } = bench
    const before = await dataOf(own)
    await driver.switchTo(guest, second, 2, 3, t.signal, KEEP)
    await until(bench, runs(second, 'trial'), t.signal)
    await driver.stop(guest, t.signal)
    own.unpoint('trial')
    renameSync(own.file('data'), own.file('before', second.name))
    await driver.prepare(guest, first, t.signal)
    assert.equal(table(own), 'migrated\n', 'taken back, so that nothing is made in its place')
    renameSync(own.file('data'), own.file('before', second.name))
    await driver.rollback(guest, first, 3, t.signal)
    await until(bench, runs(first), t.signal)
    assert.deepEqual(await dataOf(own), before)
    assert.deepEqual(readdirSync(own.file('before')).sort(), [second.name, 'pair', 'tag'].sort())
  })
})

test('a switch that is killed anywhere and said again keeps what was written last', async (t) => {
  await withGuest(t, async (bench, own) => {
    const { driver, guest, first, second } = bench
    let token = 1
    for (const ms of [0, 40, 120, 320, 640]) {
      writeFileSync(own.file('data/log/var/log/table'), `written before ${ms}\n`)
      const before = await dataOf(own)
      token++
      const words = [guest, second, token, 3]
      const call = join(import.meta.dirname, '../helpers/fd-call.ts')
      const child = spawn(
        process.execPath,
        [call, bench.module, bench.folder, 'switchTo', JSON.stringify(words), JSON.stringify(KEEP)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      const ended = once(child, 'exit')
      await Promise.race([once(child.stdout, 'data'), ended])
      await sleep(ms)
      child.kill('SIGKILL')
      await ended
      await driver.switchTo(guest, second, token, 3, t.signal, KEEP)
      await until(bench, runs(second), t.signal)
      assert.equal(table(own), 'migrated\n')
      token++
      await driver.rollback(guest, first, token, t.signal)
      await until(bench, runs(first), t.signal)
      assert.deepEqual(await dataOf(own), before, `killed after ${ms} ms`)
    }
  })
})

test('data that stands elsewhere is refused before anything is ended', async (t) => {
  await withGuest(t, async (bench, own) => {
    const { driver, guest, first, second, folder } = bench
    const { bootId } = await driver.status(guest, t.signal)
    renameSync(own.file('data'), join(folder, 'elsewhere'))
    symlinkSync(join(folder, 'elsewhere'), own.file('data'))
    await assert.rejects(driver.prepare(guest, second, t.signal, KEEP), (error) => {
      assert.ok(isStage5Error(error, 'S5_IMAGE_INPUT'))
      assert.match(error.message, /expected \S+data to be a folder on the same file system/)
      return true
    })
    const seen = await driver.status(guest, t.signal)
    assert.deepEqual([seen.bootId, seen.digest], [bootId, first.manifest])
    rmSync(own.file('data'))
    renameSync(join(folder, 'elsewhere'), own.file('data'))
  })
})
