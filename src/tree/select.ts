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
    const inode = tree.inodes[name.inode] as Inode
    if (!(inode.type === 'dir' && needed.has(name.path)) && !keep(name, inode)) continue
    if (name.path !== '' && !isBeside(name.path, kept.at(-1)?.path)) needed.add(parentOf(name.path))
    kept.push(name)
  }
  return compact(tree.inodes, kept.reverse())
}

/** Whether two paths have one parent. */
function isBeside(path: TreePath, other: TreePath | undefined): boolean {
  const slash = path.lastIndexOf('/')
  return (
    other !== undefined &&
    other.lastIndexOf('/') === slash &&
    (slash < 0 ? other !== '' : other.startsWith(path.slice(0, slash + 1)))
  )
}

/** The tree with its inodes in order of first use, as emitters number them, and without unused ones. */
export function compact(inodes: readonly Inode[], names: readonly Name[]): Tree {
  const numbers = new Int32Array(inodes.length).fill(-1)
  const used: Inode[] = []
  const renumbered = names.map((name) => {
    let number = numbers[name.inode] as number
    if (number < 0) numbers[name.inode] = number = used.push(inodes[name.inode] as Inode) - 1
    return number === name.inode ? name : { path: name.path, inode: number, owner: name.owner }
  })
  return { inodes: used, names: renumbered }
}
