/** The invariants of a tree as a program: for tests, for `verify`, and for trees that come from outside. */
import { printable } from '../base/errors.ts'
import { comparePaths, type Inode, type Name, parentOf, type Tree, type TreePath } from './tree.ts'

/** What is wrong with a tree, as sentences; empty when nothing is. */
export function treeProblems(tree: Tree): string[] {
  const problems: string[] = []
  const directories = new Set<TreePath>()
  const links = new Uint32Array(tree.inodes.length)
  let before: Name | undefined
  for (const name of tree.names) {
    const shown = `/${printable(name.path)}`
    const inode = tree.inodes[name.inode]
    if (!inode) problems.push(`${shown} points to inode ${name.inode} of ${tree.inodes.length}`)
    else links[name.inode] = (links[name.inode] as number) + 1
    if (before && comparePaths(before.path, name.path) >= 0)
      problems.push(`${shown} is out of order or twice`)
    if (name.path !== '' && !directories.has(parentOf(name.path)))
      problems.push(`${shown} has no parent directory`)
    if (!isPath(name.path)) problems.push(`${shown} is not a clean path`)
    if (inode?.type === 'dir') directories.add(name.path)
    before = name
  }
  if (tree.names[0]?.path !== '' || !directories.has('')) problems.push('there is no root directory')
  for (const [at, inode] of tree.inodes.entries())
    problems.push(...inodeProblems(inode, at, links[at] as number))
  return problems
}

function isPath(path: TreePath): boolean {
  if (path === '') return true
  if (/\0|[^\0-\xff]/.test(path)) return false
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && part.length <= 255)
}

function inodeProblems(inode: Inode, at: number, links: number): string[] {
  const problems: string[] = []
  if (links === 0) problems.push(`inode ${at} has no name`)
  if (inode.type === 'dir' && links > 1) problems.push(`inode ${at} is a directory with ${links} names`)
  if (!Number.isInteger(inode.mode) || inode.mode < 0 || inode.mode > 0o7777)
    problems.push(`inode ${at} has mode ${inode.mode}`)
  for (const key of ['uid', 'gid', 'mtime'] as const)
    if (!Number.isSafeInteger(inode[key]) || (key !== 'mtime' && inode[key] < 0))
      problems.push(`inode ${at} has ${key} ${inode[key]}`)
  if (inode.type === 'symlink' && inode.target === '') problems.push(`inode ${at} is a symlink to nothing`)
  if (inode.type === 'file' && !(Number.isSafeInteger(inode.size) && inode.size >= 0))
    problems.push(`inode ${at} has size ${inode.size}`)
  return problems
}
