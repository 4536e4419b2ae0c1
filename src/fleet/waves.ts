/**
 * Who goes when. A wave is a rule and never a stored list: guests are ranked inside their group by a hash with the
 * rollout's id in it, so that other guests are canaries each time, and wave n has all of wave n-1.
 */
import { hash } from 'node:crypto'
import type { Group, Quantity } from '../resolve/group.ts'

export interface Wave {
  readonly name: string
  /** Guests of each group that are in this wave or an earlier one: the first so many of its ranking. */
  readonly upTo: ReadonlyMap<string, number>
}

/** canary-0 and canary stand before these. */
const DEFAULT_SHARES = [10, 40, 100] as const

/**
 * The place of a guest in [0, 1) for one rollout; the threshold form for guests that nobody enumerates.
 * @example
 * shareOf('r1', 'web-01') < 1 // => true
 */
export function shareOf(rolloutId: string, guestId: string): number {
  return Number.parseInt(hash('sha256', `${rolloutId}\0${guestId}`, 'hex').slice(0, 8), 16) / 2 ** 32
}

/** Names of a group's guests: canaries that the group names first, then by `shareOf`. */
export function rankOf(rolloutId: string, group: Group): readonly string[] {
  return group.guests
    .map(({ name, canary }) => ({ name, order: shareOf(rolloutId, name) - (canary ? 1 : 0) }))
    .sort((a, b) => a.order - b.order || (a.name < b.name ? -1 : 1))
    .map(({ name }) => name)
}

/**
 * A share for a wave: rounded up, at least one of a group that has any.
 * @example
 * roundUp({ percent: 10 }, 11) // => 2
 */
export function roundUp(quantity: Quantity, size: number): number {
  const count = 'count' in quantity ? quantity.count : Math.ceil((size * quantity.percent) / 100)
  return Math.min(size, Math.max(1, count))
}

/**
 * A share for a budget: rounded down.
 * @example
 * roundDown({ percent: 10 }, 19) // => 1
 */
export function roundDown(quantity: Quantity, size: number): number {
  return 'count' in quantity ? quantity.count : Math.floor((size * quantity.percent) / 100)
}

/**
 * How many guests of a group may be away at once: `maxUnavailable` (at least 1), and never more than `minAvailable`
 * leaves. 0: there is no room for any update.
 */
export function budgetOf(group: Group): number {
  const size = group.guests.length
  const most = Math.max(1, roundDown(group.maxUnavailable, size))
  return Math.max(0, Math.min(most, size - roundDown(group.minAvailable, size)))
}

/** Failed guests that a wave forgives in a group; a share is at least one guest, a count may be 0. */
export function forgivenOf(group: Group): number {
  const { allowedFailures } = group
  return 'count' in allowedFailures
    ? allowedFailures.count
    : Math.max(1, roundDown(allowedFailures, group.guests.length))
}

/**
 * The waves of a rollout. Groups that say nothing go by the default plan: one guest of one group, the canaries of each
 * group, 10 %, 40 %, all. Groups with waves of their own join from the second wave on, or make up the plan when no group
 * uses the default. The last wave is everyone.
 */
export function planWaves(rolloutId: string, groups: readonly Group[]): readonly Wave[] {
  const some = groups.filter(({ guests }) => guests.length > 0)
  const usesDefault = some.some(({ waves }) => waves.length === 0)
  const own = Math.max(0, ...some.map((group) => ownSteps(group).length))
  const count = Math.max(usesDefault ? 2 + DEFAULT_SHARES.length : 1, own + (usesDefault ? 1 : 0))
  const first = usesDefault ? firstGroup(rolloutId, some) : undefined
  const reached = new Map<string, number>()
  return Array.from({ length: count }, (_, at) => {
    for (const group of some) {
      const size = group.guests.length
      const upTo =
        at === count - 1
          ? size
          : usesDefault && at === 0
            ? Number(group.name === first)
            : group.waves.length > 0
              ? stepOf(ownSteps(group), at - (usesDefault ? 1 : 0))
              : defaultStep(group, at)
      reached.set(group.name, Math.max(reached.get(group.name) ?? 0, upTo))
    }
    return { name: nameOf(at, count, usesDefault), upTo: new Map(reached) }
  })
}

function firstGroup(rolloutId: string, groups: readonly Group[]): string | undefined {
  const named = groups.filter(({ guests }) => guests.some(({ canary }) => canary))
  const among = (named.length > 0 ? named : groups).map(({ name }) => name)
  return among.sort((a, b) => shareOf(rolloutId, a) - shareOf(rolloutId, b))[0]
}

function ownSteps({ waves, guests }: Group): readonly number[] {
  if (waves.length === 0) return []
  const steps = waves.map((wave) => roundUp(wave, guests.length))
  return steps.at(-1) === guests.length ? steps : [...steps, guests.length]
}

function stepOf(steps: readonly number[], at: number): number {
  return steps[Math.min(at, steps.length - 1)] as number
}

function defaultStep({ guests }: Group, at: number): number {
  if (at === 1) return Math.max(1, guests.filter(({ canary }) => canary).length)
  const percent = DEFAULT_SHARES[Math.min(at - 2, DEFAULT_SHARES.length - 1)] as number
  return roundUp({ percent }, guests.length)
}

function nameOf(at: number, count: number, usesDefault: boolean): string {
  if (usesDefault && at < 2) return ['canary-0', 'canary'][at] as string
  return at === count - 1 ? 'all' : `wave-${at + (usesDefault ? 0 : 1)}`
}
