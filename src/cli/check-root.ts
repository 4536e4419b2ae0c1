/** Compares a folder with the tree that it was made of: every name, every byte, mode, owner and time. */
import { digester } from '../base/digest.ts'
import { findTool } from '../host/run.ts'
import { readDirectory } from '../store/directory.ts'
import { attainable, currentOwner } from '../store/links.ts'
import { readXattrs } from '../store/xattrs.ts'
import type { Bodies } from '../tree/bodies.ts'
import { diffTrees, type TreeDiff } from '../tree/diff.ts'
import { type Entry, type Inode, type Tree, treeOf } from '../tree/tree.ts'

/** Hashes and keeps nothing. */
const HASHES: Bodies = {
  open: () => {
    const sum = digester()
    return { write: (part) => sum.update(part), close: () => sum.digest(), abort: () => {} }
  },
}

/**
 * Attributes count where `getfattr` is there and a checkout could set them, devices where it could make them.
 * @throws S5_DISK_FAILED
 */
export async function checkRoot(directory: string, tree: Tree, signal: AbortSignal): Promise<TreeDiff> {
  const { isRoot } = currentOwner()
  const withXattrs = isRoot && findTool('getfattr') !== undefined
  const xattrs = withXattrs ? await readXattrs(directory, signal) : undefined
  const found = readDirectory(directory, HASHES, xattrs ? { xattrs } : {})
  const diff = diffTrees(expected(tree, withXattrs), expected(found, withXattrs), true)
  // Names share an inode as the store has it: the number of links says nothing about this root.
  const changed = diff.changed
    .map((change) => ({ ...change, aspects: change.aspects.filter((aspect) => aspect !== 'links') }))
    .filter(({ aspects }) => aspects.length > 0)
  return { ...diff, changed }
}

/** A tree as this process could make it. */
function expected(tree: Tree, withXattrs: boolean): Tree {
  const owner = currentOwner()
  const made = new Map<number, Inode>()
  const entries: Entry[] = []
  for (const { path, inode: number, owner: label } of tree.names) {
    const inode = tree.inodes[number] as Inode
    if (inode.type === 'socket' || (!owner.isRoot && (inode.type === 'char' || inode.type === 'block')))
      continue
    const { xattrs, ...plain } = inode
    const own = made.get(number) ?? {
      ...plain,
      ...attainable(inode, owner),
      ...(withXattrs && xattrs ? { xattrs } : {}),
    }
    made.set(number, own)
    entries.push({ path, owner: label, inode: own })
  }
  return treeOf(entries)
}
