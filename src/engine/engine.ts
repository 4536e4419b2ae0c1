/**
 * The port behind which the state of a fleet is kept: etcd's semantics, so that one machine and a cluster read alike.
 *
 * Keys are UTF-8 text, values are text (JSON documents here). A revision grows by one with each transaction that
 * changes something, over all keys. Source: etcd v3 API (KV, Watch, Lease).
 */

export interface KeyValue {
  readonly key: string
  readonly value: string
  /** Revision of the last change. */
  readonly modRevision: bigint
  /** Revision of the transaction that made the key; grows again when a key was deleted and made anew. */
  readonly createRevision: bigint
}

/** `equal` with revision 0n: the key does not exist. */
export interface Compare {
  readonly key: string
  readonly target: 'mod' | 'create'
  readonly equal: bigint
}

export type Operation =
  | { readonly kind: 'put'; readonly key: string; readonly value: string; readonly lease?: string }
  | { readonly kind: 'delete'; readonly key: string }

export interface Snapshot {
  /** Sorted by the bytes of their keys. */
  readonly values: readonly KeyValue[]
  /** All values are of this revision. */
  readonly revision: bigint
}

export interface Change {
  readonly key: string
  /** Absent: deleted, or expired with its lease. */
  readonly value?: string
  readonly modRevision: bigint
}

export interface ChangeSet {
  readonly revision: bigint
  readonly changes: readonly Change[]
}

/** Leadership: true while the key that the lease holds exists with this create revision. */
export interface Leadership {
  /** Compare every write with `{key, target: 'create', equal: epoch}`: that is the fence. */
  readonly key: string
  readonly epoch: bigint
  /** Aborted when the lease is lost or given up. */
  readonly lost: AbortSignal
  resign(): Promise<void>
}

/** Where the store's id stands (`KEYS.store` of the fleet's documents). */
export const STORE_ID_KEY = '/s5/v1/meta/storeId'

export interface Engine extends AsyncDisposable {
  /** Made once with the store; a client that has seen another refuses this one (`S5_ENGINE_OTHER`). */
  readonly storeId: string
  /** Operations that one transaction may hold. */
  readonly maxOperations: number
  /** Everything under `prefix` at one revision. */
  list(prefix: string): Promise<Snapshot>
  /**
   * All `compares` hold → all `operations` are done in one revision; else nothing is. Never retried inside: an error
   * means unknown, and the caller reads again. A put with a lease that has ended is `ok: false`. A key may stand in one
   * operation only.
   */
  transact(
    compares: readonly Compare[],
    operations: readonly Operation[],
  ): Promise<{ readonly ok: boolean; readonly revision: bigint }>
  /**
   * Every change under `prefix` after `revision`, without a gap, until `signal` is aborted or the engine disposed of.
   * @throws S5_ENGINE_COMPACTED when that is too long ago: list again
   */
  watch(prefix: string, revision: bigint, signal: AbortSignal): AsyncIterable<ChangeSet>
  /**
   * A lease that ends by itself after `seconds` unless renewed; keys put with it are deleted then. Durations are the
   * store's own, no clock of ours is read; etcd knows whole seconds and takes the next.
   */
  grantLease(seconds: number): Promise<string>
  /** The whole time from now on. @returns false when the lease has ended */
  renewLease(lease: string): Promise<boolean>
  /** Ends it now, and deletes its keys. */
  revokeLease(lease: string): Promise<void>
  /** Waits until this process leads: holds the key `name`. @throws the reason of `signal` when aborted */
  lead(name: string, ttlSeconds: number, signal: AbortSignal): Promise<Leadership>
  /** Forgets the history before `revision`; values stay. */
  compact(revision: bigint): Promise<void>
}
