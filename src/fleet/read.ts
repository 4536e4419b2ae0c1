/** What a list of the engine's keys means: documents by name, and which timers are still there. */
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

/** Reads lists; a value that did not change since the last one is not parsed again. */
export function documentReader(): (entries: readonly Entry[]) => Documents {
  let known = new Map<string, Stored<unknown>>()
  return (entries) => {
    const next = new Map<string, Stored<unknown>>()
    const rollouts = new Map<string, Stored<RolloutDocument>>()
    const groupDocuments = new Map<string, Stored<GroupDocument>>()
    const guests = new Map<string, Stored<GuestDocument>>()
    const deadlines = new Set<string>()
    const soaks = new Set<string>()
    const read = <T>({ key, value, modRevision }: Entry, empty: T): Stored<T> => {
      const before = known.get(key)
      const stored =
        before?.revision === modRevision
          ? (before as Stored<T>)
          : { document: { ...empty, ...(JSON.parse(value) as Partial<T>) }, revision: modRevision }
      next.set(key, stored)
      return stored
    }
    for (const entry of entries) {
      const { key } = entry
      const rest = (prefix: string): string => key.slice(prefix.length)
      if (key.startsWith(KEYS.guests)) guests.set(rest(KEYS.guests), read(entry, NEW_GUEST))
      else if (key.startsWith(KEYS.groups)) groupDocuments.set(rest(KEYS.groups), read(entry, NEW_GROUP))
      else if (key.startsWith(KEYS.rollouts)) rollouts.set(rest(KEYS.rollouts), read(entry, NEW_ROLLOUT))
      else if (key.startsWith(KEYS.deadlines)) deadlines.add(rest(KEYS.deadlines))
      else if (key.startsWith(KEYS.soaks)) soaks.add(rest(KEYS.soaks))
    }
    known = next
    return { rollouts, groupDocuments, guests, deadlines, soaks }
  }
}
