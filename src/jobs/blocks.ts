/**
 * Compressed blocks: from the store when they were made before, else from worker threads that read their input from the
 * store's files, several blocks a message; a message and a wake-up cost as much as packing a block at a low level.
 */
import type { Digest } from '../base/digest.ts'
import type { Limit } from '../base/limit.ts'
import type { Codec } from '../emit/emitter.ts'
import type { Packed, PartBlocks, Remembered } from '../emit/squashfs.ts'
import type { Part } from '../emit/squashfs-plan.ts'
import { RUN_DIGEST, runDigest } from '../format/delta.ts'
import { compressBlock } from '../format/squashfs/codec.ts'
import type { Pool } from '../host/pool.ts'
import type { FoundBlock, Place } from '../store/store.ts'
import type { CompressOutput } from './messages.ts'
import { openPartReader, type Ranges } from './parts.ts'
import { openThreads } from './threads.ts'

/** The part of the store that remembers compressed blocks. */
interface BlockCache {
  get(key: string): Uint8Array | undefined
  /** Absent where reading into memory of the caller is no gain. */
  find?(key: string): FoundBlock | undefined
  put(key: string, bytes: Uint8Array): void
}

/** The part of the store that knows where bodies lie. */
interface BodyFiles {
  readonly locate: (content: Digest) => Place | undefined
  readonly readSync: (content: Digest) => Uint8Array
}

interface OpenBlocks extends PartBlocks, AsyncDisposable {
  readonly counts: { hits: number; misses: number; bytesCompressed: number }
  /** Ends the threads, each of which keeps up to 90 MiB of garbage; packing again starts others. None may be at work. */
  endThreads(): Promise<void>
}

/** Part of every key: the library decides the bytes. */
const LIBRARY: { readonly [codec in Codec]: string } = {
  zstd: `zstd-${process.versions['zstd']}`,
  gzip: `zlib-${process.versions['zlib']}`,
}

/** Input that is packed before threads are started: they take 110 to 130 ms each. */
const WORTH_THREADS = 8 << 20
/** Input of one message. */
const BATCH = 1 << 20

/** What is remembered of a block: its stored bytes, then the digest of its run. */
interface Made {
  readonly entry: Uint8Array
  readonly isRaw: boolean
}

interface Waiting {
  readonly codec: Codec
  readonly level: number
  readonly ranges: Ranges
  readonly resolve: (made: Made) => void
  readonly reject: (error: unknown) => void
}

/**
 * @param limit bounds compressions in flight on this process's own threads: each holds its input, its output and a
 *   context (about 4 MiB at zstd 15 for blocks of 128 KiB)
 * @param threads worker threads, started when there is much to do
 */
export function openBlocks(
  cache: BlockCache,
  bodies: BodyFiles,
  limit: Limit,
  threads: number,
  signal: AbortSignal,
): OpenBlocks {
  const counts = { hits: 0, misses: 0, bytesCompressed: 0 }
  const reader = openPartReader()
  let pool: Pool | undefined
  let waiting: Waiting[] = []
  let waitingBytes = 0
  let flushing: NodeJS.Immediate | undefined

  function flush(): void {
    clearImmediate(flushing)
    flushing = undefined
    const batch = waiting
    waiting = []
    waitingBytes = 0
    if (batch.length > 0) void send(batch)
  }

  async function send(batch: readonly Waiting[]): Promise<void> {
    try {
      const { codec, level } = batch[0] as Waiting
      const input = { codec, level, blocks: batch.map(({ ranges }) => ranges) }
      pool ??= openThreads(threads)
      const { bytes, sizes } = (await pool.run({ kind: 'compress', input }, signal)) as CompressOutput
      let at = 0
      for (const [index, { resolve }] of batch.entries()) {
        const size = sizes[index] as number
        const end = at + RUN_DIGEST + Math.abs(size)
        resolve({ entry: bytes.subarray(at, end), isRaw: size < 0 })
        at = end
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  function onThread(codec: Codec, level: number, ranges: Ranges): Promise<Made> {
    return new Promise((resolve, reject) => {
      const first = waiting[0]
      if (first && (first.codec !== codec || first.level !== level)) flush()
      waiting.push({ codec, level, ranges, resolve, reject })
      waitingBytes += ranges.length
      if (waitingBytes >= BATCH) flush()
      else flushing ??= setImmediate(flush)
    })
  }

  function pack(
    codec: Codec,
    level: number,
    ranges: Ranges | undefined,
    parts: readonly Part[],
  ): Promise<Made> {
    counts.bytesCompressed += lengthOf(parts)
    if (ranges && threads > 1 && counts.bytesCompressed > WORTH_THREADS) return onThread(codec, level, ranges)
    return limit(async () => {
      const input = gathered(ranges, parts)
      const bytes = await compressBlock(codec, level, input)
      const isRaw = bytes.length >= input.length
      const stored = isRaw ? input : bytes
      return { entry: Buffer.concat([stored, runDigest(stored)]), isRaw }
    })
  }

  function reading(found: FoundBlock, parts: readonly Part[]): Remembered['read'] {
    return (into) => {
      if (!found.read(into)) return undefined
      counts.hits++
      const { bytes, digest } = split(into.subarray(0, found.size))
      if (bytes.length > 0) return { bytes, isRaw: false, digest }
      const input = gathered(rangesOf(bodies, parts), parts)
      into.set(input, RUN_DIGEST)
      return { bytes: into.subarray(RUN_DIGEST, RUN_DIGEST + input.length), isRaw: true, digest }
    }
  }

  /** Bytes of their own. */
  function gathered(ranges: Ranges | undefined, parts: readonly Part[]): Uint8Array {
    if (ranges) return Uint8Array.from(reader.gather(ranges))
    return Buffer.concat(
      parts.map(({ content, offset, length }) => bodies.readSync(content).subarray(offset, offset + length)),
    )
  }

  async function endThreads(): Promise<void> {
    const ended = pool
    pool = undefined
    await ended?.[Symbol.asyncDispose]()
  }

  return {
    counts,
    endThreads,
    compress: async (codec, level, key, read) => {
      const name = key === undefined ? undefined : `${LIBRARY[codec]}:${level}:${key}`
      const found = name === undefined ? undefined : cache.get(name)
      if (found) {
        counts.hits++
        return found
      }
      counts.misses++
      const packed = await limit(async () => compressBlock(codec, level, await read()))
      if (name !== undefined) cache.put(name, packed)
      return packed
    },
    remembered: (codec, level, key, parts) => {
      const found = cache.find?.(nameOf(codec, level, key))
      if (!found) return undefined
      const isRaw = found.size === RUN_DIGEST
      const input = isRaw ? lengthOf(parts) : 0
      return {
        size: isRaw ? input : found.size - RUN_DIGEST,
        isRaw,
        room: found.size + input,
        digest: () => found.tail(RUN_DIGEST),
        read: reading(found, parts),
      }
    },
    compressParts: async (codec, level, key, parts) => {
      const name = nameOf(codec, level, key)
      const found = cache.get(name)
      if (found) {
        counts.hits++
        const { bytes, digest } = split(found)
        if (bytes.length > 0) return { bytes, isRaw: false, digest }
        return { bytes: gathered(rangesOf(bodies, parts), parts), isRaw: true, digest }
      }
      counts.misses++
      const { entry, isRaw } = await pack(codec, level, rangesOf(bodies, parts), parts)
      // The input of a block that is stored as it is, is in the store already.
      cache.put(name, isRaw ? entry.subarray(-RUN_DIGEST) : entry)
      return { ...split(entry), isRaw }
    },
    [Symbol.asyncDispose]: async () => {
      clearImmediate(flushing)
      reader[Symbol.dispose]()
      await endThreads()
    },
  }
}

function split(entry: Uint8Array): Pick<Packed, 'bytes'> & { readonly digest: Uint8Array } {
  const end = entry.length - RUN_DIGEST
  return { bytes: entry.subarray(0, end), digest: entry.subarray(end) }
}

function nameOf(codec: Codec, level: number, key: string): string {
  return `${LIBRARY[codec]}:${level}:stored:${key}`
}

function lengthOf(parts: readonly Part[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0)
}

/** @returns undefined when a body is not in a file yet */
function rangesOf(bodies: BodyFiles, parts: readonly Part[]): Ranges | undefined {
  const files: string[] = []
  const runs = new Float64Array(3 * parts.length)
  let at = 0
  for (const { content, offset, length } of parts) {
    const place = bodies.locate(content)
    if (!place) return undefined
    let file = files.lastIndexOf(place.path)
    if (file < 0) file = files.push(place.path) - 1
    runs[at++] = file
    runs[at++] = place.offset + offset
    runs[at++] = length
  }
  return { files, runs, length: lengthOf(parts) }
}
