/**
 * What the JSON gateway of etcd 3.4 to 3.6 reads and writes: base64 keys, 64-bit numbers as text, names of enums.
 *
 * The gateway drops a field that it does not know, and a compare without its revision compares with 0: so each name
 * below is held by a test against the bytes, and by one against a server.
 * @see etcd api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto
 */
import { Buffer } from 'node:buffer'
import { prefixEnd } from './check.ts'
import type { Change, ChangeSet, Compare, KeyValue, Operation } from './engine.ts'

/** Zero values are left out by the gateway. */
interface WireKeyValue {
  readonly key?: string
  readonly value?: string
  readonly create_revision?: string
  readonly mod_revision?: string
}

export interface WireHeader {
  readonly cluster_id?: string
  readonly revision?: string
}

export interface RangeAnswer {
  readonly header?: WireHeader
  readonly kvs?: readonly WireKeyValue[]
  readonly more?: boolean
}

export interface TxnAnswer {
  readonly header?: WireHeader
  readonly succeeded?: boolean
}

export interface WatchAnswer {
  readonly header?: WireHeader
  readonly created?: boolean
  readonly canceled?: boolean
  readonly compact_revision?: string
  readonly cancel_reason?: string
  readonly events?: readonly { readonly type?: 'PUT' | 'DELETE'; readonly kv?: WireKeyValue }[]
}

/** google.rpc.Code */
export const GRPC = {
  deadlineExceeded: 4,
  notFound: 5,
  outOfRange: 11,
  unavailable: 14,
  unauthenticated: 16,
} as const

export function encodeText(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64')
}

function decodeText(base64: string | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString('utf8')
}

/** `\0` as both ends means every key. */
function rangeOf(prefix: string): { key: string; range_end: string } {
  const end = prefixEnd(prefix) ?? Buffer.from([0])
  return {
    key: prefix === '' ? end.toString('base64') : encodeText(prefix),
    range_end: end.toString('base64'),
  }
}

/** A page of what is under `prefix`: from after the key `after` on, at `revision`, or at the newest. */
export function rangeRequest(prefix: string, limit: number, after?: string, revision?: bigint): string {
  const range = rangeOf(prefix)
  return JSON.stringify({
    ...range,
    ...(after !== undefined && { key: encodeText(`${after}\0`) }),
    ...(revision !== undefined && { revision: String(revision) }),
    limit: String(limit),
  })
}

export function txnRequest(
  root: string,
  compares: readonly Compare[],
  operations: readonly Operation[],
): string {
  return JSON.stringify({
    compare: compares.map(({ key, target, equal }) => ({
      key: encodeText(root + key),
      result: 'EQUAL',
      ...(target === 'mod'
        ? { target: 'MOD', mod_revision: String(equal) }
        : { target: 'CREATE', create_revision: String(equal) }),
    })),
    success: operations.map((operation) => {
      const key = encodeText(root + operation.key)
      if (operation.kind === 'delete') return { request_delete_range: { key } }
      const { value, lease } = operation
      return { request_put: { key, value: encodeText(value), ...(lease !== undefined && { lease }) } }
    }),
  })
}

export function watchRequest(prefix: string, after: bigint): string {
  return JSON.stringify({
    create_request: { ...rangeOf(prefix), start_revision: String(after + 1n), progress_notify: true },
  })
}

export function decodeKeyValue(root: string, wire: WireKeyValue): KeyValue {
  return {
    key: decodeText(wire.key).slice(root.length),
    value: decodeText(wire.value),
    modRevision: BigInt(wire.mod_revision ?? 0),
    createRevision: BigInt(wire.create_revision ?? 0),
  }
}

/** Events by revision, in order; etcd never splits a revision over two answers (API guarantees, "Atomic"). */
export function decodeEvents(root: string, { events = [] }: WatchAnswer): readonly ChangeSet[] {
  const byRevision = new Map<bigint, Change[]>()
  for (const { type, kv = {} } of events) {
    const { key, value, modRevision } = decodeKeyValue(root, kv)
    const changes = byRevision.get(modRevision) ?? []
    byRevision.set(modRevision, changes)
    changes.push({ key, modRevision, ...(type !== 'DELETE' && { value }) })
  }
  return [...byRevision].map(([revision, changes]) => ({
    revision,
    changes: changes.sort((one, other) => Buffer.compare(Buffer.from(one.key), Buffer.from(other.key))),
  }))
}

interface WireError {
  /** google.rpc.Code; 2 (unknown) when the answer has none. */
  readonly code: number
  readonly message: string
}

/** The error of an answer, in the three forms that 3.4 to 3.6 give it. */
export function decodeError(status: number, text: string): WireError {
  try {
    const body = JSON.parse(text) as { error?: unknown; message?: string; code?: number }
    const inner = (typeof body.error === 'object' && body.error !== null ? body.error : body) as {
      error?: unknown
      message?: string
      code?: number
      grpc_code?: number
    }
    const said = inner.message ?? inner.error
    return {
      code: inner.grpc_code ?? inner.code ?? 2,
      message: typeof said === 'string' ? said : `status ${status}`,
    }
  } catch {
    return {
      code: status === 503 || status === 502 || status === 504 ? GRPC.unavailable : 2,
      message: `status ${status}`,
    }
  }
}
