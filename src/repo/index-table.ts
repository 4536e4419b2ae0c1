/** Where the entries of an accepted index stand and how they are named, kept beside its text: that is not searched again. */
import { crc32 } from 'node:zlib'
import type { Blocks, GentooIndex } from '../format/gentoo-index.ts'
import { type EntryNames, entryNames } from '../pkg/listing.ts'

export interface IndexTable {
  readonly blocks: Blocks
  readonly names: EntryNames
}

/** Raise when the layout below, the columns of `Blocks`, or what counts as a name changes. */
const FORMAT = 2

interface Head {
  readonly format: number
  /** Of blocks. */
  readonly count: number
  /** Numbers in the rows of all blocks. */
  readonly numbers: number
  /** Of names. */
  readonly names: number
  /** Bytes of the body. */
  readonly size: number
  /** Of these numbers and the body. */
  readonly crc: number
}

function crcOf({ count, numbers, names }: Omit<Head, 'crc'>, body: Uint8Array): number {
  return crc32(body, crc32(`${count} ${numbers} ${names}`))
}

export function indexTableOf(index: GentooIndex): IndexTable {
  return { blocks: index.blocks, names: entryNames(index) }
}

/** A line of JSON; then rows of blocks and numbers of names in this machine's order of bytes; then names, a line each. */
export function printIndexTable({ blocks, names }: IndexTable): Uint8Array {
  const body = Buffer.concat([bytesOf(blocks.rows), bytesOf(names.of), Buffer.from(names.list.join('\n'))])
  const counts = {
    format: FORMAT,
    count: blocks.count,
    numbers: blocks.rows.length,
    names: names.list.length,
    size: body.length,
  }
  const head: Head = { ...counts, crc: crcOf(counts, body) }
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body])
}

/** The table, or undefined when `bytes` are no whole one of this format. */
export function parseIndexTable(bytes: Buffer): IndexTable | undefined {
  const end = bytes.indexOf(10)
  const head = end < 0 ? undefined : headOf(bytes.toString('utf8', 0, end))
  const body = bytes.subarray(end + 1)
  if (!head || body.length !== head.size || crcOf(head, body) !== head.crc) return undefined
  const numbers = numbersOf(body, head.numbers + head.count - 1)
  const text = body.toString('utf8', numbers.byteLength)
  return {
    blocks: { rows: numbers.subarray(0, head.numbers), count: head.count },
    names: { list: head.names === 0 ? [] : text.split('\n'), of: numbers.subarray(head.numbers) },
  }
}

function headOf(text: string): Head | undefined {
  try {
    const head = JSON.parse(text) as Head
    return head.format === FORMAT ? head : undefined
  } catch {
    return undefined
  }
}

function bytesOf(numbers: Uint32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)
}

/** A copy: numbers in memory begin at multiples of four. */
function numbersOf(bytes: Uint8Array, count: number): Uint32Array {
  const numbers = new Uint32Array(count)
  bytesOf(numbers).set(bytes.subarray(0, numbers.byteLength))
  return numbers
}
