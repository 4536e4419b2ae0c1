/** One package file to a tree and contents in the store: the same work here or on a worker thread. */
import type { Digest } from '../base/digest.ts'
import type { Pool } from '../host/pool.ts'
import { unpackGentoo } from '../repo/unpack-gentoo.ts'
import { unpackDeb, unpackNative } from '../repo/unpack.ts'
import { bodiesIn, type Store, type Transaction } from '../store/store.ts'
import { parseTree, printTree } from '../tree/text.ts'
import type { Bodies } from '../tree/bodies.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import type { IngestInput, IngestOutput } from './messages.ts'
import { openThreads } from './threads.ts'

/** Below this, starting threads (110 to 130 ms each) costs more than they save. */
const WORTH_THREADS = 16 << 20

/** Threads for unpacking files of so many bytes, on their way already, or none when there is little to do. */
export function openIngest(files: readonly number[], threads: number, store: Store): Pool | undefined {
  const bytes = files.reduce((sum, size) => sum + size, 0)
  if (bytes < WORTH_THREADS || threads < 2) return undefined
  const pool = openThreads(Math.min(threads, files.length), store.path)
  pool.warm()
  return pool
}

/**
 * Unpacks `file` into `transaction`; the contents exist for others when it commits.
 * @throws S5_ARCHIVE_REFUSED and what reading and writing can throw
 */
export async function ingest(
  pool: Pool | undefined,
  transaction: Transaction,
  store: Store,
  job: Omit<IngestInput, 'staging' | 'store'>,
  signal: AbortSignal,
): Promise<Unpacked> {
  if (!pool) return await unpack(job, transaction.directory, transaction.bodies, signal)
  const input: IngestInput = { ...job, staging: transaction.directory, store: store.path }
  const { tree, control, written } = (await pool.run({ kind: 'ingest', input }, signal)) as IngestOutput
  transaction.add(written)
  return { tree: parseTree(tree), control }
}

/** The side of the worker thread. */
export async function ingestHere(
  input: IngestInput,
  has: (content: Digest) => boolean,
): Promise<IngestOutput> {
  using bodies = bodiesIn(input.staging, has)
  const { tree, control } = await unpack(input, input.staging, bodies, new AbortController().signal)
  return { tree: printTree(tree), control, written: bodies.list() }
}

function unpack(
  job: Omit<IngestInput, 'staging' | 'store'>,
  scratch: string,
  bodies: Bodies,
  signal: AbortSignal,
): Promise<Unpacked> {
  const { kind, file, label, expect, trust } = job
  switch (kind) {
    case 'deb':
      return unpackDeb(file, bodies, { label, expect, scratch, signal })
    case 'native':
      return unpackNative(file, bodies, { label, signal })
    case 'gentoo':
      return unpackGentoo(file, bodies, { label, expect, signal, ...(trust && { trust }) })
  }
}
