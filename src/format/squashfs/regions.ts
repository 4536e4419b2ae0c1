/** Metadata regions and lookup tables of an image from anywhere, checked before they are believed. */
import { bufferOf, readStruct, sizeOf, type Struct } from '../../base/bytes.ts'
import { isStage5Error, refuse } from '../../base/errors.ts'
import { type SquashfsCodec, unpackBlockSync } from './codec.ts'
import { METADATA_RAW, METADATA_SIZE } from './layout.ts'

/** Reads exactly `length` bytes, or fewer at the end of the image. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>

/** The image being read: where from, how it is packed, and its name in messages. */
export interface Source {
  readonly read: ReadAt
  readonly codec: SquashfsCodec
  readonly file: string
}

/** Unpacked metadata of an image; a guess that leaves room for 10 million names. */
const MOST_METADATA = 2 ** 30

/** Blocks of metadata, unpacked and joined. */
export interface Region {
  readonly bytes: Buffer
  /** Where each block begins: from its position in the region to its offset in `bytes`, ascending. */
  readonly places: ReadonlyMap<number, number>
  /** Where a reference to block `start` and `offset` in it points in `bytes`. */
  at(start: number, offset: number): number
  /** @throws S5_ARCHIVE_REFUSED when the struct is not all there */
  struct<F extends string>(struct: Struct<F>, at: number): { readonly [field in F]: number }
  /** @throws S5_ARCHIVE_REFUSED when the bytes are not all there */
  slice(at: number, length: number): Buffer
}

/** @throws S5_ARCHIVE_REFUSED when fewer bytes are there */
export async function readExactly(source: Source, offset: number, length: number): Promise<Buffer> {
  const bytes = await source.read(offset, length)
  if (bytes.length !== length)
    throw refuse('truncated', source.file, `expected ${length} bytes at ${offset}, found ${bytes.length}`)
  return bufferOf(bytes)
}

/** The blocks from `from` up to `to`, absolute positions. */
export async function readRegion(source: Source, from: number, to: number): Promise<Region> {
  const { file } = source
  if (from < 0 || to < from || to - from > MOST_METADATA)
    throw refuse('layout', file, `metadata from ${from} to ${to} cannot be`)
  const stored = await readExactly(source, from, to - from)
  const blocks: Uint8Array[] = []
  const places = new Map<number, number>()
  let unpacked = 0
  for (let at = 0; at < stored.length; ) {
    const length = at + 2 <= stored.length ? stored.readUInt16LE(at) : 0
    const size = length & ~METADATA_RAW
    const end = at + 2 + size
    if (size === 0 || size > METADATA_SIZE || end > stored.length)
      throw refuse('layout', file, `the metadata block at ${from + at} has ${size} bytes`)
    const block = stored.subarray(at + 2, end)
    const bytes = length & METADATA_RAW ? block : unpack(source, block, METADATA_SIZE, from + at)
    places.set(at, unpacked)
    unpacked += bytes.length
    if (unpacked > MOST_METADATA)
      throw refuse('too-big', file, `more than ${MOST_METADATA} bytes of metadata`)
    blocks.push(bytes)
    at = end
  }
  return regionOf(file, Buffer.concat(blocks), places)
}

function regionOf(file: string, bytes: Buffer, places: ReadonlyMap<number, number>): Region {
  const within = (at: number, length: number): void => {
    if (at < 0 || length < 0 || at + length > bytes.length)
      throw refuse('truncated', file, `expected ${length} bytes of metadata at ${at} of ${bytes.length}`)
  }
  return {
    bytes,
    places,
    at: (start, offset) => {
      const place = places.get(start)
      if (place === undefined) throw refuse('layout', file, `no metadata block begins at ${start}`)
      return place + offset
    },
    struct: (struct, at) => {
      within(at, sizeOf(struct))
      return numbersOf(file, struct, bytes, at)
    },
    slice: (at, length) => {
      within(at, length)
      return bytes.subarray(at, at + length)
    },
  }
}

/** @throws S5_ARCHIVE_REFUSED when a field is too large for a number; the bytes must be there */
export function numbersOf<F extends string>(
  file: string,
  struct: Struct<F>,
  bytes: Buffer,
  at: number,
): { readonly [field in F]: number } {
  try {
    return readStruct(struct, bytes, at)
  } catch (error) {
    if (error instanceof RangeError) throw refuse('bad-size', file, error.message)
    throw error
  }
}

/** @throws S5_ARCHIVE_REFUSED when the bytes are damaged or unpack to more than `limit` */
export function unpack(source: Source, bytes: Uint8Array, limit: number, position: number): Uint8Array {
  try {
    return unpackBlockSync(source.codec, bytes, limit)
  } catch (error) {
    if (isStage5Error(error)) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw refuse('decompress', source.file, `the block at ${position} cannot be unpacked (${why})`)
  }
}

/**
 * A lookup table: `count` records of `size` bytes, whose block positions stand at `positionsAt`; the blocks end at `end`.
 * @returns the records and the absolute position of the first block
 */
export async function readLookup(
  source: Source,
  count: number,
  size: number,
  positionsAt: number,
  end: number = positionsAt,
): Promise<{ readonly records: Region; readonly start: number }> {
  const blocks = Math.ceil((count * size) / METADATA_SIZE)
  if (count * size > MOST_METADATA) throw refuse('too-big', source.file, `a table of ${count} records`)
  const positions = await readExactly(source, positionsAt, 8 * blocks)
  const start = blocks === 0 ? end : numbersOf(source.file, [['position', 0, 'u64']], positions, 0).position
  const records = await readRegion(source, start, end)
  if (records.bytes.length !== count * size)
    throw refuse(
      'layout',
      source.file,
      `expected ${count * size} bytes of records, found ${records.bytes.length}`,
    )
  return { records, start }
}
