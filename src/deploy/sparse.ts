/** Sparse files as values: what is no hole, so that a thousand copies cost one reading. */
import { open, stat } from 'node:fs/promises'
import type { Stretch } from '../host/pieces.ts'
import { findTool, run } from '../host/run.ts'

export interface SparseFile {
  readonly size: number
  readonly parts: readonly { readonly offset: number; readonly bytes: Uint8Array }[]
}

const STEP = 262_144

/** Everything that is not zero, in memory. */
export async function readSparse(path: string): Promise<SparseFile> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const parts: { offset: number; bytes: Uint8Array }[] = []
    const zeros = Buffer.alloc(STEP)
    const buffer = Buffer.allocUnsafe(STEP)
    for (let offset = 0; offset < size; ) {
      const { bytesRead } = await file.read(buffer, 0, STEP, offset)
      if (bytesRead === 0) break
      const bytes = buffer.subarray(0, bytesRead)
      if (bytes.compare(zeros, 0, bytesRead) !== 0) parts.push({ offset, bytes: Buffer.from(bytes) })
      offset += bytesRead
    }
    return { size, parts }
  } finally {
    await file.close()
  }
}

/** A file of fewer bytes is read in the time that asking takes. */
const WORTH_ASKING = 256 * 2 ** 20
/** More ranges than that are not worth an open file each. */
const MOST_RANGES = 256

/**
 * Outside of these ranges, ascending, a file has only holes. Node cannot ask for them, lseek(2) SEEK_DATA, and qemu-img
 * can; without it, and for small files, the whole file is the answer.
 */
export async function dataRanges(path: string, signal: AbortSignal): Promise<readonly Stretch[]> {
  const { size } = await stat(path)
  const whole = [{ offset: 0, length: size }]
  if (size < WORTH_ASKING || findTool('qemu-img') === undefined) return whole
  const { stdout } = await run(['qemu-img', 'map', '--output=json', '-f', 'raw', path], { signal })
  const mapped = JSON.parse(stdout.toString()) as readonly { start: number; length: number; zero: boolean }[]
  const ranges = mapped.filter(({ zero }) => !zero).map(({ start, length }) => ({ offset: start, length }))
  return ranges.length > MOST_RANGES ? whole : ranges
}

/** Makes or replaces `path`; the rest is holes. */
export async function writeSparse({ size, parts }: SparseFile, path: string): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    await file.truncate(size)
    for (const { offset, bytes } of parts) await file.write(bytes, 0, bytes.length, offset)
  } finally {
    await file.close()
  }
}
