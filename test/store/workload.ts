/** One piece of everything a store does, for the tests that break it on the way. */
import { createHash } from 'node:crypto'
import type { Digest } from '../../src/base/digest.ts'
import { digestOf } from '../../src/base/digest.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { PACKED_MAX } from '../../src/store/bodies.ts'
import type { Store } from '../../src/store/store.ts'
import type { Bodies } from '../../src/tree/bodies.ts'
import { type FileInode, type Tree, treeOf } from '../../src/tree/tree.ts'

/** Bytes that only `seed` and `size` decide, and that differ for every seed. */
export function someBytes(seed: string, size: number): Buffer {
  const block = createHash('sha512').update(seed).digest()
  const bytes = Buffer.alloc(size, block)
  for (let at = 0; at + 64 <= size; at += 4_096)
    createHash('sha512').update(`${seed} ${at}`).digest().copy(bytes, at)
  return bytes
}

export function writeBody(bodies: Bodies, bytes: Uint8Array, step = 10_000): Digest {
  const body = bodies.open(bytes.length)
  for (let at = 0; at < bytes.length; at += step) body.write(bytes.subarray(at, at + step))
  return body.close()
}

export function fileOf(content: Digest, size: number): FileInode {
  return { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 1_700_000_000, size, content }
}

/** The files of package `seed`: small, empty and large ones. */
export function bodiesOf(seed: string): Buffer[] {
  const sizes = [0, 10, 500, PACKED_MAX, PACKED_MAX + 1, 70_000]
  return sizes.map((size) => someBytes(`${seed} ${size}`, size))
}

export function treeOfPackage(seed: string): Tree {
  return treeOf(
    bodiesOf(seed).map((bytes, at) => ({
      path: `usr/share/${seed}/${at}`,
      owner: seed,
      inode: fileOf(digestOf(bytes), bytes.length),
    })),
  )
}

export function keyOfPackage(seed: string): Digest {
  return digestOf(`package ${seed}`)
}

/** Brings a package in; when this resolves the package is acknowledged. */
export async function ingest(store: Store, seed: string): Promise<void> {
  await using transaction = store.begin()
  for (const bytes of bodiesOf(seed)) writeBody(transaction.bodies, bytes)
  await transaction.commit()
  await store.setUnpacked(keyOfPackage(seed), {
    tree: treeOfPackage(seed),
    control: { control: `Package: ${seed}\n` },
  })
}

/** What is wrong with an acknowledged package, or undefined. */
export async function wrongWith(store: Store, seed: string): Promise<string | undefined> {
  const unpacked = await store.unpacked(keyOfPackage(seed))
  if (!unpacked) return `${seed} is lost`
  if (JSON.stringify(unpacked.tree) !== JSON.stringify(treeOfPackage(seed))) return `${seed} has another tree`
  try {
    for (const bytes of bodiesOf(seed))
      if (!bytes.equals(await store.read(digestOf(bytes)))) return `${seed} has other bytes`
  } catch (error) {
    if (isStage5Error(error, 'S5_STORE_DAMAGED')) return `${seed}: ${error.message}`
    throw error
  }
  return undefined
}

/**
 * Ingest, generated files, memo, blocks, links, refs, collection.
 * @param acknowledged called once the package may not be lost any more
 */
export async function useEverything(
  store: Store,
  seed: string,
  acknowledged = (): void => {},
): Promise<void> {
  await ingest(store, seed)
  acknowledged()
  const written = await store.write(someBytes(`${seed} written`, 3_000))
  const tree = treeOfPackage(seed)
  await store.memo.set(digestOf(`memo ${seed}`), { tree, removed: [] })
  store.blocks.put(`block ${seed}`, someBytes(`${seed} block`, 20_000))
  await store.blocks.flush()
  const large = tree.inodes.find((inode) => inode.type === 'file' && inode.size > PACKED_MAX) as FileInode
  await store.link(large)
  await store.link({ ...large, mode: 0o600 })
  await store.link(fileOf(written, 3_000))
  await store.setRef(`test/${seed}`, await store.saveTree(tree))
  await store.collect()
}

export async function problemsOf(store: Store): Promise<string[]> {
  const problems: string[] = []
  for await (const { content, problem } of store.verify()) problems.push(`${content}: ${problem}`)
  return problems
}
