/** The documents that a fleet's engine keeps, as JSON values under `/s5/v1/`. */

/** Where one guest stands in one update (rollout.md 2.3). */
export type GuestState =
  | 'steady'
  | 'offered'
  | 'staging'
  | 'staged'
  | 'granted'
  | 'switching'
  | 'verifying'
  | 'recovering'
  | 'degraded'
  | 'lost'

/**
 * How the last update ended for a guest, '' while it runs. `pulled`: its flight was called off, and nothing is held
 * against the generation. `returning`, `returned`, `stuck`: the way back of a rollout that is rolled back.
 */
export type GuestOutcome =
  | ''
  | 'done'
  | 'fell-back'
  | 'stage-failed'
  | 'degraded'
  | 'lost'
  | 'pulled'
  | 'returning'
  | 'returned'
  | 'stuck'

/** `/s5/v1/gst/<guest>`; generations are named by `g<seq>-<12 hex>`, '' is none. */
export interface GuestDocument {
  readonly group: string
  readonly state: GuestState
  readonly good: string
  readonly want: string
  /** Generations that fell back here: never offered again. */
  readonly bad: readonly string[]
  /** Token of the last grant; 0 before the first. */
  readonly token: number
  readonly attempts: number
  /** Boot id seen when the slot was granted: proof of a start is another one. */
  readonly bootId: string
  /** Why it waits or stands where it stands, in a line for people. */
  readonly why: string
  /** The good one before the last commit; '' is none. */
  readonly previous: string
  /** Rollout that last offered it something. */
  readonly rollout: string
  readonly outcome: GuestOutcome
  /** Its soak is over and was given `recoverSeconds` more: to be committed, or for checks to become conclusive. */
  readonly extended: boolean
  /** Newest format that its data may have, as generations that were started on it say; 0 is not known. */
  readonly dataSchema: number
  /** A copy of its data from before the update, and the format that it has; absent: none is needed, or none is left. */
  readonly snapshot?: { readonly tag: string; readonly dataSchema: number }
  /** Epoch of the leader who wrote this. */
  readonly epoch: string
}

/** `/s5/v1/grp/<group>`: the unit of compare-and-set; who holds a disruption slot. */
export interface GroupDocument {
  /** Grows with each token that is given. */
  readonly seq: number
  readonly holders: Readonly<Record<string, { readonly token: number; readonly epoch: string }>>
}

export type RolloutState =
  | 'draft'
  | 'prefetch'
  | 'wave'
  | 'soak'
  | 'paused'
  | 'rolling-back'
  | 'rolled-back'
  | 'superseded'
  | 'aborted'
  | 'completed'

/** Signed by someone whom a group names: the bytes are `approvalBytes`. */
export interface Approval {
  /** Index of the last wave that may open. */
  readonly wave: number
  /** Name of the key. */
  readonly by: string
  readonly keyid: string
  readonly sig: string
}

/** `/s5/v1/roll/<id>` */
export interface RolloutDocument {
  readonly id: string
  /** Grows with each rollout of the store. */
  readonly number: number
  readonly line: string
  readonly from: string
  readonly to: string
  readonly groups: readonly string[]
  readonly state: RolloutState
  /** Where a paused one goes on; '' unless paused. */
  readonly resume: 'prefetch' | 'wave' | 'soak' | ''
  /** `controller` pauses end when their cause does, those of an operator with `resume`. */
  readonly pausedBy: '' | 'operator' | 'controller'
  /** Index of the wave that runs or soaks. */
  readonly wave: number
  readonly approvals: readonly Approval[]
  /** Whoever started it knows that guests cannot go back: the older generation does not read their data. */
  readonly irreversible?: true
  readonly reason: string
  readonly createdBy: string
  /** Epoch of the leader who wrote this; '' when an operator did. */
  readonly epoch: string
}

/** What an approval signs: who moves, to what, and how far. */
export function approvalBytes(rollout: Pick<RolloutDocument, 'id' | 'to'>, wave: number): Uint8Array {
  return new TextEncoder().encode(`stage5 approval\n${rollout.id}\n${rollout.to}\n${wave}\n`)
}

export const PREFIX = '/s5/v1/'

export const KEYS = {
  store: '/s5/v1/meta/storeId',
  leader: '/s5/v1/leader/controller',
  guests: '/s5/v1/gst/',
  groups: '/s5/v1/grp/',
  rollouts: '/s5/v1/roll/',
  deadlines: '/s5/v1/dl/',
  soaks: '/s5/v1/soak/',
  guest: (name: string): string => `/s5/v1/gst/${name}`,
  group: (name: string): string => `/s5/v1/grp/${name}`,
  rollout: (id: string): string => `/s5/v1/roll/${id}`,
  /** Held by a lease: gone when the time of the guest's state is over. */
  deadline: (guest: string): string => `/s5/v1/dl/${guest}`,
  /** Held by a lease: gone when a wave has soaked. */
  soak: (rollout: string): string => `/s5/v1/soak/${rollout}`,
} as const

export const NEW_GUEST: GuestDocument = {
  group: '',
  state: 'steady',
  good: '',
  want: '',
  bad: [],
  token: 0,
  attempts: 0,
  bootId: '',
  why: '',
  previous: '',
  rollout: '',
  outcome: '',
  extended: false,
  dataSchema: 0,
  epoch: '',
}

export const NEW_GROUP: GroupDocument = { seq: 0, holders: {} }

/** States in which a guest has a slot of its group: it is, or may be, unavailable. */
export const HOLDING: ReadonlySet<GuestState> = new Set([
  'granted',
  'switching',
  'verifying',
  'recovering',
  'lost',
])

/** States before a slot: leaving them costs nothing. */
export const BEFORE_SLOT: ReadonlySet<GuestState> = new Set(['offered', 'staging', 'staged'])

/** States in which a rollout is at work: at most one for a group. */
export const ACTIVE: ReadonlySet<RolloutState> = new Set([
  'prefetch',
  'wave',
  'soak',
  'paused',
  'rolling-back',
])
