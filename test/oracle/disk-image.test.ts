/** Disk images against their own parts and against qemu-img: what was put in is there, everything else is zeros. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/base/digest.ts'
import { QCOW2_CLUSTER, qcow2Layout } from '../../src/format/qcow2.ts'
import { dataRanges } from '../../src/deploy/sparse.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { giveUp, grow, openGrowth } from '../../src/host/growth.ts'
import { writeDiskImage } from '../../src/jobs/disk-image.ts'
import type { DiskPart } from '../../src/jobs/messages.ts'
import { openThreads } from '../../src/jobs/threads.ts'

const MIB = 2 ** 20

function hasQemu(t: TestContext): boolean {
  const has = findTool('qemu-img') !== undefined
  if (!has) t.skip('needs qemu-img')
  return has
}

async function isSound(image: string): Promise<boolean> {
  const { stdout } = await run(['qemu-img', 'check', '-f', 'qcow2', image], { accept: 'any' })
  return stdout.toString().startsWith('No errors were found on the image.')
}

const parts = fc.array(
  fc.record({
    gap: fc.integer({ min: 0, max: 700_000 }),
    length: fc.integer({ min: 1, max: 900_000 }),
    zeros: fc.integer({ min: 0, max: 900_000 }),
    how: fc.constantFrom('bytes', 'sparse', 'dense'),
  }),
  { maxLength: 5 },
)

test('a raw disk has its parts and zeros between them, and its qcow2 is equal', async (t) => {
  if (!hasQemu(t)) return
  await fc.assert(
    fc.asyncProperty(parts, fc.integer({ min: 1, max: 4000 }), async (wanted, sectors) => {
      using folder = temporaryDirectory()
      const placed: DiskPart[] = []
      let end = 0
      const contents: { readonly at: number; readonly bytes: Buffer }[] = []
      for (const [nth, { gap, length, zeros, how }] of wanted.entries()) {
        const at = end + gap
        const bytes = Buffer.alloc(length, nth + 1).fill(
          0,
          length >> 1,
          (length >> 1) + Math.min(zeros, length >> 1),
        )
        const file = join(folder.path, `part${nth}`)
        writeFileSync(file, bytes)
        contents.push({ at, bytes })
        placed.push(how === 'bytes' ? { at, bytes } : { at, file, isSparse: how === 'sparse' })
        end = at + length
      }
      const size = 512 * (Math.ceil(end / 512) + sectors)
      const expected = Buffer.alloc(size)
      for (const { at, bytes } of contents) expected.set(bytes, at)
      const [raw, qcow2] = [join(folder.path, 'raw'), join(folder.path, 'qcow2')]
      const written = await writeDiskImage({ target: raw, format: 'raw', size, parts: placed })
      assert.ok(readFileSync(raw).equals(expected))
      assert.deepEqual(written, { size, digest: digestOf(expected) })
      const image = await writeDiskImage({ target: qcow2, format: 'qcow2', size, parts: placed })
      assert.deepEqual(image, { size: statSync(qcow2).size, digest: digestOf(readFileSync(qcow2)) })
      assert.ok(await isSound(qcow2))
      await run(['qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', raw, qcow2])
    }),
    { numRuns: 12 },
  )
})

test('tables of disks that need several of each are sound, and one wrong entry is seen', async (t) => {
  if (!hasQemu(t)) return
  using folder = temporaryDirectory()
  // Three blocks of reference counts, and clusters in the first, an inner and the last mapping table.
  const allocated = [...Array(70_000).keys()].map((nth) => nth + (nth > 100 ? 3 * 8192 : 0))
  allocated.push(40 * 8192 - 1)
  const size = 40 * 8192 * QCOW2_CLUSTER
  const layout = qcow2Layout(size, allocated)
  const image = join(folder.path, 'image')
  writeFileSync(image, layout.head)
  truncateSync(image, layout.size)
  assert.ok(await isSound(image))
  const marked = Buffer.from('the last cluster')
  const file = openSync(image, 'r+')
  writeSync(file, marked, 0, marked.length, layout.size - QCOW2_CLUSTER)
  const command = `read -P 0x74 ${size - QCOW2_CLUSTER} 1`
  const found = await run(['qemu-io', '-r', '-f', 'qcow2', '-c', command, image])
  assert.doesNotMatch(found.stdout.toString(), /failed/)
  const cleared = Buffer.alloc(2)
  writeSync(file, cleared, 0, 2, 2 * QCOW2_CLUSTER + 2 * 1000)
  closeSync(file)
  assert.equal(await isSound(image), false)
})

test('where a large sparse file has data is asked, and a disk of these ranges is the disk of the file', async (t) => {
  if (!hasQemu(t)) return
  using folder = temporaryDirectory()
  const size = 600 * MIB
  const file = join(folder.path, 'sparse')
  writeFileSync(file, Buffer.alloc(8192, 1))
  truncateSync(file, size)
  const opened = openSync(file, 'r+')
  writeSync(opened, Buffer.alloc(100_000, 2), 0, 100_000, 300 * MIB + 12_288)
  closeSync(opened)
  const ranges = await dataRanges(file, t.signal)
  const covered = (at: number): boolean =>
    ranges.some(({ offset, length }) => offset <= at && at < offset + length)
  assert.deepEqual([0, 8191, 300 * MIB + 12_288, 300 * MIB + 112_287].map(covered), [true, true, true, true])
  // A file system that keeps no holes has the whole file as its data.
  if (statSync(file).blocks * 512 < size) assert.equal(covered(100 * MIB), false)
  const small = join(folder.path, 'small')
  writeFileSync(small, 'few')
  assert.deepEqual(await dataRanges(small, t.signal), [{ offset: 0, length: 3 }])
  const parts = ranges.map((range) => ({ at: MIB + range.offset, file, isSparse: true, ...range }))
  const image = { format: 'qcow2', size: size + 2 * MIB } as const
  const some = await writeDiskImage({ ...image, target: join(folder.path, 'some'), parts })
  const whole = [{ at: MIB, file, isSparse: true }]
  const all = await writeDiskImage({ ...image, target: join(folder.path, 'all'), parts: whole })
  assert.deepEqual(some, all)
})

test('what allocation cannot be is refused', () => {
  assert.throws(() => qcow2Layout(1000, []), RangeError)
  assert.throws(() => qcow2Layout(MIB, [16]), RangeError)
  assert.equal(qcow2Layout(0, []).size, qcow2Layout(0, []).head.length)
})

test('a target that exists is left alone, and a source that is not there is named', async () => {
  using folder = temporaryDirectory()
  const target = join(folder.path, 'target')
  writeFileSync(target, 'mine')
  const size = MIB
  await assert.rejects(writeDiskImage({ target, format: 'raw', size, parts: [] }), { code: 'EEXIST' })
  assert.equal(readFileSync(target, 'latin1'), 'mine')
  const file = join(folder.path, 'missing')
  const missing = {
    target: join(folder.path, 'other'),
    format: 'qcow2',
    size,
    parts: [{ at: 0, file, isSparse: true }],
  } as const
  await assert.rejects(writeDiskImage(missing), { code: 'ENOENT', path: file })
})

test('a file that is still being written becomes part of a disk when it is there, and a given up one ends it', async () => {
  using folder = temporaryDirectory()
  await using threads = openThreads(1)
  const { signal } = new AbortController()
  const whole = Buffer.alloc(3 * MIB + 4096, 'base')
  for (const format of ['raw', 'qcow2'] as const) {
    const file = join(folder.path, `base-${format}`)
    const expected = join(folder.path, `expected-${format}`)
    const growth = openGrowth()
    const written = openSync(file, 'w')
    const part = { at: MIB, file, isSparse: false, length: whole.length }
    const image = { format, size: 6 * MIB, parts: [{ ...part, growth }] }
    const made = threads.run({ kind: 'disk-image', input: { ...image, target: `${file}.disk` } }, signal)
    for (let at = 0; at < whole.length; at += 700_000) {
      await new Promise(setImmediate)
      writeSync(written, whole, at, Math.min(700_000, whole.length - at), at)
      grow(growth, Math.min(whole.length, at + 700_000))
    }
    closeSync(written)
    assert.deepEqual(await made, await writeDiskImage({ ...image, parts: [part], target: expected }))
    assert.ok(readFileSync(`${file}.disk`).equals(readFileSync(expected)))
    const lost = openGrowth()
    const input = { ...image, parts: [{ ...part, growth: lost }], target: `${file}.lost` }
    const waiting = threads.run({ kind: 'disk-image', input }, signal)
    grow(lost, MIB)
    giveUp(lost)
    await assert.rejects(waiting, /given up/)
  }
})
