/**
 * One guest on its way to another generation, and back when that fails (rollout.md 2.3): from what is written and what is
 * seen to what is written next and what its driver is asked for. Success needs proof of running: another boot id, the
 * digest of what was wanted, the token of the grant, and health for the whole soak.
 */
import type { Group } from '../resolve/group.ts'
import { dataStepOf, restored } from './data-schema.ts'
import type { GuestDocument, GuestOutcome } from './documents.ts'
import type { Action, Move, Observation, View } from './view.ts'

export interface Step {
  readonly move?: Move
  readonly action?: Action
}

type Facts = Pick<View, 'deadlines' | 'observed' | 'prepared' | 'manifests'>

const NOTHING: Step = {}
/** Why a guest stands that waits for nothing but a slot. */
export const STAGED = 'images are there'
/** Attempts to prepare a generation; the pauses between them double, and add up to half of `recoverSeconds`. */
const MOST_ATTEMPTS = 5

/** What is next for a guest that has something to do; nothing for one that waits for a slot or for nothing. */
export function stepGuest(name: string, document: GuestDocument, group: Group, facts: Facts): Step {
  switch (document.state) {
    case 'offered':
    case 'staging':
      return stage(name, document, group, facts)
    case 'granted':
    case 'switching':
      return comeUp(name, document, group, facts)
    case 'verifying':
      return soak(name, document, group, facts)
    case 'recovering':
    case 'lost':
      return recover(name, document, facts)
    case 'degraded':
      return cameBack(name, document, facts)
    case 'steady':
    case 'staged':
      return NOTHING
  }
}

function stage(name: string, document: GuestDocument, group: Group, { prepared, deadlines }: Facts): Step {
  const { want, attempts } = document
  const result = prepared.get(name)
  if (result?.generation === want && result.error === '')
    return { move: { guest: name, next: { ...document, state: 'staged', why: STAGED } } }
  // The deadline key is the back-off here; while it is there, the last failure was counted already.
  if (document.state === 'staging' && deadlines.has(name)) return NOTHING
  if (result?.generation === want && result.error !== '') {
    const failed = attempts + 1
    const why = `images could not be prepared: ${result.error}`
    if (failed >= MOST_ATTEMPTS) {
      const next = { ...ended(document, 'stage-failed', why), attempts: failed }
      return { move: { guest: name, next, deadline: 0 } }
    }
    const next = { ...document, state: 'staging' as const, attempts: failed, why }
    return { move: { guest: name, next, deadline: Math.ceil((group.recoverSeconds * 2 ** failed) / 60) } }
  }
  return { action: prepareAction(name, document) }
}

function comeUp(name: string, document: GuestDocument, group: Group, facts: Facts): Step {
  const { want, token, bootId } = document
  const seen = facts.observed.get(name)
  const isObeyed = seen?.token === token
  const isStarted = seen !== undefined && seen.bootId !== '' && seen.bootId !== bootId
  if (seen && isObeyed) {
    const wanted = facts.manifests.get(want)
    if (isRunning(seen, document, facts)) {
      if (seen.health === 'pass')
        return {
          move: {
            guest: name,
            next: { ...document, state: 'verifying', extended: false, why: `runs ${want}, soaking` },
            deadline: group.soakSeconds,
          },
        }
    } else if (seen.digest !== '' && seen.digest !== wanted && isStarted) {
      const why =
        seen.pointer === 'good'
          ? `went back from ${want} by itself`
          : `came back with something other than ${want}`
      return goBack(name, document, group, `${why}: ${seen.detail}`)
    }
  }
  const action = switchAction(name, document, group)
  if (!facts.deadlines.has(name)) {
    // Nobody asked it in time: that says nothing about the generation.
    if (seen && seen.power !== 'unknown' && seen.token < token && !document.extended)
      return {
        move: {
          guest: name,
          next: { ...document, extended: true, why: `was not told in time to start ${want}` },
          deadline: group.bootSeconds,
        },
      }
    return goBack(name, document, group, `not healthy on ${want} in ${group.bootSeconds} s${detail(seen)}`)
  }
  if (!isObeyed) return { action }
  if (document.state === 'granted')
    return { move: { guest: name, next: { ...document, state: 'switching', why: `starting ${want}` } } }
  // Who asked may have been killed between the guest's note of the token and its start.
  return isStarted ? NOTHING : { action }
}

export function prepareAction(guest: string, document: GuestDocument): Action {
  const { want: generation, token } = document
  const data = dataStepOf(document)
  return { kind: 'prepare', guest, generation, token, ...(data && { data }) }
}

export function switchAction(guest: string, document: GuestDocument, { tries }: Group): Action {
  const { want: generation, token } = document
  const data = dataStepOf(document)
  return { kind: 'switch', guest, generation, token, tries, ...(data && { data }) }
}

function soak(name: string, document: GuestDocument, group: Group, facts: Facts): Step {
  const { want, token, extended } = document
  const seen = facts.observed.get(name)
  const isOver = !facts.deadlines.has(name)
  if (seen && seen.power !== 'unknown' && !isRunning(seen, document, facts))
    return goBack(name, document, group, `no longer runs ${want}${detail(seen)}`)
  if (seen?.health === 'fail') return goBack(name, document, group, `unhealthy while soaking${detail(seen)}`)
  const passes = seen !== undefined && seen.power === 'on' && seen.health === 'pass'
  if (passes && (isOver || extended)) {
    if (seen.pointer === 'good') return { move: commit(name, document) }
    if (extended && !isOver) return { action: { kind: 'commit', guest: name, generation: want, token } }
  }
  if (!isOver) return NOTHING
  if (extended) return goBack(name, document, group, `could not be confirmed${detail(seen)}`)
  const why = passes ? `soaked, to be kept` : `soaked, but checks are inconclusive${detail(seen)}`
  return {
    move: { guest: name, next: { ...document, extended: true, why }, deadline: group.recoverSeconds },
    ...(passes && { action: { kind: 'commit', guest: name, generation: want, token } }),
  }
}

function commit(name: string, document: GuestDocument): Move {
  const { want, good, outcome } = document
  const isReturn = outcome === 'returning'
  const next: GuestDocument = {
    ...(isReturn ? restored(document) : document),
    state: 'steady',
    good: want,
    want: '',
    previous: isReturn ? '' : good,
    outcome: isReturn ? 'returned' : 'done',
    attempts: 0,
    extended: false,
    why: isReturn ? `back on ${want}` : `runs ${want}`,
  }
  return { guest: name, next, slot: 'free', deadline: 0 }
}

/** The way back has a token of its own, so that a switch that was late is refused by whoever obeyed this. */
export function goBack(name: string, document: GuestDocument, group: Group, why: string): Step {
  const outcome = document.outcome
  return {
    move: {
      guest: name,
      next: { ...document, state: 'recovering', outcome, extended: false, why },
      slot: 'token',
      deadline: group.recoverSeconds,
    },
  }
}

function recover(name: string, document: GuestDocument, facts: Facts): Step {
  const { good, token, state } = document
  const seen = facts.observed.get(name)
  const isBack = seen !== undefined && seen.token === token && isOnGood(seen, document, facts)
  if (isBack && (good === '' || seen.health === 'pass')) return { move: fallBack(name, document) }
  const action: Action = { kind: 'rollback', guest: name, generation: good, token }
  // Who obeyed is left alone; who was never reached is asked until it is.
  if (state === 'lost') return seen?.token === token ? NOTHING : { action }
  if (facts.deadlines.has(name)) return isBack ? NOTHING : { action }
  if (isBack) {
    const why = `${document.why}; and ${good} is unhealthy, too${detail(seen)}`
    const next = {
      ...fallBack(name, document).next,
      state: 'degraded' as const,
      outcome: 'degraded' as const,
      why,
    }
    return { move: { guest: name, next, slot: 'free', deadline: 0 } }
  }
  const why = `${document.why}; and it did not come back${detail(seen)}`
  return { move: { guest: name, next: { ...document, state: 'lost', outcome: 'lost', why }, deadline: 0 } }
}

function fallBack(name: string, document: GuestDocument): Move {
  const { want, bad, outcome, why } = document
  const isPulled = outcome === 'pulled'
  // Whoever could not go back to what it had keeps what it has now, and its copy.
  const as = outcome === 'returning' ? document : restored(document)
  const next = {
    ...ended(as, isPulled ? 'pulled' : outcome === 'returning' ? 'stuck' : 'fell-back', why),
    bad: isPulled || bad.includes(want) ? bad : [...bad, want],
  }
  return { guest: name, next, slot: 'free', deadline: 0 }
}

function cameBack(name: string, document: GuestDocument, facts: Facts): Step {
  const seen = facts.observed.get(name)
  if (!seen || seen.health !== 'pass' || !isOnGood(seen, document, facts)) return NOTHING
  return {
    move: { guest: name, next: { ...document, state: 'steady', why: `healthy on ${document.good} again` } },
  }
}

/** Steady again without having moved. */
export function ended(document: GuestDocument, outcome: GuestOutcome, why: string): GuestDocument {
  return { ...document, state: 'steady', want: '', outcome, extended: false, why }
}

function isRunning(seen: Observation, { want, token, bootId }: GuestDocument, { manifests }: Facts): boolean {
  return (
    seen.power === 'on' &&
    seen.token === token &&
    seen.bootId !== '' &&
    seen.bootId !== bootId &&
    seen.digest === manifests.get(want)
  )
}

function isOnGood(seen: Observation, { good, want }: GuestDocument, { manifests }: Facts): boolean {
  if (seen.pointer !== 'good') return false
  if (good === '') return seen.power !== 'unknown' && seen.digest !== manifests.get(want)
  return seen.power === 'on' && seen.digest === manifests.get(good)
}

function detail(seen: Observation | undefined): string {
  return seen === undefined ? ': nothing was heard of it' : seen.detail === '' ? '' : `: ${seen.detail}`
}
