/** The segments of an initrd, one behind the other as the kernel unpacks them: plain or compressed archives. */
import { crc32, inflateRawSync } from 'node:zlib'
import { isStage5Error, refuse, type Stage5Error } from '../base/errors.ts'
import { type CpioEntry, readCpio } from '../format/cpio.ts'
import { zstdFrameEnd } from '../format/zstd-extent.ts'
import { type Compression, compressionOf, decompress } from '../host/decompress.ts'
import { readNamed } from './named-file.ts'

interface InitrdSegment {
  /** Bytes in the file; the padding behind it is not counted. */
  readonly offset: number
  readonly length: number
  readonly compression: Compression
  readonly entries: readonly CpioEntry[]
}

export interface Initrd {
  readonly bytes: Uint8Array
  readonly segments: readonly InitrdSegment[]
}

/** An unpacked segment may have this many bytes. */
const MOST = 4 * 2 ** 30

/** @throws S5_FILE_MISSING, S5_ARCHIVE_REFUSED */
export async function readInitrd(path: string, shown: string, signal: AbortSignal): Promise<Initrd> {
  const bytes = await readNamed(path)
  const segments: InitrdSegment[] = []
  for (let at = 0; ; ) {
    while (at < bytes.length && bytes[at] === 0) at++
    if (at >= bytes.length) break
    signal.throwIfAborted()
    const { end, ...segment } = await segmentAt(bytes, at, shown, signal)
    segments.push({ offset: at, length: end - at, ...segment })
    at = end
  }
  if (segments.length === 0) throw refuse('truncated', shown, 'it is empty')
  return { bytes, segments }
}

type Found = Pick<InitrdSegment, 'compression' | 'entries'> & { readonly end: number }

async function segmentAt(bytes: Buffer, at: number, shown: string, signal: AbortSignal): Promise<Found> {
  const rest = bytes.subarray(at)
  if (rest.subarray(0, 6).toString('latin1') === '070701') {
    const { entries, end } = readCpio(bytes, shown, at)
    return { compression: 'none', entries, end }
  }
  const compression = compressionOf(rest)
  if (compression === 'none')
    throw refuse('magic', shown, `expected a cpio archive (newc), plain or compressed, at byte ${at}`)
  const { plain, end } = await unpacked(bytes, at, compression, shown, signal)
  const inside: CpioEntry[] = []
  for (let from = 0; ; ) {
    while (from < plain.length && plain[from] === 0) from++
    if (from >= plain.length) break
    const { entries, end: next } = readCpio(plain, shown, from)
    inside.push(...entries)
    from = next
  }
  return { compression, entries: inside, end }
}

async function unpacked(
  bytes: Buffer,
  at: number,
  compression: Compression,
  shown: string,
  signal: AbortSignal,
): Promise<{ plain: Buffer; end: number }> {
  if (compression === 'gz') return gunzipped(bytes, at, shown)
  let end = bytes.length
  if (compression === 'zst') {
    end = zstdFrameEnd(bytes, at, shown)
    while (compressionOf(bytes.subarray(end)) === 'zst') end = zstdFrameEnd(bytes, end, shown)
  }
  const parts: Uint8Array[] = []
  const input = (async function* () {
    yield bytes.subarray(at, end)
  })()
  try {
    for await (const part of decompress(input, compression, { file: shown, bytes: MOST }, signal))
      parts.push(part)
  } catch (error) {
    if (compression === 'zst' || !isStage5Error(error, 'S5_ARCHIVE_REFUSED')) throw error
    throw refuse(
      'trailing-data',
      shown,
      `the ${compression} segment at byte ${at} cannot be unpacked up to the end of the file, where it must end`,
    )
  }
  return { plain: Buffer.concat(parts), end }
}

/**
 * Members of gzip, one behind the other (RFC 1952). zlib says how much of its input it took, of raw deflate only: behind
 * a gzip member it would look for the next one.
 */
function gunzipped(bytes: Buffer, at: number, shown: string): { plain: Buffer; end: number } {
  const parts: Buffer[] = []
  let end = at
  do {
    const member = oneMember(bytes, end, shown)
    parts.push(member.plain)
    end = member.end
  } while (compressionOf(bytes.subarray(end)) === 'gz')
  return { plain: Buffer.concat(parts), end }
}

function oneMember(bytes: Buffer, at: number, shown: string): { plain: Buffer; end: number } {
  const bad = (why: string): Stage5Error =>
    refuse('decompress', shown, `the gzip segment at byte ${at}: ${why}`)
  const body = deflateStart(bytes, at)
  let found: { buffer: Buffer; engine: { bytesWritten: number } }
  try {
    found = inflateRawSync(bytes.subarray(body), { info: true, maxOutputLength: MOST }) as never
  } catch (cause) {
    throw bad((cause as Error).message)
  }
  const trailer = body + found.engine.bytesWritten
  if (trailer + 8 > bytes.length) throw bad('it is cut off')
  if (bytes.readUInt32LE(trailer) !== crc32(found.buffer)) throw bad('its checksum is wrong')
  return { plain: found.buffer, end: trailer + 8 }
}

/** Where the compressed bytes begin: behind ten bytes and the fields that the flags name. */
function deflateStart(bytes: Buffer, at: number): number {
  const flags = bytes[at + 3] ?? 0
  let start = at + 10
  if ((flags & 4) !== 0) start += 2 + (bytes[start] ?? 0) + 256 * (bytes[start + 1] ?? 0) // FEXTRA
  for (const flag of [8, 16]) if ((flags & flag) !== 0) start = bytes.indexOf(0, start) + 1 // FNAME, FCOMMENT
  return start + ((flags & 2) === 0 ? 0 : 2) // FHCRC
}
