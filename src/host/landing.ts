/** Where a download lands: counted, hashed while it arrives, and visible under its name only when whole and right. */
import { createHash, randomBytes, type Hash } from 'node:crypto'
import { open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { isAlive } from './processes.ts'

export type Sums = { readonly [algorithm in 'md5' | 'sha1' | 'sha256' | 'sha512' | 'blake2b']?: string }

export interface Landing {
  /** Bytes so far. */
  readonly received: number
  write(bytes: Uint8Array): Promise<void>
  /** Throws away what arrived. */
  restart(): Promise<void>
}

export interface FileLanding extends Landing {
  /**
   * Checks size and sums, syncs and renames to the target; `mtime` in seconds.
   * @throws S5_DIGEST_MISMATCH
   */
  commit(mtime: number): Promise<void>
  /** Leaves the bytes for a later run to go on from, where their sums are known. */
  leave(): Promise<void>
  discard(): Promise<void>
}

interface Expected {
  readonly name: string
  readonly size: number | undefined
  readonly sums: Sums
}

const NODE_NAMES = {
  sha512: 'sha512',
  sha256: 'sha256',
  blake2b: 'blake2b512',
  sha1: 'sha1',
  md5: 'md5',
} as const

/** The sums worth computing: sha256 alone where it is known, since the weaker ones add nothing; else all. */
function hashesFor(sums: Sums): Map<keyof Sums, Hash> {
  const known = (Object.keys(NODE_NAMES) as (keyof Sums)[]).filter((name) => sums[name] !== undefined)
  const wanted = known.includes('sha256') ? (['sha256'] as const) : known
  return new Map(wanted.map((name) => [name, createHash(NODE_NAMES[name])]))
}

/** @throws S5_DIGEST_MISMATCH naming both values */
function compare(expected: Expected, size: number, hashes: ReadonlyMap<keyof Sums, Hash>): void {
  const { name } = expected
  if (expected.size !== undefined && size !== expected.size)
    throw new Stage5Error(
      'S5_DIGEST_MISMATCH',
      `${name}: size: expected ${expected.size} bytes, found ${size}`,
      { data: { reason: 'size', file: name, expected: expected.size, actual: size } },
    )
  for (const [algorithm, hash] of hashes) {
    const actual = hash.digest('hex')
    const wanted = (expected.sums[algorithm] as string).toLowerCase()
    if (actual !== wanted)
      throw new Stage5Error(
        'S5_DIGEST_MISMATCH',
        `${name}: digest: expected ${algorithm} ${wanted}, found ${actual}`,
        { data: { reason: 'digest', file: name, expected: wanted, actual } },
      )
  }
}

/** Whether `file` is there with this size and these sums; a file of which nothing is known is never right. */
export async function isRight(file: string, expected: Expected): Promise<boolean> {
  const hashes = hashesFor(expected.sums)
  if (hashes.size === 0) return false
  let handle: FileHandle
  try {
    handle = await open(file, 'r')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
  try {
    const { size } = await handle.stat()
    if (expected.size !== undefined && size !== expected.size) return false
    for await (const chunk of chunksOf(handle)) for (const hash of hashes.values()) hash.update(chunk)
    compare(expected, size, hashes)
    return true
  } catch (error) {
    if (error instanceof Stage5Error) return false
    throw error
  } finally {
    await handle.close()
  }
}

/** A landing in memory. */
export function memoryLanding(): Landing & { bytes(): Uint8Array } {
  let chunks: Uint8Array[] = []
  let received = 0
  return {
    get received() {
      return received
    },
    write(bytes) {
      chunks.push(bytes)
      received += bytes.length
      return Promise.resolve()
    },
    restart() {
      chunks = []
      received = 0
      return Promise.resolve()
    },
    bytes: () => Buffer.concat(chunks, received),
  }
}

/**
 * Opens `TARGET.PID-RANDOM.partial`, first taking over what a process that is gone has left.
 *
 * Each process writes to a name of its own, so two of them never share a file. Taking over is a rename: were its old
 * owner alive after all (another PID namespace), both would write equal bytes to equal places. Only a file with known
 * sums is taken over, because nothing else tells whether the rest still belongs to it.
 */
export async function fileLanding(target: string, expected: Expected): Promise<FileLanding> {
  const partial = `${target}.${process.pid}-${randomBytes(4).toString('hex')}.partial`
  const adopted = Object.keys(expected.sums).length > 0 && (await adopt(target, partial))
  const handle = await open(partial, adopted ? 'r+' : 'wx+', 0o644)
  let received = 0
  let hashes = hashesFor(expected.sums)
  if (adopted)
    for await (const chunk of chunksOf(handle)) {
      for (const hash of hashes.values()) hash.update(chunk)
      received += chunk.length
    }
  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw diskFull(error, target)
    }
  }
  const restart = () =>
    guard(async () => {
      await handle.truncate(0)
      received = 0
      hashes = hashesFor(expected.sums)
    })
  if (expected.size !== undefined && received > expected.size) await restart()
  return {
    get received() {
      return received
    },
    write: (bytes) =>
      guard(async () => {
        for (let done = 0; done < bytes.length; ) {
          const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, received + done)
          done += bytesWritten
        }
        for (const hash of hashes.values()) hash.update(bytes)
        received += bytes.length
      }),
    restart,
    commit: (mtime) =>
      guard(async () => {
        compare(expected, received, hashes)
        await handle.utimes(mtime, mtime)
        await handle.sync()
        await handle.close()
        await rename(partial, target)
      }),
    async leave() {
      await handle.close()
      if (received === 0 || hashes.size === 0) await rm(partial, { force: true })
    },
    async discard() {
      await handle.close()
      await rm(partial, { force: true })
    },
  }
}

async function adopt(target: string, partial: string): Promise<boolean> {
  const prefix = `${basename(target)}.`
  const left: { path: string; size: number }[] = []
  for (const entry of await readdir(dirname(target))) {
    const owner = entry.startsWith(prefix) && /^(\d+)-[0-9a-f]+\.partial$/.exec(entry.slice(prefix.length))
    if (!owner || isOthers(Number(owner[1]))) continue
    const path = join(dirname(target), entry)
    const size = await stat(path).then(
      (found) => found.size,
      () => -1,
    )
    left.push({ path, size })
  }
  left.sort((a, b) => b.size - a.size)
  const [longest, ...others] = left
  for (const other of others) await rm(other.path, { force: true })
  if (longest === undefined) return false
  try {
    await rename(longest.path, partial)
    return true
  } catch {
    return false
  }
}

function isOthers(pid: number): boolean {
  return pid !== process.pid && isAlive(pid)
}

async function* chunksOf(handle: FileHandle): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(1 << 18)
  for (let position = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position)
    if (bytesRead === 0) return
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

export function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined
  return typeof code === 'string' ? code : ''
}

function diskFull(error: unknown, target: string): unknown {
  if (codeOf(error) !== 'ENOSPC' && codeOf(error) !== 'EDQUOT') return error
  return new Stage5Error('S5_DISK_FULL', `no space left for ${target}`, {
    cause: error,
    data: { file: target },
  })
}
