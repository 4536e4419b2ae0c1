/** Streams of records cut into compressed blocks of 8 KiB, and the lookup tables made of them. */
import { compressBlockSync, type SquashfsCodec } from './codec.ts'
import { METADATA_RAW, METADATA_SIZE } from './layout.ts'

/** Level 15 takes 5 times as long as 9 on blocks this small (299 against 58 ms for 54,000 names) and saves 3 %. */
const METADATA_LEVEL = 9

export interface MetadataWriter {
  /** Bytes of stored blocks before the one in which the next record begins. */
  readonly start: number
  /** Where in that block, when unpacked, the next record begins. */
  readonly offset: number
  /** Appends the first `length` bytes; the caller may reuse `bytes`. */
  write(bytes: Buffer, length?: number): void
  /** All blocks in order, and the start of each. */
  finish(): {
    readonly blocks: readonly Uint8Array[]
    readonly starts: readonly number[]
    readonly length: number
  }
}

export function metadataWriter(codec: SquashfsCodec, level: number): MetadataWriter {
  const pending = Buffer.alloc(METADATA_SIZE)
  const blocks: Uint8Array[] = []
  const starts: number[] = []
  let filled = 0
  let start = 0
  const flush = (): void => {
    const block = metadataBlock(pending.subarray(0, filled), codec, level)
    starts.push(start)
    blocks.push(block)
    start += block.length
    filled = 0
  }
  return {
    get start() {
      return start
    },
    get offset() {
      return filled
    },
    write: (bytes, length = bytes.length) => {
      for (let from = 0; from < length; ) {
        const some = Math.min(length - from, METADATA_SIZE - filled)
        bytes.copy(pending, filled, from, from + some)
        filled += some
        from += some
        if (filled === METADATA_SIZE) flush()
      }
    },
    finish: () => {
      if (filled > 0) flush()
      return { blocks, starts, length: start }
    },
  }
}

/** One stored block with its length in front. */
function metadataBlock(bytes: Buffer, codec: SquashfsCodec, level: number): Uint8Array {
  const packed = compressBlockSync(codec, Math.min(level, METADATA_LEVEL), bytes)
  const raw = packed.length >= bytes.length
  const stored = raw ? bytes : packed
  const block = Buffer.allocUnsafe(2 + stored.length)
  block.writeUInt16LE(raw ? stored.length | METADATA_RAW : stored.length, 0)
  block.set(stored, 2)
  return block
}

/**
 * A lookup table that begins at the absolute position `at`: its blocks, then `head`, then the positions of the blocks.
 * @returns its parts and the absolute position of what follows the blocks
 */
export function lookupTable(
  records: Buffer,
  at: number,
  codec: SquashfsCodec,
  level: number,
  head: Uint8Array = new Uint8Array(0),
): { readonly parts: readonly Uint8Array[]; readonly position: number; readonly end: number } {
  const writer = metadataWriter(codec, level)
  writer.write(records)
  const { blocks, starts, length } = writer.finish()
  const positions = Buffer.alloc(8 * starts.length)
  starts.forEach((start, index) => positions.writeBigUInt64LE(BigInt(at + start), 8 * index))
  const position = at + length
  return { parts: [...blocks, head, positions], position, end: position + head.length + positions.length }
}
