/**
 * A squashfs image before it is written, when nearly all of its blocks were packed before: what lies where, and its bytes
 * in any order. So what stands on the image (its hash tree, and a disk around it) need not wait until it is written.
 */
import { alignUp } from '../base/bytes.ts'
import { type Run, runDigest, type RunKind } from '../format/delta.ts'
import type { StoredFragment } from '../format/squashfs/image.ts'
import { checkImage } from '../format/squashfs/limits.ts'
import { headOf } from '../format/squashfs/write.ts'
import type { Tree } from '../tree/tree.ts'
import { runOf } from './delta.ts'
import type { EmitWorld, Sink } from './emitter.ts'
import { gatheringSink } from './gathering-sink.ts'
import {
  endOf,
  packer,
  type Packed,
  type Remembered,
  settingsOf,
  type SquashfsOptions,
  storedSize,
} from './squashfs.ts'
import { ALIGNMENT, type PlannedBlock, planData, WORTH_ALIGNMENT } from './squashfs-plan.ts'

/** Input of blocks that may have to be packed, bytes; the results are kept in memory. */
const MOST_NEW = 64 * 2 ** 20

export interface Forecast {
  /** Bytes of the image. */
  readonly size: number
  /** Of the whole image, ascending: what `EmitWorld.placed` is told. Final when all of it is written. */
  readonly runs: readonly Run[]
  /** Writes the bytes from the begin of one run to the end of another. */
  write(
    stretch: { readonly offset: number; readonly length: number },
    sink: Pick<Sink, 'write'>,
    signal: AbortSignal,
  ): Promise<void>
}

/** Bytes of a run: here, or of a block that was packed before. */
type Source = Uint8Array | { readonly block: PlannedBlock; readonly made: Remembered }

/**
 * @returns the image that `squashfsEmitter` writes for the same arguments; undefined when too much of it is new
 * @throws what `squashfsEmitter` throws
 */
export async function forecastSquashfs(
  tree: Tree,
  options: SquashfsOptions,
  world: Pick<EmitWorld, 'blocks' | 'contents' | 'signal'>,
): Promise<Forecast | undefined> {
  const settings = settingsOf(options)
  const ids = checkImage(tree.names, tree.inodes, settings.xattrs)
  const plan = planData(tree, settings.blockSize)
  const { pack, remembered, withHoles, mayBeHole } = await packer(settings, world)
  const made = plan.blocks.map((block): Remembered | undefined => remembered(block))
  const missing = plan.blocks.filter((_, index) => made[index] === undefined)
  if (missing.reduce((sum, { length }) => sum + length, 0) > MOST_NEW) return undefined
  const packing = missing.map(pack)
  await Promise.allSettled(packing)
  const packed = new Map(missing.map((block, nth) => [block, packing[nth] as Promise<Packed>]))

  const runs: Run[] = []
  const sources: Source[] = []
  let position = headOf(settings).length
  const place = (source: Source, kind: RunKind, owner: string, length: number, digest: Uint8Array): void => {
    if (length === 0) return
    runs.push({ kind, owner, offset: position, length, digest: Buffer.from(digest).toString('hex') })
    sources.push(source)
    position += length
  }
  const align = (): void => {
    const zeros = new Uint8Array(alignUp(position, ALIGNMENT) - position)
    place(zeros, 'metadata', '', zeros.length, runDigest(zeros))
  }
  const positions = new Float64Array(plan.blocks.length)
  const sizes = new Uint32Array(plan.blocks.length)
  const fragments: StoredFragment[] = []
  for (const [index, block] of plan.blocks.entries()) {
    if (block.isAligned) align()
    positions[index] = position
    const found = made[index]
    const kind = block.content === undefined ? 'fragment' : 'block'
    const known = found && !mayBeHole(block, found.size) ? found.digest() : undefined
    if (found && known) {
      sizes[index] = storedSize(found.size, found.isRaw)
      place({ block, made: found }, kind, block.owner, found.size, known)
    } else {
      const { bytes, isRaw, digest } = withHoles(block, await (packed.get(block) ?? pack(block)))
      sizes[index] = storedSize(bytes.length, isRaw)
      place(bytes, kind, block.owner, bytes.length, digest ?? runDigest(bytes))
    }
    if (kind === 'fragment') fragments.push({ start: positions[index], size: sizes[index] })
  }
  if (plan.total >= WORTH_ALIGNMENT) align()
  const end = { positions, sizes, fragments, ids, at: position }
  const { tables, first } = endOf(tree, plan, settings, end)
  place(tables, 'metadata', '', tables.length, runDigest(tables))
  runs.unshift(runOf('head', '', 0, first))
  sources.unshift(first)

  return {
    size: position,
    runs,
    write: async ({ offset, length }, sink, signal) => {
      const output = gatheringSink(sink)
      try {
        for (let at = runs.findIndex((run) => run.offset === offset); at < runs.length; at++) {
          const run = runs[at] as Run
          if (run.offset >= offset + length) break
          signal.throwIfAborted()
          const source = sources[at] as Source
          if (source instanceof Uint8Array) {
            await output.write(source)
            continue
          }
          const { block, made: found } = source
          let read = found.read(await output.room(found.room))
          if (!read) {
            // It was damaged, and so may have been the digest that stands behind it.
            read = await pack(block)
            runs[at] = runOf(run.kind, run.owner, run.offset, read.bytes)
          }
          if (read.bytes.length !== run.length)
            throw new Error(`a block of ${run.length} bytes has ${read.bytes.length}`)
          await output.write(read.bytes)
        }
        await output.flush()
      } finally {
        await output.settled()
      }
    },
  }
}
