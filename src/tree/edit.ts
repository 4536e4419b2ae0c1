/** Add, replace and take away entries of a tree. */
import { namesBelow } from './below.ts'
import { compact } from './select.ts'
import {
  addParents,
  comparePaths,
  type Entry,
  indexOf,
  type Inode,
  type Name,
  type Tree,
  type TreePath,
} from './tree.ts'

/**
 * The tree with these entries added; one with a path that exists replaces what stands there. Missing parents are made.
 * A directory that replaces a directory keeps what is below it. Equal to `treeOf([...entriesOf(tree), ...entries])` but for
 * the numbers of inodes: new ones come last, so that all other names stay as they are.
 */
export function withEntries(tree: Tree, entries: Iterable<Entry>): Tree {
  const added = new Map<TreePath, Entry>()
  for (const entry of entries) added.set(entry.path, entry)
  addParents(added, (path) => indexOf(tree, path) >= 0)
  const sorted = [...added.values()].sort((a, b) => comparePaths(a.path, b.path))

  const shared = new Set(sorted.map(({ inode }) => inode))
  const numbers = new Map<Inode, number>()
  for (const [number, inode] of tree.inodes.entries())
    if (inode.type !== 'dir' && shared.has(inode)) numbers.set(inode, number)
  const inodes = [...tree.inodes]
  const names: Name[][] = []
  const replaced = new Set<number>()
  let at = 0
  for (const { path, owner, inode } of sorted) {
    const { start, end } = placeOf(tree, path)
    if (end > start) replaced.add((tree.names[start] as Name).inode)
    let number = inode.type === 'dir' ? undefined : numbers.get(inode)
    number ??= inodes.push(inode) - 1
    numbers.set(inode, number)
    names.push(tree.names.slice(at, start), [{ path, inode: number, owner }])
    at = end
  }
  names.push(tree.names.slice(at))
  const all = names.flat()
  if (replaced.size > 0) for (const { inode } of all) replaced.delete(inode)
  return replaced.size > 0 ? compact(inodes, all) : { inodes, names: all }
}

/** Which names an entry of this path takes the place of: one or none, from `start` to before `end`. */
function placeOf({ names }: Tree, path: TreePath): { readonly start: number; readonly end: number } {
  let low = 0
  let high = names.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (comparePaths((names[middle] as Name).path, path) < 0) low = middle + 1
    else high = middle
  }
  return { start: low, end: names[low]?.path === path ? low + 1 : low }
}

/** The tree without these paths and everything below them. Paths that do not exist are no error. */
export function withoutPaths(tree: Tree, paths: Iterable<TreePath>): Tree {
  const isGone = new Uint8Array(tree.names.length)
  for (const path of paths) {
    const at = path === '' ? -1 : indexOf(tree, path)
    if (at >= 0) isGone.fill(1, at, at + 1 + namesBelow(tree, path).length)
  }
  if (!isGone.includes(1)) return tree
  return compact(
    tree.inodes,
    tree.names.filter((_, at) => isGone[at] === 0),
  )
}
