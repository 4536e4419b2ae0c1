/**
 * The index of a segment: which keys its files hold, and where.
 *
 * A segment is a directory that appears whole, by one rename, and is never changed after. Small payloads lie end to
 * end in pack files, large ones have a file each. The index is little endian:
 *
 *   0   16  "stage5 segment 1"
 *   16   4  entries
 *   20   4  bytes of file names
 *   24   n  file names, joined by newlines, padded with zeros to a multiple of 64 from the start of the index
 *   …   64  each entry: key 32, kind 4, file number 4, offset 8, size 8, sum 4, zero 4
 *   end 32  SHA-256 of all before
 */
import { hash } from 'node:crypto'

/**
 * What a key stands for. Objects are keyed by the SHA-256 of their bytes; the others are records about something,
 * except files to hard-link to: `link` for plain ones, keyed by their bytes, `odd` for symlinks and files with extended
 * attributes, keyed by all that they are.
 */
export const KINDS = { object: 0, tree: 1, unpacked: 2, memo: 3, block: 4, link: 5, odd: 6 } as const
export type Kind = keyof typeof KINDS

export const INDEX_NAME = 'index'
export const ENTRY_BYTES = 64
const MAGIC = 'stage5 segment 1'

/** Where a payload lies; `file` is relative to its segment. */
export interface Entry {
  readonly kind: Kind
  /** 64 hex digits. */
  readonly key: string
  readonly file: string
  readonly offset: number
  readonly size: number
  /** CRC-32 of the payload; 0 for objects, whose key says more; for links a hash of the metadata. */
  readonly sum: number
}

/** Whether an entry is a file to hard-link to. */
export function isLinkFile({ kind }: Pick<Entry, 'kind'>): boolean {
  return kind === 'link' || kind === 'odd'
}

/** The file of `entries`, in their order. */
export function encodeIndex(entries: readonly Entry[]): Buffer {
  const numbers = new Map<string, number>()
  for (const { file } of entries) if (!numbers.has(file)) numbers.set(file, numbers.size)
  const names = Buffer.from([...numbers.keys()].join('\n'), 'latin1')
  const start = tableStart(names.length)
  const index = Buffer.alloc(start + entries.length * ENTRY_BYTES + 32)
  index.write(MAGIC, 0, 'latin1')
  index.writeUInt32LE(entries.length, 16)
  index.writeUInt32LE(names.length, 20)
  names.copy(index, 24)
  let at = start
  for (const { kind, key, file, offset, size, sum } of entries) {
    index.write(key, at, 'hex')
    index.writeUInt32LE(KINDS[kind], at + 32)
    index.writeUInt32LE(numbers.get(file) as number, at + 36)
    writeSize(index, offset, at + 40)
    writeSize(index, size, at + 48)
    index.writeUInt32LE(sum, at + 56)
    at += ENTRY_BYTES
  }
  hash('sha256', index.subarray(0, at), 'buffer').copy(index, at)
  return index
}

function tableStart(nameBytes: number): number {
  return Math.ceil((24 + nameBytes) / ENTRY_BYTES) * ENTRY_BYTES
}

function writeSize(index: Buffer, value: number, at: number): void {
  index.writeUInt32LE(value >>> 0, at)
  index.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4)
}

export interface Index {
  readonly files: readonly string[]
  /** The entries as they lie in the file. */
  readonly table: Uint8Array
  readonly count: number
}

/** @returns undefined when the bytes are not a whole, undamaged index */
export function decodeIndex(index: Buffer): Index | undefined {
  if (index.length < 64 || index.toString('latin1', 0, 16) !== MAGIC) return undefined
  const count = index.readUInt32LE(16)
  const nameBytes = index.readUInt32LE(20)
  const start = tableStart(nameBytes)
  const end = start + count * ENTRY_BYTES
  if (index.length !== end + 32) return undefined
  if (!hash('sha256', index.subarray(0, end), 'buffer').equals(index.subarray(end))) return undefined
  const names = index.toString('latin1', 24, 24 + nameBytes)
  return { files: names === '' ? [] : names.split('\n'), table: index.subarray(start, end), count }
}
