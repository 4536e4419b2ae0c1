/** Slots of one group are asked for by a rollout and by clients of FleetLock at the same time. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pLimit from 'p-limit'
import { runController } from '../../src/deploy/controller.ts'
import { openFleetLock } from '../../src/deploy/fleetlock.ts'
import { openSqliteEngine } from '../../src/engine/sqlite.ts'
import { type GroupDocument, KEYS, PREFIX } from '../../src/fleet/documents.ts'
import { FLEETLOCK_EPOCH } from '../../src/fleet/fleetlock.ts'
import { ask } from '../helpers/fe-guests.ts'
import { group, rollout } from '../helpers/fr-fleet.ts'
import { MANIFESTS } from '../helpers/fr-scene.ts'
import { generationsOf, makeTruth } from '../helpers/fr-truth.ts'

const BUDGET = 3
const web = group('web', 14, {
  waves: [{ percent: 100 }],
  maxUnavailable: { count: BUDGET },
  bootSeconds: 600,
  recoverSeconds: 600,
  trustSteadyState: true,
})

test('the controller and clients of FleetLock together never take more of a group away than it allows', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fr2-slots-'))
  const names = web.guests.map(({ name }) => name)
  const rebooting = new Set<string>()
  const truth = makeTruth({
    guests: Object.fromEntries(names.map((name) => [name, 'web'])),
    good: 'g1-old',
    manifests: MANIFESTS,
    faultOf: () => 'none',
    now: () => performance.now(),
    bootMs: 60,
  })
  let most = 0
  /** Looked at whenever somebody goes away. */
  const look = (): void => {
    most = Math.max(most, names.filter((name) => rebooting.has(name) || !truth.running(name).isUp).length)
  }
  const stop = new AbortController()
  const groups = new Map([['web', web]])
  try {
    await using engine = await openSqliteEngine(join(directory, 'fleet.db'))
    const holders: number[] = []
    const { revision } = await engine.list(PREFIX)
    const watched = (async () => {
      for await (const { changes } of engine.watch(KEYS.groups, revision, stop.signal))
        for (const { value } of changes)
          if (value !== undefined)
            holders.push(Object.keys((JSON.parse(value) as GroupDocument).holders).length)
    })()
    await engine.transact(
      [],
      [{ kind: 'put', key: KEYS.rollout('r1'), value: JSON.stringify(rollout(['web'])) }],
    )
    await using server = await openFleetLock({
      engine,
      groups: async () => groups,
      moment: () => ({ day: 1, minute: 600 }),
      listen: { kind: 'tcp', host: '127.0.0.1', port: 0 },
      holdMs: 0,
      failed: (error) => assert.fail(String(error)),
      signal: stop.signal,
    })
    let isOver = false
    let reboots = 0
    /** Reboots again and again, each time with a slot. */
    const client = async (name: string): Promise<void> => {
      while (!isOver) {
        const { status } = await ask(server.address, 'pre-reboot', name, 'web')
        const stored = (await engine.list(KEYS.group('web'))).values[0]
        const holder = stored && (JSON.parse(stored.value) as GroupDocument).holders[name]
        // A slot that the controller gave is for the restart that it makes.
        if (status === 200 && holder?.epoch === FLEETLOCK_EPOCH) {
          rebooting.add(name)
          look()
          await sleep(20)
          rebooting.delete(name)
          reboots++
          while ((await ask(server.address, 'steady-state', name, 'web')).status !== 200) await sleep(20)
        }
        await sleep(30)
      }
    }
    // Clients are guests that this rollout moves, too.
    const clients = names.slice(0, 6).map(client)
    await runController({
      engine,
      groups: async () => groups,
      generations: async () => generationsOf('g1-old', 'g2-new'),
      openDriver: () => ({
        kind: 'simulated',
        prepare: async ({ name }, generation) => truth.prepare(name, generation.name),
        switchTo: async ({ name }, generation, token) => {
          truth.switchTo(name, generation.name, token)
          look()
        },
        commit: async ({ name }, generation, token) => truth.commit(name, generation.name, token),
        rollback: async ({ name }, good, token) => truth.rollback(name, good?.name ?? '', token),
        status: async ({ name }) =>
          rebooting.has(name)
            ? { ...truth.status(name), power: 'off' as const, health: 'fail' as const }
            : truth.status(name),
        stop: async () => undefined,
        collect: async () => undefined,
      }),
      guestOf: (of, name) => ({ name, group: of.name, values: {} }),
      bootedGate: () => '',
      isApproved: () => true,
      limit: pLimit(16),
      ttlSeconds: 60,
      pollMs: 50,
      observeMs: 50,
      signal: stop.signal,
      isDone: ({ rollouts }) => {
        const state = rollouts.get('r1')?.document.state
        return state !== 'prefetch' && state !== 'wave' && state !== 'soak' && state !== 'paused'
      },
    })
    isOver = true
    await Promise.all(clients)
    stop.abort()
    await watched
    const done = new Set(truth.boots.filter(({ kind }) => kind === 'switch').map(({ guest }) => guest))
    assert.equal(done.size, names.length)
    assert.ok(reboots > 0, 'no client had a slot: this shows nothing')
    assert.ok(Math.max(...holders) <= BUDGET, `${Math.max(...holders)} held a slot`)
    assert.ok(most <= BUDGET, `${most} were away at once, ${BUDGET} may`)
  } finally {
    stop.abort()
    rmSync(directory, { recursive: true, force: true })
  }
})
