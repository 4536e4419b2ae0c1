/**
 * What a FleetLock request does to the slots of a group: one function over the group's document, for any number of
 * requests at once. Budgets are read from the group at each call and never kept (R5).
 * @see https://coreos.github.io/zincati/development/fleetlock/protocol/
 */
import type { Group } from '../resolve/group.ts'
import type { GroupDocument } from './documents.ts'
import { budgetOf } from './waves.ts'

export interface LockRequest {
  readonly kind: 'acquire' | 'release'
  readonly guest: string
}

/**
 * `held`: the guest has the slot, now or already. `free`: it has none, now or already. `full`: no slot is left.
 * `foreign`: a rollout gave the slot, and only what it sees of the guest frees it.
 */
export type LockOutcome = 'held' | 'free' | 'full' | 'foreign'

export interface Locked {
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
