/** A world in memory for emitting squashfs images, and trees of everything that squashfs can hold. */
import fc from 'fast-check'
import { type Digest, digestOf } from '../../src/base/digest.ts'
import type { Blocks, EmitWorld, Sink } from '../../src/emit/emitter.ts'
import { squashfsEmitter, type SquashfsOptions } from '../../src/emit/squashfs.ts'
import { treeOfSquashfs } from '../../src/emit/squashfs-tree.ts'
import { compressBlock } from '../../src/format/squashfs/codec.ts'
import { readSquashfs, type SquashfsImage } from '../../src/format/squashfs/read.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { type Entry, type Inode, type Meta, type Tree, treeOf } from '../../src/tree/tree.ts'

/** Compresses with at most `width` calls at once; remembers results when a map is given. */
export function zlibBlocks(width: number, known?: Map<string, Uint8Array>): Blocks & { compressed: number } {
  let free = width
  const waiting: (() => void)[] = []
  const blocks: Blocks & { compressed: number } = {
    compressed: 0,
    compress: async (codec, level, key, read) => {
      const name = `${codec} ${level} ${key}`
      const found = key === undefined ? undefined : known?.get(name)
      if (found) return found
      if (free > 0) free--
      else await new Promise<void>((resolve) => waiting.push(resolve))
      try {
        blocks.compressed++
        const packed = await compressBlock(codec, level, await read())
        if (key !== undefined) known?.set(name, packed)
        return packed
      } finally {
        const next = waiting.shift()
        if (next) next()
        else free++
      }
    },
  }
  return blocks
}

/** An image in memory. */
export function memorySink(): Sink & { bytes(): Uint8Array } {
  const parts: Uint8Array[] = []
  const patches: { readonly offset: number; readonly bytes: Uint8Array }[] = []
  return {
    write: async (bytes) => void parts.push(Uint8Array.from(bytes)),
    patch: async (offset, bytes) => void patches.push({ offset, bytes: Uint8Array.from(bytes) }),
    bytes: () => {
      const image = Buffer.concat(parts)
      for (const { offset, bytes } of patches) image.set(bytes, offset)
      return image
    },
  }
}

export const SMALL: SquashfsOptions = { codec: 'zstd', level: 3, blockSize: 4096, mtime: 1700000000 }

/** A tree with the bytes of its files. */
export interface Sample {
  readonly tree: Tree
  readonly bodies: ReadonlyMap<Digest, Uint8Array>
}

export function worldOf(
  bodies: ReadonlyMap<Digest, Uint8Array>,
): EmitWorld & { readonly sink: ReturnType<typeof memorySink> } {
  const contents = memoryContents()
  for (const [content, body] of bodies) contents.objects.set(content, body)
  return { contents, blocks: zlibBlocks(4), sink: memorySink(), signal: new AbortController().signal }
}

export async function imageOf(
  { tree, bodies }: Sample,
  options: SquashfsOptions = SMALL,
  changes: Partial<EmitWorld> = {},
): Promise<Uint8Array> {
  const world = worldOf(bodies)
  await squashfsEmitter.emit(tree, options, { ...world, ...changes })
  return world.sink.bytes()
}

export function openImage(bytes: Uint8Array): Promise<SquashfsImage> {
  return readSquashfs(async (offset, length) => bytes.subarray(offset, offset + length))
}

export async function treeInImage(bytes: Uint8Array): Promise<Tree> {
  return treeOfSquashfs(await openImage(bytes))
}

/** What a tree says without owners and without the order of its table of inodes. */
export function described(tree: Tree): unknown[] {
  const first = new Map<number, string>()
  return tree.names.map(({ path, inode }) => {
    if (!first.has(inode)) first.set(inode, path)
    const { xattrs = [], ...rest } = tree.inodes[inode] as Inode
    return { path, sameAs: first.get(inode), ...rest, xattrs }
  })
}

/** Entries by path; a string is the body of a file, `owner` defaults to `one_1`. */
export function sampleOf(
  files: { readonly [path: string]: string | Uint8Array | Inode },
  ownerOf: (path: string) => string = () => 'one_1',
): Sample {
  const bodies = new Map<Digest, Uint8Array>()
  const entries = Object.entries(files).map(([path, what]): Entry => {
    if (typeof what === 'object' && 'type' in what) return { path, owner: ownerOf(path), inode: what }
    const bytes = typeof what === 'string' ? Buffer.from(what) : what
    const content = digestOf(bytes)
    bodies.set(content, bytes)
    return { path, owner: ownerOf(path), inode: fileInode(content, bytes.length) }
  })
  return { tree: treeOf(entries), bodies }
}

export function fileInode(content: Digest, size: number, meta: Partial<Meta> = {}): Inode {
  return { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 0, ...meta, content, size }
}

/** Bytes that no codec makes smaller, the same for the same seed. */
export function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = seed
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[at] = state >>> 24
  }
  return bytes
}

/** Byte strings without the null byte. */
function byteString(minLength: number, maxLength: number): fc.Arbitrary<string> {
  return fc
    .array(fc.integer({ min: 1, max: 255 }), { minLength, maxLength })
    .map((bytes) => Buffer.from(bytes).toString('latin1'))
}

const arbitraryName: fc.Arbitrary<string> = fc
  .oneof(
    { weight: 8, arbitrary: fc.stringMatching(/^[a-z0-9!.~-]{1,3}$/) },
    { weight: 1, arbitrary: byteString(1, 6).map((name) => name.replaceAll('/', 'x')) },
    { weight: 1, arbitrary: fc.constantFrom('n'.repeat(255), 'n'.repeat(200), '\xff\xfe', 'a b', 'a\nb') },
  )
  .filter((name) => name !== '.' && name !== '..')

const arbitraryBody: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 4, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        fc.constantFrom(1, 4095, 4096, 4097, 8191, 8192, 8193, 12288, 20000),
        fc.integer({ min: 0, max: 3 }),
      )
      .map(([length, seed]) => (seed === 0 ? new Uint8Array(length) : noise(length, seed))),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 0, max: 3 }),
        fc.integer({ min: 0, max: 4096 }),
      )
      .map(([holes, texts, tail]) =>
        Buffer.concat([
          Buffer.alloc(4096 * holes),
          Buffer.alloc(4096 * texts, 'text '),
          Buffer.alloc(tail, 'z'),
        ]),
      ),
  },
)

const arbitraryMeta: fc.Arbitrary<Meta> = fc.record({
  mode: fc.constantFrom(0o644, 0o755, 0o4755, 0o1777, 0, 0o7777),
  uid: fc.constantFrom(0, 1, 1000, 65534, 0xfffffffe),
  gid: fc.constantFrom(0, 5, 100000),
  mtime: fc.constantFrom(0, 1, 1700000000, 0x80000000, 0xffffffff),
})

/** What setcap writes: the kernel hands out nothing else under this name. */
const CAPABILITY = '\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

const arbitraryXattrs: fc.Arbitrary<Meta['xattrs']> = fc
  .record(
    {
      'security.capability': fc.constant(CAPABILITY),
      'security.other': byteString(0, 24),
      'trusted.t': byteString(0, 24).map((text) => `${text}\0${text}`),
      'user.a': byteString(0, 24),
      'user.note': fc.constantFrom('x', 'y'.repeat(3000)),
    },
    { requiredKeys: [] },
  )
  .map((xattrs) => Object.entries(xattrs).sort(([a], [b]) => (a < b ? -1 : 1)))

interface Seed {
  readonly type: Inode['type']
  readonly meta: Meta
  readonly xattrs: Meta['xattrs']
  readonly body: Uint8Array
  readonly target: string
  readonly major: number
  readonly minor: number
}

const arbitrarySeed: fc.Arbitrary<Seed> = fc.record({
  type: fc.constantFrom('file', 'file', 'file', 'dir', 'symlink', 'char', 'block', 'fifo', 'socket'),
  meta: arbitraryMeta,
  xattrs: fc.option(arbitraryXattrs, { nil: [], freq: 3 }),
  body: arbitraryBody,
  target: byteString(1, 40),
  major: fc.constantFrom(0, 1, 8, 4095),
  minor: fc.constantFrom(0, 255, 256, 1048575),
})

/**
 * Trees with hard links, all types, names of any bytes, sizes around the block size of 4096; attributes only where Linux
 * keeps them: `user.` on files and directories, capabilities on files.
 */
export function arbitrarySample(most = 30): fc.Arbitrary<Sample> {
  const place = fc.record({
    depth: fc.integer({ min: 0, max: 3 }),
    names: fc.array(arbitraryName, { minLength: 4, maxLength: 4 }),
    seed: fc.integer({ min: 0, max: 11 }),
    owner: fc.constantFrom('one_1', 'one_2', 'two_1', 'three_1', 'stage:users'),
  })
  return fc
    .tuple(
      fc.array(arbitrarySeed, { minLength: 12, maxLength: 12 }),
      fc.array(place, { maxLength: most }),
      arbitraryMeta,
    )
    .map(([seeds, places, top]) => {
      const bodies = new Map<Digest, Uint8Array>()
      const inodes = seeds.map((seed) => inodeOfSeed(seed, bodies))
      const entries = new Map<string, Entry>()
      entries.set('', { path: '', owner: '', inode: { type: 'dir', ...top } })
      for (const { depth, names, seed, owner } of places) {
        const inode = inodes[seed] as Inode
        const parts = names.slice(0, depth + 1)
        const path = parts.join('/')
        const parents = parts.slice(0, -1).map((_, at) => parts.slice(0, at + 1).join('/'))
        if (
          entries.has(path) ||
          parents.some((parent) => (entries.get(parent)?.inode.type ?? 'dir') !== 'dir')
        )
          continue
        for (const parent of parents)
          if (!entries.has(parent))
            entries.set(parent, { path: parent, owner, inode: { type: 'dir', ...top } })
        entries.set(path, { path, owner, inode: inode.type === 'dir' ? { ...inode } : inode })
      }
      return { tree: treeOf(entries.values()), bodies }
    })
}

function inodeOfSeed(seed: Seed, bodies: Map<Digest, Uint8Array>): Inode {
  const { type, body, target, major, minor, xattrs = [] } = seed
  const isKept = (name: string): boolean =>
    type === 'file' || (name !== 'security.capability' && (type === 'dir' || !name.startsWith('user.')))
  const allowed = xattrs.filter(([name]) => isKept(name))
  const meta: Meta = { ...seed.meta, ...(allowed.length > 0 ? { xattrs: allowed } : {}) }
  switch (type) {
    case 'file': {
      const content = digestOf(body)
      bodies.set(content, body)
      return { ...meta, type, content, size: body.length }
    }
    case 'symlink':
      return { ...meta, type, target }
    case 'char':
    case 'block':
      return { ...meta, type, major, minor }
    case 'dir':
      return { ...meta, type }
    case 'fifo':
    case 'socket':
      return { ...meta, type }
  }
}
