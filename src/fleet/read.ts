/** What the engine's keys mean: documents by name, and which timers are still there. */
import {
  type GroupDocument,
  type GuestDocument,
  KEYS,
  NEW_GROUP,
  NEW_GUEST,
  type RolloutDocument,
} from './documents.ts'
import type { Stored, View } from './view.ts'

export interface Entry {
  readonly key: string
  readonly value: string
  readonly modRevision: bigint
}

/** A key that was put, or without a value: that is gone. */
interface EntryChange {
  readonly key: string
  readonly value?: string
  readonly modRevision: bigint
}

export type Documents = Pick<View, 'rollouts' | 'groupDocuments' | 'guests' | 'deadlines' | 'soaks'>

const NEW_ROLLOUT: RolloutDocument = {
  id: '',
  number: 0,
  line: '',
  from: '',
  to: '',
  groups: [],
  state: 'draft',
  resume: '',
  pausedBy: '',
  wave: 0,
  approvals: [],
  reason: '',
  createdBy: '',
  epoch: '',
}

interface Kept {
  readonly rollouts: Map<string, Stored<RolloutDocument>>
  readonly groupDocuments: Map<string, Stored<GroupDocument>>
  readonly guests: Map<string, Stored<GuestDocument>>
  readonly deadlines: Set<string>
  readonly soaks: Set<string>
}

const nothingKept = (): Kept => ({
  rollouts: new Map(),
  groupDocuments: new Map(),
  guests: new Map(),
  deadlines: new Set(),
  soaks: new Set(),
})

/** A value that `before` has at the same revision is not parsed again. */
function take(kept: Kept, change: EntryChange, before: Kept): void {
  const { key } = change
  if (key.startsWith(KEYS.guests)) document(kept.guests, KEYS.guests, change, before.guests, NEW_GUEST)
  else if (key.startsWith(KEYS.groups))
    document(kept.groupDocuments, KEYS.groups, change, before.groupDocuments, NEW_GROUP)
  else if (key.startsWith(KEYS.rollouts))
    document(kept.rollouts, KEYS.rollouts, change, before.rollouts, NEW_ROLLOUT)
  else if (key.startsWith(KEYS.deadlines)) timer(kept.deadlines, KEYS.deadlines, change)
  else if (key.startsWith(KEYS.soaks)) timer(kept.soaks, KEYS.soaks, change)
}

function document<T>(
  into: Map<string, Stored<T>>,
  prefix: string,
  { key, value, modRevision }: EntryChange,
  before: ReadonlyMap<string, Stored<T>>,
  empty: T,
): void {
  const name = key.slice(prefix.length)
  if (value === undefined) {
    into.delete(name)
    return
  }
  const known = before.get(name)
  into.set(
    name,
    known?.revision === modRevision
      ? known
      : { document: { ...empty, ...(JSON.parse(value) as Partial<T>) }, revision: modRevision },
  )
}

function timer(into: Set<string>, prefix: string, { key, value }: EntryChange): void {
  const name = key.slice(prefix.length)
  if (value === undefined) into.delete(name)
  else into.add(name)
}

/** Reads lists; a value that did not change since the last one is not parsed again. */
export function documentReader(): (entries: readonly Entry[]) => Documents {
  let known = nothingKept()
  return (entries) => {
    const next = nothingKept()
    for (const entry of entries) take(next, entry, known)
    known = next
    return next
  }
}

/** The documents as one list and the changes since then make them: what a list would say, without listing. */
interface Mirror {
  /** Changes with each `reset` and `apply`: whoever decides must not let them happen in between. */
  readonly documents: () => Documents
  reset(entries: readonly Entry[]): void
  /** All changes of one revision. */
  apply(changes: readonly EntryChange[]): void
}

export function documentMirror(): Mirror {
  const read = documentReader()
  let kept = nothingKept()
  return {
    documents: () => kept,
    reset: (entries) => {
      kept = read(entries) as Kept
    },
    apply: (changes) => {
      for (const change of changes) take(kept, change, kept)
    },
  }
}
