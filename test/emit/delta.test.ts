/** Layouts and deltas: whatever two trees are, the delta between their images makes the second of the first. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isStage5Error } from '../../src/base/errors.ts'
import {
  applyDelta,
  layoutOfSquashfs,
  type ReadableImage,
  runOf,
  writeDelta,
  type WrittenDelta,
} from '../../src/emit/delta.ts'
import {
  diffLayouts,
  type Layout,
  parseLayout,
  printDelta,
  printLayout,
  type Run,
} from '../../src/format/delta.ts'
import { digestOf } from '../../src/base/digest.ts'
import {
  arbitrarySample,
  imageOf,
  memorySink,
  noise,
  type Sample,
  sampleOf,
  SMALL,
} from './squashfs-world.ts'

const { signal } = new AbortController()

interface Imaged {
  readonly image: ReadableImage
  readonly bytes: Uint8Array
  readonly layout: Layout
}

function readable(name: string, bytes: Uint8Array): ReadableImage {
  return { name, size: bytes.length, read: async (offset, length) => bytes.subarray(offset, offset + length) }
}

/** An image with the layout that its emitter tells. */
async function imaged(name: string, sample: Sample): Promise<Imaged> {
  const runs: Run[] = []
  const bytes = await imageOf(sample, SMALL, { placed: (...run) => void runs.push(runOf(...run)) })
  runs.sort((a, b) => a.offset - b.offset)
  return {
    image: readable(name, bytes),
    bytes,
    layout: { name, size: bytes.length, digest: digestOf(bytes), runs },
  }
}

async function deltaOf(old: Imaged, fresh: Imaged): Promise<{ bytes: Uint8Array; written: WrittenDelta }> {
  const sink = memorySink()
  const written = await writeDelta(old.layout, fresh.layout, fresh.image, sink, signal)
  return { bytes: sink.bytes(), written }
}

async function patched(old: ReadableImage, delta: Uint8Array): Promise<Uint8Array> {
  const sink = memorySink()
  await applyDelta(old, readable('delta', delta), sink, signal)
  return sink.bytes()
}

test('the delta of any two images makes the second of the first', async () => {
  await fc.assert(
    fc.asyncProperty(arbitrarySample(), arbitrarySample(), async (one, two) => {
      const [old, fresh] = [await imaged('one', one), await imaged('two', two)]
      const { bytes } = await deltaOf(old, fresh)
      assert.deepEqual(Buffer.from(await patched(old.image, bytes)), Buffer.from(fresh.bytes))
    }),
    { numRuns: 60 },
  )
})

test('the layout told while writing is the one that is read off the image', async () => {
  await fc.assert(
    fc.asyncProperty(arbitrarySample(), async (sample) => {
      const { image, layout } = await imaged('one', sample)
      assert.deepEqual(parseLayout(printLayout(layout), 'layout'), layout)
      const read = await layoutOfSquashfs(image)
      const bare = ({ runs }: Layout): unknown[] =>
        runs.map(({ kind, offset, length }) => (kind === 'metadata' ? offset : [kind, offset, length]))
      // Read off the image, the padding at its end is a run of its own.
      assert.deepEqual([...new Set(bare(read))].slice(0, layout.runs.length), bare(layout))
      assert.equal(read.digest, layout.digest)
    }),
    { numRuns: 60 },
  )
})

const LIBRARY = noise(30_000, 7)
const BASE = {
  '': { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: 0 },
  a: noise(60_000, 1),
  b: noise(20_001, 2),
  lib: LIBRARY,
  z: noise(50_000, 3),
} as const
const ownerOf = (path: string): string => `${path || 'root'}_1`

test('of an image in which one package changed, the delta has its blocks and the tables', async () => {
  const old = await imaged('old', sampleOf(BASE, ownerOf))
  const changed = Buffer.from(LIBRARY)
  changed[9_000] = 1 ^ (changed[9_000] as number)
  const fresh = await imaged('new', sampleOf({ ...BASE, lib: changed }, ownerOf))
  const { written, bytes } = await deltaOf(old, fresh)
  assert.equal(written.blocks, 4096)
  assert.equal(written.size, bytes.length)
  assert.ok(bytes.length < 4096 + written.tables + 500, `${bytes.length}`)
})

test('a client with range requests and the two layouts needs no delta file', async () => {
  const old = await imaged('old', sampleOf(BASE, ownerOf))
  const fresh = await imaged('new', sampleOf({ ...BASE, b: noise(20_000, 9) }, ownerOf))
  const known = new Map(old.layout.runs.map((run) => [run.digest, run.offset]))
  let fetched = 0
  const parts = parseLayout(printLayout(fresh.layout), 'new.layout').runs.map(
    ({ digest, offset, length }) => {
      const at = known.get(digest)
      if (at !== undefined) return old.bytes.subarray(at, at + length)
      fetched += length
      return fresh.bytes.subarray(offset, offset + length)
    },
  )
  assert.equal(digestOf(Buffer.concat(parts)), fresh.layout.digest)
  assert.ok(fetched < 25_000, `${fetched} of ${fresh.bytes.length}`)
})

test('equal runs one after the other are one operation', () => {
  const run = (offset: number, digest: string): Run => ({
    kind: 'block',
    owner: '',
    offset,
    length: 10,
    digest,
  })
  const layout = (letters: string): Layout => ({
    name: letters,
    size: 10 * letters.length,
    digest: digestOf(letters),
    runs: Array.from(letters).map((letter, at) => run(10 * at, letter)),
  })
  assert.deepEqual(diffLayouts(layout('abcdab'), layout('abXYcdabbc')), [
    { offset: 0, length: 20 },
    { length: 20 },
    { offset: 20, length: 40 },
    { offset: 10, length: 20 },
  ])
})

test('S5_DELTA_BASE: a delta on the wrong image writes nothing', async () => {
  const old = await imaged('old', sampleOf(BASE, ownerOf))
  const fresh = await imaged('new', sampleOf({ ...BASE, b: noise(20_000, 9) }, ownerOf))
  const { bytes } = await deltaOf(old, fresh)
  const damaged = Buffer.from(old.bytes)
  damaged[damaged.length - 1] = 1
  for (const wrong of [readable('damaged', damaged), readable('short', old.bytes.subarray(1)), fresh.image]) {
    const sink = memorySink()
    await assert.rejects(applyDelta(wrong, readable('delta', bytes), sink, signal), (error) =>
      isStage5Error(error, 'S5_DELTA_BASE'),
    )
    assert.equal(sink.bytes().length, 0)
  }
})

test('a damaged delta is refused, or its result is', async () => {
  const old = await imaged('old', sampleOf(BASE, ownerOf))
  const fresh = await imaged('new', sampleOf({ ...BASE, b: noise(20_000, 9) }, ownerOf))
  const { bytes } = await deltaOf(old, fresh)
  for (let at = 0; at < bytes.length; at += at < 400 ? 1 : 977) {
    const wrong = Buffer.from(bytes)
    wrong[at] = 0x20 ^ (wrong[at] as number)
    await assert.rejects(patched(old.image, wrong), (error) =>
      isStage5Error(error, 'S5_ARCHIVE_REFUSED', 'S5_DIGEST_MISMATCH', 'S5_DELTA_BASE'),
    )
  }
  for (const length of [0, 10, 25, 100, bytes.length - 1])
    await assert.rejects(patched(old.image, bytes.subarray(0, length)), (error) =>
      isStage5Error(error, 'S5_ARCHIVE_REFUSED'),
    )
  await assert.rejects(patched(old.image, Buffer.concat([bytes, Buffer.alloc(1)])), {
    code: 'S5_ARCHIVE_REFUSED',
  })
})

test('a delta cannot read beyond the old image or make another size', async () => {
  const old = await imaged('old', sampleOf(BASE, ownerOf))
  const { size, digest } = old.layout
  for (const operations of [
    [{ offset: 1, length: size }],
    [{ offset: 0, length: size - 1 }],
    [{ offset: 0, length: size }, { length: 1 }],
  ])
    await assert.rejects(
      patched(old.image, printDelta({ old: { size, digest }, new: { size, digest }, operations })),
      { code: 'S5_ARCHIVE_REFUSED' },
    )
})

test('an image that is not what its layout says gives no delta', async () => {
  const old = await imaged('old', sampleOf(BASE, ownerOf))
  const fresh = await imaged('new', sampleOf({ ...BASE, b: noise(20_000, 9) }, ownerOf))
  const other = Buffer.from(fresh.bytes).fill(7, 100)
  const writing = writeDelta(old.layout, fresh.layout, readable('new', other), memorySink(), signal)
  await assert.rejects(writing, { code: 'S5_DIGEST_MISMATCH' })
})

test('layouts from anywhere are checked', () => {
  const good = `stage5 layout 1\nimage x 20 sha256:${'0'.repeat(64)}\nowner a_1\n0 20 ${'1'.repeat(32)} head\n`
  assert.equal(parseLayout(good, 'x').runs[0]?.owner, 'a_1')
  for (const [from, to] of [
    ['layout 1', 'layout 2'],
    ['0 20 1', '1 20 1'],
    ['0 20 1', '0 19 1'],
    ['0 20 1', '0 0 1'],
    ['head', 'tail'],
    ['sha256', 'md5'],
    ['head\n', 'head'],
  ] as const)
    assert.throws(() => parseLayout(good.replace(from, to), 'x'), { code: 'S5_ARCHIVE_REFUSED' })
})
