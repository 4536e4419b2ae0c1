/**
 * Processes that are killed, disks that are full, power that goes: nothing acknowledged is lost, nothing wrong is seen.
 * `STAGE5_KILLS=1000` makes the kill loop longer.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error } from '../../src/base/errors.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { openStore } from '../../src/store/store.ts'
import type { MUTANTS } from '../helpers/faults.ts'
import { problemsOf, wrongWith } from './workload.ts'

const KILLS = Number(process.env['STAGE5_KILLS'] ?? 16)
const FAST = existsSync('/dev/shm') ? '/dev/shm' : undefined
const WRITER = join(import.meta.dirname, 'crash-writer.ts')
const MOUNTED = join(import.meta.dirname, 'mounted.ts')

interface Writer {
  readonly child: ChildProcess
  /** Whole lines only: half of one is no acknowledgement. */
  readonly acknowledged: string[]
  readonly ended: Promise<unknown>
  ready: Promise<unknown>
}

function startWriter(t: TestContext, argv: readonly string[], cache: string): Writer {
  const child = spawn(process.execPath, [WRITER, ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
  })
  t.after(() => child.kill('SIGKILL'))
  const acknowledged: string[] = []
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() as string
    acknowledged.push(...lines.filter((line) => line !== 'ready'))
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const ended = once(child, 'close').then(([code]) => {
    if (typeof code === 'number' && code !== 0) throw new Error(`the writer ended with ${code}: ${said}`)
  })
  return { child, acknowledged, ended, ready: Promise.race([once(child.stdout, 'data'), ended]) }
}

/** @returns what was wrong after any of the kills */
async function killLoop(
  t: TestContext,
  disk: keyof typeof MUTANTS | 'real',
  kills: number,
): Promise<string[]> {
  using directory = temporaryDirectory(FAST)
  const path = join(directory.path, 'store')
  const acknowledged: string[] = []
  for (let kill = 0; kill < kills; kill++) {
    const writer = startWriter(t, [path, `k${kill}`, disk], join(directory.path, 'cache'))
    try {
      await writer.ready
      // A round takes 40 ms on an idle machine; the place of the kill is the only thing here that is left to chance.
      await sleep(Math.random() * 100)
      writer.child.kill('SIGKILL')
      await writer.ended
    } catch (error) {
      return [(error as Error).message]
    }
    acknowledged.push(...writer.acknowledged)
    await using store = await openStore(path)
    const wrong = await problemsOf(store)
    for (const seed of acknowledged) {
      const what = await wrongWith(store, seed)
      if (what) wrong.push(what)
    }
    if (readdirSync(join(store.path, 'staging')).length > 0) wrong.push('something was left in staging')
    if (wrong.length > 0) return wrong
  }
  assert.ok(acknowledged.length >= kills / 8, `only ${acknowledged.length} packages in ${kills} kills`)
  return []
}

test('killed at any time, a writer loses nothing that was acknowledged', async (t) => {
  assert.deepEqual(await killLoop(t, 'real', KILLS), [])
})

test('the kill loop notices a store that writes where readers look', async (t) => {
  assert.notDeepEqual(await killLoop(t, 'directWrite', 60), [])
})

test('two writers and a collector at once lose nothing', async (t) => {
  using directory = temporaryDirectory(FAST)
  const path = join(directory.path, 'store')
  const cache = join(directory.path, 'cache')
  const writers = ['one', 'two'].map((seed) => startWriter(t, [path, seed, 'real', '12'], cache))
  const killed = startWriter(t, [path, 'three', 'real', '12'], cache)
  void killed.ready.then(() => setTimeout(() => killed.child.kill('SIGKILL'), 30))
  let running = true
  const all = Promise.all([...writers, killed].map(({ ended }) => ended)).finally(() => (running = false))
  let collected = 0
  while (running) {
    await sleep(1)
    await using store = await openStore(path, { waitMs: 30_000 })
    try {
      await store.collect({ waitMs: 20 })
      collected++
    } catch (error) {
      if (!isStage5Error(error, 'S5_LOCK_BUSY')) throw error
    }
  }
  await all
  await using store = await openStore(path)
  await store.collect()
  const seeds = [...writers, killed].flatMap(({ acknowledged }) => acknowledged)
  assert.equal(writers.flatMap(({ acknowledged }) => acknowledged).length, 48)
  for (const seed of seeds) assert.equal(await wrongWith(store, seed), undefined)
  assert.deepEqual(await problemsOf(store), [])
  t.diagnostic(`${collected} collections came through`)
})

async function mounted(
  t: TestContext,
  tools: readonly string[],
  argv: readonly string[],
): Promise<string[] | undefined> {
  if (process.getuid?.() !== 0) {
    t.skip('needs root')
    return undefined
  }
  const missing = ['unshare', 'mount', ...tools].filter((tool) => findTool(tool) === undefined)
  if (missing.length > 0) {
    t.skip(`needs ${missing.join(', ')}`)
    return undefined
  }
  const { code, stdout, stderr } = await run(['unshare', '-m', process.execPath, MOUNTED, ...argv], {
    accept: 'any',
  })
  if (code !== 0 && /mount.*(?:failed to setup loop|permission denied|not permitted)/.test(stderr)) {
    t.skip('needs mount and loop devices')
    return undefined
  }
  assert.equal(code, 0, stderr)
  const { tried, wrong } = JSON.parse(stdout.toString()) as { tried: number; wrong: string[] }
  t.diagnostic(`${tried} times`)
  return wrong
}

test('a full tmpfs loses nothing, wherever it becomes full', async (t) => {
  const wrong = await mounted(t, [], ['full', 'tmpfs', '20'])
  if (wrong) assert.deepEqual(wrong, [])
})

test('a full ext4 loses nothing, wherever it becomes full', async (t) => {
  const wrong = await mounted(t, ['mkfs.ext4'], ['full', 'ext4', '10'])
  if (wrong) assert.deepEqual(wrong, [])
})

test('power may go right after each acknowledgement', async (t) => {
  const wrong = await mounted(
    t,
    ['mkfs.ext4', 'python3'],
    ['cut', process.env['STAGE5_CUTS'] ?? '12', 'real'],
  )
  if (wrong) assert.deepEqual(wrong, [])
})

for (const mutant of ['noSync', 'noDirectorySync', 'renameFirst'] as const)
  test(`the power cut notices a store with ${mutant}`, async (t) => {
    const wrong = await mounted(t, ['mkfs.ext4', 'python3'], ['cut', '6', mutant])
    if (wrong) assert.notDeepEqual(wrong, [])
  })
