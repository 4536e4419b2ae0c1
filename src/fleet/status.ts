/** A fleet as people look at it: groups, versions, waves, and for each guest that waits what it waits for. */
import type { Group } from '../resolve/group.ts'
import { type GuestDocument, HOLDING, type RolloutDocument } from './documents.ts'
import { STAGED } from './flight.ts'
import {
  activeRollouts,
  documentOf,
  type Member,
  type Progress,
  progressOf,
  slotsOf,
  some,
} from './progress.ts'
import type { View } from './view.ts'
import { isOpen, type Moment, nextOpening } from './windows.ts'

export interface GuestStatus {
  readonly name: string
  readonly state: GuestDocument['state']
  /** '' when nobody recorded one. */
  readonly good: string
  readonly want: string
  /** Of the rollout that is shown; -1 when it has no part in it. */
  readonly wave: number
  readonly standing: Member['standing'] | ''
  readonly why: string
}

export interface GroupStatus {
  readonly name: string
  readonly line: string
  readonly budget: number
  /** Who may be away now. */
  readonly held: readonly string[]
  /** Guests by generation, most first. */
  readonly versions: readonly { readonly generation: string; readonly guests: number }[]
  readonly guests: readonly GuestStatus[]
}

export interface WaveStatus {
  readonly name: string
  readonly guests: number
  readonly done: number
  readonly failed: number
  readonly moving: number
  readonly state: 'over' | 'runs' | 'soaks' | 'waits' | 'stopped' | 'not reached'
}

export interface RolloutStatus {
  readonly rollout: RolloutDocument
  readonly waves: readonly WaveStatus[]
}

export interface FleetStatus {
  readonly groups: readonly GroupStatus[]
  /** The rollout that is shown. */
  readonly shown?: RolloutStatus
  /** All of them, newest first. */
  readonly rollouts: readonly RolloutDocument[]
}

export type StatusView = Pick<View, 'groups' | 'guests' | 'groupDocuments' | 'rollouts' | 'moment'>

/** @param id the rollout to show; else the newest at work, else the newest */
export function statusOf(view: StatusView, id?: string): FleetStatus {
  const rollouts = [...view.rollouts.values()]
    .map(({ document }) => document)
    .sort((a, b) => b.number - a.number)
  const rollout =
    id === undefined
      ? (activeRollouts(view.rollouts).at(-1)?.document ?? rollouts[0])
      : rollouts.find((one) => one.id === id)
  const progress = rollout && progressOf(rollout, view)
  const members = new Map(progress?.members.map((member) => [member.name, member]))
  const groups = [...view.groups.values()]
    .filter(({ name }) => !rollout || id === undefined || rollout.groups.includes(name))
    .map((group) => groupStatus(group, members, progress, view))
  return {
    groups,
    rollouts,
    ...(progress && { shown: { rollout: progress.rollout, waves: wavesOf(progress) } }),
  }
}

function groupStatus(
  group: Group,
  members: ReadonlyMap<string, Member>,
  progress: Progress | undefined,
  view: StatusView,
): GroupStatus {
  const { budget, held } = slotsOf(group, view)
  const guests = group.guests.map(({ name }): GuestStatus => {
    const { state, good, want, why } = documentOf(view, name)
    const member = members.get(name)
    return {
      name,
      state,
      good,
      want,
      wave: member?.wave ?? -1,
      standing: member?.standing ?? '',
      why: member && progress ? whyOf(member, progress, view) : why,
    }
  })
  const counts = [...Map.groupBy(guests, ({ good }) => good)].map(([generation, of]) => ({
    generation,
    guests: of.length,
  }))
  const versions = counts.sort((a, b) => b.guests - a.guests || (a.generation < b.generation ? -1 : 1))
  return { name: group.name, line: group.line, budget, held, versions, guests }
}

/** What a guest waits for (R9), or how it stands. */
function whyOf(member: Member, { rollout, waves }: Progress, view: StatusView): string {
  const { document, group, name, standing, wave } = member
  const isWaiting = standing === 'open' || document.state === 'staged'
  if (!isWaiting) return document.why || (standing === 'skipped' ? `${rollout.to} fell back here before` : '')
  switch (rollout.state) {
    case 'paused':
      return `paused: ${rollout.reason}`
    case 'aborted':
    case 'superseded':
    case 'completed':
    case 'rolled-back':
      return document.why
    case 'rolling-back':
      return document.outcome === 'returning' ? slotWhy(name, group, view) : 'the rollout goes back'
    case 'draft':
      return 'the rollout was not started'
    case 'prefetch':
    case 'wave':
    case 'soak':
  }
  if (wave > rollout.wave)
    return `waits for ${waves[wave]?.name}, now ${rollout.state === 'soak' ? 'soaking ' : ''}${waves[rollout.wave]?.name}`
  if (!isOpen(group.windows, view.moment)) return windowWhy(group, view.moment)
  if (document.state === 'staged' && document.why !== STAGED) return document.why
  if (rollout.state === 'prefetch') return 'images are being brought'
  return slotWhy(name, group, view)
}

function windowWhy({ windows }: Group, moment: Moment): string {
  return `window closed until ${nextOpening(windows, moment)}`
}

function slotWhy(name: string, group: Group, view: StatusView): string {
  const { budget, held } = slotsOf(group, view)
  const { state } = documentOf(view, name)
  if (held.length >= budget)
    return `waits for a slot: ${some(held)} ${held.length === 1 ? 'is' : 'are'} away, ${budget} may`
  return state === 'staged' ? 'is next, unless others are down' : 'is next'
}

function wavesOf({ rollout, waves, members }: Progress): readonly WaveStatus[] {
  return waves.map(({ name }, at): WaveStatus => {
    const here = members.filter(({ wave }) => wave === at)
    const count = (...standings: readonly Member['standing'][]): number =>
      here.filter(({ standing }) => standings.includes(standing)).length
    return {
      name,
      guests: here.length,
      done: count('done'),
      failed: count('failed', 'skipped'),
      moving: here.filter(({ document }) => HOLDING.has(document.state) && document.state !== 'lost').length,
      state: waveState(at, rollout),
    }
  })
}

function waveState(at: number, { wave, state, resume }: RolloutDocument): WaveStatus['state'] {
  if (at < wave || state === 'completed') return 'over'
  if (STOPPED.has(state)) return at === wave ? 'stopped' : 'not reached'
  if (at > wave) return 'waits'
  return (resume || state) === 'soak' ? 'soaks' : 'runs'
}

const STOPPED: ReadonlySet<RolloutDocument['state']> = new Set([
  'rolling-back',
  'rolled-back',
  'aborted',
  'superseded',
])
