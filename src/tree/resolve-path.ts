/** Follow a path the way a process inside the root would: symlinks are resolved inside the tree. */
import { type Entry, joinPath, lookup, parentOf, type Tree, type TreePath } from './tree.ts'

/** As in Linux: more symlinks than this on one walk is a loop (path_resolution(7), MAXSYMLINKS). */
const MAX_LINKS = 40

/** Where a path ends when it cannot be followed to its end. */
interface DeadEnd {
  /** The path, with symlinks resolved so far, at which nothing (or no directory) stands. */
  readonly missing: TreePath
  readonly loop: boolean
}

/**
 * What `path` (with or without leading `/`) leads to, every symlink followed, `..` never above the root.
 * @returns the entry at its real path, or where the walk ended
 */
export function resolvePath(tree: Tree, path: string, from: TreePath = ''): Entry | DeadEnd {
  const pending = path.split('/').reverse()
  let here: TreePath = path.startsWith('/') ? '' : from
  let links = 0
  while (pending.length > 0) {
    const part = pending.pop() as string
    if (part === '' || part === '.') continue
    if (part === '..') {
      here = parentOf(here)
      continue
    }
    const next = joinPath(here, part)
    const entry = lookup(tree, next)
    if (!entry) return { missing: next, loop: false }
    if (entry.inode.type === 'symlink') {
      if (++links > MAX_LINKS) return { missing: next, loop: true }
      if (entry.inode.target.startsWith('/')) here = ''
      pending.push(...entry.inode.target.split('/').reverse())
    } else {
      if (entry.inode.type !== 'dir' && pending.some((rest) => rest !== '' && rest !== '.'))
        return { missing: joinPath(next, pending.at(-1) as string), loop: false }
      here = next
    }
  }
  return lookup(tree, here) ?? { missing: here, loop: false }
}

/** The entry, or undefined when the path leads nowhere. */
export function follow(tree: Tree, path: string, from: TreePath = ''): Entry | undefined {
  const found = resolvePath(tree, path, from)
  return 'inode' in found ? found : undefined
}
