/** Groups, rollouts, and a store of one process with virtual time: the pure side of rollout tests. */
import {
  KEYS,
  type RolloutDocument,
  type GroupDocument,
  type GuestDocument,
} from '../../src/fleet/documents.ts'
import { groupsLine, type HistoryLine } from '../../src/fleet/history.ts'
import { documentReader } from '../../src/fleet/read.ts'
import type { Action, Batch, Decision, Prepared, RolloutMove, View } from '../../src/fleet/view.ts'
import type { Group } from '../../src/resolve/group.ts'
import type { Truth } from './fr-truth.ts'

export function group(name: string, size: number, change: Partial<Group> = {}): Group {
  return {
    name,
    line: 'web',
    guests: Array.from({ length: size }, (_, at) => ({
      name: `${name}-${at + 1}`,
      canary: false,
      values: {},
    })),
    driver: { kind: 'exec', options: {} },
    templates: {},
    waves: [],
    maxUnavailable: { percent: 25 },
    minAvailable: { count: 0 },
    allowedFailures: { percent: 2 },
    health: [],
    soakSeconds: 1,
    bootSeconds: 4,
    recoverSeconds: 4,
    tries: 3,
    windows: [],
    approvers: [],
    require: 'built',
    trustSteadyState: false,
    ...change,
  }
}

export function rollout(groups: readonly string[], change: Partial<RolloutDocument> = {}): RolloutDocument {
  return {
    id: 'r1',
    number: 1,
    line: 'web',
    from: 'g1-old',
    to: 'g2-new',
    groups,
    state: 'prefetch',
    resume: '',
    pausedBy: '',
    wave: 0,
    approvals: [],
    reason: '',
    createdBy: 'test',
    epoch: '',
    ...change,
  }
}

interface Kept {
  readonly value: string
  readonly modRevision: bigint
  readonly until: number
}

/** A store in memory whose clock is turned by hand. */
export interface Toy {
  put(key: string, value: unknown): void
  readonly view: (extra?: Partial<View>) => View
  /** Writes one part of a decision, as an engine would. @returns whether its compares held */
  batch(view: View, batch: Batch): boolean
  rollout(view: View, move: RolloutMove): boolean
  readonly history: readonly HistoryLine[]
  readonly prepared: Map<string, Prepared>
  rolloutNow(id?: string): RolloutDocument
  guestNow(name: string): GuestDocument | undefined
  groupNow(name: string): GroupDocument | undefined
  /** The end of timers that are over. */
  expire(): void
  newLeader(): void
}

export function toyStore(groups: () => ReadonlyMap<string, Group>, truth: Truth, now: () => number): Toy {
  const kept = new Map<string, Kept>()
  const history: HistoryLine[] = [
    { history: 1, storeId: 'toy', revision: '0', state: [] },
    groupsLine(groups().values()),
  ]
  const prepared = new Map<string, Prepared>()
  const read = documentReader()
  let revision = 0n
  let epoch = ''

  const write = (changes: readonly { key: string; value?: string; seconds?: number }[]): void => {
    revision++
    for (const { key, value, seconds } of changes)
      if (value === undefined) kept.delete(key)
      else
        kept.set(key, {
          value,
          modRevision: revision,
          until: seconds === undefined ? Infinity : now() + seconds * 1000,
        })
    history.push({
      revision: String(revision),
      changes: changes.map(({ key, value }) => ({ key, ...(value !== undefined && { value }) })),
    })
  }
  const has = (key: string, at: bigint | undefined): boolean =>
    (kept.get(key)?.modRevision ?? 0n) === (at ?? 0n)
  const newLeader = (): void => {
    if (epoch !== '') write([{ key: KEYS.leader }])
    write([{ key: KEYS.leader, value: 'someone' }])
    epoch = String(revision)
  }
  newLeader()
  const document = <T>(key: string): T | undefined => {
    const found = kept.get(key)
    return found && (JSON.parse(found.value) as T)
  }

  return {
    history,
    prepared,
    newLeader,
    put: (key, value) => write([{ key, value: JSON.stringify(value) }]),
    view: (extra = {}) => ({
      ...read([...kept].map(([key, one]) => ({ key, ...one }))),
      epoch,
      groups: groups(),
      observed: new Map(
        [...groups().values()].flatMap(({ guests }) =>
          guests.map(({ name }) => [name, truth.status(name)] as const),
        ),
      ),
      prepared,
      manifests: new Map(['g1-old', 'g2-new', 'g3-newer'].map((name) => [name, `sha256:${name}`])),
      bootedGate: () => '',
      isApproved: () => true,
      moment: { day: 1, minute: 0 },
      maxOperations: 128,
      ...extra,
    }),
    batch: (view, { group: name, groupDocument, holdersChange, moves, retired }) => {
      if (view.epoch !== epoch) return false
      if (holdersChange && !has(KEYS.group(name), view.groupDocuments.get(name)?.revision)) return false
      const guests = [...moves.map(({ guest }) => guest), ...retired]
      if (!guests.every((guest) => has(KEYS.guest(guest), view.guests.get(guest)?.revision))) return false
      const unders = moves.flatMap(({ under }) => under ?? [])
      if (!unders.every((id) => has(KEYS.rollout(id), view.rollouts.get(id)?.revision))) return false
      write([
        ...(holdersChange ? [{ key: KEYS.group(name), value: JSON.stringify(groupDocument) }] : []),
        ...moves.flatMap(({ guest, next, deadline }) => [
          { key: KEYS.guest(guest), value: JSON.stringify(next) },
          ...(deadline === undefined
            ? []
            : [{ key: KEYS.deadline(guest), ...(deadline > 0 && { value: next.state, seconds: deadline }) }]),
        ]),
        ...retired.map((guest) => ({ key: KEYS.guest(guest) })),
      ])
      for (const { guest } of moves) if (prepared.get(guest)?.error) prepared.delete(guest)
      return true
    },
    rollout: (view, { next, soak }) => {
      if (view.epoch !== epoch || !has(KEYS.rollout(next.id), view.rollouts.get(next.id)?.revision))
        return false
      write([
        { key: KEYS.rollout(next.id), value: JSON.stringify(next) },
        ...(soak === undefined ? [] : [{ key: KEYS.soak(next.id), value: '', seconds: soak }]),
      ])
      return true
    },
    rolloutNow: (id = 'r1') => document<RolloutDocument>(KEYS.rollout(id)) as RolloutDocument,
    guestNow: (name) => document<GuestDocument>(KEYS.guest(name)),
    groupNow: (name) => document<GroupDocument>(KEYS.group(name)),
    expire: () => {
      const over = [...kept].filter(([, { until }]) => until <= now()).map(([key]) => ({ key }))
      if (over.length > 0) write(over)
    },
  }
}

/** Does one action to the truth. Errors are what a driver would have thrown. */
export function act(truth: Truth, toy: Toy, action: Action): void {
  const { guest, generation, token } = action
  try {
    if (action.kind === 'prepare') truth.prepare(guest, generation)
    else if (action.kind === 'switch') truth.switchTo(guest, generation, token, action.data)
    else if (action.kind === 'commit') truth.commit(guest, generation, token)
    else truth.rollback(guest, generation, token)
    if (action.kind === 'prepare') toy.prepared.set(guest, { generation, error: '' })
  } catch (error) {
    if (action.kind === 'prepare') toy.prepared.set(guest, { generation, error: (error as Error).message })
  }
}

/** Writes a whole decision. @returns the actions of what was written */
export function apply(toy: Toy, view: View, { batches, rolloutMoves, actions }: Decision): readonly Action[] {
  const refused = new Set(
    batches.flatMap((batch) => (toy.batch(view, batch) ? [] : batch.moves.map(({ guest }) => guest))),
  )
  for (const move of rolloutMoves) toy.rollout(view, move)
  return actions.filter(({ guest }) => !refused.has(guest))
}
