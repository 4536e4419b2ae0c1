/**
 * One pass of the controller, as a function: from everything that is written and seen to the next writes and actions.
 * Level-triggered: nothing is remembered between passes, so that whoever comes next goes on from the same documents.
 */
import type { Group } from '../resolve/group.ts'
import { dataAfter, snapshotFor } from './data-schema.ts'
import {
  BEFORE_SLOT,
  type GroupDocument,
  type GuestDocument,
  HOLDING,
  NEW_GROUP,
  NEW_GUEST,
} from './documents.ts'
import { ended, goBack, prepareAction, STAGED, type Step, stepGuest, switchAction } from './flight.ts'
import { activeRollouts, documentOf, isToReturn, isUp, type Progress, progressOf } from './progress.ts'
import { steer, type Steered } from './steer.ts'
import type { Action, Batch, Decision, Move, RolloutMove, View } from './view.ts'
import { budgetOf } from './waves.ts'
import { isOpen } from './windows.ts'

interface Run extends Steered {
  readonly progress: Progress
}

export function reconcile(view: View): Decision {
  const runs = activeRollouts(view.rollouts).map(({ document }): Run => {
    const progress = progressOf(document, view)
    return { progress, ...steer(progress, view) }
  })
  const placed = placeGuests(view)
  const batches: Batch[] = []
  const actions: Action[] = []
  for (const group of view.groups.values()) {
    // A rollout that changes its state this time steers nobody.
    const run = runs.findLast(({ progress }) => progress.byGroup.has(group.name))
    const { moves, acts } = decideGroup(group, placed.get(group.name) ?? [], run, runs, view)
    const retired = [...(placed.get(group.name) ?? [])].filter((name) => !isListed(name, view))
    const made = batchesOf(group, moves, retired, view)
    batches.push(...made)
    const written = new Map(
      made.flatMap((batch) => batch.moves.map((move) => [move.guest, move.next] as const)),
    )
    const asked = acts.filter(({ guest }) => !moves.has(guest))
    actions.push(...asked, ...[...written].flatMap(([guest, next]) => actionAfter(guest, next, group)))
  }
  const rolloutMoves = runs.flatMap(({ move }): RolloutMove[] =>
    move ? [{ ...move, next: { ...move.next, epoch: view.epoch } }] : [],
  )
  return { batches, rolloutMoves, actions }
}

/** Guests by the group that decides on them: who holds a slot stays with the group that gave it. */
function placeGuests(view: View): ReadonlyMap<string, readonly string[]> {
  const placed = new Map<string, string[]>([...view.groups.keys()].map((name) => [name, []]))
  const home = homes(view)
  for (const [name, { document }] of view.guests) {
    const isHeld = HOLDING.has(document.state) && view.groups.has(document.group)
    const group = isHeld ? document.group : (home.get(name) ?? document.group)
    placed.get(group)?.push(name)
  }
  return placed
}

const homesOf = new WeakMap<ReadonlyMap<string, Group>, ReadonlyMap<string, string>>()

function homes({ groups }: View): ReadonlyMap<string, string> {
  const known = homesOf.get(groups)
  if (known) return known
  const made = new Map<string, string>()
  for (const group of groups.values()) for (const { name } of group.guests) made.set(name, group.name)
  homesOf.set(groups, made)
  return made
}

function isListed(name: string, view: View): boolean {
  return homes(view).has(name)
}

function decideGroup(
  group: Group,
  names: readonly string[],
  run: Run | undefined,
  runs: readonly Run[],
  view: View,
): { moves: Map<string, Move>; acts: Action[] } {
  const moves = new Map<string, Move>()
  const acts: Action[] = []
  for (const name of names) {
    if (!isListed(name, view)) continue
    const document = documentOf(view, name)
    const { move, action } = calledOff(name, document, group, runs) ?? stepGuest(name, document, group, view)
    if (move) moves.set(name, move)
    if (action) acts.push(action)
  }
  if (run && !run.move) {
    offer(group, run, view, moves)
    grant(group, run, view, moves)
  }
  return { moves, acts }
}

/** What its rollout no longer wants of a guest. */
function calledOff(
  name: string,
  document: GuestDocument,
  group: Group,
  runs: readonly Run[],
): Step | undefined {
  const run = runs.find(({ progress }) => progress.rollout.id === document.rollout)
  const isWaiting = BEFORE_SLOT.has(document.state)
  if (!run)
    return isWaiting
      ? { move: { guest: name, next: ended(document, 'pulled', 'its rollout is over'), deadline: 0 } }
      : undefined
  const { rollout } = run.progress
  if (rollout.state !== 'rolling-back' || document.outcome === 'returning') return undefined
  if (isWaiting)
    return { move: { guest: name, next: ended(document, 'pulled', `${rollout.id} goes back`), deadline: 0 } }
  if (document.state === 'granted' || document.state === 'switching' || document.state === 'verifying')
    return goBack(name, { ...document, outcome: 'pulled' }, group, `${rollout.id} goes back`)
  return undefined
}

function offer(group: Group, run: Run, view: View, moves: Map<string, Move>): void {
  const { rollout } = run.progress
  if (run.offerUpTo < 0 && !run.isReturning) return
  for (const member of run.progress.byGroup.get(group.name) ?? []) {
    const { name, document, standing, wave } = member
    if (moves.has(name)) continue
    const isReturn = run.isReturning && isToReturn(member, rollout)
    if (!isReturn && (standing !== 'open' || wave > run.offerUpTo)) continue
    // What it runs must be known before it is led away from it: that is where it goes back to.
    if (document.good === '' && !view.observed.has(name)) continue
    const want = isReturn ? document.previous : rollout.to
    const good = document.good || knownGood(name, view)
    if (good === want) {
      // It runs this already, as a guest that came into the fleet with its generation.
      moves.set(name, { guest: name, next: { ...document, group: group.name, good, why: `runs ${good}` } })
      continue
    }
    const { snapshot: older, ...rest } = document
    const snapshot = isReturn ? older : snapshotFor({ ...rest, good }, rollout, group, view.dataSchemas)
    const next: GuestDocument = {
      ...rest,
      ...(snapshot && { snapshot }),
      group: group.name,
      state: 'offered',
      good,
      want,
      attempts: 0,
      rollout: rollout.id,
      outcome: isReturn ? 'returning' : '',
      extended: false,
      why: `offered ${want} by ${rollout.id}`,
    }
    moves.set(name, { guest: name, next, under: rollout.id })
  }
}

/** What a guest without a record runs, when that is a generation that we know. */
function knownGood(name: string, view: View): string {
  const seen = view.observed.get(name)
  if (!seen || seen.digest === '' || seen.pointer !== 'good') return ''
  for (const [generation, digest] of view.manifests) if (digest === seen.digest) return generation
  return ''
}

function isKnown(name: string, { good }: GuestDocument, view: View): boolean {
  const seen = view.observed.get(name)
  return seen !== undefined && (good !== '' || seen.power !== 'unknown')
}

/** A guest that was prepared and of which nobody knows what it runs waits: its document says for what. */
function tellUnseen(name: string, document: GuestDocument, view: View, moves: Map<string, Move>): void {
  const detail = view.observed.get(name)?.detail ?? ''
  const why = isKnown(name, document, view)
    ? STAGED
    : `what it runs is not known${detail === '' ? '' : `: ${detail}`}`
  if (document.why !== why) moves.set(name, { guest: name, next: { ...document, why } })
}

/** Slots, to those who are down already first: they lose nothing. */
function grant(group: Group, run: Run, view: View, moves: Map<string, Move>): void {
  if (run.grantUpTo < 0 && !run.isReturning) return
  if (!run.isReturning && !isOpen(group.windows, view.moment)) return
  const staged = (run.progress.byGroup.get(group.name) ?? []).filter(
    ({ name, document, wave }) =>
      document.state === 'staged' &&
      document.rollout === run.progress.rollout.id &&
      (run.isReturning || wave <= run.grantUpTo) &&
      !moves.has(name),
  )
  const waiting = staged.filter(({ name, document }) => isKnown(name, document, view))
  for (const { name, document } of staged) tellUnseen(name, document, view, moves)
  if (waiting.length === 0) return
  const budget = budgetOf(group)
  const held = new Set(Object.keys(view.groupDocuments.get(group.name)?.document.holders ?? {}))
  for (const { guest, slot } of moves.values()) if (slot === 'free') held.delete(guest)
  const down = new Set(
    group.guests.map(({ name }) => name).filter((name) => !held.has(name) && !isUp(view.observed.get(name))),
  )
  let away = held.size + down.size
  let slots = held.size
  const first = waiting.toSorted((a, b) => Number(down.has(b.name)) - Number(down.has(a.name)))
  for (const { name, document } of first) {
    const isDown = down.has(name)
    if (slots >= budget || (!isDown && away >= budget)) continue
    slots++
    if (!isDown) away++
    const { snapshot: older, ...rest } = { ...document, good: document.good || knownGood(name, view) }
    const snapshot = run.isReturning
      ? older
      : snapshotFor(rest, run.progress.rollout, group, view.dataSchemas)
    const copied =
      snapshot === undefined ? '' : run.isReturning ? ', its data put back' : ', its data copied before'
    const next: GuestDocument = {
      ...rest,
      ...(snapshot && { snapshot }),
      state: 'granted',
      bootId: view.observed.get(name)?.bootId ?? '',
      // From now on its data may be what that generation writes, until a copy is put back.
      dataSchema: dataAfter(rest, document.want, view.dataSchemas),
      why: `to be started on ${document.want}${copied}`,
    }
    moves.set(name, {
      guest: name,
      next,
      slot: 'take',
      deadline: group.bootSeconds,
      under: run.progress.rollout.id,
    })
  }
}

/** Slots are given and freed in one transaction of the group; what does not fit waits for the next pass. */
function batchesOf(
  group: Group,
  moves: ReadonlyMap<string, Move>,
  retired: readonly string[],
  view: View,
): readonly Batch[] {
  const most = Math.floor((view.maxOperations - 3) / 2)
  const stored = view.groupDocuments.get(group.name)?.document ?? NEW_GROUP
  const all = [...moves.values()].map((move) => ({ ...move, next: { ...move.next, epoch: view.epoch } }))
  const gone = retired.slice(0, most)
  // Frees before grants: were it the other way, a cut would give slots that are still taken.
  const order = { free: 0, token: 1, take: 2 } as const
  const holding = all
    .filter((move) => move.slot !== undefined)
    .sort((a, b) => order[a.slot as keyof typeof order] - order[b.slot as keyof typeof order])
    .slice(0, most - gone.length)
  let { seq } = stored
  const holders: Record<string, { token: number; epoch: string }> = { ...stored.holders }
  for (const name of gone) delete holders[name]
  const settled = holding.map((move): Move => {
    if (move.slot === 'free') {
      delete holders[move.guest]
      return move
    }
    seq++
    holders[move.guest] = { token: seq, epoch: view.epoch }
    return { ...move, next: { ...move.next, token: seq } }
  })
  const groupDocument: GroupDocument = { seq, holders }
  const plain = all.filter((move) => move.slot === undefined)
  const batches: Batch[] = []
  if (settled.length > 0 || gone.length > 0) {
    const room = most - settled.length - gone.length
    const rest = plain.splice(0, room)
    const batchMoves = [...settled, ...rest]
    batches.push({ group: group.name, groupDocument, holdersChange: true, moves: batchMoves, retired: gone })
  }
  while (plain.length > 0)
    batches.push({
      group: group.name,
      groupDocument: stored,
      holdersChange: false,
      moves: plain.splice(0, most),
      retired: [],
    })
  return batches
}

/** What a state that was just written asks of the driver. */
function actionAfter(guest: string, document: GuestDocument, group: Group): Action[] {
  const { state, good, token } = document
  if (state === 'offered') return [prepareAction(guest, document)]
  if (state === 'granted') return [switchAction(guest, document, group)]
  return state === 'recovering' ? [{ kind: 'rollback', guest, generation: good, token }] : []
}

/** Guests whose state the next pass needs: those on their way, and in groups at work all others. */
export function toObserve(view: Pick<View, 'groups' | 'guests' | 'rollouts'>): {
  readonly moving: readonly string[]
  readonly others: readonly string[]
} {
  const moving: string[] = []
  const others: string[] = []
  const active = new Set(activeRollouts(view.rollouts).flatMap(({ document }) => document.groups))
  for (const group of view.groups.values())
    for (const { name } of group.guests) {
      const { state } = view.guests.get(name)?.document ?? NEW_GUEST
      if (HOLDING.has(state) || state === 'degraded') moving.push(name)
      else if (active.has(group.name)) others.push(name)
    }
  return { moving, others }
}
