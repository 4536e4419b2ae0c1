/** How far a rollout is: read off the guests' documents each time, so that it cannot disagree with them. */
import type { Group } from '../resolve/group.ts'
import {
  BEFORE_SLOT,
  type GuestDocument,
  HOLDING,
  NEW_GUEST,
  type RolloutDocument,
  ACTIVE,
} from './documents.ts'
import type { Observation, Stored, View } from './view.ts'
import { budgetOf, forgivenOf, planWaves, rankOf, type Wave } from './waves.ts'

/** `done` runs the target; `failed` counts against this rollout; `skipped` was out of reach before it. */
type Standing = 'open' | 'moving' | 'done' | 'failed' | 'skipped'

export interface Member {
  readonly name: string
  readonly group: Group
  readonly document: GuestDocument
  /** Index of the first wave that it is in. */
  readonly wave: number
  readonly standing: Standing
}

export interface Progress {
  readonly rollout: RolloutDocument
  readonly groups: readonly Group[]
  readonly waves: readonly Wave[]
  /** Of all groups, in the order of their ranking. */
  readonly members: readonly Member[]
  readonly byGroup: ReadonlyMap<string, readonly Member[]>
}

const ranks = new WeakMap<Group, Map<string, readonly string[]>>()

/** `rankOf`, made once for a group as it is: 100,000 hashes are a quarter of a second. */
export function rankedOnce(id: string, group: Group): readonly string[] {
  const known = ranks.get(group) ?? new Map<string, readonly string[]>()
  ranks.set(group, known)
  const found = known.get(id) ?? rankOf(id, group)
  known.set(id, found)
  return found
}

export function documentOf(view: Pick<View, 'guests'>, name: string): GuestDocument {
  return view.guests.get(name)?.document ?? NEW_GUEST
}

/** Groups that the configuration no longer has are left out. */
export function progressOf(rollout: RolloutDocument, view: Pick<View, 'groups' | 'guests'>): Progress {
  const groups = rollout.groups.flatMap((name) => view.groups.get(name) ?? [])
  const waves = planWaves(rollout.id, groups)
  const byGroup = new Map(groups.map((group) => [group.name, membersOf(group, rollout, waves, view)]))
  return { rollout, groups, waves, members: [...byGroup.values()].flat(), byGroup }
}

const lastMembers = new WeakMap<Group, { readonly of: string; readonly members: readonly Member[] }>()

/** In the order of their ranking. Who stands as in the last pass is the same object: most of a large fleet. */
function membersOf(
  group: Group,
  rollout: RolloutDocument,
  waves: readonly Wave[],
  view: Pick<View, 'guests'>,
): readonly Member[] {
  const of = `${rollout.id} ${rollout.to}`
  const last = lastMembers.get(group)
  const before = last?.of === of ? last.members : []
  const ends = waves.map(({ upTo }) => upTo.get(group.name) ?? 0)
  let isSame = before.length > 0
  const members = rankedOnce(rollout.id, group).map((name, at): Member => {
    const document = documentOf(view, name)
    const wave = ends.findIndex((end) => at < end)
    const known = before[at]
    if (known?.name === name && known.document === document && known.wave === wave) return known
    isSame = false
    return { name, group, document, wave, standing: standingOf(document, rollout) }
  })
  const kept = isSame && before.length === members.length ? before : members
  lastMembers.set(group, { of, members: kept })
  return kept
}

function standingOf(document: GuestDocument, { id, to }: RolloutDocument): Standing {
  const { state, good, bad, rollout, outcome } = document
  const isOurs = rollout === id
  if (BEFORE_SLOT.has(state) || (HOLDING.has(state) && state !== 'lost')) return 'moving'
  if (good === to && state !== 'lost') return 'done'
  if (bad.includes(to)) return isOurs && outcome !== '' ? 'failed' : 'skipped'
  if (state === 'lost') return isOurs ? 'failed' : 'skipped'
  if (isOurs && ['stage-failed', 'degraded', 'fell-back', 'returned', 'stuck'].includes(outcome))
    return 'failed'
  return 'open'
}

/** The rollouts at work, oldest first. */
export function activeRollouts(
  rollouts: ReadonlyMap<string, Stored<RolloutDocument>>,
): readonly Stored<RolloutDocument>[] {
  return [...rollouts.values()]
    .filter(({ document }) => ACTIVE.has(document.state))
    .sort((a, b) => a.document.number - b.document.number)
}

type Verdict = { readonly kind: 'pass' } | { readonly kind: 'fail' | 'inconclusive'; readonly reason: string }

/**
 * Whether a wave may count as good so far. A failure past what its group forgives is a no, and so is a wave that is over
 * with failures alone. What nobody could see is neither: the rollout waits.
 */
export function judge(
  progress: Progress,
  wave: number,
  view: Pick<View, 'observed' | 'groupDocuments'>,
  isSoaking: boolean,
): Verdict {
  const { members, groups, waves, rollout, byGroup } = progress
  const name = waves[wave]?.name ?? 'the last wave'
  const unseen: string[] = []
  let done = 0
  let failures = 0
  let example = ''
  for (const group of groups) {
    const failed: string[] = []
    const holders = view.groupDocuments.get(group.name)?.document.holders ?? {}
    for (const member of byGroup.get(group.name) ?? []) {
      if (member.wave > wave) continue
      const isNow = member.wave === wave
      if (member.standing === 'failed' && isNow) failed.push(`${member.name}: ${member.document.why}`)
      if (member.standing !== 'done') continue
      if (isNow) done++
      if (!isSoaking || member.document.rollout !== rollout.id) continue
      const seen = view.observed.get(member.name)
      // A guest that runs the target and has a slot took it from FleetLock: it restarts of its own will.
      if (holders[member.name]) unseen.push(member.name)
      else if (seen?.power === 'off' || seen?.health === 'fail')
        failed.push(
          `${member.name}: unhealthy on ${rollout.to}${seen.detail === '' ? '' : `: ${seen.detail}`}`,
        )
      else if (!isUp(seen)) unseen.push(member.name)
    }
    failures += failed.length
    example ||= failed[0] ?? ''
    const forgiven = forgivenOf(group)
    if (failed.length > forgiven)
      return {
        kind: 'fail',
        reason: `${group.name}: ${failed.length} failed in ${name}, ${forgiven} forgiven; ${failed[0]}`,
      }
  }
  const isOver = members.every((member) => member.wave > wave || isFinished(member))
  if (isOver && failures > 0 && done === 0)
    return { kind: 'fail', reason: `no guest of ${name} came up; ${example}` }
  if (unseen.length > 0) return { kind: 'inconclusive', reason: `health of ${some(unseen)} is not known` }
  return { kind: 'pass' }
}

export function isFinished({ standing }: Member): boolean {
  return standing === 'done' || standing === 'failed' || standing === 'skipped'
}

export function isUp(seen: Observation | undefined): boolean {
  return seen !== undefined && seen.power === 'on' && seen.health === 'pass'
}

/** Guests that went to the target and have somewhere to go back to. */
export function isToReturn({ document }: Member, { id, to }: RolloutDocument): boolean {
  const { state, good, rollout, outcome, previous, bad } = document
  return (
    rollout === id &&
    state === 'steady' &&
    good === to &&
    outcome === 'done' &&
    previous !== '' &&
    !bad.includes(previous)
  )
}

/** Highest wave that may open: the first one always, all where nobody has to be asked. */
export function approvedWave({ rollout, groups }: Progress, view: Pick<View, 'isApproved'>): number {
  const asked = groups.filter(({ approvers }) => approvers.length > 0)
  const good = rollout.approvals.filter((approval) => view.isApproved(rollout, approval))
  const waves = asked.map(({ approvers }) =>
    Math.max(0, ...good.filter(({ by }) => approvers.includes(by)).map(({ wave }) => wave)),
  )
  return Math.min(Number.POSITIVE_INFINITY, ...waves)
}

/** The slots that a group may give, and who has them. */
export function slotsOf(
  group: Group,
  view: Pick<View, 'groupDocuments'>,
): { budget: number; held: readonly string[] } {
  const { holders } = view.groupDocuments.get(group.name)?.document ?? { holders: {} }
  return { budget: budgetOf(group), held: Object.keys(holders).sort() }
}

export function some(names: readonly string[], most = 3): string {
  const shown = names.slice(0, most).join(', ')
  return names.length > most ? `${shown} and ${names.length - most} more` : shown
}
