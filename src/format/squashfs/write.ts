/**
 * Writes everything of a squashfs image but its data: inodes, listings and tables, in the order that the kernel insists on.
 *
 * Inodes are numbered by their first name in path order. The inodes of one directory lie side by side, directories
 * before the directory that holds them, so that each listing knows where its inodes are.
 */
import { alignUp, writeStruct } from '../../base/bytes.ts'
import { LEVELS } from './codec.ts'
import { directoryWriter, type Listed, type Listing } from './directories.ts'
import type { ImageInode, ImageName, SquashfsSettings, StoredBody, StoredFragment } from './image.ts'
import { inodeWriter } from './inodes.ts'
import {
  COMPRESSOR,
  FLAG,
  FRAGMENT,
  IMAGE_UNIT,
  MAGIC,
  METADATA_RAW,
  SUPERBLOCK,
  SUPERBLOCK_SIZE,
  type Superblock,
  TYPE,
} from './layout.ts'
import { lookupTable } from './metadata.ts'
import { xattrSets } from './xattrs.ts'

interface TablesInput {
  /** Sorted with each directory before its subtree, the root `''` first. */
  readonly names: readonly ImageName[]
  readonly inodes: readonly ImageInode[]
  /** Distinct user and group ids, ascending: the answer of `checkImage`. */
  readonly ids: readonly number[]
  readonly bodyOf: (inode: number) => StoredBody
  readonly fragments: readonly StoredFragment[]
  /** Absolute position at which the tables begin: the end of the data. */
  readonly at: number
}

/** Bytes before the data: room for the superblock, and the compressor options where readers cannot assume them. */
export function headOf(settings: SquashfsSettings): Uint8Array {
  const options = compressorOptions(settings)
  const head = Buffer.alloc(SUPERBLOCK_SIZE + options.length)
  head.set(options, SUPERBLOCK_SIZE)
  return head
}

/** @returns what follows the data, padding included, and the superblock to patch in at 0 */
export function writeTables(
  input: TablesInput,
  settings: SquashfsSettings,
): { readonly bytes: Uint8Array; readonly superblock: Uint8Array } {
  const { codec, level } = settings
  const xattrs = xattrSets(codec, level)
  const { inodes, directories, root, references } = writeInodes(input, settings, xattrs)
  const inodeTable = input.at
  const directoryTable = inodeTable + inodes.length
  const parts: Uint8Array[] = [...inodes.blocks, ...directories.blocks]
  let end = directoryTable + directories.length
  const table = (made: {
    readonly parts: readonly Uint8Array[]
    readonly position: number
    readonly end: number
  }): number => {
    parts.push(...made.parts)
    end = made.end
    return made.position
  }
  const lookup = (records: Buffer): number => table(lookupTable(records, end, codec, level))
  const fragmentTable = input.fragments.length === 0 ? -1 : lookup(fragmentRecords(input.fragments))
  const exportTable = settings.exports ? lookup(references()) : -1
  const idTable = lookup(idRecords(input.ids))
  const xattrTable = xattrs.count === 0 ? -1 : table(xattrs.table(end))
  parts.push(new Uint8Array(alignUp(end, IMAGE_UNIT) - end))
  const flags =
    FLAG.alwaysFragments |
    FLAG.duplicates |
    (settings.exports ? FLAG.exports : 0) |
    (xattrs.count === 0 ? FLAG.noXattrs : 0) |
    (level === LEVELS[codec].assumed ? 0 : FLAG.compressorOptions)
  const superblock = Buffer.alloc(SUPERBLOCK_SIZE)
  const values: Superblock = {
    magic: MAGIC,
    inodes: input.inodes.length,
    mtime: settings.mtime,
    blockSize: settings.blockSize,
    fragments: input.fragments.length,
    compressor: COMPRESSOR[codec],
    blockLog: Math.log2(settings.blockSize),
    flags,
    ids: input.ids.length,
    major: 4,
    minor: 0,
    root,
    bytesUsed: end,
    idTable,
    xattrTable,
    inodeTable,
    directoryTable,
    fragmentTable,
    exportTable,
  }
  writeStruct(SUPERBLOCK, values, superblock, 0)
  return { bytes: Buffer.concat(parts), superblock }
}

interface WrittenInodes {
  readonly inodes: { readonly blocks: readonly Uint8Array[]; readonly length: number }
  readonly directories: { readonly blocks: readonly Uint8Array[]; readonly length: number }
  readonly root: number
  /** Records of the export table. */
  readonly references: () => Buffer
}

function writeInodes(
  input: TablesInput,
  settings: SquashfsSettings,
  xattrs: ReturnType<typeof xattrSets>,
): WrittenInodes {
  const { names, inodes } = input
  const shape = shapeOf(names, inodes)
  const xattrIndexes = settings.xattrs ? xattrIndexesOf(inodes, shape.numbers, xattrs) : undefined
  const writer = inodeWriter(settings, input.ids)
  const listings = directoryWriter(settings.codec, settings.level)
  const listingOf = new Map<number, Listing>()
  const starts = new Float64Array(inodes.length).fill(-1)
  const offsets = new Uint16Array(inodes.length)
  const put = (number: number): void => {
    if (starts[number] !== -1) return
    const inode = inodes[number] as ImageInode
    const { metadata } = writer
    starts[number] = metadata.start
    offsets[number] = metadata.offset
    writer.write(inode, {
      number: shape.numbers[number] as number,
      links: shape.links[number] as number,
      xattr: xattrIndexes?.[number] ?? -1,
      body: inode.type === 'file' ? input.bodyOf(number) : undefined,
      listing: listingOf.get(number),
      parent: shape.parents[number] as number,
    })
  }
  for (const { inode: directory, children } of shape.directories.reverse()) {
    for (const child of children) put((names[child] as ImageName).inode)
    const entries = children.map((child): Listed => {
      const { path, inode } = names[child] as ImageName
      return {
        name: path.slice(path.lastIndexOf('/') + 1),
        number: shape.numbers[inode] as number,
        start: starts[inode] as number,
        offset: offsets[inode] as number,
        type: TYPE[(inodes[inode] as ImageInode).type],
      }
    })
    listingOf.set(directory, listings.list(entries))
  }
  const top = (names[0] as ImageName).inode
  put(top)
  const reference = (number: number): number =>
    (starts[number] as number) * 0x10000 + (offsets[number] as number)
  return {
    inodes: writer.metadata.finish(),
    directories: listings.finish(),
    root: reference(top),
    references: () => referenceRecords(shape.numbers, reference),
  }
}

interface Shape {
  /** From 1, by inode. */
  readonly numbers: Uint32Array
  /** Link counts by inode: of a directory 2 and one for each directory in it. */
  readonly links: Uint32Array
  /** Number of the parent by directory inode. */
  readonly parents: Uint32Array
  /** In path order; children are indexes of names. */
  readonly directories: { readonly inode: number; readonly children: number[] }[]
}

function shapeOf(names: readonly ImageName[], inodes: readonly ImageInode[]): Shape {
  const numbers = new Uint32Array(inodes.length)
  const links = new Uint32Array(inodes.length)
  const parents = new Uint32Array(inodes.length)
  const directories: Shape['directories'] = []
  const open: { readonly length: number; readonly inode: number; readonly children: number[] }[] = []
  let last = 0
  names.forEach(({ path, inode }, index) => {
    const isDirectory = (inodes[inode] as ImageInode).type === 'dir'
    if (numbers[inode] === 0) numbers[inode] = ++last
    else if (isDirectory) throw new Error(`directory ${JSON.stringify(path)} has two names`)
    links[inode] = (links[inode] as number) + (isDirectory ? 2 : 1)
    if (index > 0) {
      const length = Math.max(0, path.lastIndexOf('/'))
      while (open.length > 0 && open.at(-1)?.length !== length) open.pop()
      const parent = open.at(-1)
      if (!parent) throw new Error(`${JSON.stringify(path)} has no parent directory`)
      parent.children.push(index)
      if (isDirectory) {
        parents[inode] = numbers[parent.inode] as number
        links[parent.inode] = (links[parent.inode] as number) + 1
      }
    }
    if (isDirectory) {
      const directory = { length: path.length, inode, children: [] }
      open.push(directory)
      directories.push(directory)
    }
  })
  if (last !== inodes.length) throw new Error(`${inodes.length - last} inodes have no name`)
  const root = names[0]
  if (root === undefined || root.path !== '' || directories[0]?.inode !== root.inode)
    throw new Error('the first name is not the root directory')
  parents[root.inode] = inodes.length + 1
  return { numbers, links, parents, directories }
}

/** Sets are numbered in the order of inode numbers, which does not depend on how the table of inodes is ordered. */
function xattrIndexesOf(
  inodes: readonly ImageInode[],
  numbers: Uint32Array,
  xattrs: ReturnType<typeof xattrSets>,
): Int32Array {
  const inOrder = new Uint32Array(inodes.length)
  numbers.forEach((number, inode) => {
    inOrder[number - 1] = inode
  })
  const indexes = new Int32Array(inodes.length)
  for (const inode of inOrder) indexes[inode] = xattrs.indexOf(inodes[inode] as ImageInode)
  return indexes
}

function fragmentRecords(fragments: readonly StoredFragment[]): Buffer {
  const records = Buffer.alloc(16 * fragments.length)
  fragments.forEach(({ start, size }, index) =>
    writeStruct(FRAGMENT, { start, size, unused: 0 }, records, 16 * index),
  )
  return records
}

function idRecords(ids: readonly number[]): Buffer {
  const records = Buffer.alloc(4 * ids.length)
  ids.forEach((id, index) => records.writeUInt32LE(id, 4 * index))
  return records
}

function referenceRecords(numbers: Uint32Array, reference: (inode: number) => number): Buffer {
  const records = Buffer.alloc(8 * numbers.length)
  numbers.forEach((number, inode) => records.writeBigUInt64LE(BigInt(reference(inode)), 8 * (number - 1)))
  return records
}

/** "A single metadata block, which is always uncompressed": the level, and for gzip the window and the strategy. */
function compressorOptions({ codec, level }: SquashfsSettings): Uint8Array {
  if (level === LEVELS[codec].assumed) return new Uint8Array(0)
  const size = codec === 'zstd' ? 4 : 8
  const block = Buffer.alloc(2 + size)
  block.writeUInt16LE(size | METADATA_RAW, 0)
  block.writeUInt32LE(level, 2)
  if (codec === 'gzip') block.writeUInt16LE(15, 6)
  return block
}
