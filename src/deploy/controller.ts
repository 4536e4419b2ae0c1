/**
 * The controller of a fleet: leads, follows everything that is written (src/deploy/follow.ts), looks at guests, decides (src/fleet/reconcile.ts),
 * writes under the fence of its epoch, and asks drivers for what was written. It can be killed anywhere: whoever leads
 * next reads the same documents and goes on.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error } from '../base/errors.ts'
import type { Limit } from '../base/limit.ts'
import type { Compare, Engine, Leadership, Operation } from '../engine/engine.ts'
import { dataSchemasOf } from '../fleet/data-schema.ts'
import { type Approval, KEYS, PREFIX, type RolloutDocument } from '../fleet/documents.ts'
import type { Documents } from '../fleet/read.ts'
import { reconcile, toObserve } from '../fleet/reconcile.ts'
import type { Batch, RolloutMove, View } from '../fleet/view.ts'
import type { Moment } from '../fleet/windows.ts'
import { now } from '../host/clock.ts'
import type { Group } from '../resolve/group.ts'
import { collectOld, type Collector } from './collector.ts'
import type { DriverGeneration, DriverGuest, GuestDriver } from './driver.ts'
import { followFleet } from './follow.ts'
import { type CallDriver, perform, type Performer } from './performer.ts'
import { watchGuests, type Watcher, within } from './watcher.ts'

/** Named places at which tests stop a controller (rollout.md 4.3, S5). */
export type FaultPoint = 'after-read' | 'before-transact' | 'before-call' | 'during-call' | 'after-report'

interface ControllerOptions {
  readonly engine: Engine
  /** The configuration as it is now; equal objects for what did not change. */
  readonly groups: () => Promise<ReadonlyMap<string, Group>>
  readonly generations: () => Promise<ReadonlyMap<string, DriverGeneration>>
  readonly openDriver: (group: Group) => GuestDriver
  readonly guestOf: (group: Group, name: string) => DriverGuest
  readonly bootedGate: (generation: string) => string
  /** Absent: none is. Pinned ones stay on guests. */
  readonly isPinned?: (generation: string) => boolean
  readonly isApproved: (rollout: RolloutDocument, approval: Approval) => boolean
  /** Bounds calls to drivers. */
  readonly limit: Limit
  readonly ttlSeconds: number
  /** Longest time between two passes; guests on their way are looked at as often. */
  readonly pollMs: number
  /** How long the state of the others is believed. */
  readonly observeMs: number
  readonly signal: AbortSignal
  /** Ends the controller when it holds, after everything it asked for is done. */
  readonly isDone?: (documents: Documents) => boolean
  readonly onPass?: (pass: Pass) => void
  readonly at?: (point: FaultPoint) => Promise<void>
}

interface Pass {
  readonly view: View
  readonly written: number
  readonly refused: number
  readonly actions: number
}

const PREPARE_MS = 3_600_000
const CALL_MS = 600_000
const STATUS_MS = 15_000
const ENGINE_RETRY_MS = 500
/** A watch that is silent is believed for so long. */
const LIST_MS = 60_000
/** Own writes are watched for before the next pass: one that does not see them would only be refused. */
const REACH_MS = 20_000

/** Runs until `signal` or `isDone`. Any number of these may run; one of them leads. */
export async function runController(options: ControllerOptions): Promise<void> {
  const { engine, signal, ttlSeconds } = options
  while (!signal.aborted) {
    const leadership = await engine.lead(KEYS.leader, ttlSeconds, signal).catch((error: unknown) => {
      if (signal.aborted) return undefined
      throw error
    })
    if (!leadership) return
    try {
      if ((await leadOn(options, leadership)) === 'done') return
    } finally {
      await leadership.resign().catch(onlyUnavailable)
    }
  }
}

async function leadOn(options: ControllerOptions, leadership: Leadership): Promise<'done' | 'lost'> {
  const { engine, pollMs } = options
  const end = new AbortController()
  const signal = AbortSignal.any([options.signal, leadership.lost, end.signal])
  const bell = openBell()
  const drivers = openDrivers(options)
  const performer = openPerformer(options, drivers, signal, bell.ring)
  const watcher = watchGuests(drivers.status, { limit: options.limit, callMs: STATUS_MS, signal })
  const collector = collectOld({
    collect: (guest, keep) => within(CALL_MS, signal, (stop) => drivers.collect(guest, keep, stop)),
    limit: options.limit,
    isPinned: options.isPinned ?? (() => false),
  })
  const fleet = followFleet({ engine, prefix: PREFIX, signal, ring: bell.ring, listMs: LIST_MS })
  try {
    while (!signal.aborted) {
      bell.arm()
      try {
        const documents = await fleet.turn()
        const { isDone, revision, refused } = await pass(options, leadership, documents, {
          drivers,
          performer,
          watcher,
          collector,
          signal,
        })
        if (refused > 0) fleet.doubt()
        await fleet.reach(revision, REACH_MS)
        if (isDone && performer.running() === 0) {
          await collector.idle()
          return 'done'
        }
      } catch (error) {
        if (signal.aborted) break
        onlyUnavailable(error)
        fleet.doubt()
        await sleep(ENGINE_RETRY_MS, undefined, { signal }).catch(() => undefined)
      }
      await bell.wait(pollMs, signal)
    }
    return 'lost'
  } finally {
    end.abort()
    await performer.stop()
    await collector.idle()
    await fleet.end()
  }
}

interface Hands {
  readonly drivers: Drivers
  readonly performer: Performer
  readonly watcher: Watcher
  readonly collector: Collector
  readonly signal: AbortSignal
}

async function pass(
  options: ControllerOptions,
  leadership: Leadership,
  documents: Documents,
  { drivers, performer, watcher, collector, signal }: Hands,
): Promise<{ readonly isDone: boolean; readonly refused: number; readonly revision: bigint }> {
  const { engine, pollMs, observeMs, onPass } = options
  const [groups, generations] = await Promise.all([options.groups(), options.generations()])
  drivers.use(groups, generations)
  collector.look({ groups, ...documents }, generations)
  await options.at?.('after-read')
  const { moving, others } = toObserve({ groups, ...documents })
  await watcher.refresh(moving, pollMs / 2, pollMs)
  await watcher.refresh(others, observeMs, pollMs)
  const view: View = {
    ...documents,
    epoch: String(leadership.epoch),
    groups,
    observed: watcher.seen(),
    prepared: performer.prepared,
    manifests: new Map([...generations.values()].map(({ name, manifest }) => [name, manifest])),
    dataSchemas: dataSchemasOf(generations),
    bootedGate: options.bootedGate,
    isApproved: options.isApproved,
    moment: momentOf(now()),
    maxOperations: engine.maxOperations,
  }
  const { batches, rolloutMoves, actions } = reconcile(view)
  if (batches.length + rolloutMoves.length > 0) await options.at?.('before-transact')
  const refused = new Set<string>()
  const write = writer(engine, leadership, view)
  const written = await Promise.all([
    ...batches.map(async (batch) => {
      const made = await write.batch(batch)
      const { ok } = made
      for (const { guest } of batch.moves)
        if (ok) performer.settle(guest)
        else refused.add(guest)
      return made
    }),
    ...rolloutMoves.map((move) => write.rollout(move)),
  ])
  signal.throwIfAborted()
  performer.start(actions.filter(({ guest }) => !refused.has(guest)))
  const good = written.filter(({ ok }) => ok)
  onPass?.({ view, written: good.length, refused: written.length - good.length, actions: actions.length })
  return {
    refused: written.length - good.length,
    isDone: written.length === 0 && (options.isDone?.(documents) ?? false),
    revision: good.reduce((last, { revision }) => (revision > last ? revision : last), 0n),
  }
}

type Written = Awaited<ReturnType<Engine['transact']>>

interface Writer {
  readonly batch: (batch: Batch) => Promise<Written>
  readonly rollout: (move: RolloutMove) => Promise<Written>
}

/** Every write compares the leader's epoch, and the revision of each document that the decision rests on. */
function writer(engine: Engine, leadership: Leadership, view: View): Writer {
  const fence: Compare = { key: leadership.key, target: 'create', equal: leadership.epoch }
  const unchanged = (key: string, revision: bigint | undefined): Compare => ({
    key,
    target: 'mod',
    equal: revision ?? 0n,
  })
  const leases = new Map<number, Promise<string>>()
  /** Timers that begin in one pass share a lease. */
  const leaseOf = (seconds: number): Promise<string> => {
    const found = leases.get(seconds) ?? engine.grantLease(Math.max(1, Math.ceil(seconds)))
    leases.set(seconds, found)
    return found
  }
  const put = (key: string, value: unknown): Operation => ({ kind: 'put', key, value: JSON.stringify(value) })

  return {
    batch: async ({ group, groupDocument, holdersChange, moves, retired }) => {
      const compares = [fence]
      const operations: Operation[] = []
      if (holdersChange) {
        compares.push(unchanged(KEYS.group(group), view.groupDocuments.get(group)?.revision))
        operations.push(put(KEYS.group(group), groupDocument))
      }
      for (const id of new Set(moves.flatMap(({ under }) => under ?? [])))
        compares.push(unchanged(KEYS.rollout(id), view.rollouts.get(id)?.revision))
      for (const { guest, next, deadline } of moves) {
        compares.push(unchanged(KEYS.guest(guest), view.guests.get(guest)?.revision))
        operations.push(put(KEYS.guest(guest), next))
        if (deadline !== undefined && deadline > 0)
          operations.push({
            kind: 'put',
            key: KEYS.deadline(guest),
            value: next.state,
            lease: await leaseOf(deadline),
          })
        else if (deadline === 0 && view.deadlines.has(guest))
          operations.push({ kind: 'delete', key: KEYS.deadline(guest) })
      }
      for (const guest of retired) {
        compares.push(unchanged(KEYS.guest(guest), view.guests.get(guest)?.revision))
        operations.push(
          { kind: 'delete', key: KEYS.guest(guest) },
          { kind: 'delete', key: KEYS.deadline(guest) },
        )
      }
      return await engine.transact(compares, operations)
    },
    rollout: async ({ next, soak }) => {
      const key = KEYS.rollout(next.id)
      const operations = [put(key, next)]
      if (soak !== undefined)
        operations.push({
          kind: 'put',
          key: KEYS.soak(next.id),
          value: String(next.wave),
          lease: await leaseOf(soak),
        })
      return await engine.transact([fence, unchanged(key, view.rollouts.get(next.id)?.revision)], operations)
    },
  }
}

interface Drivers {
  use(groups: ReadonlyMap<string, Group>, generations: ReadonlyMap<string, DriverGeneration>): void
  readonly status: Parameters<typeof watchGuests>[0]
  readonly call: CallDriver
  readonly collect: (guest: string, keep: readonly string[], signal: AbortSignal) => Promise<void>
}

function openDrivers({ openDriver, guestOf }: ControllerOptions): Drivers {
  let homes = new Map<string, Group>()
  let configured: ReadonlyMap<string, Group> | undefined
  let known: ReadonlyMap<string, DriverGeneration> = new Map()
  const opened = new Map<Group, GuestDriver>()
  const at = (name: string): { driver: GuestDriver; guest: DriverGuest } => {
    const group = homes.get(name)
    if (!group) throw new Error(`${name} is in no group`)
    const driver = opened.get(group) ?? openDriver(group)
    opened.set(group, driver)
    return { driver, guest: guestOf(group, name) }
  }
  const generation = (name: string): DriverGeneration => {
    const found = known.get(name)
    if (!found) throw new Error(`generation ${name} is not known here`)
    return found
  }
  return {
    use: (groups, generations) => {
      known = generations
      if (groups === configured) return
      configured = groups
      homes = new Map([...groups.values()].flatMap((group) => group.guests.map(({ name }) => [name, group])))
    },
    status: async (name, signal) => {
      const { driver, guest } = at(name)
      return await driver.status(guest, signal)
    },
    collect: async (name, keep, signal) => {
      const { driver, guest } = at(name)
      await driver.collect(guest, keep, signal)
    },
    call: async (action, signal) => {
      const { driver, guest } = at(action.guest)
      const { token } = action
      switch (action.kind) {
        case 'prepare':
          return await driver.prepare(guest, generation(action.generation), signal, action.data)
        case 'switch':
          return await driver.switchTo(
            guest,
            generation(action.generation),
            token,
            action.tries,
            signal,
            action.data,
          )
        case 'commit':
          return await driver.commit(guest, generation(action.generation), token, signal)
        case 'rollback': {
          const good = action.generation === '' ? undefined : generation(action.generation)
          return await driver.rollback(guest, good, token, signal)
        }
      }
    },
  }
}

function openPerformer(
  { limit, pollMs, at }: ControllerOptions,
  { call }: Drivers,
  signal: AbortSignal,
  ring: () => void,
): Performer {
  return perform(call, {
    limit,
    signal,
    prepareMs: PREPARE_MS,
    callMs: CALL_MS,
    retryMs: pollMs,
    before: async () => at?.('before-call'),
    during: async () => at?.('during-call'),
    after: async () => {
      await at?.('after-report')
      ring()
    },
  })
}

interface Bell {
  readonly ring: () => void
  /** What rings from now on ends the next wait. */
  readonly arm: () => void
  readonly wait: (mostMs: number, signal: AbortSignal) => Promise<void>
}

function openBell(): Bell {
  let bell = Promise.withResolvers<void>()
  return {
    ring: () => bell.resolve(),
    arm: () => {
      bell = Promise.withResolvers()
    },
    wait: async (mostMs, signal) => {
      const done = new AbortController()
      const timer = sleep(mostMs, undefined, { signal: AbortSignal.any([signal, done.signal]) })
      await Promise.race([bell.promise, timer.catch(() => undefined)])
      done.abort()
    },
  }
}

function onlyUnavailable(error: unknown): void {
  if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE', 'S5_ENGINE_COMPACTED')) throw error
}

/** @param at milliseconds since 1970 */
export function momentOf(at: number): Moment {
  const date = new Date(at)
  return { day: date.getUTCDay(), minute: date.getUTCHours() * 60 + date.getUTCMinutes() }
}
