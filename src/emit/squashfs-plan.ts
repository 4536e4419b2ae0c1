/**
 * Which bytes go where in a squashfs image, decided from the tree alone before a byte is read.
 *
 * Data is ordered by the owner's package name, its label, then path: two generations share long runs of equal bytes. Each
 * content is placed once, at its first file. Per owner the full blocks come first, then the fragment blocks that hold
 * its small files and tails and nothing of others. That costs nothing: like packs better with like (measured on the 50
 * base packages of Debian 12: 2.7 % smaller than packing in path order; all 742 packages of a machine: 0.1 %).
 *
 * What a large owner brings begins at a multiple of `ALIGNMENT`, so that the hashes by which dm-verity knows it do not
 * change when something before it does.
 */
import { type Digest, digestOf } from '../base/digest.ts'
import type { FileInode, Tree } from '../tree/tree.ts'

/** Bytes: a block of dm-verity. */
export const ALIGNMENT = 4096
/** Input of an owner that is worth the bytes of an alignment, 2 KiB on average. */
export const WORTH_ALIGNMENT: number = 2 ** 20

/** A run of bytes of one content. */
export interface Part {
  readonly content: Digest
  /** Of the whole content, bytes. */
  readonly size: number
  readonly offset: number
  readonly length: number
}

/** One block to compress. `content` is set for a block of a file, and absent for a fragment block. */
export interface PlannedBlock {
  readonly parts: readonly Part[]
  readonly length: number
  readonly content?: Digest
  /** Label of the package whose first file this is. */
  readonly owner: string
  /** It begins at a multiple of `ALIGNMENT`. */
  readonly isAligned?: true
}

/** Where one content is, in the planned order. */
interface PlannedBody {
  readonly size: number
  /** Index of its first block in `blocks`. */
  readonly first: number
  /** Full blocks. */
  readonly count: number
  /** Index of its fragment block among the fragment blocks, -1 for none. */
  readonly fragment: number
  readonly offset: number
}

export interface Plan {
  readonly blocks: readonly PlannedBlock[]
  readonly bodies: ReadonlyMap<Digest, PlannedBody>
  /** Bytes of all blocks. */
  readonly total: number
}

export function planData(tree: Tree, blockSize: number): Plan {
  const blocks: PlannedBlock[] = []
  const bodies = new Map<Digest, PlannedBody>()
  let fragments = 0
  const placed = new Set<Digest>()
  const pack = (owner: string, files: readonly FileInode[]): void => {
    let parts: Part[] = []
    let filled = 0
    const close = (): void => {
      if (filled === 0) return
      blocks.push({ parts, length: filled, owner })
      fragments++
      parts = []
      filled = 0
    }
    for (const { content, size } of files) {
      const length = size % blockSize
      if (filled + length > blockSize) close()
      const body = bodies.get(content) as PlannedBody
      bodies.set(content, { ...body, fragment: fragments, offset: filled })
      parts.push({ content, size, offset: size - length, length })
      filled += length
    }
    close()
  }
  for (const { owner, files } of filesByOwner(tree)) {
    const tails: FileInode[] = []
    const begin = blocks.length
    for (const file of files) {
      const { content, size } = file
      if (placed.has(content)) continue
      placed.add(content)
      const count = Math.floor(size / blockSize)
      bodies.set(content, { size, first: blocks.length, count, fragment: -1, offset: 0 })
      for (let index = 0; index < count; index++)
        blocks.push({
          content,
          parts: [{ content, size, offset: index * blockSize, length: blockSize }],
          length: blockSize,
          owner,
        })
      if (size % blockSize !== 0) tails.push(file)
    }
    pack(owner, tails)
    const [first, ...rest] = blocks.slice(begin)
    const brought = rest.reduce((sum, { length }) => sum + length, first?.length ?? 0)
    if (first && brought >= WORTH_ALIGNMENT) blocks[begin] = { ...first, isAligned: true }
  }
  return { blocks, bodies, total: blocks.reduce((sum, { length }) => sum + length, 0) }
}

/** Names the input of a block: the same key always means the same bytes. */
export function blockKey(block: PlannedBlock, blockSize: number): string {
  const [only] = block.parts
  if (block.content !== undefined && only) return `${block.content}/${blockSize}/${only.offset / blockSize}`
  const list = block.parts.map(({ content, offset, length }) => `${content} ${offset} ${length}\n`).join('')
  return `parts/${digestOf(list)}`
}

/** Files that have bytes, one list per owner label, in the order of the image. */
function filesByOwner(
  tree: Tree,
): readonly { readonly owner: string; readonly files: readonly FileInode[] }[] {
  const byOwner = new Map<string, FileInode[]>()
  for (const { owner, inode: number } of tree.names) {
    const inode = tree.inodes[number]
    if (inode?.type !== 'file' || inode.size === 0) continue
    const files = byOwner.get(owner)
    if (files) files.push(inode)
    else byOwner.set(owner, [inode])
  }
  const order = [...byOwner.keys()].map((owner) => ({ owner, name: owner.replace(/_.*$/s, '') }))
  order.sort((a, b) => compareText(a.name, b.name) || compareText(a.owner, b.owner))
  return order.map(({ owner }) => ({ owner, files: byOwner.get(owner) as FileInode[] }))
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}
