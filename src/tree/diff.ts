/** What changed between two trees, name by name. */
import { comparePaths, type Inode, type Name, type Tree, type TreePath } from './tree.ts'

type Aspect = 'type' | 'content' | 'target' | 'device' | 'mode' | 'owner' | 'xattrs' | 'mtime' | 'links'

interface Change {
  readonly path: TreePath
  readonly before: Inode
  readonly after: Inode
  /** What differs; `owner` is uid or gid. Never empty. */
  readonly aspects: readonly Aspect[]
}

export interface TreeDiff {
  readonly added: readonly { readonly path: TreePath; readonly inode: Inode }[]
  readonly removed: readonly { readonly path: TreePath; readonly inode: Inode }[]
  readonly changed: readonly Change[]
  /** Bytes of regular files in added and removed names, and of both sides of changed content. */
  readonly bytes: { readonly added: number; readonly removed: number; readonly changed: number }
}

/** Differences in path order. Times count only where `withTimes` is set. */
export function diffTrees(before: Tree, after: Tree, withTimes = false): TreeDiff {
  const added: { path: TreePath; inode: Inode }[] = []
  const removed: { path: TreePath; inode: Inode }[] = []
  const changed: Change[] = []
  const bytes = { added: 0, removed: 0, changed: 0 }
  const linkBefore = linkCounts(before)
  const linkAfter = linkCounts(after)
  let left = 0
  let right = 0
  while (left < before.names.length || right < after.names.length) {
    const old = before.names[left]
    const young = after.names[right]
    const order = !old ? 1 : !young ? -1 : comparePaths(old.path, young.path)
    if (order < 0) {
      const inode = before.inodes[(old as Name).inode] as Inode
      removed.push({ path: (old as Name).path, inode })
      bytes.removed += sizeOf(inode)
      left++
    } else if (order > 0) {
      const inode = after.inodes[(young as Name).inode] as Inode
      added.push({ path: (young as Name).path, inode })
      bytes.added += sizeOf(inode)
      right++
    } else {
      const from = before.inodes[(old as Name).inode] as Inode
      const to = after.inodes[(young as Name).inode] as Inode
      const aspects = differences(from, to, withTimes)
      if (from.type !== 'dir' && linkBefore[(old as Name).inode] !== linkAfter[(young as Name).inode])
        aspects.push('links')
      if (aspects.length > 0) changed.push({ path: (old as Name).path, before: from, after: to, aspects })
      if (aspects.includes('content')) bytes.changed += sizeOf(to)
      left++
      right++
    }
  }
  return { added, removed, changed, bytes }
}

function differences(from: Inode, to: Inode, withTimes: boolean): Aspect[] {
  const aspects: Aspect[] = []
  if (from.type !== to.type) aspects.push('type')
  else if (from.type === 'file' && to.type === 'file' && from.content !== to.content) aspects.push('content')
  else if (from.type === 'symlink' && to.type === 'symlink' && from.target !== to.target)
    aspects.push('target')
  else if (
    (from.type === 'char' || from.type === 'block') &&
    (to.type === 'char' || to.type === 'block') &&
    (from.major !== to.major || from.minor !== to.minor)
  )
    aspects.push('device')
  if (from.mode !== to.mode) aspects.push('mode')
  if (from.uid !== to.uid || from.gid !== to.gid) aspects.push('owner')
  if (JSON.stringify(from.xattrs ?? []) !== JSON.stringify(to.xattrs ?? [])) aspects.push('xattrs')
  if (withTimes && from.mtime !== to.mtime) aspects.push('mtime')
  return aspects
}

function linkCounts(tree: Tree): Uint32Array {
  const counts = new Uint32Array(tree.inodes.length)
  for (const { inode } of tree.names) counts[inode] = (counts[inode] as number) + 1
  return counts
}

function sizeOf(inode: Inode): number {
  return inode.type === 'file' ? inode.size : 0
}
