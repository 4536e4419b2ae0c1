/** What one pass of the controller sees and decides: plain data on both sides, and nothing remembered in between. */
import type { Group } from '../resolve/group.ts'
import type { DataSchemas, DataStep } from './data-schema.ts'
import type { Approval, GroupDocument, GuestDocument, RolloutDocument } from './documents.ts'
import type { Moment } from './windows.ts'

/** A document with the revision that a write compares with; 0n when it does not exist yet. */
export interface Stored<T> {
  readonly document: T
  readonly revision: bigint
}

/** What a driver saw of a guest (the `Observed` of src/deploy/driver.ts). */
export interface Observation {
  readonly power: 'on' | 'off' | 'unknown'
  readonly bootId: string
  readonly digest: string
  readonly pointer: 'good' | 'trial'
  readonly triesLeft: number
  readonly token: number
  readonly health: 'pass' | 'fail' | 'inconclusive'
  readonly detail: string
}

/** How the last `prepare` of a guest ended in this process; lost with it, and then done again. */
export interface Prepared {
  readonly generation: string
  /** '' when it is there. */
  readonly error: string
}

export interface View {
  /** Of the leader who will write. */
  readonly epoch: string
  /** As the configuration says now. */
  readonly groups: ReadonlyMap<string, Group>
  readonly rollouts: ReadonlyMap<string, Stored<RolloutDocument>>
  readonly groupDocuments: ReadonlyMap<string, Stored<GroupDocument>>
  readonly guests: ReadonlyMap<string, Stored<GuestDocument>>
  /** Guests whose deadline key is there. */
  readonly deadlines: ReadonlySet<string>
  /** Rollouts whose soak key is there. */
  readonly soaks: ReadonlySet<string>
  readonly observed: ReadonlyMap<string, Observation>
  readonly prepared: ReadonlyMap<string, Prepared>
  /** Manifest digest by the name of a generation: what evidence is compared with. */
  readonly manifests: ReadonlyMap<string, string>
  /** What generations say of data; absent: none says anything. */
  readonly dataSchemas?: DataSchemas
  /** '' when a group that requires it may take the generation, else why not. */
  readonly bootedGate: (generation: string) => string
  readonly isApproved: (rollout: RolloutDocument, approval: Approval) => boolean
  readonly moment: Moment
  /** Of one transaction. */
  readonly maxOperations: number
}

/** What the controller does with a driver, after the write that goes before it. Doing one again has no second effect. */
export type Action =
  | {
      readonly kind: 'prepare'
      readonly guest: string
      readonly generation: string
      readonly token: number
      /** Of the switch that comes. */
      readonly data?: DataStep
    }
  | {
      readonly kind: 'switch'
      readonly guest: string
      readonly generation: string
      readonly token: number
      readonly tries: number
      readonly data?: DataStep
    }
  | { readonly kind: 'commit'; readonly guest: string; readonly generation: string; readonly token: number }
  | { readonly kind: 'rollback'; readonly guest: string; readonly generation: string; readonly token: number }

/** A change of one guest, with what comes along in the same transaction. */
export interface Move {
  readonly guest: string
  readonly next: GuestDocument
  /** `token`: a new one is given; `free`: the slot is given back. */
  readonly slot?: 'take' | 'token' | 'free'
  /** Seconds of the new deadline key; 0 deletes it. Absent: as it is. */
  readonly deadline?: number
  /** Written only while this rollout is as it was read: whoever pauses it stops the write. */
  readonly under?: string
}

/** One transaction: everything in it happens, or nothing. */
export interface Batch {
  readonly group: string
  /** Written when `holdersChange`. */
  readonly groupDocument: GroupDocument
  readonly holdersChange: boolean
  readonly moves: readonly Move[]
  /** Guests that left the configuration: their documents go, and with them their slots. */
  readonly retired: readonly string[]
}

export interface RolloutMove {
  readonly next: RolloutDocument
  /** Seconds of the new soak key. */
  readonly soak?: number
}

export interface Decision {
  readonly batches: readonly Batch[]
  readonly rolloutMoves: readonly RolloutMove[]
  /** For guests whose write (if any) succeeded. */
  readonly actions: readonly Action[]
}
