/** Add, replace and take away entries of a tree. */
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
 * A directory that replaces a directory keeps what is below it. Equal to `treeOf([...entriesOf(tree), ...entries])`, in
 * time that hardly depends on the size of the tree.
 */
export function withEntries(tree: Tree, entries: Iterable<Entry>): Tree {
  const added = new Map<TreePath, Entry>()
  for (const entry of entries) added.set(entry.path, entry)
  addParents(added, (path) => indexOf(tree, path) >= 0)
  const sorted = [...added.values()].sort((a, b) => comparePaths(a.path, b.path))

  const numbers = new Map<Inode, number>()
  const inodes: Inode[] = []
  const names: Name[] = []
  /** By old number; directories have one name each. */
  const renumbered = new Int32Array(tree.inodes.length).fill(-1)
  const put = ({ path, owner, inode }: Entry): void => {
    let number = inode.type === 'dir' ? undefined : numbers.get(inode)
    number ??= inodes.push(inode) - 1
    numbers.set(inode, number)
    names.push({ path, owner, inode: number })
  }
  const shared = new Set(sorted.map(({ inode }) => inode))
  const keep = (name: Name): void => {
    const inode = tree.inodes[name.inode] as Inode
    if (shared.has(inode)) return put({ ...name, inode })
    let number = renumbered[name.inode] as number
    if (number < 0) renumbered[name.inode] = number = inodes.push(inode) - 1
    names.push(number === name.inode ? name : { path: name.path, owner: name.owner, inode: number })
  }
  let at = 0
  for (const entry of sorted) {
    const place = placeOf(tree, entry.path)
    while (at < place.start) keep(tree.names[at++] as Name)
    put(entry)
    at = place.end
  }
  while (at < tree.names.length) keep(tree.names[at++] as Name)
  return { inodes, names }
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
  const { names } = tree
  const gone = new Set<Name>()
  for (const path of paths) {
    const at = indexOf(tree, path)
    if (path === '' || at < 0) continue
    gone.add(names[at] as Name)
    for (let next = at + 1; names[next]?.path.startsWith(`${path}/`) === true; next++)
      gone.add(names[next] as Name)
  }
  if (gone.size === 0) return tree
  return compact(
    tree.inodes,
    names.filter((name) => !gone.has(name)),
  )
}
