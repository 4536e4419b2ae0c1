/** Directory listings: runs of entries that share an inode block, and the index that finds a run by name. */
import { writeStruct } from '../../base/bytes.ts'
import { DIR_INDEX, LISTED, LISTING_EXTRA, RUN, RUN_LIMIT } from './layout.ts'
import { type MetadataWriter, metadataWriter } from './metadata.ts'
import type { SquashfsCodec } from './codec.ts'

export interface Listed {
  /** Byte string. */
  readonly name: string
  readonly number: number
  /** Inode block and offset in it. */
  readonly start: number
  readonly offset: number
  /** Basic type. */
  readonly type: number
}

/** Where a listing is, as its directory inode says it. */
export interface Listing {
  readonly start: number
  readonly offset: number
  /** With the 3 bytes of `.` and `..`. */
  readonly size: number
  /** Index records, ready to follow the inode, and how many they are. */
  readonly index: Buffer
  readonly indexes: number
}

interface DirectoryWriter {
  /** Entries in byte order of their names. */
  list(entries: readonly Listed[]): Listing
  finish(): { readonly blocks: readonly Uint8Array[]; readonly length: number }
}

/** Index counts are 16 bits; a directory that needs more is searched from its last indexed run on. */
const INDEX_LIMIT = 0xffff
const NO_INDEX = Buffer.alloc(0)

export function directoryWriter(codec: SquashfsCodec, level: number): DirectoryWriter {
  const metadata = metadataWriter(codec, level)
  const scratch = Buffer.alloc(512)
  return {
    list: (entries) => list(metadata, scratch, entries),
    finish: () => metadata.finish(),
  }
}

function list(metadata: MetadataWriter, scratch: Buffer, entries: readonly Listed[]): Listing {
  const { start, offset } = metadata
  const index: Buffer[] = []
  let size = 0
  let block = start
  for (let from = 0; from < entries.length; ) {
    const head = entries[from] as Listed
    if (metadata.start !== block && index.length < INDEX_LIMIT) {
      block = metadata.start
      index.push(indexRecord(size, block, head.name))
    }
    const count = runLength(entries, from, metadata.offset)
    writeStruct(RUN, { count: count - 1, start: head.start, number: head.number }, scratch, 0)
    metadata.write(scratch, 12)
    size += 12
    for (const entry of entries.slice(from, from + count)) {
      const { name, offset: inodeOffset, type } = entry
      const delta = entry.number - head.number
      writeStruct(LISTED, { offset: inodeOffset, delta, type, size: name.length - 1 }, scratch, 0)
      scratch.write(name, 8, 'latin1')
      metadata.write(scratch, 8 + name.length)
      size += 8 + name.length
    }
    from += count
  }
  return {
    start,
    offset,
    size: size + LISTING_EXTRA,
    index: index.length === 0 ? NO_INDEX : Buffer.concat(index),
    indexes: index.length,
  }
}

/**
 * How many entries from `from` on share one head: "every time the inode block changes or the difference of the inode
 * number cannot be encoded in 16 bits anymore, a new header is emitted", at most 256, and a new one where the listing
 * has entered another directory block (`at`: bytes of the block in use), so that the index can point there.
 */
function runLength(entries: readonly Listed[], from: number, at: number): number {
  const head = entries[from] as Listed
  let end = at + 12
  let count = 0
  for (let next = from; next < entries.length && count < RUN_LIMIT; next++, count++) {
    const { start, number, name } = entries[next] as Listed
    const delta = number - head.number
    if (start !== head.start || delta > 0x7fff || delta < -0x8000) break
    if (end >= 8192 && count > 0) break
    end += 8 + name.length
  }
  return count
}

function indexRecord(index: number, start: number, name: string): Buffer {
  const record = Buffer.alloc(12 + name.length)
  writeStruct(DIR_INDEX, { index, start, size: name.length - 1 }, record, 0)
  record.write(name, 12, 'latin1')
  return record
}
