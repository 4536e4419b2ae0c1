/** Images that are known before they are written: the same bytes and runs as when they are written at once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/base/digest.ts'
import { runOf } from '../../src/emit/delta.ts'
import { type Forecast, forecastSquashfs } from '../../src/emit/squashfs-forecast.ts'
import type { Packed, PartBlocks } from '../../src/emit/squashfs.ts'
import { type Run, runDigest } from '../../src/format/delta.ts'
import { compressBlock } from '../../src/format/squashfs/codec.ts'
import type { Contents } from '../../src/tree/contents.ts'
import { treeOf } from '../../src/tree/tree.ts'
import {
  arbitrarySample,
  fileInode,
  imageOf,
  memorySink,
  noise,
  type Sample,
  SMALL,
  sampleOf,
  worldOf,
} from './squashfs-world.ts'

interface Kept extends PartBlocks {
  readonly known: Map<string, Packed>
  /** Keys of blocks that `read` does not find any more. */
  readonly damaged: Set<string>
  packed: number
}

/** Blocks that are kept in memory. */
function keptBlocks(contents: Contents): Kept {
  const known = new Map<string, Packed>()
  const damaged = new Set<string>()
  const kept: Kept = {
    known,
    damaged,
    packed: 0,
    compress: async (codec, level, _key, read) => compressBlock(codec, level, await read()),
    compressParts: async (codec, level, key, parts) => {
      const input = Buffer.concat(
        await Promise.all(
          parts.map(async ({ content, offset, length }) =>
            (await contents.read(content)).subarray(offset, offset + length),
          ),
        ),
      )
      kept.packed++
      const bytes = await compressBlock(codec, level, input)
      const isRaw = bytes.length >= input.length
      const stored = isRaw ? input : bytes
      const packed = { bytes: stored, isRaw, digest: runDigest(stored) }
      known.set(key, packed)
      return packed
    },
    remembered: (_codec, _level, key) => {
      const packed = known.get(key)
      if (!packed) return undefined
      const { bytes, isRaw, digest } = packed
      return {
        size: bytes.length,
        isRaw,
        room: bytes.length,
        digest: () => (damaged.has(key) ? Buffer.alloc(16, 'damaged') : digest),
        read: (into) => {
          if (damaged.has(key)) return undefined
          into.set(bytes)
          return { bytes: into.subarray(0, bytes.length), isRaw, ...(digest && { digest }) }
        },
      }
    },
  }
  return kept
}

async function written(forecast: Forecast, offset = 0, length = forecast.size): Promise<Buffer> {
  const sink = memorySink()
  await forecast.write({ offset, length }, sink, new AbortController().signal)
  return Buffer.from(sink.bytes())
}

/** An image that was written at once, its runs, and a way to forecast it with the blocks that this left. */
async function imageAndForecast(sample: Sample) {
  const world = worldOf(sample.bodies)
  const blocks = keptBlocks(world.contents)
  const runs: Run[] = []
  const image = Buffer.from(
    await imageOf(sample, SMALL, { blocks, placed: (...run) => void runs.push(runOf(...run)) }),
  )
  runs.sort((left, right) => left.offset - right.offset)
  const forecast = async (): Promise<Forecast> => {
    const made = await forecastSquashfs(sample.tree, SMALL, { ...world, blocks })
    assert.ok(made)
    return made
  }
  return { image, runs, blocks, forecast }
}

test('a forecast has the bytes and the runs of the image, whatever was packed before', async () => {
  await fc.assert(
    fc.asyncProperty(arbitrarySample(), fc.infiniteStream(fc.boolean()), async (sample, forgotten) => {
      const { image, runs, blocks, forecast } = await imageAndForecast(sample)
      for (const key of blocks.known.keys()) if (forgotten.next().value) blocks.known.delete(key)
      const made = await forecast()
      assert.equal(made.size, image.length)
      assert.deepEqual(made.runs, runs)
      assert.ok((await written(made)).equals(image))
      for (const { offset, length } of runs)
        assert.ok((await written(made, offset, length)).equals(image.subarray(offset, offset + length)))
    }),
    { numRuns: 60 },
  )
})

test('runs begin at whole blocks where they do in the image, and what is known is not packed again', async () => {
  const sample = sampleOf(
    { a: noise(2 ** 20 + 100, 1), b: 'small', c: noise(2 ** 20, 2), zeros: new Uint8Array(9000) },
    (path) => `${path}_1`,
  )
  const { image, runs, blocks, forecast } = await imageAndForecast(sample)
  const before = blocks.packed
  const made = await forecast()
  assert.deepEqual(made.runs, runs)
  assert.ok(runs.some(({ kind, offset }) => kind === 'metadata' && offset < 2 ** 21))
  assert.ok((await written(made)).equals(image))
  // Blocks of the size of packed zeros are looked at.
  assert.equal(blocks.packed - before, 2)
})

test('a block that is damaged in the store is packed anew, and its run named by what it is', async () => {
  const sample = sampleOf({ a: noise(9000, 1), b: 'text '.repeat(3000), c: noise(5000, 3) })
  const { image, runs, blocks, forecast } = await imageAndForecast(sample)
  for (const [nth, key] of [...blocks.known.keys()].entries()) if (nth % 2 === 0) blocks.damaged.add(key)
  const made = await forecast()
  assert.notDeepEqual(made.runs, runs)
  assert.ok((await written(made)).equals(image))
  assert.deepEqual(made.runs, runs)
})

test('an image of which most is new is not forecast', async () => {
  const content = digestOf('big')
  const tree = treeOf([{ path: 'big', owner: 'one_1', inode: fileInode(content, 65 * 2 ** 20) }])
  const world = worldOf(new Map())
  const blocks = keptBlocks(world.contents)
  assert.equal(await forecastSquashfs(tree, SMALL, { ...world, blocks }), undefined)
  assert.equal(blocks.packed, 0)
})

test('a forecast whose block cannot be packed fails, and so does writing after an abort', async () => {
  const { bodies, tree } = sampleOf({ a: noise(9000, 1) })
  const world = worldOf(new Map())
  const broken = { ...world, blocks: keptBlocks(world.contents) }
  await assert.rejects(forecastSquashfs(tree, SMALL, broken))
  const { forecast } = await imageAndForecast({ bodies, tree })
  const reason = new Error('stop')
  const made = await forecast()
  await assert.rejects(
    made.write({ offset: 0, length: made.size }, memorySink(), AbortSignal.abort(reason)),
    (error) => error === reason,
  )
})
