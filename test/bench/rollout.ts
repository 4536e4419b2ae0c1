/**
 * `node test/bench/rollout.ts 1000`: what a wave costs. So many guests in groups of 100, ten of each group updated on the
 * embedded engine; guests start at once, so all time but a second of soaking per round is the controller's.
 *
 * Prints JSON: seconds, passes, the longest pass in ms, requests to the engine and writes for each updated guest, and
 * peak memory in MiB.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pLimit from 'p-limit'
import { runController } from '../../src/deploy/controller.ts'
import type { GuestDriver } from '../../src/deploy/driver.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { openSqliteEngine } from '../../src/engine/sqlite.ts'
import { KEYS } from '../../src/fleet/documents.ts'
import { reconcile } from '../../src/fleet/reconcile.ts'
import type { View } from '../../src/fleet/view.ts'
import { group, rollout } from '../helpers/fr-fleet.ts'
import { generationsOf, makeTruth } from '../helpers/fr-truth.ts'

const size = Number(process.argv[2] ?? 1000)
const change = {
  waves: [{ percent: 10 }, { percent: 100 }],
  maxUnavailable: { percent: 10 },
  soakSeconds: 1,
  bootSeconds: 600,
  recoverSeconds: 600,
}
const groups = Array.from({ length: Math.ceil(size / 100) }, (_, at) =>
  group(`g${at}`, Math.min(size, 100), change),
)
const generations = generationsOf('g1-old', 'g2-new')
const manifests = new Map([...generations].map(([name, { manifest }]) => [name, manifest]))
const guests = Object.fromEntries(groups.flatMap((one) => one.guests.map(({ name }) => [name, one.name])))
const truth = makeTruth({ guests, good: 'g1-old', manifests, faultOf: () => 'none', now: () => 1, bootMs: 0 })
const driver: GuestDriver = {
  kind: 'simulated',
  prepare: async ({ name }, generation) => truth.prepare(name, generation.name),
  switchTo: async ({ name }, generation, token) => truth.switchTo(name, generation.name, token),
  commit: async ({ name }, generation, token) => truth.commit(name, generation.name, token),
  rollback: async ({ name }, good, token) => truth.rollback(name, good?.name ?? '', token),
  status: async ({ name }) => truth.status(name),
  stop: async () => undefined,
  collect: async () => undefined,
}

const directory = mkdtempSync(join(tmpdir(), 's5-bench-'))
const counts = { list: 0, transact: 0, grantLease: 0 }
let passes = 0
let slowest = 0
let last: View | undefined
let seconds = 0
try {
  await using opened = await openSqliteEngine(join(directory, 'fleet.db'))
  await opened.transact(
    [],
    [
      {
        kind: 'put',
        key: KEYS.rollout('r1'),
        value: JSON.stringify(rollout(groups.map(({ name }) => name))),
      },
    ],
  )
  const engine: Engine = {
    ...opened,
    list: (prefix) => {
      counts.list++
      return opened.list(prefix)
    },
    transact: (...words) => {
      counts.transact++
      return opened.transact(...words)
    },
    grantLease: (time) => {
      counts.grantLease++
      return opened.grantLease(time)
    },
  }
  const configured = new Map(groups.map((one) => [one.name, one]))
  const begun = performance.now()
  let before = begun
  await runController({
    engine,
    groups: async () => configured,
    generations: async () => generations,
    openDriver: () => driver,
    guestOf: (of, name) => ({ name, group: of.name, values: {} }),
    bootedGate: () => '',
    isApproved: () => true,
    limit: pLimit(64),
    ttlSeconds: 60,
    pollMs: 200,
    observeMs: 600_000,
    signal: new AbortController().signal,
    isDone: ({ rollouts }) => (rollouts.get('r1')?.document.wave ?? 0) > 0,
    onPass: ({ view }) => {
      passes++
      last = view
      slowest = Math.max(slowest, performance.now() - before)
    },
    at: async (point) => {
      if (point === 'after-read') before = performance.now()
      // The wave is over: what the next one begins is not of this measurement.
      if (point === 'before-transact' && last?.rollouts.get('r1')?.document.wave === 1)
        throw new Error('over')
    },
  }).catch((error: unknown) => {
    if (!(error instanceof Error) || error.message !== 'over') throw error
  })
  seconds = (performance.now() - begun) / 1000
} finally {
  rmSync(directory, { recursive: true, force: true })
}

const updated = groups.reduce((sum, { guests: all }) => sum + Math.ceil(all.length / 10), 0)
const decide = performance.now()
if (last) reconcile(last)
const round = (value: number): number => Math.round(value * 100) / 100
console.log(
  JSON.stringify({
    guests: size,
    updated,
    seconds: round(seconds),
    passes,
    'slowest pass, ms': Math.round(slowest),
    'decision, ms': Math.round(performance.now() - decide),
    'requests per updated guest': round((counts.list + counts.transact + counts.grantLease) / updated),
    'transactions per updated guest': round(counts.transact / updated),
    lists: counts.list,
    'peak MiB': Math.round(process.resourceUsage().maxRSS / 1024),
  }),
)
