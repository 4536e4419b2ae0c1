/** Symlinks inside a root, name by name. */
import { follow } from '../tree/resolve-path.ts'
import { baseOf, joinPath, lookup, parentOf, type Tree, type TreePath } from '../tree/tree.ts'

/** As in Linux: more symlinks than this on one walk is a loop (path_resolution(7)). */
const MAX_LINKS = 40

/**
 * The names on the way from `path` to what it leads to, `path` itself first: each symlink in turn, then the end of the
 * chain. Links among the parents are followed but not listed. Stops where nothing stands.
 */
export function linkChain(tree: Tree, path: TreePath): readonly TreePath[] {
  const chain: TreePath[] = []
  let here = lookup(tree, path)
  while (here && chain.length < MAX_LINKS) {
    chain.push(here.path)
    if (here.inode.type !== 'symlink') break
    const { target } = here.inode
    const name = baseOf(target)
    const directory = follow(tree, target.slice(0, target.length - name.length), parentOf(here.path))
    const plain = name !== '' && name !== '.' && name !== '..'
    here = directory && (plain ? lookup(tree, joinPath(directory.path, name)) : directory)
  }
  return chain
}
