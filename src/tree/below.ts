/** What lies below a directory of a tree: one run of its names, found without looking at the others. */
import { type Entry, indexOf, type Inode, type Name, type Tree, type TreePath } from './tree.ts'

/** The names below a directory, not its own; none when it is no directory of the tree. */
export function namesBelow(tree: Tree, directory: TreePath): readonly Name[] {
  const { names } = tree
  if (directory === '') return names.slice(1)
  const first = indexOf(tree, directory) + 1
  if (first === 0) return []
  const prefix = `${directory}/`
  let low = first
  let high = names.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((names[middle] as Name).path.startsWith(prefix)) low = middle + 1
    else high = middle
  }
  return names.slice(first, low)
}

/** Those right in it. */
export function namesIn(tree: Tree, directory: TreePath): readonly Name[] {
  const start = directory === '' ? 0 : directory.length + 1
  return namesBelow(tree, directory).filter(({ path }) => !path.includes('/', start))
}

/** The entries below a directory, not its own. */
export function entriesBelow(tree: Tree, directory: TreePath): readonly Entry[] {
  return namesBelow(tree, directory).map(({ path, owner, inode }) => ({
    path,
    owner,
    inode: tree.inodes[inode] as Inode,
  }))
}
