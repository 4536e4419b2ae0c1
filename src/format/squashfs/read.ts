/**
 * Reads a squashfs image back: names, inodes, bodies, and where each byte lies.
 *
 * For tests, diffs and deltas. Images may come from anywhere: sizes are bounded by the bytes that are there, each listing
 * and each inode counts once, and what is wrong is refused by position.
 */
import { alignUp } from '../../base/bytes.ts'
import { refuse } from '../../base/errors.ts'
import type { ImageInode, ImageName, StoredBody, StoredFragment } from './image.ts'
import { type InodeTable, inodeTable } from './read-inodes.ts'
import {
  BLOCK_RAW,
  COMPRESSOR,
  FRAGMENT,
  LISTED,
  MAGIC,
  RUN,
  RUN_LIMIT,
  SUPERBLOCK,
  SUPERBLOCK_SIZE,
  type Superblock,
  XATTR_ID,
  XATTR_TABLE,
} from './layout.ts'
import {
  numbersOf,
  type ReadAt,
  readExactly,
  readLookup,
  readRegion,
  type Region,
  type Source,
  unpack,
} from './regions.ts'

export interface SquashfsImage {
  readonly superblock: Superblock
  /** In path order, `/` below every other byte. */
  readonly names: readonly ImageName[]
  readonly inodes: readonly ImageInode[]
  /** Of files, by index of the inode. */
  readonly bodies: ReadonlyMap<number, StoredBody>
  readonly fragments: readonly StoredFragment[]
  /** Absolute position of the end of the directory table. */
  readonly directoriesEnd: number
  /** The bytes of a file, block by block. */
  readBody(inode: number): AsyncGenerator<Uint8Array>
}

/** A range of the image. */
interface Extent {
  readonly kind: 'head' | 'block' | 'fragment' | 'metadata' | 'padding'
  readonly offset: number
  readonly length: number
  /** Of a block: index of the first inode that uses it, and which of its blocks; of a fragment: its index. */
  readonly inode?: number
  readonly index?: number
}

/**
 * @param file the name of the image in messages
 * @throws S5_ARCHIVE_REFUSED
 */
export async function readSquashfs(read: ReadAt, file = 'image'): Promise<SquashfsImage> {
  const superblock = await readSuperblock(read, file)
  const codec = superblock.compressor === COMPRESSOR.zstd ? 'zstd' : 'gzip'
  const source: Source = { read, codec, file }
  const tables = await readTables(source, superblock)
  const { names, inodes, bodies } = walk(file, superblock, tables)
  const { fragments, directoriesEnd } = tables
  const readBody = bodyReader(source, superblock.blockSize, inodes, bodies, fragments)
  return { superblock, names, inodes, bodies, fragments, directoriesEnd, readBody }
}

async function readSuperblock(read: ReadAt, file: string): Promise<Superblock> {
  const head = await readExactly({ read, codec: 'zstd', file }, 0, SUPERBLOCK_SIZE)
  if (head.readUInt32LE(0) !== MAGIC) throw refuse('magic', file, 'this is not a squashfs image')
  const superblock = numbersOf(file, SUPERBLOCK, head, 0)
  const { major, minor, blockSize, blockLog, compressor } = superblock
  if (major !== 4 || minor !== 0)
    throw refuse('version', file, `expected squashfs 4.0, found ${major}.${minor}`)
  if (compressor !== COMPRESSOR.zstd && compressor !== COMPRESSOR.gzip)
    throw refuse('version', file, `expected compressor 1 (gzip) or 6 (zstd), found ${compressor}`)
  if (blockLog < 12 || blockLog > 20 || blockSize !== 2 ** blockLog)
    throw refuse('layout', file, `a block size of ${blockSize} (2^${blockLog}) cannot be`)
  return superblock
}

interface Tables {
  readonly inodes: InodeTable
  readonly directories: Region
  readonly fragments: readonly StoredFragment[]
  readonly directoriesEnd: number
}

async function readTables(source: Source, superblock: Superblock): Promise<Tables> {
  const ids = await readLookup(source, superblock.ids, 4, superblock.idTable)
  const fragments = await readFragments(source, superblock)
  const exports =
    superblock.exportTable === -1
      ? undefined
      : await readLookup(source, superblock.inodes, 8, superblock.exportTable)
  const xattrs = superblock.xattrTable === -1 ? undefined : await readXattrs(source, superblock.xattrTable)
  const end = fragments?.start ?? exports?.start ?? ids.start
  const stored = await readRegion(source, superblock.inodeTable, superblock.directoryTable)
  const idOf = (index: number): number => ids.records.struct([['id', 0, 'u32']], 4 * index).id
  return {
    inodes: inodeTable({ ...source, region: stored, idOf, xattrs, blockSize: superblock.blockSize }),
    directories: await readRegion(source, superblock.directoryTable, end),
    fragments: fragments?.fragments ?? [],
    directoriesEnd: end,
  }
}

async function readFragments(
  source: Source,
  superblock: Superblock,
): Promise<{ readonly fragments: readonly StoredFragment[]; readonly start: number } | undefined> {
  if (superblock.fragments === 0) return undefined
  const { records, start } = await readLookup(source, superblock.fragments, 16, superblock.fragmentTable)
  const fragments = Array.from({ length: superblock.fragments }, (_, index) =>
    records.struct(FRAGMENT, 16 * index),
  )
  return { fragments: fragments.map(({ start, size }) => ({ start, size })), start }
}

async function readXattrs(
  source: Source,
  at: number,
): Promise<{
  readonly ids: readonly { reference: number; count: number; size: number }[]
  readonly pairs: Region
}> {
  const head = numbersOf(source.file, XATTR_TABLE, await readExactly(source, at, 16), 0)
  const { records, start } = await readLookup(source, head.count, 16, at + 16, at)
  const ids = Array.from({ length: head.count }, (_, index) => records.struct(XATTR_ID, 16 * index))
  return { ids, pairs: await readRegion(source, head.start, start) }
}

interface Walked {
  readonly names: readonly ImageName[]
  readonly inodes: readonly ImageInode[]
  readonly bodies: ReadonlyMap<number, StoredBody>
}

function walk(file: string, superblock: Superblock, { inodes: table, directories }: Tables): Walked {
  const names: ImageName[] = []
  const inodes: ImageInode[] = []
  const bodies = new Map<number, StoredBody>()
  const known = new Map<number, number>()
  let listed = 0
  const pending: { readonly path: string; readonly reference: number }[] = [
    { path: '', reference: superblock.root },
  ]
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { path, reference } = next
    const seen = known.get(reference)
    if (seen !== undefined) {
      if (inodes[seen]?.type === 'dir')
        throw refuse('layout', file, 'a directory has two names', { entry: path })
      names.push({ path, inode: seen })
      continue
    }
    const { inode, body, listing } = table.read(reference, path)
    const number = inodes.push(inode) - 1
    known.set(reference, number)
    names.push({ path, inode: number })
    if (body) bodies.set(number, body)
    if (!listing) {
      if (path === '') throw refuse('bad-type', file, 'the root is not a directory')
      continue
    }
    listed += listing.size
    if (listed > directories.bytes.length) throw refuse('layout', file, 'listings overlap', { entry: path })
    const prefix = path === '' ? '' : `${path}/`
    const children = readListing(file, directories, listing)
    for (const { name, reference } of children.reverse()) pending.push({ path: prefix + name, reference })
  }
  return { names, inodes, bodies }
}

function readListing(
  file: string,
  directories: Region,
  { start, offset, size }: { readonly start: number; readonly offset: number; readonly size: number },
): { readonly name: string; readonly reference: number }[] {
  const children: { readonly name: string; readonly reference: number }[] = []
  if (size === 0) return children
  let at = directories.at(start, offset)
  const end = at + size
  let last = ''
  while (at < end) {
    const run = directories.struct(RUN, at)
    at += 12
    if (run.count >= RUN_LIMIT) throw refuse('layout', file, `a run of ${run.count + 1} entries`)
    for (let entry = 0; entry <= run.count; entry++) {
      const { offset: within, size: length } = directories.struct(LISTED, at)
      const name = directories.slice(at + 8, length + 1).toString('latin1')
      at += 9 + length
      if (name === '.' || name === '..' || /[/\0]/.test(name))
        throw refuse('bad-name', file, 'a name', { entry: name })
      if (name <= last) throw refuse('duplicate', file, 'names are not in order', { entry: name })
      last = name
      children.push({ name, reference: run.start * 0x10000 + within })
    }
  }
  if (at !== end) throw refuse('layout', file, `a listing of ${size} bytes ends at ${size + at - end}`)
  return children
}

function bodyReader(
  source: Source,
  blockSize: number,
  inodes: readonly ImageInode[],
  bodies: ReadonlyMap<number, StoredBody>,
  fragments: readonly StoredFragment[],
): (inode: number) => AsyncGenerator<Uint8Array> {
  const readStored = async (start: number, size: number, expected: number): Promise<Uint8Array> => {
    const length = size & ~BLOCK_RAW
    if (length > blockSize) throw refuse('layout', source.file, `the block at ${start} has ${length} bytes`)
    const stored = await readExactly(source, start, length)
    const bytes = size & BLOCK_RAW ? stored : unpack(source, stored, blockSize, start)
    if (bytes.length >= expected) return bytes
    const padded = new Uint8Array(expected)
    padded.set(bytes)
    return padded
  }
  let last: { readonly index: number; readonly bytes: Uint8Array } | undefined
  const readFragment = async (index: number): Promise<Uint8Array> => {
    const fragment = fragments[index]
    if (!fragment) throw refuse('layout', source.file, `there is no fragment block ${index}`)
    if (last?.index !== index) last = { index, bytes: await readStored(fragment.start, fragment.size, 0) }
    return last.bytes
  }
  return async function* (number) {
    const inode = inodes[number]
    const body = bodies.get(number)
    if (inode?.type !== 'file' || !body) return
    let position = body.start
    let left = inode.size
    for (let index = 0; index < body.sizes.length; index++) {
      const size = body.sizes[index] as number
      const expected = Math.min(left, blockSize)
      const bytes = size === 0 ? new Uint8Array(expected) : await readStored(position, size, expected)
      yield bytes.subarray(0, expected)
      position += size & ~BLOCK_RAW
      left -= expected
    }
    if (body.fragment < 0) return
    const bytes = await readFragment(body.fragment)
    if (body.offset + left > bytes.length)
      throw refuse('layout', source.file, `a tail of ${left} bytes at ${body.offset} of ${bytes.length}`)
    yield bytes.subarray(body.offset, body.offset + left)
  }
}

/** What each byte of the image is for, ascending; blocks that several files share are listed once. */
export function layoutOf(image: SquashfsImage): readonly Extent[] {
  const { superblock, bodies, fragments } = image
  const data: Extent[] = []
  const seen = new Set<number>()
  for (const [inode, { start, sizes }] of bodies) {
    let offset = start
    for (let index = 0; index < sizes.length; index++) {
      const length = (sizes[index] as number) & ~BLOCK_RAW
      if (length > 0 && !seen.has(offset)) data.push({ kind: 'block', offset, length, inode, index })
      if (length > 0) seen.add(offset)
      offset += length
    }
  }
  for (const [index, { start, size }] of fragments.entries())
    data.push({ kind: 'fragment', offset: start, length: size & ~BLOCK_RAW, index })
  data.sort((a, b) => a.offset - b.offset)
  const { inodeTable, bytesUsed } = superblock
  const first = data[0]?.offset ?? inodeTable
  const gaps: Extent[] = []
  for (const [index, { offset, length }] of data.entries()) {
    const end = offset + length
    const next = data[index + 1]?.offset ?? inodeTable
    if (next > end) gaps.push({ kind: 'padding', offset: end, length: next - end })
  }
  const padding = alignUp(bytesUsed, 4096) - bytesUsed
  return [
    { kind: 'head', offset: 0, length: first },
    ...[...data, ...gaps].sort((a, b) => a.offset - b.offset),
    { kind: 'metadata', offset: inodeTable, length: bytesUsed - inodeTable },
    ...(padding > 0 ? [{ kind: 'padding' as const, offset: bytesUsed, length: padding }] : []),
  ]
}
