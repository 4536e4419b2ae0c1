/** The engine of one machine: a file of SQLite (WAL, synchronous=FULL), open in any number of its processes at once. */
import { mkdirSync, statfsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Code, Stage5Error } from '../base/errors.ts'
import { startThread } from '../host/thread.ts'
import { checkSeconds, checkTransaction, MAX_OPERATIONS } from './check.ts'
import type { ChangeSet, Engine } from './engine.ts'
import { takeLead } from './lead.ts'
import type { Answers, Ask } from './sqlite-tables.ts'
import type { Failure, FromWorker, ToWorker } from './sqlite-worker.ts'
import { mustBeStore, readOrMakeStoreId } from './store-id.ts'

interface SqliteOptions {
  /** The id that this store must have. */
  readonly storeId?: string | undefined
}

/**
 * @param path the database, made when missing, with its folder
 * @throws S5_ENGINE_OTHER when the file is no store of a fleet, is one with another id, or lies where other machines
 * can reach it; S5_DISK_FULL, S5_DISK_FAILED, S5_FILE_FORBIDDEN
 */
export async function openSqliteEngine(path: string, options: SqliteOptions = {}): Promise<Engine> {
  const thread = await startDatabase(resolve(path))
  const { ask } = thread

  async function* watch(prefix: string, revision: bigint, signal: AbortSignal): AsyncGenerator<ChangeSet> {
    const polling = thread.watching()
    try {
      for (let after = revision; !signal.aborted && !thread.isClosed(); ) {
        const { compacted, sets, upTo } = await ask('changes', { kind: 'changes', prefix, after })
        if (compacted)
          throw new Stage5Error('S5_ENGINE_COMPACTED', `${path}: revision ${after} is no longer kept`, {
            data: { path, revision: String(after) },
          })
        for (const set of sets) {
          yield set
          if (signal.aborted) return
        }
        if (upTo > after) after = upTo
        else await thread.newer(Number(after), signal)
      }
    } catch (error) {
      if (!thread.isClosed()) throw error
    } finally {
      polling[Symbol.dispose]()
    }
  }

  const primitives = {
    list: (prefix: string) => ask('list', { kind: 'list', prefix }),
    transact: async (...[compares, operations]: Parameters<Engine['transact']>) => {
      checkTransaction(compares, operations)
      return await ask('transact', { kind: 'transact', compares, operations })
    },
    watch,
    grantLease: async (seconds: number) => {
      checkSeconds(seconds)
      return await ask('grant', { kind: 'grant', seconds })
    },
    renewLease: (lease: string) => ask('renew', { kind: 'renew', lease }),
    revokeLease: (lease: string) => ask('revoke', { kind: 'revoke', lease }),
  }
  try {
    const storeId = await readOrMakeStoreId(primitives)
    mustBeStore(path, options.storeId, storeId)
    return {
      ...primitives,
      storeId,
      maxOperations: MAX_OPERATIONS,
      lead: (name, ttlSeconds, signal) => takeLead(primitives, name, ttlSeconds, signal),
      compact: async (revision) => {
        if (!(await ask('compact', { kind: 'compact', revision })))
          throw new RangeError(`revision ${revision} is still to come`)
      },
      [Symbol.asyncDispose]: thread.close,
    }
  } catch (error) {
    await thread.close()
    throw error
  }
}

interface Thread {
  readonly ask: <K extends Ask['kind']>(kind: K, ask: Ask & { kind: K }) => Promise<Answers[K]>
  /** Until disposed of, changes of other processes are looked for. */
  readonly watching: () => Disposable
  /** Waits for a revision after this one, for `signal`, or for the end. */
  readonly newer: (revision: number, signal: AbortSignal) => Promise<void>
  readonly isClosed: () => boolean
  readonly close: () => Promise<void>
}

interface Pending {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

async function startDatabase(path: string): Promise<Thread> {
  makeFolder(path)
  const worker = startThread('./sqlite-worker', import.meta.url, { workerData: { path } })
  const pending = new Map<number, Pending>()
  const news = new Set<() => void>()
  let ended: Error | undefined
  let revision = 0
  let lastId = 0
  let watchers = 0
  let isClosing = false

  const post = (message: ToWorker): void => worker.postMessage(message)
  /** The thread keeps the process alive while someone waits for it. */
  const keep = (): void => {
    if (pending.size > 0 || watchers > 0 || isClosing) worker.ref()
    else worker.unref()
  }
  const wake = (): void => {
    for (const tell of [...news]) tell()
  }
  const end = (why: Error): void => {
    ended ??= why
    for (const { reject } of pending.values()) reject(ended)
    pending.clear()
    wake()
  }

  const opened = new Promise<void>((resolvePromise, reject) => {
    worker.on('message', (message: FromWorker) => {
      switch (message.kind) {
        case 'opened':
          return resolvePromise()
        case 'answer':
          pending.get(message.id)?.resolve(message.value)
          pending.delete(message.id)
          return keep()
        case 'failed': {
          const error = errorOf(path, message.failure)
          if (message.ids.length === 0) return reject(error)
          for (const id of message.ids) {
            pending.get(id)?.reject(error)
            pending.delete(id)
          }
          return keep()
        }
        case 'revision':
          revision = message.revision
          return wake()
        case 'closed':
          return end(new Error(`${path}: the engine was closed`))
      }
    })
    worker.on('error', (error) => {
      reject(error)
      end(error)
    })
  })
  const exited = new Promise<void>((resolvePromise) => {
    worker.on('exit', () => {
      end(new Error(`${path}: the thread of the engine ended`))
      resolvePromise()
    })
  })
  try {
    await opened
  } catch (error) {
    await worker.terminate()
    throw error
  }
  keep()

  return {
    ask: (_kind, ask) =>
      new Promise((resolvePromise, reject) => {
        if (ended) return reject(ended)
        const id = ++lastId
        pending.set(id, { resolve: resolvePromise as (value: unknown) => void, reject })
        keep()
        post({ kind: 'ask', id, ask })
      }),
    watching: () => {
      if (++watchers === 1) post({ kind: 'watching', on: true })
      keep()
      return {
        [Symbol.dispose]: () => {
          if (--watchers === 0 && !ended) post({ kind: 'watching', on: false })
          keep()
        },
      }
    },
    newer: (than, signal) =>
      new Promise((resolvePromise) => {
        const tell = (): void => {
          if (revision <= than && !signal.aborted && !ended) return
          news.delete(tell)
          signal.removeEventListener('abort', tell)
          resolvePromise()
        }
        news.add(tell)
        signal.addEventListener('abort', tell)
        tell()
      }),
    isClosed: () => ended !== undefined,
    close: async () => {
      if (!ended && !isClosing) {
        isClosing = true
        keep()
        post({ kind: 'close' })
      }
      await exited
    },
  }
}

/** SMB, CIFS, NFS, Ceph, AFS: magic numbers of statfs(2). */
const NETWORK_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0x517b, 0xff534d42, 0xfe534d42, 0x6969, 0x00c36400, 0x5346414f,
])

/** A file that two machines reach looks like a shared store and is none: locks and shared memory end at the machine. */
export function isNetworkFileSystem(type: number): boolean {
  return NETWORK_FILE_SYSTEMS.has(type >>> 0)
}

function makeFolder(path: string): void {
  const folder = dirname(path)
  let type: number
  try {
    mkdirSync(folder, { recursive: true })
    type = statfsSync(folder).type
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const ours = code === 'EACCES' || code === 'EPERM' ? 'S5_FILE_FORBIDDEN' : 'S5_DISK_FAILED'
    throw new Stage5Error(ours, `${folder}: ${message}`, { cause, data: { path: folder } })
  }
  if (isNetworkFileSystem(type))
    throw new Stage5Error('S5_ENGINE_OTHER', `${path} lies on a network file system`, {
      hint: 'keep it on a disk of this machine, or use etcd: --engine etcd://HOST:2379',
      data: { path },
    })
}

/** https://sqlite.org/rescode.html */
const CODE_OF_SQLITE: Readonly<Record<number, Code>> = {
  5: 'S5_ENGINE_UNAVAILABLE',
  6: 'S5_ENGINE_UNAVAILABLE',
  8: 'S5_FILE_FORBIDDEN',
  10: 'S5_DISK_FAILED',
  11: 'S5_ENGINE_OTHER',
  13: 'S5_DISK_FULL',
  14: 'S5_DISK_FAILED',
  26: 'S5_ENGINE_OTHER',
}

function errorOf(path: string, { message, sqlite, isForeign, isBug }: Failure): Error {
  if (isBug) return new Error(message)
  const code = isForeign ? 'S5_ENGINE_OTHER' : (CODE_OF_SQLITE[sqlite] ?? 'S5_DISK_FAILED')
  const what = isForeign ? `expected the store of a fleet, found ${message}` : message
  return new Stage5Error(code, `${path}: ${what}`, { data: { path, sqlite } })
}
