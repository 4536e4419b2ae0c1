/** Parts of a tree: keep the names that a test accepts. */
import { type Inode, type Name, parentOf, type Tree, type TreePath } from './tree.ts'

/**
 * The tree with only the names that `keep` accepts. A directory stays as long as anything below it stays; the root
 * always stays. Inodes that lose their last name go.
 */
export function selectNames(tree: Tree, keep: (name: Name, inode: Inode) => boolean): Tree {
  const needed = new Set<TreePath>([''])
  const kept: Name[] = []
  for (let at = tree.names.length - 1; at >= 0; at--) {
    const name = tree.names[at] as Name
    if (!needed.has(name.path) && !keep(name, tree.inodes[name.inode] as Inode)) continue
    if (name.path !== '') needed.add(parentOf(name.path))
    kept.push(name)
  }
  return compact(tree.inodes, kept.reverse())
}

/** Renumber inodes in order of first use and drop the unused ones. */
export function compact(inodes: readonly Inode[], names: readonly Name[]): Tree {
  const numbers = new Map<number, number>()
  const used: Inode[] = []
  const renumbered = names.map((name) => {
    let number = numbers.get(name.inode)
    if (number === undefined) {
      number = used.push(inodes[name.inode] as Inode) - 1
      numbers.set(name.inode, number)
    }
    return number === name.inode ? name : { ...name, inode: number }
  })
  return { inodes: used, names: renumbered }
}
