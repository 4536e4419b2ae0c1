/** The squashfs reader against images from anywhere, and the writer's directories at their limits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import {
  compressBlock,
  compressBlockSync,
  unpackBlockSync,
  zstdPacker,
} from '../../src/format/squashfs/codec.ts'
import { type Listed, directoryWriter } from '../../src/format/squashfs/directories.ts'
import { decodeDevice, encodeDevice, SUPERBLOCK } from '../../src/format/squashfs/layout.ts'
import { layoutOf, readSquashfs } from '../../src/format/squashfs/read.ts'
import { readRegion } from '../../src/format/squashfs/regions.ts'
import type { Inode } from '../../src/tree/tree.ts'
import { described, imageOf, noise, openImage, SMALL, sampleOf, treeInImage } from '../emit/squashfs-world.ts'

const FIFO: Inode = { type: 'fifo', mode: 0o600, uid: 0, gid: 0, mtime: 0 }

function refused(reason?: string): (error: unknown) => boolean {
  return (error) =>
    isStage5Error(error, 'S5_ARCHIVE_REFUSED') && (reason === undefined || error.data['reason'] === reason)
}

/** A bit of everything that is cheap to read again and again. */
async function victim(): Promise<Uint8Array> {
  const files: { [path: string]: string | Uint8Array | Inode } = {
    'a/text': 'text '.repeat(2000),
    'a/noise': noise(5000),
    'a/tail': 'tail',
    fifo: { ...FIFO, xattrs: [['trusted.a', 'b']] },
    link: { ...FIFO, type: 'symlink', target: 'a/text' },
    null: { ...FIFO, type: 'char', major: 1, minor: 3 },
  }
  for (let at = 0; at < 300; at++) files[`many/${at}`] = { ...FIFO, mtime: at }
  return imageOf(sampleOf(files), { ...SMALL, exports: true })
}

async function readAll(bytes: Uint8Array): Promise<void> {
  const image = await openImage(bytes)
  for (const inode of image.bodies.keys())
    for await (const block of image.readBody(inode)) assert.ok(block.length <= 4096)
  layoutOf(image)
}

test('a damaged image is read or refused, never anything else', async () => {
  const good = await victim()
  let refusals = 0
  let state = 42
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 8) % below
  }
  for (let run = 0; run < 600; run++) {
    const bytes = Uint8Array.from(good)
    const inHead = run % 2 === 0
    for (let change = random(3); change >= 0; change--) bytes[random(inHead ? 96 : good.length)] = random(256)
    try {
      await readAll(bytes)
    } catch (error) {
      if (!refused()(error)) throw error
      refusals++
    }
  }
  assert.ok(refusals > 100, `${refusals}`)
})

test('an image cut anywhere is refused', async () => {
  const good = await victim()
  const used = (await openImage(good)).superblock.bytesUsed
  for (let length = 0; length < used; length += 37)
    await assert.rejects(readAll(good.subarray(0, length)), refused())
  await readAll(good.subarray(0, used))
})

const superblockAt = (field: (typeof SUPERBLOCK)[number][0]): number =>
  SUPERBLOCK.find(([name]) => name === field)?.[1] ?? -1

for (const [what, field, value, reason] of [
  ['another magic', 'magic', 1, 'magic'],
  ['version 3', 'major', 3, 'version'],
  ['xz', 'compressor', 4, 'version'],
  ['a block size that disagrees with its logarithm', 'blockLog', 13, 'layout'],
  ['a block size of 2 KiB', 'blockLog', 11, 'layout'],
  ['an inode table after the directory table', 'inodeTable', 0x7fff, 'layout'],
  ['a root that is not there', 'root', 0x7fff, 'truncated'],
] as const)
  test(`an image with ${what} is refused`, async () => {
    const bytes = Buffer.from(await victim())
    bytes.writeUInt16LE(value, superblockAt(field))
    await assert.rejects(readAll(bytes), refused(reason))
  })

test('a directory that holds itself is refused', async () => {
  const bytes = Buffer.from(await imageOf(sampleOf({ 'd/e': { ...FIFO, type: 'dir' } })))
  const image = await openImage(bytes)
  const { directoryTable, inodeTable, root } = image.superblock
  assert.equal(root < 0x10000 && inodeTable < directoryTable, true)
  const at = bytes.indexOf(Buffer.from([0, 0x65]), directoryTable) + 1
  bytes.writeUInt16LE(root, at - 8)
  await assert.rejects(readAll(bytes), refused())
})

test('the reader gives blocks of the block size and the tail last', async () => {
  const body = Buffer.concat([noise(4096), new Uint8Array(4096), Buffer.alloc(100, 'x')])
  const image = await openImage(await imageOf(sampleOf({ body })))
  const inode = [...image.bodies.keys()][0] ?? -1
  const blocks: Uint8Array[] = []
  for await (const block of image.readBody(inode)) blocks.push(block)
  assert.deepEqual(
    blocks.map(({ length }) => length),
    [4096, 4096, 100],
  )
  assert.deepEqual(Buffer.concat(blocks), body)
})

test('extents follow each other without gaps and end with the image', async () => {
  const bytes = await victim()
  let at = 0
  for (const { offset, length } of layoutOf(await openImage(bytes))) {
    assert.equal(offset, at)
    at += length
  }
  assert.equal(at, bytes.length)
})

/** Reads a listing back the way that a kernel with the index would. */
async function listingOf(entries: readonly Listed[]): Promise<{
  readonly runs: readonly {
    readonly at: number
    readonly first: string
    readonly count: number
    readonly number: number
    readonly start: number
  }[]
  readonly index: readonly { readonly at: number; readonly start: number; readonly name: string }[]
  readonly starts: readonly number[]
}> {
  const writer = directoryWriter('zstd', 3)
  const { index, indexes, size } = writer.list(entries)
  const { blocks } = writer.finish()
  const stored = Buffer.concat(blocks)
  const source = {
    codec: 'zstd',
    file: 'x',
    read: async (at: number, length: number) => stored.subarray(at, at + length),
  } as const
  const region = await readRegion(source, 0, stored.length)
  const { bytes } = region
  assert.equal(bytes.length, size - 3)
  const runs = []
  for (let at = 0; at < bytes.length; ) {
    const count = bytes.readUInt32LE(at) + 1
    const first = bytes.toString('latin1', at + 20, at + 21 + bytes.readUInt16LE(at + 18))
    runs.push({ at, first, count, start: bytes.readUInt32LE(at + 4), number: bytes.readUInt32LE(at + 8) })
    at += 12
    for (let entry = 0; entry < count; entry++) at += 9 + bytes.readUInt16LE(at + 6)
  }
  const found = []
  for (let at = 0; at < index.length; ) {
    const end = at + 13 + index.readUInt32LE(at + 8)
    found.push({
      at: index.readUInt32LE(at),
      start: index.readUInt32LE(at + 4),
      name: index.toString('latin1', at + 12, end),
    })
    at = end
  }
  assert.equal(found.length, indexes)
  return { runs, index: found, starts: [...region.places.keys()] }
}

function entriesNamed(count: number, change: (at: number) => Partial<Listed> = () => ({})): Listed[] {
  return Array.from({ length: count }, (_, at) => ({
    name: `name-${String(at).padStart(6, '0')}`,
    number: at + 1,
    start: 0,
    offset: 0,
    type: 6,
    ...change(at),
  }))
}

test('a run has at most 256 entries', async () => {
  const { runs } = await listingOf(entriesNamed(257))
  assert.deepEqual(
    runs.map(({ count }) => count),
    [256, 1],
  )
})

test('a run ends where the inode block changes or the number is too far', async () => {
  const counts = async (change: (at: number) => Partial<Listed>): Promise<number[]> =>
    (await listingOf(entriesNamed(6, change))).runs.map(({ count }) => count)
  assert.deepEqual(await counts((at) => ({ start: at < 2 ? 0 : 500 })), [2, 4])
  assert.deepEqual(await counts((at) => ({ number: at === 3 ? 1 + 32767 : 1 })), [6])
  assert.deepEqual(await counts((at) => ({ number: at === 3 ? 1 + 32768 : 1 })), [3, 3])
  assert.deepEqual(await counts((at) => ({ number: at === 3 ? 1 : 32769 })), [6])
  assert.deepEqual(await counts((at) => ({ number: at === 3 ? 1 : 32770 })), [3, 1, 2])
})

test('the index has one entry for each further block, at a run that begins there', async () => {
  const { runs, index, starts } = await listingOf(entriesNamed(5000))
  assert.equal(index.length, starts.length - 1)
  for (const [number, { at, start, name }] of index.entries()) {
    assert.equal(start, starts[number + 1])
    assert.equal(Math.floor(at / 8192), number + 1)
    assert.ok(runs.some((run) => run.at === at && run.first === name))
  }
})

test('images with names and numbers at every limit are read back', async () => {
  const files: { [path: string]: Inode } = {}
  const shared: Inode = { ...FIFO, mtime: 1 }
  for (let at = 0; at < 700; at++) files[`wide/${String(at).padStart(200, 'w')}`] = { ...FIFO, mtime: at }
  for (let at = 0; at < 34000; at++) files[`far/${at}`] = { ...FIFO }
  files['a-first'] = shared
  files['zz/last'] = shared
  files[Array.from({ length: 500 }, () => 'd').join('/')] = FIFO
  const sample = sampleOf(files)
  assert.deepEqual(described(await treeInImage(await imageOf(sample))), described(sample.tree))
})

test('blocks are packed with their size declared and nothing else', async () => {
  const bytes = Buffer.alloc(131072, 'text and more text ')
  for (const [codec, level] of [
    ['zstd', 15],
    ['gzip', 9],
  ] as const) {
    const packed = await compressBlock(codec, level, bytes)
    assert.deepEqual(Uint8Array.from(compressBlockSync(codec, level, bytes)), packed)
    assert.deepEqual(Buffer.from(unpackBlockSync(codec, packed, bytes.length)), bytes)
    assert.throws(() => unpackBlockSync(codec, packed, bytes.length - 1))
  }
  const frame = compressBlockSync('zstd', 15, bytes)
  const descriptor = frame[4] as number
  assert.equal(descriptor & 0x20, 0x20, 'single segment: the window is the content')
  assert.equal(descriptor & 0x04, 0, 'no checksum')
})

test('one context for all blocks packs each as a context of its own does, whatever came before it', async () => {
  const text = Buffer.from(Array.from({ length: 40_000 }, (_, at) => `line ${at * at}\n`).join(''))
  let seed = 1
  const noise = Buffer.from(Array.from({ length: 131072 }, () => (seed = (seed * 48271) % 2147483647) & 0xff))
  for (const level of [1, 3, 15, 22]) {
    const pack = zstdPacker(level)
    for (const size of [131072, 1, 131072, 5, 100, 4096, 70_000, 131071, 16_384, 131072])
      for (const input of [text.subarray(size, 2 * size), noise.subarray(0, size), Buffer.alloc(size)]) {
        const expected = await compressBlock('zstd', level, input)
        assert.ok(Buffer.from(expected).equals(await pack(input)), `level ${level}, ${size} bytes`)
      }
  }
})

test('device numbers keep 12 bits of major and 20 bits of minor', () => {
  for (const [major, minor] of [
    [0, 0],
    [1, 3],
    [259, 70000],
    [4095, 1048575],
  ] as const)
    assert.deepEqual(decodeDevice(encodeDevice(major, minor)), { major, minor })
  assert.equal(encodeDevice(8, 1), 0x801)
})

test('an image that ends early is refused by position', async () => {
  const read = async (): Promise<Uint8Array> => new Uint8Array(10)
  await assert.rejects(readSquashfs(read, 'x.squashfs'), refused('truncated'))
})
