/** What of a store is in use: from refs and fresh records to the trees and objects that they stand on. */
import type { Digest } from '../base/digest.ts'
import { parseTree } from '../tree/text.ts'
import type { Tree } from '../tree/tree.ts'
import type { Catalog, Located } from './catalog.ts'
import { keyOf, treeOfRecord } from './records.ts'
import { type Entry, isLinkFile } from './segment.ts'

/** `KIND KEY` of everything in use. */
export type Marked = ReadonlySet<string>

interface MarkOptions {
  readonly refs: Iterable<Digest>
  /** Whether records of this entry's segment are kept though no ref needs them. */
  readonly isFresh: (entry: Located) => boolean
  /** Contents that count as gone. */
  readonly drop: ReadonlySet<Digest>
}

export function idOf({ kind, key, sum }: Pick<Entry, 'kind' | 'key' | 'sum'>): string {
  return isLinkFile({ kind }) ? `${kind} ${key} ${sum}` : `${kind} ${key}`
}

/** The tree of a record; undefined when it is not in the store or cannot be read. */
export function storedTree(catalog: Catalog, digest: Digest): Tree | undefined {
  const text = catalog.record('tree', keyOf(digest))
  return text && parseTree(text.toString('latin1'))
}

export function mark(catalog: Catalog, { refs, isFresh, drop }: MarkOptions): Marked {
  const marked = new Set<string>()
  const whole = new Map<Digest, boolean>()

  /** Marks a tree and its contents. @returns false when something of it is missing */
  function markTree(digest: Digest): boolean {
    const known = whole.get(digest)
    if (known !== undefined) return known
    const tree = storedTree(catalog, digest)
    let isWhole = tree !== undefined
    if (tree) marked.add(`tree ${keyOf(digest)}`)
    for (const inode of tree?.inodes ?? []) {
      if (inode.type !== 'file') continue
      if (drop.has(inode.content) || !catalog.has(inode.content)) isWhole = false
      else marked.add(`object ${keyOf(inode.content)}`)
    }
    whole.set(digest, isWhole)
    return isWhole
  }

  for (const target of refs) {
    if (catalog.contains('object', keyOf(target)) && !drop.has(target)) marked.add(`object ${keyOf(target)}`)
    for (const kind of ['unpacked', 'memo'] as const) {
      const bytes = catalog.record(kind, keyOf(target))
      if (bytes === undefined) continue
      marked.add(`${kind} ${keyOf(target)}`)
      markTree(treeOfRecord(bytes))
    }
    markTree(target)
  }
  for (const entry of catalog.entries()) {
    if (entry.kind === 'object' || entry.kind === 'tree' || isLinkFile(entry) || !isFresh(entry)) continue
    if (entry.kind === 'block') marked.add(idOf(entry))
    else {
      const bytes = catalog.record(entry.kind, entry.key)
      // A record whose tree is broken is of no use: without it, the package is unpacked again.
      if (bytes !== undefined && markTree(treeOfRecord(bytes))) marked.add(idOf(entry))
    }
  }
  return marked
}
