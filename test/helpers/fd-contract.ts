/** What every driver must do, whatever runs its guests. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error } from '../../src/base/errors.ts'
import type { DriverGeneration, DriverGuest, GuestDriver, Observed } from '../../src/deploy/driver.ts'

export interface Bench extends AsyncDisposable {
  readonly driver: GuestDriver
  readonly guest: DriverGuest
  readonly first: DriverGeneration
  readonly second: DriverGeneration
  /** Its starts end at once. */
  readonly broken: DriverGeneration
  /** Generations in the order in which the guest was really started. */
  starts(): Promise<readonly string[]>
  /** Module that exports `openBench(folder)`, and the folder: for another process to do the same call. */
  readonly module: string
  readonly folder: string
}

export interface ContractOptions {
  readonly tries: number
  /** Moments after its beginning at which a call is killed. */
  readonly killMs: readonly number[]
  /** What is held; default: everything. */
  readonly parts?: readonly Part[]
}

export type Part = 'once' | 'again' | 'stale' | 'fallback' | 'killed' | 'killed-commit'

const PATIENCE_MS = 400_000

/** Asks until the status is as wanted. */
export async function until(
  { driver, guest }: Pick<Bench, 'driver' | 'guest'>,
  wanted: (seen: Observed) => boolean,
  signal: AbortSignal,
): Promise<Observed> {
  const end = performance.now() + PATIENCE_MS
  for (;;) {
    const seen = await driver.status(guest, signal)
    if (wanted(seen)) return seen
    if (performance.now() > end) assert.fail(`waited in vain; the last status: ${JSON.stringify(seen)}`)
    await sleep(300, undefined, { signal })
  }
}

function isRunning(generation: DriverGeneration): (seen: Observed) => boolean {
  return ({ power, digest, health }) => power === 'on' && digest === generation.manifest && health === 'pass'
}

/** Brings a guest to `generation` and makes that the good one. */
async function install(
  bench: Bench,
  generation: DriverGeneration,
  token: number,
  signal: AbortSignal,
): Promise<Observed> {
  await bench.driver.prepare(bench.guest, generation, signal)
  await bench.driver.switchTo(bench.guest, generation, token, 3, signal)
  await until(bench, isRunning(generation), signal)
  await bench.driver.commit(bench.guest, generation, token, signal)
  return await until(bench, ({ pointer }) => pointer === 'good', signal)
}

async function twice(call: () => Promise<void>): Promise<void> {
  await call()
  await call()
}

type Call = 'prepare' | 'switchTo' | 'commit' | 'rollback' | 'stop' | 'collect'

/** The call in a process of its own, killed after a while (-1: not at all). */
async function callElsewhere(
  bench: Bench,
  call: Call,
  words: readonly unknown[],
  killMs: number,
): Promise<void> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, 'fd-call.ts'), bench.module, bench.folder, call, JSON.stringify(words)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const ended = once(child, 'exit')
  await Promise.race([once(child.stdout, 'data'), ended])
  if (killMs >= 0) {
    await sleep(killMs)
    child.kill('SIGKILL')
  }
  await ended
}

export function driverContract(
  kind: string,
  open: (t: TestContext) => Promise<Bench | undefined>,
  {
    tries,
    killMs,
    parts = ['once', 'again', 'stale', 'fallback', 'killed', 'killed-commit'],
  }: ContractOptions,
): void {
  const contract = (
    part: Part,
    name: string,
    body: (bench: Bench, signal: AbortSignal) => Promise<void>,
  ): void => {
    if (!parts.includes(part)) return
    test(`${kind}: ${name}`, async (t) => {
      const bench = await open(t)
      if (!bench) return
      try {
        await body(bench, t.signal)
      } finally {
        try {
          await bench.driver.stop(bench.guest, new AbortController().signal)
        } finally {
          await bench[Symbol.asyncDispose]()
        }
      }
    })
  }

  contract(
    'once',
    'a switch, its commit and a rollback are done once, however often they are said',
    async (bench, signal) => {
      const { driver, guest, first, second } = bench
      const off = await driver.status(guest, signal)
      assert.notEqual(off.power, 'on')
      assert.equal(off.digest, '')
      const before = await install(bench, first, 3, signal)
      assert.deepEqual(await bench.starts(), [first.name])
      assert.equal(before.token, 3)

      await twice(() => driver.prepare(guest, second, signal))
      assert.deepEqual(await bench.starts(), [first.name])
      await twice(() => driver.switchTo(guest, second, 4, 3, signal))
      const trial = await until(bench, isRunning(second), signal)
      assert.deepEqual([trial.pointer, trial.token], ['trial', 4])
      assert.notEqual(trial.bootId, before.bootId)
      assert.deepEqual(await bench.starts(), [first.name, second.name])

      await twice(() => driver.rollback(guest, first, 4, signal))
      const back = await until(bench, isRunning(first), signal)
      assert.equal(back.pointer, 'good')
      assert.ok(back.bootId !== before.bootId && back.bootId !== trial.bootId)
      await driver.switchTo(guest, second, 4, 3, signal)
      assert.deepEqual(await bench.starts(), [first.name, second.name, first.name])

      await twice(() => driver.stop(guest, signal))
      assert.equal((await driver.status(guest, signal)).power, 'off')
      assert.deepEqual(await bench.starts(), [first.name, second.name, first.name])
    },
  )

  contract(
    'again',
    'a generation that was called back is taken under a new token, and others are forgotten',
    async (bench, signal) => {
      const { driver, guest, first, second } = bench
      await install(bench, first, 3, signal)
      await driver.prepare(guest, second, signal)
      await driver.rollback(guest, first, 4, signal)
      await driver.switchTo(guest, second, 4, 3, signal)
      assert.deepEqual(await bench.starts(), [first.name])
      await driver.switchTo(guest, second, 5, 3, signal)
      await until(bench, isRunning(second), signal)
      await twice(() => driver.commit(guest, second, 5, signal))
      const good = await driver.status(guest, signal)
      assert.deepEqual([good.pointer, good.digest], ['good', second.manifest])
      await twice(() => driver.collect(guest, [second.name], signal))
      assert.deepEqual(await bench.starts(), [first.name, second.name])
    },
  )

  contract('stale', 'a lower token is refused by every call, and changes nothing', async (bench, signal) => {
    const { driver, guest, first, second } = bench
    const before = await install(bench, first, 7, signal)
    await driver.prepare(guest, second, signal)
    const isStale = (error: unknown): boolean => isStage5Error(error, 'S5_TOKEN_STALE')
    await assert.rejects(driver.switchTo(guest, second, 6, 3, signal), isStale)
    await assert.rejects(driver.commit(guest, second, 6, signal), isStale)
    await assert.rejects(driver.rollback(guest, undefined, 6, signal), isStale)
    assert.deepEqual(await driver.status(guest, signal), before)
    assert.deepEqual(await bench.starts(), [first.name])
  })

  contract(
    'fallback',
    'a trial that cannot start falls back by itself when its starts are used up',
    async (bench, signal) => {
      const { driver, guest, first, broken } = bench
      const before = await install(bench, first, 1, signal)
      await driver.prepare(guest, broken, signal)
      await driver.switchTo(guest, broken, 2, tries, signal)
      const after = await until(bench, isRunning(first), signal)
      assert.deepEqual([after.pointer, after.token], ['good', 2])
      if (kind !== 'exec')
        assert.match(after.detail, /used up its starts \(.*(?:exit code [1-9]|panic|cannot boot)/)
      assert.notEqual(after.bootId, before.bootId)
      const starts = await bench.starts()
      assert.equal(starts[0], first.name)
      assert.equal(starts.at(-1), first.name)
      await driver.switchTo(guest, broken, 2, tries, signal)
      await driver.commit(guest, broken, 2, signal)
      assert.deepEqual(await bench.starts(), starts)
      assert.equal((await driver.status(guest, signal)).digest, first.manifest)
    },
  )

  contract(
    'killed',
    'calls that are killed anywhere and said again end as if said once',
    async (bench, signal) => {
      const { driver, guest, first, second } = bench
      await install(bench, first, 1, signal)
      let token = 1
      for (const ms of killMs) {
        token++
        const before = (await bench.starts()).length
        await callElsewhere(bench, 'prepare', [guest, second], ms)
        await driver.prepare(guest, second, signal)
        await callElsewhere(bench, 'switchTo', [guest, second, token, 3], ms)
        await driver.switchTo(guest, second, token, 3, signal)
        await until(bench, isRunning(second), signal)
        assert.equal((await bench.starts()).length, before + 1, `switch killed after ${ms} ms`)
        await callElsewhere(bench, 'rollback', [guest, first, token], ms)
        await driver.rollback(guest, first, token, signal)
        await until(bench, isRunning(first), signal)
        await callElsewhere(bench, 'collect', [guest, [first.name]], ms)
        await driver.collect(guest, [first.name], signal)
        assert.equal((await bench.starts()).length, before + 2, `rollback killed after ${ms} ms`)
      }
      for (const ms of killMs) {
        await callElsewhere(bench, 'stop', [guest], ms)
        await driver.stop(guest, signal)
        assert.equal((await driver.status(guest, signal)).power, 'off')
      }
    },
  )

  contract(
    'killed-commit',
    'a commit that is killed and said again is one; a stopped guest starts again',
    async (bench, signal) => {
      const { driver, guest, first, second } = bench
      await install(bench, first, 1, signal)
      let token = 1
      for (const ms of killMs) {
        token++
        const before = (await bench.starts()).length
        await driver.prepare(guest, second, signal)
        await driver.switchTo(guest, second, token, 3, signal)
        await until(bench, isRunning(second), signal)
        await callElsewhere(bench, 'commit', [guest, second, token], ms)
        await driver.commit(guest, second, token, signal)
        assert.equal((await driver.status(guest, signal)).pointer, 'good')
        await callElsewhere(bench, 'stop', [guest], ms)
        await driver.stop(guest, signal)
        token++
        await driver.switchTo(guest, first, token, 3, signal)
        await until(bench, isRunning(first), signal)
        await driver.commit(guest, first, token, signal)
        assert.equal((await bench.starts()).length, before + 2)
      }
    },
  )
}
