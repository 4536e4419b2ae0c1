/** Add, replace and take away entries of a tree. */
import { selectNames } from './select.ts'
import { type Entry, entriesOf, type Tree, treeOf, type TreePath } from './tree.ts'

/**
 * The tree with these entries added; one with a path that exists replaces what stands there. Missing parents are made.
 * A directory that replaces a directory keeps what is below it.
 */
export function withEntries(tree: Tree, entries: Iterable<Entry>): Tree {
  return treeOf([...entriesOf(tree), ...entries])
}

/** The tree without these paths and everything below them. Paths that do not exist are no error. */
export function withoutPaths(tree: Tree, paths: Iterable<TreePath>): Tree {
  const gone = new Set(paths)
  return selectNames(tree, ({ path }) => {
    if (gone.has(path)) return false
    for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1))
      if (gone.has(path.slice(0, slash))) return false
    return true
  })
}
