/**
 * Reads a recorded history and says what in it must never happen. It shares no code with the controller: it knows the
 * documents and the rules, not how they are kept.
 */
import {
  BEFORE_SLOT,
  type GroupDocument,
  type GuestDocument,
  type GuestState,
  HOLDING,
  KEYS,
  NEW_GROUP,
  NEW_GUEST,
  type RolloutDocument,
  type RolloutState,
} from './documents.ts'
import type { HistoryChange, HistoryGroup, HistoryLine, HistoryStart } from './history.ts'

export interface Findings {
  readonly problems: readonly string[]
  readonly revisions: number
  readonly guests: number
  readonly grants: number
  /** Most slots that were taken at one time, by group. */
  readonly mostHolders: Readonly<Record<string, number>>
  /** Leaders that wrote. */
  readonly leaders: number
}

interface HistoryChecker {
  /** One line without its newline. */
  line(text: string): void
  /** Up to which it has read. */
  revision(): bigint
  /** @param isOver also demands that nobody is left on the way and every rollout ended */
  end(isOver: boolean): Findings
}

const NEXT: Readonly<Record<GuestState, readonly GuestState[]>> = {
  steady: ['steady', 'offered'],
  offered: ['staging', 'staged', 'steady'],
  staging: ['staging', 'staged', 'steady'],
  staged: ['staged', 'granted', 'steady'],
  granted: ['granted', 'switching', 'verifying', 'recovering'],
  switching: ['verifying', 'recovering'],
  verifying: ['verifying', 'steady', 'recovering'],
  recovering: ['steady', 'degraded', 'lost'],
  lost: ['steady'],
  degraded: ['steady', 'offered'],
}

const NEXT_ROLLOUT: Readonly<Record<RolloutState, readonly RolloutState[]>> = {
  draft: ['prefetch', 'aborted', 'superseded'],
  prefetch: ['wave', 'paused', 'rolling-back', 'aborted', 'superseded'],
  wave: ['soak', 'paused', 'rolling-back', 'aborted', 'superseded'],
  soak: ['wave', 'paused', 'rolling-back', 'aborted', 'superseded', 'completed'],
  paused: ['paused', 'prefetch', 'wave', 'soak', 'rolling-back', 'aborted', 'superseded'],
  'rolling-back': ['rolled-back', 'superseded', 'aborted'],
  'rolled-back': [],
  superseded: [],
  aborted: ['rolling-back'],
  completed: ['rolling-back'],
}

const ENDED: ReadonlySet<RolloutState> = new Set([
  'rolled-back',
  'superseded',
  'aborted',
  'completed',
  'draft',
])
const MOST_PROBLEMS = 100

export function historyChecker(): HistoryChecker {
  const problems: string[] = []
  const configured = new Map<string, HistoryGroup>()
  const guests = new Map<string, GuestDocument>()
  const groups = new Map<string, GroupDocument>()
  const rollouts = new Map<string, RolloutDocument>()
  const mostHolders: Record<string, number> = {}
  const leaders = new Set<string>()
  let epoch = ''
  let revision = -1n
  let revisions = 0
  let grants = 0
  let lines = 0

  const problem = (text: string): void => {
    if (problems.length < MOST_PROBLEMS) problems.push(`revision ${revision}: ${text}`)
  }

  function start({ revision: at, state }: HistoryStart): void {
    revision = BigInt(at)
    for (const { key, value, created } of state) {
      if (key === KEYS.leader) epoch = created
      take(key, value)
    }
  }

  function take(key: string, value: string | undefined): void {
    const set = <T>(map: Map<string, T>, prefix: string, empty: T): void => {
      const name = key.slice(prefix.length)
      if (value === undefined) map.delete(name)
      else map.set(name, { ...empty, ...(JSON.parse(value) as T) })
    }
    if (key.startsWith(KEYS.guests)) set(guests, KEYS.guests, NEW_GUEST)
    else if (key.startsWith(KEYS.groups)) set(groups, KEYS.groups, NEW_GROUP)
    else if (key.startsWith(KEYS.rollouts)) set(rollouts, KEYS.rollouts, {} as RolloutDocument)
  }

  function change({ revision: at, changes }: HistoryChange): void {
    const next = BigInt(at)
    if (next <= revision) problem(`is followed by revision ${next}: the history is not one`)
    revision = next
    revisions++
    const before = { guests: new Map<string, GuestDocument>(), groups: new Map<string, GroupDocument>() }
    const timers = new Set<string>()
    const oldRollouts = new Map<string, RolloutDocument>()
    for (const { key, value } of changes) {
      if (key === KEYS.leader) epoch = value === undefined ? '' : epoch || at
      if (key.startsWith(KEYS.deadlines) && value !== undefined) timers.add(key.slice(KEYS.deadlines.length))
      keep(before.guests, guests, key, KEYS.guests, NEW_GUEST)
      keep(before.groups, groups, key, KEYS.groups, NEW_GROUP)
      const rollout = rollouts.get(key.slice(KEYS.rollouts.length))
      if (key.startsWith(KEYS.rollouts) && rollout) oldRollouts.set(rollout.id, rollout)
      take(key, value)
    }
    for (const [name, old] of before.guests) checkGuest(name, old, guests.get(name), timers)
    for (const [name, old] of before.groups) checkGroup(name, old)
    for (const { key, value } of changes)
      if (key.startsWith(KEYS.rollouts) && value !== undefined) {
        const rollout = rollouts.get(key.slice(KEYS.rollouts.length)) as RolloutDocument
        checkRollout(oldRollouts.get(rollout.id), rollout)
      }
    for (const name of before.guests.keys()) checkSlot(name)
  }

  function fenced(what: string, written: string): void {
    leaders.add(written)
    if (written !== epoch)
      problem(
        `${what} was written by epoch ${written} while ${epoch || 'nobody'} leads: a write got past the fence`,
      )
  }

  function checkGuest(
    name: string,
    old: GuestDocument,
    now: GuestDocument | undefined,
    timers: ReadonlySet<string>,
  ): void {
    if (!now) return
    fenced(`guest ${name}`, now.epoch)
    if (!NEXT[old.state].includes(now.state)) problem(`${name} went from ${old.state} to ${now.state}`)
    if (now.token < old.token) problem(`the token of ${name} fell from ${old.token} to ${now.token}`)
    if (now.state !== 'steady' && now.bad.includes(now.want) && !HOLDING.has(now.state))
      problem(`${name} was offered ${now.want}, which fell back there before`)
    if (old.bad.some((one) => !now.bad.includes(one))) problem(`${name} forgot a generation that fell back`)
    if (old.state === 'staged' && now.state === 'granted') {
      grants++
      if (now.token <= old.token) problem(`${name} was granted a slot without a new token`)
    }
    const isPutBack = old.snapshot !== undefined && now.snapshot === undefined
    if (now.dataSchema < old.dataSchema && !(isPutBack && now.dataSchema === old.snapshot?.dataSchema))
      problem(`the data of ${name} went from schema ${old.dataSchema} to ${now.dataSchema} without a copy`)
    const begins = old.state !== now.state && (now.state === 'granted' || now.state === 'recovering')
    if (begins && !timers.has(name)) problem(`${name} is ${now.state} without a deadline`)
    if (now.good !== old.good && old.state === 'verifying' && (now.good !== old.want || !old.extended))
      problem(`${name} was committed to ${now.good} without having soaked on it`)
    if (now.good !== old.good && old.state !== 'verifying' && old.good !== '')
      problem(`${name} runs ${now.good} instead of ${old.good} without an update`)
  }

  function checkGroup(name: string, old: GroupDocument): void {
    const now = groups.get(name) ?? NEW_GROUP
    if (now.seq < old.seq) problem(`tokens of group ${name} fell from ${old.seq} to ${now.seq}`)
    const held = Object.keys(now.holders)
    mostHolders[name] = Math.max(mostHolders[name] ?? 0, held.length)
    const added = held.filter((guest) => old.holders[guest] === undefined)
    const budget = configured.get(name)?.budget
    if (budget !== undefined && added.length > 0 && held.length > budget)
      problem(`${held.length} guests of ${name} hold a slot, ${budget} may: ${held.join(', ')}`)
    for (const guest of held) {
      const token = now.holders[guest]?.token ?? 0
      const before = old.holders[guest]?.token ?? 0
      if (token !== before && token <= old.seq && before !== 0)
        problem(`token ${token} of group ${name} was given twice`)
      checkSlot(guest)
    }
    for (const guest of Object.keys(old.holders)) if (!now.holders[guest]) checkSlot(guest)
  }

  /** Who may be away has a slot, and who has one may be away; a holder without a document is of a FleetLock client. */
  function checkSlot(name: string): void {
    const document = guests.get(name)
    if (!document || document.group === '') return
    const holder = groups.get(document.group)?.holders[name]
    if (HOLDING.has(document.state)) {
      if (!holder) problem(`${name} is ${document.state} without a slot of ${document.group}`)
      else if (holder.token !== document.token)
        problem(`${name} has token ${document.token}, its slot ${holder.token}`)
    } else if (holder && holder.token === document.token)
      problem(`${name} is ${document.state} and still holds a slot of ${document.group}`)
  }

  function checkRollout(old: RolloutDocument | undefined, now: RolloutDocument): void {
    if (now.epoch !== '') fenced(`rollout ${now.id}`, now.epoch)
    if (!old) return
    if (old.state !== now.state && !NEXT_ROLLOUT[old.state].includes(now.state))
      problem(`rollout ${now.id} went from ${old.state} to ${now.state}`)
    if (now.wave < old.wave || now.wave > old.wave + 1)
      problem(`rollout ${now.id} went from wave ${old.wave} to ${now.wave}`)
    if (now.to !== old.to || now.number !== old.number) problem(`rollout ${now.id} changed its target`)
  }

  return {
    line: (text) => {
      lines++
      if (text === '') return
      let line: HistoryLine
      try {
        line = JSON.parse(text) as HistoryLine
      } catch {
        problems.push(`line ${lines} is not JSON`)
        return
      }
      if ('history' in line) start(line)
      else if ('groups' in line) for (const group of line.groups) configured.set(group.name, group)
      else if ('changes' in line) change(line)
      else problems.push(`line ${lines} is neither a start, a configuration nor a change`)
    },
    revision: () => revision,
    end: (isOver) => {
      if (revision < 0n) problems.push('the history has no first line')
      if (isOver) {
        for (const [name, { state }] of guests)
          if (BEFORE_SLOT.has(state) || (HOLDING.has(state) && state !== 'lost'))
            problem(`${name} was left ${state}`)
        for (const { id, state } of rollouts.values())
          if (!ENDED.has(state)) problem(`rollout ${id} was left ${state}`)
      }
      leaders.delete('')
      return {
        problems,
        revisions,
        guests: guests.size,
        grants,
        mostHolders,
        leaders: leaders.size,
      }
    },
  }
}

function keep<T>(
  into: Map<string, T>,
  from: ReadonlyMap<string, T>,
  key: string,
  prefix: string,
  empty: T,
): void {
  if (!key.startsWith(prefix)) return
  const name = key.slice(prefix.length)
  if (!into.has(name)) into.set(name, from.get(name) ?? empty)
}
