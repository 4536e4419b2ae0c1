/** The engine of many machines: a cluster of etcd (3.4 to 3.6), spoken to through its JSON gateway. */
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import { checkSeconds, checkTransaction, MAX_OPERATIONS } from './check.ts'
import type { ChangeSet, Engine, KeyValue, Snapshot } from './engine.ts'
import { type Calls, EtcdRefusal, type EtcdOptions, openCalls } from './etcd-calls.ts'
import {
  decodeEvents,
  decodeKeyValue,
  GRPC,
  type RangeAnswer,
  rangeRequest,
  type TxnAnswer,
  txnRequest,
  type WatchAnswer,
  watchRequest,
  type WireHeader,
} from './etcd-wire.ts'
import { takeLead } from './lead.ts'
import { mustBeStore, readOrMakeStoreId } from './store-id.ts'

export type { EtcdOptions } from './etcd-calls.ts'

/** Values in one answer to a list. */
const PAGE = 5000

/** @throws S5_ENGINE_UNAVAILABLE, S5_ENGINE_REFUSED; S5_ENGINE_OTHER when the store has another id */
export async function openEtcdEngine(options: EtcdOptions): Promise<Engine> {
  const calls = openCalls(options)
  const root = options.prefix ?? ''
  const primitives = {
    list: (prefix: string) => list(calls, root, prefix),
    transact: (...[compares, operations]: Parameters<Engine['transact']>) =>
      transact(calls, root, compares, operations),
    watch: (prefix: string, revision: bigint, signal: AbortSignal) =>
      watch(calls, root, prefix, revision, signal),
    grantLease: async (seconds: number) => {
      checkSeconds(seconds)
      const body = JSON.stringify({ TTL: String(Math.ceil(seconds)) })
      return (await orRefused(calls, calls.patiently<{ ID: string }>('/v3/lease/grant', body))).ID
    },
    renewLease: async (lease: string) => {
      const body = JSON.stringify({ ID: lease })
      const answer = calls.patiently<{ result?: { TTL?: string } }>('/v3/lease/keepalive', body)
      return Number((await orRefused(calls, answer)).result?.TTL ?? 0) > 0
    },
    revokeLease: async (lease: string) => {
      const answer = calls.patiently<object>('/v3/lease/revoke', JSON.stringify({ ID: lease }))
      await orRefused(calls, answer, ({ code }) => (code === GRPC.notFound ? {} : undefined))
    },
  }
  try {
    const storeId = await readOrMakeStoreId({
      ...primitives,
      // What became of it is read again by the caller.
      transact: (compares, operations) =>
        primitives.transact(compares, operations).catch((error: unknown) => {
          if (isStage5Error(error, 'S5_ENGINE_UNAVAILABLE')) return { ok: false, revision: 0n }
          throw error
        }),
    })
    mustBeStore(calls.name, options.storeId, storeId)
    return {
      ...primitives,
      storeId,
      maxOperations: MAX_OPERATIONS,
      lead: (name, ttlSeconds, signal) => takeLead(primitives, name, ttlSeconds, signal),
      compact: (revision) => compact(calls, revision),
      [Symbol.asyncDispose]: calls.close,
    }
  } catch (error) {
    await calls.close()
    throw error
  }
}

/** What etcd refused, as an error for people; `fine` says which refusal is an answer. */
async function orRefused<T>(
  calls: Calls,
  asked: Promise<T>,
  fine: (refusal: EtcdRefusal) => T | undefined = () => undefined,
): Promise<T> {
  try {
    return await asked
  } catch (error) {
    if (!(error instanceof EtcdRefusal)) throw error
    const answer = fine(error)
    if (answer !== undefined) return answer
    throw new Stage5Error('S5_ENGINE_REFUSED', `${calls.name}: ${error.message}`, {
      cause: error,
      data: { engine: calls.name, grpc: error.code },
    })
  }
}

/** Pages of one revision; when that is compacted underneath, from the start. */
async function list(calls: Calls, root: string, prefix: string): Promise<Snapshot> {
  for (;;) {
    const values: KeyValue[] = []
    let revision: bigint | undefined
    for (let more = true; more; ) {
      const request = rangeRequest(root + prefix, PAGE, lastKey(root, values), revision)
      const asked = calls.patiently<RangeAnswer>('/v3/kv/range', request)
      const page = await orRefused<RangeAnswer | 'compacted'>(calls, asked, ({ code }) =>
        code === GRPC.outOfRange && revision !== undefined ? 'compacted' : undefined,
      )
      if (page === 'compacted') break
      revision ??= revisionOf(page.header)
      for (const one of page.kvs ?? []) values.push(decodeKeyValue(root, one))
      more = page.more === true
      if (!more) return { values, revision }
    }
  }
}

function lastKey(root: string, values: readonly KeyValue[]): string | undefined {
  const last = values.at(-1)
  return last && root + last.key
}

function revisionOf(header: WireHeader | undefined): bigint {
  return BigInt(header?.revision ?? 0)
}

async function transact(
  calls: Calls,
  root: string,
  ...[compares, operations]: Parameters<Engine['transact']>
): ReturnType<Engine['transact']> {
  checkTransaction(compares, operations)
  const asked = calls.once<TxnAnswer>('/v3/kv/txn', txnRequest(root, compares, operations))
  // The only thing that a transaction can miss is the lease of a put.
  const answer = await orRefused<TxnAnswer | 'no lease'>(calls, asked, ({ code }) =>
    code === GRPC.notFound ? 'no lease' : undefined,
  )
  if (answer !== 'no lease') return { ok: answer.succeeded === true, revision: revisionOf(answer.header) }
  const { revision } = await list(calls, root, '/s5/none')
  return { ok: false, revision }
}

const RESUME_MS = 100
const RESUME_MOST_MS = 2000

async function* watch(
  calls: Calls,
  root: string,
  prefix: string,
  revision: bigint,
  signal: AbortSignal,
): AsyncGenerator<ChangeSet> {
  const over = AbortSignal.any([signal, calls.closed])
  let after = revision
  for (let pauseMs = RESUME_MS; !over.aborted; ) {
    try {
      const request = watchRequest(root + prefix, after)
      for await (const answer of calls.lines<WatchAnswer>('/v3/watch', request, over)) {
        mustGoOn(calls, answer, after)
        pauseMs = RESUME_MS
        for (const set of decodeEvents(root, answer)) {
          // A revision is complete in one answer, so it is done with as soon as it is given out.
          after = set.revision
          yield set
          if (over.aborted) return
        }
      }
    } catch (error) {
      if (over.aborted) return
      const isRefused = error instanceof EtcdRefusal && error.code !== GRPC.unauthenticated
      if (isRefused) await orRefused(calls, Promise.reject(error))
      if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE') && !(error instanceof EtcdRefusal)) throw error
    }
    await sleep(pauseMs * (0.5 + Math.random()), undefined, { signal: over }).catch(() => {})
    pauseMs = Math.min(pauseMs * 2, RESUME_MOST_MS)
  }
}

/** @throws S5_ENGINE_COMPACTED, S5_ENGINE_REFUSED */
function mustGoOn(calls: Calls, answer: WatchAnswer, after: bigint): void {
  if (!answer.canceled) return
  if (answer.compact_revision !== undefined && answer.compact_revision !== '0')
    throw new Stage5Error(
      'S5_ENGINE_COMPACTED',
      `${calls.name}: revision ${after} is no longer kept, the oldest is ${answer.compact_revision}`,
      { data: { engine: calls.name, revision: String(after), oldest: answer.compact_revision } },
    )
  throw new Stage5Error(
    'S5_ENGINE_REFUSED',
    `${calls.name}: watch ended: ${answer.cancel_reason ?? 'no reason given'}`,
    {
      data: { engine: calls.name },
    },
  )
}

async function compact(calls: Calls, revision: bigint): Promise<void> {
  const asked = calls.patiently<object>('/v3/kv/compaction', JSON.stringify({ revision: String(revision) }))
  await orRefused<object>(calls, asked, ({ code, message }) => {
    if (code !== GRPC.outOfRange) return undefined
    if (/future/.test(message)) throw new RangeError(`revision ${revision} is still to come`)
    return {}
  })
}
