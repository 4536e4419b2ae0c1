/** A rollout as a whole: which wave it is in, and what stops it, turns it back or lets it go on (rollout.md 2.4). */
import { barrierOf, type DataSchemas, whyNoWayBack } from './data-schema.ts'
import { BEFORE_SLOT, HOLDING, type RolloutDocument } from './documents.ts'
import { approvedWave, isFinished, isToReturn, judge, type Progress, slotsOf, some } from './progress.ts'
import type { RolloutMove, View } from './view.ts'
import { isOpen, nextOpening } from './windows.ts'

export interface Steered {
  readonly move?: RolloutMove
  /** Up to which wave guests may be offered the target, and may restart; -1 is none. */
  readonly offerUpTo: number
  readonly grantUpTo: number
  readonly isReturning: boolean
}

const STANDS: Steered = { offerUpTo: -1, grantUpTo: -1, isReturning: false }

export function steer(progress: Progress, view: View): Steered {
  const { rollout } = progress
  const { state, pausedBy, resume } = rollout
  if (state === 'rolling-back') return turnBack(progress)
  const at = state === 'paused' ? resume : state
  if (at !== 'prefetch' && at !== 'wave' && at !== 'soak') return STANDS
  const verdict = judge(progress, rollout.wave, view, at === 'soak')
  const stays = verdict.kind === 'fail' ? whyNoWayBack(progress, view.dataSchemas) : ''
  if (verdict.kind === 'fail' && stays === '')
    return moved(rollout, { state: 'rolling-back', resume: '', pausedBy: '', reason: verdict.reason })
  if (state === 'paused' && pausedBy === 'operator') return STANDS
  if (verdict.kind === 'fail') return pause(rollout, at, `${verdict.reason}; no way back: ${stays}`)
  const hold = whyHeld(progress, view)
  if (hold !== '') return pause(rollout, at, hold)
  if (state === 'paused') return moved(rollout, { state: at, resume: '', pausedBy: '', reason: '' })
  return go(progress, view)
}

function go(progress: Progress, view: View): Steered {
  const { rollout, members, waves, groups } = progress
  const { wave, state } = rollout
  const here = members.filter((member) => member.wave <= wave)
  if (state === 'prefetch') {
    const isReady = here.every(
      (member) => isFinished(member) || (member.standing === 'moving' && isStaged(member.document.state)),
    )
    return isReady
      ? moved(rollout, { state: 'wave' })
      : { offerUpTo: wave, grantUpTo: -1, isReturning: false }
  }
  if (state === 'wave') {
    if (!here.every(isFinished)) return { offerUpTo: wave, grantUpTo: wave, isReturning: false }
    // A wave that small groups leave empty has nothing to soak.
    if (!members.some((member) => member.wave === wave)) return moved(rollout, { state: 'soak' })
    const soak = Math.max(1, ...groups.map(({ soakSeconds }) => soakSeconds))
    return moved(rollout, { state: 'soak' }, soak)
  }
  // Images of the next wave are brought while this one soaks.
  if (view.soaks.has(rollout.id)) return { offerUpTo: wave + 1, grantUpTo: -1, isReturning: false }
  if (!here.every(isFinished)) return moved(rollout, { state: 'wave' })
  if (wave + 1 >= waves.length) return moved(rollout, { state: 'completed', reason: summary(progress) })
  return moved(rollout, { state: 'wave', wave: wave + 1 })
}

function isStaged(state: string): boolean {
  return state !== 'offered' && state !== 'staging'
}

/** '' when nothing keeps the rollout from going on. Each cause is looked at anew in every pass. */
function whyHeld(progress: Progress, view: View): string {
  const { rollout, groups, byGroup, waves } = progress
  if (groups.length < rollout.groups.length)
    return `group ${some(rollout.groups.filter((name) => !view.groups.has(name)))} is no longer configured`
  if (!view.manifests.has(rollout.to)) return `generation ${rollout.to} is not known here`
  if (groups.some(({ require }) => require === 'booted')) {
    const gate = view.bootedGate(rollout.to)
    if (gate !== '') return gate
  }
  const unfit = view.dataSchemas?.size ? whyUnfit(progress, view.dataSchemas) : ''
  if (unfit !== '') return unfit
  for (const group of groups) {
    const members = byGroup.get(group.name) ?? []
    const lost = members.filter(({ document }) => document.state === 'lost')
    const { budget } = slotsOf(group, view)
    if (lost.length > 0 && lost.length >= budget && !members.every(isFinished))
      return `${group.name}: lost ${some(lost.map(({ name }) => name))}: repair or retire`
    if (budget === 0) return `${group.name}: minAvailable leaves no guest that may be away`
  }
  const isSoaked = (rollout.resume || rollout.state) === 'soak' && !view.soaks.has(rollout.id)
  if (isSoaked) {
    const verdict = judge(progress, rollout.wave, view, true)
    if (verdict.kind === 'inconclusive') return verdict.reason
    if (rollout.wave + 1 < waves.length && approvedWave(progress, view) <= rollout.wave) {
      const who = [...new Set(groups.flatMap(({ approvers }) => approvers))]
      return `${waves[rollout.wave + 1]?.name} waits for the approval of ${who.join(' or ')}`
    }
  }
  return closedWindow(progress, view)
}

/** A guest that is still to be moved and whose data does not allow that. */
function whyUnfit({ members, rollout }: Progress, schemas: DataSchemas): string {
  for (const { name, document, standing, group } of members) {
    if (standing !== 'open' && !BEFORE_SLOT.has(document.state)) continue
    const problem = barrierOf(document, rollout, group, schemas)
    if (problem) return `${name}: ${problem.text}`
  }
  return ''
}

function closedWindow({ rollout, members }: Progress, view: View): string {
  if ((rollout.resume || rollout.state) !== 'wave') return ''
  const open = members.filter((member) => member.wave <= rollout.wave && !isFinished(member))
  if (open.some(({ document }) => HOLDING.has(document.state))) return ''
  const groups = [...new Set(open.map(({ group }) => group))]
  if (groups.length === 0 || groups.some(({ windows }) => isOpen(windows, view.moment))) return ''
  return groups
    .map(({ name, windows }) => `${name}: window closed until ${nextOpening(windows, view.moment)}`)
    .join('; ')
}

function pause(rollout: RolloutDocument, resume: 'prefetch' | 'wave' | 'soak', reason: string): Steered {
  if (rollout.state === 'paused' && rollout.reason === reason) return STANDS
  return moved(rollout, { state: 'paused', pausedBy: 'controller', resume, reason })
}

function turnBack(progress: Progress): Steered {
  const { rollout, members } = progress
  const isBusy = members.some(
    (member) =>
      isToReturn(member, rollout) ||
      (member.document.rollout === rollout.id &&
        (BEFORE_SLOT.has(member.document.state) ||
          (HOLDING.has(member.document.state) && member.document.state !== 'lost'))),
  )
  return isBusy
    ? { offerUpTo: -1, grantUpTo: -1, isReturning: true }
    : moved(rollout, { state: 'rolled-back' })
}

function summary({ members }: Progress): string {
  const count = (standing: string): number => members.filter((member) => member.standing === standing).length
  const failed = count('failed') + count('skipped')
  return failed === 0 ? '' : `${count('done')} updated, ${failed} not`
}

function moved(rollout: RolloutDocument, change: Partial<RolloutDocument>, soak?: number): Steered {
  return { ...STANDS, move: { next: { ...rollout, ...change }, ...(soak !== undefined && { soak }) } }
}
