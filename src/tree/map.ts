/** Change inodes, each once however many names it has: hard links stay hard links. */
import type { Inode, Name, Tree } from './tree.ts'

/** Applies `change` to every inode; `name` is its first name. */
export function mapInodes(tree: Tree, change: (inode: Inode, name: Name) => Inode): Tree {
  const first = firstNames(tree)
  return { inodes: tree.inodes.map((inode, at) => change(inode, first[at] as Name)), names: tree.names }
}

function firstNames(tree: Tree): readonly (Name | undefined)[] {
  const first: (Name | undefined)[] = new Array<undefined>(tree.inodes.length)
  for (const name of tree.names) first[name.inode] ??= name
  return first
}
