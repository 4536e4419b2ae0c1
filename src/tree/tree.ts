/**
 * A file tree as a value: names that point into a table of inodes, so that hard links are right by construction.
 *
 * A hard link is two names with one number. Ownership, modes, capabilities and devices live here until an emitter
 * writes them into an image.
 */
import type { Digest } from '../base/digest.ts'

/**
 * A path inside a tree, as a byte string: one character per byte (latin1), components joined by `/`, no leading or
 * trailing `/`, `''` is the root. File names are bytes on Linux; decode only to show them (`printable`).
 */
export type TreePath = string

/** An extended attribute: name as text, value as a byte string. */
export type Xattr = readonly [name: string, value: string]

export interface Meta {
  /** Permission bits only: 0 to 0o7777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Seconds since 1970; whole numbers. */
  readonly mtime: number
  /** Sorted by name; absent when there are none. */
  readonly xattrs?: readonly Xattr[]
}

interface DirInode extends Meta {
  readonly type: 'dir'
}
export interface FileInode extends Meta {
  readonly type: 'file'
  readonly size: number
  readonly content: Digest
}
export interface SymlinkInode extends Meta {
  readonly type: 'symlink'
  /** Byte string, not empty. */
  readonly target: string
}
export interface DeviceInode extends Meta {
  readonly type: 'char' | 'block'
  readonly major: number
  readonly minor: number
}
export interface PipeInode extends Meta {
  readonly type: 'fifo' | 'socket'
}
export type Inode = DirInode | FileInode | SymlinkInode | DeviceInode | PipeInode

export interface Name {
  readonly path: TreePath
  /** Index into `Tree.inodes`. */
  readonly inode: number
  /** Label of the package, stage or profile part that brought it, such as `nginx_1.22.1-9` or `stage:users`. */
  readonly owner: string
}

/**
 * Names are sorted by `comparePaths`, unique, each with its parent directory present; the first is the root `''`.
 * Every inode has at least one name; a directory has exactly one.
 */
export interface Tree {
  readonly inodes: readonly Inode[]
  readonly names: readonly Name[]
}

/** One name together with what it points to: the form in which trees are made and walked. */
export interface Entry {
  readonly path: TreePath
  readonly owner: string
  readonly inode: Inode
}

/**
 * Bytewise order with `/` below every other byte: a subtree is one contiguous run, and each directory's children are
 * in the order that squashfs and erofs demand.
 * @returns negative, zero or positive
 */
export function comparePaths(left: TreePath, right: TreePath): number {
  const length = Math.min(left.length, right.length)
  for (let at = 0; at < length; at++) {
    const a = left.charCodeAt(at)
    const b = right.charCodeAt(at)
    if (a !== b) return (a === 47 ? -1 : a) - (b === 47 ? -1 : b)
  }
  return left.length - right.length
}

/** The path of the directory that holds `path`; `''` for a top-level name and for the root itself. */
export function parentOf(path: TreePath): TreePath {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? '' : path.slice(0, slash)
}

/** The last component of a path. */
export function baseOf(path: TreePath): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** `name` below `directory`, which may be the root. */
export function joinPath(directory: TreePath, name: string): TreePath {
  return directory === '' ? name : `${directory}/${name}`
}

/**
 * A tree of entries in any order. Entries that share one `inode` object become hard links of each other. Missing
 * parent directories are made with mode 0755, owner 0:0, mtime 0 and the owner label of the first child; so is the root,
 * without a label.
 * Of two entries with one path the later wins.
 */
export function treeOf(entries: Iterable<Entry>): Tree {
  const byPath = new Map<TreePath, Entry>()
  for (const entry of entries) byPath.set(entry.path, entry)
  return treeOfMap(byPath)
}

/** `treeOf` of entries by their own paths. The map may gain the root and parents. */
export function treeOfMap(byPath: Map<TreePath, Entry>): Tree {
  if (!byPath.has('')) byPath.set('', { path: '', owner: '', inode: plainDirectory() })
  let sorted = inOrder(byPath)
  if (!hasParents(sorted)) {
    addParents(byPath)
    sorted = inOrder(byPath)
  }
  const numbers = new Map<Inode, number>()
  const inodes: Inode[] = []
  const names = sorted.map(({ path, owner, inode }) => {
    let number = inode.type === 'dir' ? undefined : numbers.get(inode)
    if (number === undefined) {
      number = inodes.push(inode) - 1
      numbers.set(inode, number)
    }
    return { path, inode: number, owner }
  })
  return { inodes, names }
}

function inOrder(byPath: ReadonlyMap<TreePath, Entry>): readonly Entry[] {
  return [...byPath.values()].sort((a, b) => comparePaths(a.path, b.path))
}

/** Whether the directory of each name stands before it; told without looking a path up. */
function hasParents(sorted: readonly Entry[]): boolean {
  const open: TreePath[] = []
  for (const { path } of sorted) {
    const length = Math.max(0, path.lastIndexOf('/'))
    if (path !== '') {
      while (open.length > 0 && (open.at(-1) as TreePath).length > length) open.pop()
      const top = open.at(-1)
      if (top?.length !== length || !path.startsWith(top)) return false
    }
    open.push(path)
  }
  return true
}

function plainDirectory(): DirInode {
  return { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: 0 }
}

/** Adds the directories that are neither in `byPath` nor `known`, with the owner of their first child. */
export function addParents(
  byPath: Map<TreePath, Entry>,
  known: (path: TreePath) => boolean = () => false,
): void {
  for (const entry of [...byPath.values()])
    for (let path = entry.path; path.includes('/'); ) {
      path = parentOf(path)
      if (byPath.has(path) || known(path)) break
      byPath.set(path, { path, owner: entry.owner, inode: plainDirectory() })
    }
}

export const EMPTY: Tree = {
  inodes: [{ type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: 0 }],
  names: [{ path: '', inode: 0, owner: '' }],
}

/** The entries of a tree in order; names of one inode share its object, so `treeOf(entriesOf(tree))` keeps links. */
export function* entriesOf(tree: Tree): Generator<Entry> {
  for (const { path, owner, inode } of tree.names) yield { path, owner, inode: tree.inodes[inode] as Inode }
}

/** Index of `path` in `tree.names`, or -1. Binary search. */
export function indexOf(tree: Tree, path: TreePath): number {
  let low = 0
  let high = tree.names.length - 1
  while (low <= high) {
    const middle = (low + high) >> 1
    const order = comparePaths((tree.names[middle] as Name).path, path)
    if (order === 0) return middle
    if (order < 0) low = middle + 1
    else high = middle - 1
  }
  return -1
}

/** What stands at exactly this path (symlinks are not followed). */
export function lookup(tree: Tree, path: TreePath): Entry | undefined {
  const name = tree.names[indexOf(tree, path)]
  return name && { path: name.path, owner: name.owner, inode: tree.inodes[name.inode] as Inode }
}
