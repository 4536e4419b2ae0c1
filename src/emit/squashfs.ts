/**
 * A tree as a squashfs 4.0 image: equal trees and options give equal bytes, whatever the number of threads.
 *
 * Blocks are asked of `world.blocks` by keys that name their input, so that only what changed is compressed, and what is
 * known is not even read. Many are in flight; they are written in the order of the plan.
 */
import { alignUp } from '../base/bytes.ts'
import type { Digest } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { LEVELS } from '../format/squashfs/codec.ts'
import {
  NO_BODY,
  type SquashfsSettings,
  type StoredBody,
  type StoredFragment,
} from '../format/squashfs/image.ts'
import { BLOCK_RAW } from '../format/squashfs/layout.ts'
import { checkImage } from '../format/squashfs/limits.ts'
import { headOf, writeTables } from '../format/squashfs/write.ts'
import type { Contents } from '../tree/contents.ts'
import type { Tree } from '../tree/tree.ts'
import type { Blocks, Codec, Emitter, EmitWorld } from './emitter.ts'
import { type GatheringSink, gatheringSink, PIECE } from './gathering-sink.ts'
import {
  ALIGNMENT,
  blockKey,
  type Part,
  type Plan,
  type PlannedBlock,
  planData,
  WORTH_ALIGNMENT,
} from './squashfs-plan.ts'

export type SquashfsOptions = {
  readonly codec?: Codec
  /** zstd 1 to 22, default 15; gzip 1 to 9, default 9. */
  readonly level?: number
  /** Bytes, a power of two from 4 KiB to 1 MiB; default 128 KiB. */
  readonly blockSize?: number
  /** Time of the image, seconds since 1970. */
  readonly mtime: number
  /** Write the table that NFS servers need; default false. */
  readonly exports?: boolean
  /** Keep extended attributes; default true. */
  readonly xattrs?: boolean
}

/** Contents that can give a part of a body without reading the rest of it. */
export type RangedContents = Contents & Required<Pick<Contents, 'readPart'>>

/** What goes into the image for one block: compressed bytes, or the input as it is when those are not smaller. */
export interface Packed {
  readonly bytes: Uint8Array
  readonly isRaw: boolean
  /** `runDigest(bytes)`, when it is known. */
  readonly digest?: Uint8Array
}

/** A block that was packed before. */
export interface Remembered {
  /** As `Packed` has them: bytes, and whether they are the input as it is. */
  readonly size: number
  readonly isRaw: boolean
  /** Bytes of memory that `read` needs. */
  readonly room: number
  /** `Packed.digest`, which is not checked; undefined when it is not there any more. */
  digest(): Uint8Array | undefined
  /** @returns views of `into`; undefined when it is not there any more, or damaged */
  read(into: Uint8Array): Packed | undefined
}

/**
 * Blocks that read their input by themselves, in worker threads for example, so that no body passes through this
 * thread: half the time of `Blocks` where files are small.
 */
export interface PartBlocks extends Blocks {
  /** @param parts joined they are the input; `key` names it */
  compressParts(codec: Codec, level: number, key: string, parts: readonly Part[]): Promise<Packed>
  /** The block of the same arguments, when it need not be compressed: it is read where it is written from. */
  remembered?(codec: Codec, level: number, key: string, parts: readonly Part[]): Remembered | undefined
}

/** Input of blocks that may be in flight at once, bytes. */
const IN_FLIGHT = 64 * 2 ** 20
/** Blocks that are looked up before they are written: packing of the few that changed begins at once. */
const LOOK_AHEAD = 8192
/** Parts of a fragment block that are read at once; a block can have thousands. */
const READS = 16

export const squashfsEmitter: Emitter<SquashfsOptions> = {
  format: 'squashfs',
  version: 2,
  emit: async (tree, options, world) => {
    const output = gatheringSink(world.sink)
    try {
      await writeImage(tree, settingsOf(options), world, output)
    } finally {
      await output.settled()
    }
  },
}

async function writeImage(
  tree: Tree,
  settings: SquashfsSettings,
  world: EmitWorld,
  output: GatheringSink,
): Promise<void> {
  const ids = checkImage(tree.names, tree.inodes, settings.xattrs)
  const plan = planData(tree, settings.blockSize)
  await output.write(headOf(settings))
  const stored = await writeBlocks(plan, settings, world, output)
  if (plan.total >= WORTH_ALIGNMENT) await align(world, output)
  const at = output.position()
  const { tables, superblock, first } = endOf(tree, plan, settings, { ...stored, ids, at })
  await output.write(tables)
  await output.flush()
  await world.sink.patch(0, superblock)
  world.placed?.('metadata', '', at, tables)
  world.placed?.('head', '', 0, first)
}

/** What an image whose blocks are placed has behind them, and what is in front of them when all is known. */
interface End {
  readonly tables: Uint8Array
  readonly superblock: Uint8Array
  /** The head, superblock included. */
  readonly first: Uint8Array
}

/** @param placed the blocks, and where they end */
export function endOf(
  tree: Tree,
  plan: Plan,
  settings: SquashfsSettings,
  { ids, at, ...stored }: Stored & { readonly ids: readonly number[]; readonly at: number },
): End {
  const { names, inodes } = tree
  const bodyOf = bodiesOf(tree, plan, stored)
  const { bytes, superblock } = writeTables(
    { names, inodes, ids, bodyOf, fragments: stored.fragments, at },
    settings,
  )
  const first = Buffer.concat([superblock, headOf(settings).subarray(superblock.length)])
  return { tables: bytes, superblock, first }
}

/** How a block's size stands in the image. @param size bytes that are stored */
export function storedSize(size: number, isRaw: boolean): number {
  return isRaw ? size | BLOCK_RAW : size
}

/** Zeros up to a multiple of `ALIGNMENT`. */
async function align({ placed }: EmitWorld, output: GatheringSink): Promise<void> {
  const at = output.position()
  const zeros = new Uint8Array(alignUp(at, ALIGNMENT) - at)
  if (zeros.length === 0) return
  placed?.('metadata', '', at, zeros)
  await output.write(zeros)
}

export function settingsOf(options: SquashfsOptions): SquashfsSettings {
  const { codec = 'zstd', blockSize = 131072, mtime, exports = false, xattrs = true } = options
  if (codec !== 'zstd' && codec !== 'gzip') throw badOption('codec', 'zstd or gzip', codec)
  const { min, max, assumed } = LEVELS[codec]
  const { level = assumed } = options
  if (!Number.isInteger(level) || level < min || level > max)
    throw badOption('level', `${min} to ${max} for ${codec}`, level)
  if (!Number.isInteger(Math.log2(blockSize)) || blockSize < 4096 || blockSize > 2 ** 20)
    throw badOption('blockSize', 'a power of two from 4096 to 1048576', blockSize)
  if (!Number.isInteger(mtime) || mtime < 0 || mtime > 0xffffffff)
    throw badOption('mtime', '0 to 4294967295', mtime)
  return { codec, level, blockSize, mtime, exports, xattrs }
}

function badOption(option: string, expected: string, found: string | number): Stage5Error {
  return new Stage5Error('S5_IMAGE_INPUT', `squashfs: ${option}: expected ${expected}, found ${found}`, {
    data: { format: 'squashfs', option, expected, found },
  })
}

interface Stored {
  /** Position of each planned block, and its stored size with `BLOCK_RAW`; 0 is a hole. */
  readonly positions: Float64Array
  readonly sizes: Uint32Array
  readonly fragments: readonly StoredFragment[]
}

async function writeBlocks(
  plan: Plan,
  settings: SquashfsSettings,
  world: EmitWorld,
  output: GatheringSink,
): Promise<Stored> {
  const positions = new Float64Array(plan.blocks.length)
  const sizes = new Uint32Array(plan.blocks.length)
  const fragments: StoredFragment[] = []
  const { pack, remembered, withHoles } = await packer(settings, world)
  let done = 0
  await inOrder(plan.blocks, world.signal, { pack, remembered }, async (block, made, index) => {
    if (block.isAligned) await align(world, output)
    const read = 'room' in made ? made.read(await output.room(made.room)) : made
    const packed = withHoles(block, read ?? (await pack(block)))
    positions[index] = output.position()
    sizes[index] = storedSize(packed.bytes.length, packed.isRaw)
    if (block.content === undefined)
      fragments.push({ start: output.position(), size: sizes[index] as number })
    if (packed.bytes.length > 0) {
      const kind = block.content === undefined ? 'fragment' : 'block'
      world.placed?.(kind, block.owner, output.position(), packed.bytes, packed.digest)
    }
    await output.write(packed.bytes)
    done += block.length
    world.progress?.(done, plan.total)
  })
  return { positions, sizes, fragments }
}

/**
 * Hands over all blocks one by one in order. As many are packed at once as `IN_FLIGHT` allows; they begin before what is
 * known is read, and go on beside it. Nothing runs any more when this returns or throws.
 */
async function inOrder(
  blocks: readonly PlannedBlock[],
  signal: AbortSignal,
  { pack, remembered }: Pick<Packer, 'pack' | 'remembered'>,
  take: (block: PlannedBlock, made: Packed | Remembered, index: number) => Promise<void>,
): Promise<void> {
  const known = new Map<number, Remembered>()
  const running = new Map<number, Promise<Packed>>()
  let next = 0
  let inFlight = 0
  try {
    for (const [index, block] of blocks.entries()) {
      while (next < blocks.length && next <= index + LOOK_AHEAD && inFlight < IN_FLIGHT) {
        const ahead = blocks[next] as PlannedBlock
        const found = remembered(ahead)
        if (found) known.set(next, found)
        else {
          const packing = pack(ahead)
          packing.catch(() => undefined)
          running.set(next, packing)
          inFlight += ahead.length
        }
        next++
      }
      const packing = running.get(index)
      const made = packing ? await packing : (known.get(index) as Remembered)
      signal.throwIfAborted()
      known.delete(index)
      if (running.delete(index)) inFlight -= block.length
      await take(block, made, index)
    }
  } finally {
    await Promise.allSettled(running.values())
  }
}

interface Packer {
  readonly pack: (block: PlannedBlock) => Promise<Packed>
  readonly remembered: (block: PlannedBlock) => Remembered | undefined
  /** A block of zeros becomes nothing. They are known by their compressed form, so that no input need be read. */
  readonly withHoles: (block: PlannedBlock, packed: Packed) => Packed
  /** Whether a block of this stored size can be one of zeros. */
  readonly mayBeHole: (block: PlannedBlock, size: number) => boolean
}

export async function packer(
  { codec, level, blockSize }: SquashfsSettings,
  { blocks, contents, signal }: Pick<EmitWorld, 'blocks' | 'contents' | 'signal'>,
): Promise<Packer> {
  const zeros = await blocks.compress(
    codec,
    level,
    `zeros/${blockSize}`,
    async () => new Uint8Array(blockSize),
  )
  const compressParts = compressPartsOf(blocks, contents)
  return {
    pack: async (block) => {
      signal.throwIfAborted()
      return await compressParts(codec, level, blockKey(block, blockSize), block.parts)
    },
    remembered: (block) =>
      'remembered' in blocks
        ? (blocks as PartBlocks).remembered?.(codec, level, blockKey(block, blockSize), block.parts)
        : undefined,
    withHoles: ({ content }, packed) => {
      const isHole = content !== undefined && !packed.isRaw && equalBytes(packed.bytes, zeros)
      return isHole ? { bytes: packed.bytes.subarray(0, 0), isRaw: false } : packed
    },
    mayBeHole: ({ content }, size) => content !== undefined && size === zeros.length,
  }
}

type CompressParts = PartBlocks['compressParts']

/** Any `Blocks` as one that takes parts: they are read here, on a miss, or when they turn out not to get smaller. */
function compressPartsOf(blocks: Blocks | PartBlocks, contents: Contents): CompressParts {
  if ('compressParts' in blocks) return (...request) => blocks.compressParts(...request)
  const read = partReader(contents)
  return async (codec, level, key, parts) => {
    let input: Uint8Array | undefined
    const load = async (): Promise<Uint8Array> => {
      input = await readParts(parts, read)
      return input
    }
    const bytes = await blocks.compress(codec, level, key, load)
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    return bytes.length < length ? { bytes, isRaw: false } : { bytes: input ?? (await load()), isRaw: true }
  }
}

async function readParts(
  parts: readonly Part[],
  read: (part: Part) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const [only] = parts
  if (parts.length === 1 && only) return read(only)
  const pieces: Uint8Array[] = []
  for (let from = 0; from < parts.length; from += READS)
    pieces.push(...(await Promise.all(parts.slice(from, from + READS).map(read))))
  return Buffer.concat(pieces)
}

/** Reads parts; where the contents only give whole bodies, the last large one is kept for the blocks that follow. */
function partReader(contents: Contents): (part: Part) => Promise<Uint8Array> {
  let last: { readonly content: Digest; readonly body: Promise<Uint8Array> } | undefined
  const whole = async ({ content, size }: Part): Promise<Uint8Array> => {
    if (last?.content !== content) {
      const body = contents.read(content)
      if (size <= PIECE) return body
      last = { content, body }
    }
    return last.body
  }
  return async (part) => {
    const { content, offset, length, size } = part
    if (length < size && contents.readPart) {
      const bytes = await contents.readPart(content, offset, length)
      if (bytes.length !== length) throw damaged(content, length, bytes.length)
      return bytes
    }
    const body = await whole(part)
    if (body.length !== size) throw damaged(content, size, body.length)
    return length === size ? body : body.subarray(offset, offset + length)
  }
}

function damaged(content: Digest, expected: number, found: number): Stage5Error {
  return new Stage5Error(
    'S5_STORE_DAMAGED',
    `object ${content}: expected ${expected} bytes, found ${found}`,
    {
      data: { digest: content, expected, actual: found },
    },
  )
}

function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && Buffer.compare(left, right) === 0
}

function bodiesOf(
  tree: Tree,
  plan: Plan,
  { positions, sizes }: Pick<Stored, 'positions' | 'sizes'>,
): (inode: number) => StoredBody {
  return (number) => {
    const inode = tree.inodes[number]
    const body = inode?.type === 'file' ? plan.bodies.get(inode.content) : undefined
    if (inode?.type !== 'file' || !body) return NO_BODY
    if (body.size !== inode.size)
      throw new Error(`content ${inode.content} has sizes ${body.size} and ${inode.size}`)
    const { first, count, fragment, offset } = body
    const own = sizes.subarray(first, first + count)
    const stored = own.findIndex((size) => size !== 0)
    return { start: stored < 0 ? 0 : (positions[first] as number), sizes: own, fragment, offset }
  }
}
