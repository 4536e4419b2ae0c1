/** Names go from a tree in steps, each of which costs what it takes; what is left becomes a tree when it is asked for. */
import { compact } from './select.ts'
import type { Entry, Inode, Name, Tree, TreePath } from './tree.ts'

export interface Pruning {
  /** All names of the tree at the beginning; the numbers of the other methods are places in it. */
  readonly names: readonly Name[]
  isLeft(at: number): boolean
  entryAt(at: number): Entry
  /** What is left. */
  tree(): Tree
  /**
   * Takes these names, which are no directories, and then every empty directory that `goes`, up to the root.
   * @param goes asked once for each directory that is empty, with whether this step emptied it
   * @returns all that went, in the order of the tree
   */
  remove(going: Iterable<number>, goes: (directory: Entry, isEmptied: boolean) => boolean): readonly Entry[]
}

export function pruning(input: Tree): Pruning {
  const { names, inodes } = input
  const parents = parentsOf(names)
  const children = new Uint32Array(names.length)
  for (const parent of parents) if (parent >= 0) children[parent] = (children[parent] as number) + 1
  const isGone = new Uint8Array(names.length)
  const empty = new Set<number>()
  for (const [at, { inode }] of names.entries())
    if (children[at] === 0 && inodes[inode]?.type === 'dir') empty.add(at)
  let made: Tree | undefined = input

  function entryAt(at: number): Entry {
    const { path, owner, inode } = names[at] as Name
    return { path, owner, inode: inodes[inode] as Inode }
  }

  return {
    names,
    isLeft: (at) => isGone[at] === 0,
    entryAt,
    tree: () =>
      (made ??= compact(
        inodes,
        names.filter((_, at) => isGone[at] === 0),
      )),
    remove: (going, goes) => {
      const removed: number[] = []
      const emptied = new Set<number>()
      const drop = (at: number): void => {
        isGone[at] = 1
        removed.push(at)
        const parent = parents[at] as number
        if (parent < 0) return
        emptied.add(parent)
        children[parent] = (children[parent] as number) - 1
        if (children[parent] === 0) empty.add(parent)
      }
      for (const at of going) if (isGone[at] === 0) drop(at)
      // A set is walked in the order in which things come in: a directory that is emptied meanwhile is asked about, too.
      for (const at of empty)
        if (goes(entryAt(at), emptied.has(at))) {
          empty.delete(at)
          drop(at)
        }
      if (removed.length === 0) return []
      made = undefined
      return removed.sort((a, b) => a - b).map(entryAt)
    },
  }
}

/** Of each name the place of its directory, -1 for the root. */
function parentsOf(names: readonly Name[]): Int32Array {
  const parents = new Int32Array(names.length).fill(-1)
  const open: { readonly at: number; readonly path: TreePath }[] = []
  for (const [at, { path }] of names.entries()) {
    while (open.length > 0 && !isBelow(path, (open.at(-1) as { path: TreePath }).path)) open.pop()
    parents[at] = open.at(-1)?.at ?? -1
    open.push({ at, path })
  }
  return parents
}

function isBelow(path: TreePath, directory: TreePath): boolean {
  if (directory === '') return path !== ''
  return path.charCodeAt(directory.length) === 47 && path.startsWith(directory)
}
