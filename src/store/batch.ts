/** Records and small objects that are published together: one transaction for many, begun by the first. */
import { setImmediate } from 'node:timers/promises'
import type { Digest } from '../base/digest.ts'
import type { Kind } from './segment.ts'
import type { RecordTransaction } from './transaction.ts'

interface Batch extends AsyncDisposable {
  put(kind: Kind, key: string, bytes: Uint8Array): void
  /** What was put and is not published yet. */
  peek(kind: Kind, key: string): Buffer | undefined
  has(content: Digest): boolean
  /** Bytes that wait. */
  readonly bytes: number
  /** Resolves when all that was put before is durable. Calls that come together share one transaction. */
  readonly flush: () => Promise<void>
}

export function createBatch(begin: () => RecordTransaction): Batch {
  let waiting: RecordTransaction | undefined
  let committing: RecordTransaction | undefined
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined

  async function publish(): Promise<void> {
    // Whoever puts something in this turn of the event loop comes along.
    await setImmediate()
    await running.catch(() => {})
    next = undefined
    if (waiting === undefined) return
    committing = waiting
    waiting = undefined
    running = committing.commit()
    try {
      await running
    } finally {
      committing = undefined
    }
  }

  return {
    put: (kind, key, bytes) => {
      waiting ??= begin()
      waiting.put(kind, key, bytes)
    },
    peek: (kind, key) => waiting?.peek(kind, key) ?? committing?.peek(kind, key),
    has: (content) => waiting?.has(content) === true || committing?.has(content) === true,
    get bytes() {
      return waiting?.bytes ?? 0
    },
    flush: () => {
      if (next === undefined && waiting === undefined && committing === undefined) return Promise.resolve()
      next ??= publish()
      return next
    },
    [Symbol.asyncDispose]: async () => {
      await running.catch(() => {})
      await waiting?.[Symbol.asyncDispose]()
      waiting = undefined
    },
  }
}
