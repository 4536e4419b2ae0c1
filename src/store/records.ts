/** Trees, roots and unpacked packages as records, and back. */
import { hash } from 'node:crypto'
import type { Digest } from '../base/digest.ts'
import type { Removed, Root } from '../tree/root.ts'
import { decodeTree, encodeTree } from '../tree/text.ts'
import type { Tree } from '../tree/tree.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import type { Kind } from './segment.ts'

/** Reads and writes records; the batch and the catalog behind one face. */
export interface RecordAccess {
  get(kind: Kind, key: string): Buffer | undefined
  put(kind: Kind, key: string, bytes: Uint8Array): void
  readonly has: (content: Digest) => boolean
}

/** The bare key of a digest. */
export function keyOf(digest: Digest): string {
  return digest.slice(7)
}

/** The key of a record that is named by any text. */
export function keyOfText(text: string): string {
  return hash('sha256', text, 'hex')
}

/** @returns the digest of the canonical text */
export function putTree(records: RecordAccess, tree: Tree): Digest {
  const { bytes, digest } = encodeTree(tree)
  records.put('tree', keyOf(digest), bytes)
  return digest
}

/** @returns undefined when the record or a content of the tree is missing: then it has to be made again */
export function getTree(records: RecordAccess, digest: Digest): Tree | undefined {
  const text = records.get('tree', keyOf(digest))
  if (text === undefined) return undefined
  const tree = decodeTree(text, digest)
  for (const inode of tree.inodes) if (inode.type === 'file' && !records.has(inode.content)) return undefined
  return tree
}

interface UnpackedRecord {
  readonly tree: Digest
  readonly control: { readonly [member: string]: string }
}

export function putUnpacked(records: RecordAccess, key: Digest, { tree, control }: Unpacked): void {
  const record: UnpackedRecord = { tree: putTree(records, tree), control }
  records.put('unpacked', keyOf(key), Buffer.from(JSON.stringify(record)))
}

/** What a package was unpacked to, of which the tree is read when it is asked for. */
export interface FoundPackage {
  readonly control: Unpacked['control']
  /** @returns undefined when it is not all here any more */
  readonly tree: () => Tree | undefined
}

export function findUnpacked(records: RecordAccess, key: Digest): FoundPackage | undefined {
  const bytes = records.get('unpacked', keyOf(key))
  if (bytes === undefined) return undefined
  const { tree, control } = JSON.parse(bytes.toString()) as UnpackedRecord
  return { control, tree: () => getTree(records, tree) }
}

interface RootRecord {
  readonly tree: Digest
  readonly removed: readonly Removed[]
}

export function putRoot(records: RecordAccess, key: Digest, { tree, removed }: Root): void {
  const record: RootRecord = { tree: putTree(records, tree), removed }
  records.put('memo', keyOf(key), Buffer.from(JSON.stringify(record)))
}

export function getRoot(records: RecordAccess, key: Digest): Root | undefined {
  const bytes = records.get('memo', keyOf(key))
  if (bytes === undefined) return undefined
  const record = JSON.parse(bytes.toString()) as RootRecord
  const tree = getTree(records, record.tree)
  return tree && { tree, removed: record.removed }
}

/** The tree that an unpacked or memo record stands on. */
export function treeOfRecord(bytes: Buffer): Digest {
  return (JSON.parse(bytes.toString()) as { tree: Digest }).tree
}
