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
}

/** `/s5/v1/grp/<group>`: the unit of compare-and-set; who holds a disruption slot. */
export interface GroupDocument {
  /** Grows with each grant. */
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

/** `/s5/v1/roll/<id>` */
export interface RolloutDocument {
  readonly id: string
  readonly line: string
  readonly from: string
  readonly to: string
  readonly groups: readonly string[]
  readonly state: RolloutState
  /** Index of the wave that runs or soaks. */
  readonly wave: number
  readonly approvedWave: number
  readonly reason: string
  readonly createdBy: string
}

export const KEYS = {
  store: '/s5/v1/meta/storeId',
  leader: '/s5/v1/leader/controller',
  guest: (name: string): string => `/s5/v1/gst/${name}`,
  group: (name: string): string => `/s5/v1/grp/${name}`,
  rollout: (id: string): string => `/s5/v1/roll/${id}`,
  /** Held by a lease: gone when the time for coming up is over. */
  deadline: (guest: string): string => `/s5/v1/dl/${guest}`,
} as const
