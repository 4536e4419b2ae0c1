/**
 * What a FleetLock request does to the slots of a group: one function over the group's document, for any number of
 * requests at once. Budgets are read from the group at each call and never kept (R5).
 * @see https://coreos.github.io/zincati/development/fleetlock/protocol/
 */
import type { Group } from '../resolve/group.ts'
import type { GroupDocument, RolloutDocument } from './documents.ts'
import { activeRollouts, rankedOnce } from './progress.ts'
import type { Stored } from './view.ts'
import { budgetOf, planWaves } from './waves.ts'

export interface LockRequest {
  readonly kind: 'acquire' | 'release'
  readonly guest: string
}

/**
 * `held`: the guest has the slot, now or already. `free`: it has none, now or already. `full`: no slot is left.
 * `foreign`: a rollout gave the slot, and only what it sees of the guest frees it.
 */
export type LockOutcome = 'held' | 'free' | 'full' | 'foreign'

interface Locked {
  /** Absent: nothing changes. */
  readonly document?: GroupDocument
  /** By request, in their order. */
  readonly outcomes: readonly LockOutcome[]
}

/** Who gave a slot, where leaders of rollouts write their epoch. */
export const FLEETLOCK_EPOCH = 'fleetlock'

/** Releases first, so that what they free is given in the same write; else first come, first served. */
export function applyLocks(group: Group, before: GroupDocument, requests: readonly LockRequest[]): Locked {
  const holders = { ...before.holders }
  const budget = budgetOf(group)
  let { seq } = before
  let changes = 0
  const outcomes = new Map<LockRequest, LockOutcome>()
  const release = ({ guest }: LockRequest): LockOutcome => {
    const holder = holders[guest]
    if (holder === undefined) return 'free'
    if (holder.epoch !== FLEETLOCK_EPOCH) return 'foreign'
    delete holders[guest]
    changes++
    return 'free'
  }
  const acquire = ({ guest }: LockRequest): LockOutcome => {
    if (holders[guest] !== undefined) return 'held'
    if (Object.keys(holders).length >= budget) return 'full'
    seq++
    holders[guest] = { token: seq, epoch: FLEETLOCK_EPOCH }
    changes++
    return 'held'
  }
  for (const request of requests) if (request.kind === 'release') outcomes.set(request, release(request))
  for (const request of requests) if (request.kind === 'acquire') outcomes.set(request, acquire(request))
  return {
    outcomes: requests.map((request) => outcomes.get(request) as LockOutcome),
    ...(changes > 0 && { document: { seq, holders } }),
  }
}

/** Why a guest has to wait although there may be a slot. */
export interface NotNow {
  readonly kind: 'paused' | 'not_your_wave'
  readonly value: string
}

/** The rollout at work for a group, the newest one; those that go back let its guests be. */
export function rolloutFor(
  group: Group,
  rollouts: ReadonlyMap<string, Stored<RolloutDocument>>,
): Stored<RolloutDocument> | undefined {
  const found = activeRollouts(rollouts).findLast(({ document }) => document.groups.includes(group.name))
  return found?.document.state === 'rolling-back' ? undefined : found
}

/** A rollout gives nothing while it is paused, and nothing to guests of waves that are not open. */
export function whyNotNow(
  { id, state, reason, wave, groups: names }: RolloutDocument,
  group: Group,
  guest: string,
  groups: ReadonlyMap<string, Group>,
): NotNow | undefined {
  if (state === 'paused')
    return { kind: 'paused', value: `${id} is paused${reason === '' ? '' : `: ${reason}`}` }
  if (state === 'prefetch') return { kind: 'not_your_wave', value: `no wave of ${id} is open yet` }
  const waves = planWaves(
    id,
    names.flatMap((name) => groups.get(name) ?? []),
  )
  const at = rankedOnce(id, group).indexOf(guest)
  const own = waves.findIndex(({ upTo }) => at < (upTo.get(group.name) ?? 0))
  if (own <= wave) return undefined
  const name = (index: number): string => waves[index]?.name ?? `wave ${index}`
  return { kind: 'not_your_wave', value: `${guest} is in ${name(own)} of ${id}, which is at ${name(wave)}` }
}
