/**
 * The slots of one group as a replica of FleetLock asks for them: requests that arrive while one transaction is under
 * way make the next, so that a thousand guests are a few writes and never fight each other (R6).
 *
 * Nothing is decided from memory: each round reads the document and the budget, and writes with a compare.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error } from '../base/errors.ts'
import type { Engine } from '../engine/engine.ts'
import { type GroupDocument, KEYS, NEW_GROUP } from '../fleet/documents.ts'
import {
  applyLocks,
  type LockOutcome,
  type LockRequest,
  type NotNow,
  rolloutFor,
  whyNotNow,
} from '../fleet/fleetlock.ts'
import { documentReader } from '../fleet/read.ts'
import { monotonicMs } from '../host/clock.ts'
import type { Group } from '../resolve/group.ts'

/** `unavailable`: the engine did not answer in time; `gone`: the group is no longer configured. */
export type QueueOutcome = LockOutcome | NotNow | 'unavailable' | 'gone'

export interface LockQueue {
  /**
   * Waits up to `holdMs` for a slot to come free.
   * @param signal who asked has gone
   */
  ask(request: LockRequest, holdMs: number, signal: AbortSignal): Promise<QueueOutcome>
  /** The group's document changed. */
  wake(): void
}

/** Called at named points; a test that kills or pauses there sees what a crash would leave. */
export type FaultPoint = 'after-read' | 'after-write'

interface QueueOptions {
  readonly engine: Pick<Engine, 'list' | 'transact'>
  readonly name: string
  /** As the configuration says now. */
  readonly groups: () => Promise<ReadonlyMap<string, Group>>
  readonly fault?: ((point: FaultPoint) => Promise<void>) | undefined
  /** Told what is no passing failure: a configuration that cannot be read, a document that is none. */
  readonly failed: (error: unknown) => void
  readonly signal: AbortSignal
}

interface Waiter {
  readonly request: LockRequest
  /** Until when a full group is waited for. */
  readonly until: number
  /** Until when an engine that does not answer is waited for. */
  readonly patience: number
  readonly signal: AbortSignal
  readonly resolve: (outcome: QueueOutcome) => void
}

const PATIENCE_MS = 20_000
/** A budget that grew is no change of the document: who waits looks again. */
const LOOK_AGAIN_MS = 1000
const CONFLICT_MS = 5
const UNAVAILABLE_MS = 100

export function openLockQueue(options: QueueOptions): LockQueue {
  const { engine, name, signal } = options
  let waiters: readonly Waiter[] = []
  let isRunning = false
  let hasNews = false
  let timer: NodeJS.Timeout | undefined
  const read = documentReader()

  function settle(waiter: Waiter, outcome: QueueOutcome): void {
    waiters = waiters.filter((one) => one !== waiter)
    waiter.resolve(outcome)
  }

  /** @returns whether another round is needed at once */
  async function round(): Promise<boolean> {
    const asked = waiters
    const groups = await options.groups()
    const group = groups.get(name)
    if (!group) {
      for (const waiter of asked) settle(waiter, 'gone')
      return false
    }
    const key = KEYS.group(name)
    const { values } = await engine.list(key)
    const stored = values.find((one) => one.key === key)
    const { rollouts } = read((await engine.list(KEYS.rollouts)).values)
    const rollout = rolloutFor(group, rollouts)
    await options.fault?.('after-read')
    // Those who left meanwhile must not be given what nobody would use.
    const here = asked.filter((waiter) => !waiter.signal.aborted)
    const document = stored ? (JSON.parse(stored.value) as GroupDocument) : NEW_GROUP
    const refusals = new Map(
      here.flatMap((waiter): [Waiter, NotNow][] => {
        const { kind, guest } = waiter.request
        if (kind === 'release' || Object.hasOwn(document.holders, guest)) return []
        const why = rollout && whyNotNow(rollout.document, group, guest, groups)
        return why ? [[waiter, why]] : []
      }),
    )
    const present = here.filter((waiter) => !refusals.has(waiter))
    const { document: next, outcomes } = applyLocks(
      group,
      document,
      present.map(({ request }) => request),
    )
    if (next) {
      // A rollout that is paused between our read and our write stops the write.
      const { ok } = await engine.transact(
        [
          { key, target: 'mod', equal: stored?.modRevision ?? 0n },
          ...(rollout
            ? [{ key: KEYS.rollout(rollout.document.id), target: 'mod' as const, equal: rollout.revision }]
            : []),
        ],
        [{ kind: 'put', key, value: JSON.stringify(next) }],
      )
      await options.fault?.('after-write')
      if (!ok) {
        await sleep(CONFLICT_MS * (1 + Math.random() * 3))
        return true
      }
    }
    const now = monotonicMs()
    for (const waiter of asked) if (waiter.signal.aborted) settle(waiter, 'free')
    for (const [waiter, why] of refusals) settle(waiter, why)
    for (const [at, waiter] of present.entries()) {
      const outcome = outcomes[at] as LockOutcome
      if (outcome !== 'full' || waiter.until <= now) settle(waiter, outcome)
    }
    return false
  }

  async function run(): Promise<void> {
    if (isRunning) return
    isRunning = true
    clearTimeout(timer)
    try {
      while (hasNews && waiters.length > 0 && !signal.aborted) {
        hasNews = false
        try {
          if (await round()) hasNews = true
        } catch (error) {
          if (signal.aborted) break
          if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE')) throw error
          // The outcome is unknown: it is read again, and asking twice for a slot is asking once.
          const now = monotonicMs()
          for (const waiter of waiters)
            if (waiter.patience <= now || waiter.signal.aborted) settle(waiter, 'unavailable')
          await sleep(UNAVAILABLE_MS * (1 + Math.random()))
          hasNews = true
        }
      }
    } finally {
      isRunning = false
    }
    if (waiters.length > 0 && !signal.aborted) {
      const next = Math.min(...waiters.map(({ until }) => until)) - monotonicMs()
      timer = setTimeout(wake, Math.max(1, Math.min(next, LOOK_AGAIN_MS))).unref()
    }
  }

  function wake(): void {
    hasNews = true
    run().catch((error: unknown) => {
      // A document that is none, a configuration that cannot be read: those who wait are told, the next one tries again.
      for (const waiter of waiters) settle(waiter, 'unavailable')
      options.failed(error)
    })
  }

  return {
    ask: (request, holdMs, asker) =>
      new Promise((resolve) => {
        const now = monotonicMs()
        const waiter = { request, until: now + holdMs, patience: now + PATIENCE_MS, signal: asker, resolve }
        waiters = [...waiters, waiter]
        wake()
      }),
    wake: () => {
      if (waiters.length > 0) wake()
    },
  }
}
