/**
 * A tree as an erofs image without compression: what several guests map is one copy in the host's page cache.
 *
 * mkfs.erofs of Debian 12 reads owners and devices off real files, which takes root; so this is our own writer. Equal
 * files share their blocks. Order: superblock, inodes, directories, file contents.
 */
import { alignUp } from '../base/bytes.ts'
import type { Digest } from '../base/digest.ts'
import {
  EROFS_BLOCK,
  EROFS_SLOT,
  erofsDirectory,
  erofsHead,
  erofsInodeSize,
  type ErofsName,
  writeErofsInode,
} from '../format/erofs.ts'
import { piecesOf } from '../tree/contents.ts'
import { baseOf, type FileInode, type Inode, parentOf, type Tree, type TreePath } from '../tree/tree.ts'
import { seededUuid } from './data-disk.ts'
import type { Emitter } from './emitter.ts'

type ErofsOptions = {
  /** Seconds since 1970: when the image was made. */
  readonly date: number
  /** Decides the UUID. */
  readonly seed: string
}

/** Tails up to this many bytes stand behind their inode; longer ones would often not fit in the rest of a block. */
const TAIL_MAX = 1024

export const erofsEmitter: Emitter<ErofsOptions> = {
  format: 'erofs',
  version: 1,
  emit: async (tree, { date, seed }, world) => {
    const { contents, sink, signal } = world
    const tails = new Map<Digest, Uint8Array>()
    for (const inode of tree.inodes)
      if (inode.type === 'file' && tailOf(inode.size) > 0 && !tails.has(inode.content)) {
        const tail = tailOf(inode.size)
        const bytes = contents.readPart
          ? await contents.readPart(inode.content, inode.size - tail, tail)
          : (await contents.read(inode.content)).subarray(-tail)
        tails.set(inode.content, Buffer.from(bytes))
      }
    const layout = layOut(tree, tails)
    const uuid = seededUuid(seed, 'erofs')
    const { rootNid, blocks } = layout
    await sink.write(erofsHead({ rootNid, inodes: tree.inodes.length, blocks, date, uuid }))
    await sink.write(layout.metadata)
    let done = 0
    for (const inode of layout.bodies) {
      signal.throwIfAborted()
      const stored = storedOf(inode.size)
      for await (const bytes of piecesOf(contents, inode.content, stored)) {
        signal.throwIfAborted()
        await sink.write(bytes)
      }
      if (stored % EROFS_BLOCK > 0) await sink.write(new Uint8Array(EROFS_BLOCK - (stored % EROFS_BLOCK)))
      world.progress?.((done += stored), layout.total)
    }
  },
}

/** Bytes that stand behind the inode. */
function tailOf(size: number): number {
  const tail = size % EROFS_BLOCK
  return tail <= TAIL_MAX ? tail : 0
}

/** Bytes that are stored in blocks. */
function storedOf(size: number): number {
  return size - tailOf(size)
}

interface Layout {
  readonly rootNid: number
  /** Of the whole image. */
  readonly blocks: number
  /** Inodes and directories, whole blocks. */
  readonly metadata: Buffer
  /** One inode for each content, in the order in which contents are stored. */
  readonly bodies: readonly FileInode[]
  readonly total: number
}

function layOut(tree: Tree, tails: ReadonlyMap<Digest, Uint8Array>): Layout {
  const children = childrenOf(tree)
  const directory = (path: TreePath, nidOf: (inode: number) => number): Buffer =>
    erofsDirectory(
      (children.get(path) ?? []).map(({ name, inode, type }) => ({ name, type, nid: nidOf(inode) })),
    )
  const paths = new Map(tree.names.map(({ path, inode }) => [inode, path]))
  const sizes = tree.inodes.map((inode, number) => {
    if (inode.type === 'file') return inode.size
    if (inode.type === 'symlink') return inode.target.length
    return inode.type === 'dir' ? directory(paths.get(number) as TreePath, () => 0).length : 0
  })

  const places: number[] = []
  let at = EROFS_BLOCK
  for (const [number, inode] of tree.inodes.entries()) {
    const fixed = erofsInodeSize(inode)
    const tail = tailOf(sizes[number] as number)
    // A tail may not lie in two blocks; an inode and its attributes may.
    const first = at + fixed
    const crosses =
      tail > 0 && Math.floor(first / EROFS_BLOCK) !== Math.floor((first + tail - 1) / EROFS_BLOCK)
    if (crosses) at = alignUp(at, EROFS_BLOCK)
    places.push(at)
    at = alignUp(at + fixed + tail, EROFS_SLOT)
  }

  let block = alignUp(at, EROFS_BLOCK) / EROFS_BLOCK
  const blockOf: number[] = []
  const take = (number: number): void => {
    blockOf[number] = block
    block += Math.ceil(storedOf(sizes[number] as number) / EROFS_BLOCK)
  }
  for (const [number, inode] of tree.inodes.entries())
    if (inode.type === 'dir' || inode.type === 'symlink') take(number)
  const metadata = Buffer.alloc((block - 1) * EROFS_BLOCK)
  const known = new Map<Digest, number>()
  const bodies: FileInode[] = []
  for (const [number, inode] of tree.inodes.entries()) {
    if (inode.type !== 'file' || storedOf(inode.size) === 0) continue
    const twin = known.get(inode.content)
    if (twin !== undefined) {
      blockOf[number] = twin
      continue
    }
    take(number)
    known.set(inode.content, blockOf[number] as number)
    bodies.push(inode)
  }

  const nidOf = (number: number): number => (places[number] as number) / EROFS_SLOT
  const links = linksOf(tree, children)
  for (const [number, inode] of tree.inodes.entries()) {
    const body = bodyOf(inode, () => directory(paths.get(number) as TreePath, nidOf), tails)
    const size = sizes[number] as number
    const stored = storedOf(size)
    const first = blockOf[number] ?? 0
    if (inode.type !== 'file' && stored > 0) metadata.set(body.subarray(0, stored), (first - 1) * EROFS_BLOCK)
    const tail = inode.type === 'file' ? body : body.subarray(stored)
    const entry = { inode, number: number + 1, nlink: links[number] as number, size, block: first, tail }
    writeErofsInode(metadata, (places[number] as number) - EROFS_BLOCK, entry)
  }
  const root = tree.names[0]?.inode ?? 0
  const total = bodies.reduce((sum, { size }) => sum + size, 0)
  return { rootNid: nidOf(root), blocks: block, metadata, bodies, total }
}

/** All bytes of a directory or symlink; of a file only the tail. */
function bodyOf(inode: Inode, directory: () => Buffer, tails: ReadonlyMap<Digest, Uint8Array>): Uint8Array {
  if (inode.type === 'dir') return directory()
  if (inode.type === 'symlink') return Buffer.from(inode.target, 'latin1')
  return (inode.type === 'file' ? tails.get(inode.content) : undefined) ?? new Uint8Array(0)
}

interface Child {
  readonly name: string
  readonly inode: number
  readonly type: ErofsName['type']
}

/** Names of each directory in the order of bytes, with `.` and `..`. */
function childrenOf(tree: Tree): ReadonlyMap<TreePath, readonly Child[]> {
  const children = new Map<TreePath, Child[]>()
  const numberOf = new Map<TreePath, number>()
  for (const { path, inode: number } of tree.names) {
    const { type } = tree.inodes[number] as Inode
    if (type === 'dir') {
      numberOf.set(path, number)
      const above = path === '' ? number : (numberOf.get(parentOf(path)) as number)
      children.set(path, [
        { name: '.', inode: number, type },
        { name: '..', inode: above, type },
      ])
    }
    if (path !== '') children.get(parentOf(path))?.push({ name: baseOf(path), inode: number, type })
  }
  for (const list of children.values()) list.sort((a, b) => (a.name < b.name ? -1 : 1))
  return children
}

/** Names of each inode; of a directory its own, `.`, and `..` of those below. */
function linksOf(tree: Tree, children: ReadonlyMap<TreePath, readonly Child[]>): number[] {
  const links = tree.inodes.map(() => 0)
  for (const list of children.values())
    for (const { inode } of list) links[inode] = (links[inode] as number) + 1
  return links
}
