/** The thread of an embedded engine: requests that arrive while one batch is synced make the next batch. */
import { readFileSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { machineMs } from '../host/clock.ts'
import { type Answers, type Ask, ForeignDatabase, openTables, type Tables } from './sqlite-tables.ts'

export type ToWorker =
  | { readonly kind: 'ask'; readonly id: number; readonly ask: Ask }
  /** Whether anyone wants to hear of new revisions. */
  | { readonly kind: 'watching'; readonly on: boolean }
  | { readonly kind: 'close' }

export type FromWorker =
  | { readonly kind: 'opened' }
  | { readonly kind: 'answer'; readonly id: number; readonly value: Answers[Ask['kind']] }
  | { readonly kind: 'failed'; readonly ids: readonly number[]; readonly failure: Failure }
  | { readonly kind: 'revision'; readonly revision: number }
  | { readonly kind: 'closed' }

export interface Failure {
  readonly message: string
  /** https://sqlite.org/rescode.html, the low byte; 0 for others. */
  readonly sqlite: number
  readonly isForeign: boolean
  readonly isBug: boolean
}

/** How soon a change of another process is seen. */
const POLL_MS = 20

const port = parentPort
if (port) serve(workerData as { path: string }, (message) => port.postMessage(message))

function serve({ path }: { path: string }, post: (message: FromWorker) => void): void {
  let tables: Tables
  try {
    tables = openTables(path, { bootId: bootId(), ms: machineMs })
  } catch (error) {
    post({ kind: 'failed', ids: [], failure: failureOf(error) })
    return
  }
  let queue: { readonly id: number; readonly ask: Ask }[] = []
  let told = tables.revision
  let polling: NodeJS.Timeout | undefined

  function flush(): void {
    const asked = queue
    queue = []
    try {
      const values = tables.batch(asked.map(({ ask }) => ask))
      for (const [at, { id }] of asked.entries())
        post({ kind: 'answer', id, value: values[at] as Answers[Ask['kind']] })
      if (tables.revision !== told) {
        told = tables.revision
        post({ kind: 'revision', revision: told })
      }
    } catch (error) {
      if (asked.length > 0)
        post({ kind: 'failed', ids: asked.map(({ id }) => id), failure: failureOf(error) })
    }
  }

  function poll(): void {
    try {
      if (tables.hasNews()) flush()
    } catch {
      // The next poll, or the next request, meets it again.
    }
  }

  port?.on('message', (message: ToWorker) => {
    if (message.kind === 'ask') {
      if (queue.length === 0) setImmediate(flush)
      queue.push(message)
    } else if (message.kind === 'watching') {
      clearInterval(polling)
      polling = message.on ? setInterval(poll, POLL_MS) : undefined
    } else {
      clearInterval(polling)
      if (queue.length > 0) flush()
      tables[Symbol.dispose]()
      post({ kind: 'closed' })
      port.close()
    }
  })
  post({ kind: 'opened' })
}

function failureOf(error: unknown): Failure {
  const { message, errcode } = error as { message?: string; errcode?: number }
  return {
    message: message ?? String(error),
    sqlite: (errcode ?? 0) % 256,
    isForeign: error instanceof ForeignDatabase,
    isBug: errcode === undefined && !(error instanceof ForeignDatabase),
  }
}

/** Where there is none the clock itself tells a new start: it begins again. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}
