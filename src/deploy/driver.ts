/**
 * What the rollout asks of whatever runs a guest. Every function is idempotent; one that is called again with the same
 * token has no second effect, and one with a lower token than the guest has obeyed is refused (fencing at the effector).
 */

import type { DataStep } from '../fleet/data-schema.ts'
import type { DataSchema } from '../resolve/profile.ts'

/** A generation as a driver needs it. */
export interface DriverGeneration {
  readonly line: string
  readonly seq: number
  /** `g<seq>-<12 hex>` */
  readonly name: string
  /** sha256 of the manifest: what evidence is compared with. */
  readonly manifest: string
  /** The output folder. */
  readonly directory: string
  /** What its profile says of the guests' data. */
  readonly dataSchema?: DataSchema
}

export interface DriverGuest {
  readonly name: string
  readonly group: string
  /** Filled templates and the guest's own values. */
  readonly values: Readonly<Record<string, string>>
}

type Pointer = 'good' | 'trial'

export interface Observed {
  readonly power: 'on' | 'off' | 'unknown'
  /** New at each start of the guest. */
  readonly bootId: string
  /** Manifest digest of what really runs, read from the running guest or from what it has mounted; '' when unknown. */
  readonly digest: string
  readonly pointer: Pointer
  readonly triesLeft: number
  /** Highest token obeyed. */
  readonly token: number
  readonly health: 'pass' | 'fail' | 'inconclusive'
  /** One line a person understands. */
  readonly detail: string
}

/**
 * Called while a guest is off and nobody can start it, before it is led to another generation. When it throws the guest
 * stays on the one that it had, and the switch is taken back.
 */
export type WhileOff = (
  guest: DriverGuest,
  generation: DriverGeneration,
  signal: AbortSignal,
) => Promise<void>

export interface GuestDriver {
  readonly kind: string
  /**
   * Brings the images to where the guest starts from, verified; costs no availability.
   * @param data what the switch will do with its data
   * @throws S5_DISK_FULL when there is no room for a copy of that
   */
  prepare(
    guest: DriverGuest,
    generation: DriverGeneration,
    signal: AbortSignal,
    data?: DataStep,
  ): Promise<void>
  /**
   * Points the guest to `generation` on trial, and (re)starts it.
   * @param data a copy of the guest's data, taken while it is off, belongs to the generation that it had, and is put back
   * before that one starts again, whoever starts it. What it has then is kept in its place, so that going forth again finds
   * that. Whatever else is switched to drops the copy, and so does `collect`. Only drivers get one whose guests' data is
   * files of the host (`snapshotFor`)
   * @throws S5_TOKEN_STALE, S5_DISK_FULL when there is no room for a copy of its data; it goes on as it was then
   */
  switchTo(
    guest: DriverGuest,
    generation: DriverGeneration,
    token: number,
    tries: number,
    signal: AbortSignal,
    data?: DataStep,
  ): Promise<void>
  /** Makes the trial the good one. */
  commit(guest: DriverGuest, generation: DriverGeneration, token: number, signal: AbortSignal): Promise<void>
  /** Back to `good`, restarting what runs the trial. */
  rollback(
    guest: DriverGuest,
    good: DriverGeneration | undefined,
    token: number,
    signal: AbortSignal,
  ): Promise<void>
  /** Health checks included. */
  status(guest: DriverGuest, signal: AbortSignal): Promise<Observed>
  /** Stops it; its data stays. */
  stop(guest: DriverGuest, signal: AbortSignal): Promise<void>
  /** Forgets prepared generations other than `keep`. */
  collect(guest: DriverGuest, keep: readonly string[], signal: AbortSignal): Promise<void>
  /** For a guest that is off and not to come back: takes away what is kept of it outside of its folder. */
  forget?(guest: DriverGuest, signal: AbortSignal): Promise<void>
}
