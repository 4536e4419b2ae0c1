/** The squashfs emitter: what is in an image, in which order, and what is asked of the block cache. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Digest, digestOf } from '../../src/base/digest.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { layoutOfSquashfs, runOf } from '../../src/emit/delta.ts'
import type { Blocks } from '../../src/emit/emitter.ts'
import { type PartBlocks, squashfsEmitter, type SquashfsOptions } from '../../src/emit/squashfs.ts'
import { blockKey, planData } from '../../src/emit/squashfs-plan.ts'
import { stretchesOf } from '../../src/emit/verity.ts'
import type { Run } from '../../src/format/delta.ts'
import { dumpSquashfs } from '../../src/format/dump.ts'
import { compressBlock } from '../../src/format/squashfs/codec.ts'
import { BLOCK_RAW } from '../../src/format/squashfs/layout.ts'
import { layoutOf } from '../../src/format/squashfs/read.ts'
import { entriesOf, type Inode, type Tree, treeOf } from '../../src/tree/tree.ts'
import {
  arbitrarySample,
  described,
  fileInode,
  imageOf,
  memorySink,
  noise,
  openImage,
  type Sample,
  SMALL,
  sampleOf,
  treeInImage,
  worldOf,
  zlibBlocks,
} from './squashfs-world.ts'

const BASE = { mode: 0o644, uid: 0, gid: 0, mtime: 0 }

test('an image read back is the tree', async () => {
  await fc.assert(
    fc.asyncProperty(
      arbitrarySample(),
      fc.constantFrom('zstd', 'gzip'),
      fc.boolean(),
      async (sample, codec, exports) => {
        const image = await imageOf(sample, { ...SMALL, codec, exports })
        assert.equal(image.length % 4096, 0)
        assert.deepEqual(described(await treeInImage(image)), described(sample.tree))
      },
    ),
    { numRuns: 60 },
  )
})

test('an image is the same when blocks finish in another order and inodes are numbered otherwise', async () => {
  await fc.assert(
    fc.asyncProperty(arbitrarySample(), fc.infiniteStream(fc.nat(3)), async (sample, delays) => {
      const blocks: Blocks = {
        compress: async (codec, level, _key, read) => {
          for (let turns = delays.next().value ?? 0; turns > 0; turns--) await new Promise(setImmediate)
          return compressBlock(codec, level, await read())
        },
      }
      const image = await imageOf(sample)
      assert.deepEqual(await imageOf({ ...sample, tree: renumbered(sample.tree) }, SMALL, { blocks }), image)
    }),
    { numRuns: 25 },
  )
})

/** The same tree with its table of inodes backwards. */
function renumbered({ names, inodes }: Tree): Tree {
  return {
    inodes: inodes.toReversed(),
    names: names.map((name) => ({ ...name, inode: inodes.length - 1 - name.inode })),
  }
}

test('an image is the same when blocks read their own parts and contents give ranges', async () => {
  const sample = sampleOf({
    a: noise(10000),
    b: 'b'.repeat(9000),
    c: 'c',
    d: noise(4096, 2),
    e: new Uint8Array(8192),
  })
  const body = (content: Digest): Uint8Array => sample.bodies.get(content) as Uint8Array
  let parted = 0
  const blocks: PartBlocks = {
    compress: async (codec, level, _key, read) => compressBlock(codec, level, await read()),
    compressParts: async (codec, level, _key, parts) => {
      parted++
      const input = Buffer.concat(
        parts.map(({ content, offset, length }) => body(content).subarray(offset, offset + length)),
      )
      const bytes = await compressBlock(codec, level, input)
      return bytes.length < input.length ? { bytes, isRaw: false } : { bytes: input, isRaw: true }
    },
  }
  let ranged = 0
  const contents = {
    ...worldOf(sample.bodies).contents,
    readPart: async (content: Digest, offset: number, length: number) => {
      ranged++
      return body(content).subarray(offset, offset + length)
    },
  }
  const image = await imageOf(sample)
  assert.deepEqual(await imageOf(sample, SMALL, { blocks }), image)
  assert.deepEqual(await imageOf(sample, SMALL, { contents }), image)
  assert.ok(parted > 0 && ranged > 0)
})

test('data is ordered by package name, label and path; the version of a package does not move it', async () => {
  const files = { 'z/late': noise(9000, 1), 'a/early': noise(9000, 2), 'm/middle': noise(9000, 3) }
  const owners: { [path: string]: string } = {
    'z/late': 'alpha_9',
    'a/early': 'beta_1',
    'm/middle': 'alpha-extra_1',
  }
  const order = async (ownerOf: (path: string) => string): Promise<unknown> => {
    const image = await openImage(await imageOf(sampleOf(files, ownerOf)))
    return layoutOf(image).flatMap(({ kind, inode, index }) => {
      if (kind === 'fragment') return [`fragment ${index}`]
      return kind === 'block' && index === 0 ? [image.names.find((name) => name.inode === inode)?.path] : []
    })
  }
  const expected = ['z/late', 'fragment 0', 'm/middle', 'fragment 1', 'a/early', 'fragment 2']
  assert.deepEqual(await order((path) => owners[path] ?? 'x_1'), expected)
  owners['z/late'] = 'alpha_10'
  assert.deepEqual(await order((path) => owners[path] ?? 'x_1'), expected)
})

test('fragment blocks never hold bytes of two owners', async () => {
  await fc.assert(
    fc.asyncProperty(arbitrarySample(), async ({ tree }) => {
      const ownersOf = new Map<Digest, Set<string>>()
      for (const { owner, inode } of entriesOf(tree))
        if (inode.type === 'file')
          ownersOf.set(inode.content, new Set([...(ownersOf.get(inode.content) ?? []), owner]))
      for (const { content, parts } of planData(tree, 4096).blocks) {
        if (content !== undefined) continue
        const [first, ...others] = parts.map((part) => ownersOf.get(part.content) as Set<string>)
        const common = [...(first ?? [])].filter((owner) => others.every((owners) => owners.has(owner)))
        assert.notEqual(common.length, 0)
      }
    }),
  )
})

test('equal contents are stored once, also across owners', async () => {
  const body = noise(9000)
  const once = await imageOf(sampleOf({ a: body, b: 'other' }))
  const twice = await openImage(
    await imageOf(sampleOf({ a: body, b: 'other', c: body }, (path) => `${path}_1`)),
  )
  const [first, , third] = [...twice.bodies.values()]
  assert.deepEqual(first, third)
  const data = layoutOf(twice).filter(({ kind }) => kind === 'block' || kind === 'fragment')
  assert.equal(data.length, layoutOf(await openImage(once)).filter(({ kind }) => kind === 'block').length + 2)
})

test('a change in one package leaves every block of the others as it was', async () => {
  const files = (changed: Uint8Array): { [path: string]: Uint8Array } => ({
    'a/1': noise(30000, 1),
    'a/2': Buffer.from('small'),
    'b/1': changed,
    'c/1': noise(50000, 4),
    'c/2': Buffer.from('tiny'),
  })
  const ownerOf = (path: string): string => `${path.slice(0, 1)}_1`
  const known = new Map<string, Uint8Array>()
  const cold = zlibBlocks(2, known)
  await imageOf(sampleOf(files(noise(20000, 2)), ownerOf), SMALL, { blocks: cold })
  const warm = zlibBlocks(2, known)
  const incremental = await imageOf(sampleOf(files(noise(20000, 3)), ownerOf), SMALL, { blocks: warm })
  assert.equal(warm.compressed, 5)
  assert.deepEqual(incremental, await imageOf(sampleOf(files(noise(20000, 3)), ownerOf)))
})

test('what the block cache knows is not read again, except what is stored as it is', async () => {
  const sample = sampleOf({ text: 'text '.repeat(5000), zero: new Uint8Array(40960), raw: noise(4096) })
  const known = new Map<string, Uint8Array>()
  const image = await imageOf(sample, SMALL, { blocks: zlibBlocks(2, known) })
  const world = worldOf(sample.bodies)
  const read: Digest[] = []
  const contents = {
    ...world.contents,
    read: async (content: Digest) => {
      read.push(content)
      return world.contents.read(content)
    },
  }
  assert.deepEqual(await imageOf(sample, SMALL, { contents, blocks: zlibBlocks(2, known) }), image)
  assert.deepEqual(read, [digestOf(noise(4096))])
})

test('a block key names content, block size and index, or the list of parts', () => {
  const { tree } = sampleOf({ a: noise(9000), b: 'bb' })
  const keys = planData(tree, 4096).blocks.map((block) => blockKey(block, 4096))
  const content = digestOf(noise(9000))
  const list = `${content} 8192 808\n${digestOf('bb')} 0 2\n`
  assert.deepEqual(keys, [`${content}/4096/0`, `${content}/4096/1`, `parts/${digestOf(list)}`])
})

test('blocks of zeros are holes, blocks that do not get smaller are raw, empty files have neither', async () => {
  const bytes = Buffer.concat([new Uint8Array(4096), noise(4096), Buffer.alloc(4096, 'x')])
  const image = await openImage(await imageOf(sampleOf({ bytes, empty: '', zeros: new Uint8Array(4096) })))
  const bodyAt = (path: string) =>
    image.bodies.get(image.names.find((name) => name.path === path)?.inode ?? -1)
  const [hole, raw, packed] = Array.from(bodyAt('bytes')?.sizes ?? [])
  assert.equal(hole, 0)
  assert.equal(raw, 4096 | BLOCK_RAW)
  assert.ok(packed !== undefined && packed > 0 && packed < 4096)
  assert.deepEqual(
    { ...bodyAt('empty'), sizes: bodyAt('empty')?.sizes.length },
    { start: 0, sizes: 0, fragment: -1, offset: 0 },
  )
  assert.equal(bodyAt('zeros')?.start, 0)
})

test('at most 64 MiB of input are in flight, and writing keeps the order', async () => {
  const size = 200 * 2 ** 20
  const tree = treeOf([{ path: 'big', owner: 'one_1', inode: fileInode(digestOf('big'), size) }])
  let pending = 0
  let most = 0
  const waiting: (() => void)[] = []
  const blocks: PartBlocks = {
    compress: async () => Buffer.from('zeros'),
    compressParts: async (_codec, _level, key) => {
      most = Math.max(most, ++pending)
      if (pending < 64) await new Promise<void>((resolve) => waiting.push(resolve))
      for (const resolve of waiting.splice(0).reverse()) setImmediate(resolve)
      pending--
      return { bytes: Buffer.from(key.replace(/.*\//, '').padStart(8)), isRaw: false }
    },
  }
  const sink = memorySink()
  const timer = setInterval(() => waiting.splice(0).forEach((resolve) => resolve()), 1)
  try {
    const world = { ...worldOf(new Map()), blocks, sink }
    await squashfsEmitter.emit(tree, { mtime: 0, blockSize: 2 ** 20 }, world)
  } finally {
    clearInterval(timer)
  }
  assert.equal(most, 64)
  const written = Buffer.from(sink.bytes())
    .subarray(4096, 4096 + 8 * 200)
    .toString()
  assert.equal(written, Array.from({ length: 200 }, (_, index) => String(index).padStart(8)).join(''))
})

test('what a large owner brings begins at a whole block, and what it is does not depend on what is before it', async () => {
  const sized = (first: number): Sample =>
    sampleOf(
      { a: noise(first, 1), b: 'small', c: noise(2 ** 20, 2), d: noise(3 * 2 ** 20 + 5, 3), e: 'small too' },
      (path) => `${path}_1`,
    )
  const stretches = async (sample: Sample) => {
    const runs: Run[] = []
    const image = await imageOf(sample, SMALL, { placed: (...run) => void runs.push(runOf(...run)) })
    runs.sort((left, right) => left.offset - right.offset)
    assert.deepEqual(described(await treeInImage(image)), described(sample.tree))
    const { runs: read } = await layoutOfSquashfs({
      name: 'image',
      size: image.length,
      read: async (offset, length) => image.subarray(offset, offset + length),
    })
    const offsets = new Set(read.map(({ offset }) => offset))
    assert.deepEqual(
      runs.filter(({ offset, owner }) => owner !== '' && !offsets.has(offset)),
      [],
    )
    const begin = (owner: string): number => runs.find((run) => run.owner === owner)?.offset ?? 0
    assert.deepEqual([begin('c_1') % 4096, begin('d_1') % 4096], [0, 0])
    assert.notEqual(begin('b_1') % 4096, 0)
    assert.equal(
      stretchesOf(runs).reduce((sum, { length }) => sum + length, 0),
      image.length,
    )
    return { c: begin('c_1'), keys: stretchesOf(runs).map(({ key }) => key) }
  }
  const [one, two] = [await stretches(sized(2 ** 20 + 100)), await stretches(sized(2 ** 20 + 5000))]
  assert.notEqual(one.c, two.c)
  // In front the head, then what changed; at the end the tables.
  assert.equal(one.keys.length, 5)
  assert.deepEqual(
    one.keys.map((key, nth) => key === two.keys[nth]),
    [false, false, true, true, false],
  )
})

test('nothing runs any more when a block fails', async () => {
  const sample = sampleOf(
    Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`f${at}`, noise(4096, at + 1)])),
  )
  let running = 0
  let asked = 0
  const blocks: Blocks = {
    compress: async (codec, level, _key, read) => {
      running++
      try {
        if (++asked === 10) throw new Error('planted')
        await new Promise(setImmediate)
        return await compressBlock(codec, level, await read())
      } finally {
        running--
      }
    },
  }
  await assert.rejects(imageOf(sample, SMALL, { blocks }), /planted/)
  assert.equal(running, 0)
})

test('an aborted signal ends the emission with its reason', async () => {
  const sample = sampleOf(
    Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`f${at}`, noise(4096, at + 1)])),
  )
  const controller = new AbortController()
  const reason = new Error('stop')
  const progress = (): void => controller.abort(reason)
  await assert.rejects(
    imageOf(sample, SMALL, { signal: controller.signal, progress }),
    (error) => error === reason,
  )
})

test('progress counts each byte of content once', async () => {
  const seen: number[][] = []
  await imageOf(sampleOf({ a: noise(9000), b: noise(9000), c: 'c' }), SMALL, {
    progress: (...now) => seen.push(now),
  })
  assert.deepEqual(seen.at(-1), [9001, 9001])
})

test('contents of another size than the tree says are refused', async () => {
  const content = digestOf('abc')
  const tree = treeOf([{ path: 'a', owner: 'one_1', inode: fileInode(content, 5) }])
  await assert.rejects(imageOf({ tree, bodies: new Map([[content, Buffer.from('abc')]]) }), (error) =>
    isStage5Error(error, 'S5_STORE_DAMAGED'),
  )
})

const INEXPRESSIBLE: { readonly [what: string]: { readonly [path: string]: string | Inode } } = {
  'a name of 256 bytes': { ['n'.repeat(256)]: '' },
  'a time before 1970': { a: { ...BASE, type: 'fifo', mtime: -1 } },
  'a time after 2106': { a: { ...BASE, type: 'fifo', mtime: 2 ** 32 } },
  'half a second': { a: { ...BASE, type: 'fifo', mtime: 0.5 } },
  'an owner above 32 bits': { a: { ...BASE, type: 'fifo', uid: 2 ** 32 } },
  'a target longer than a page': { a: { ...BASE, type: 'symlink', target: 't'.repeat(4096) } },
  'a major number above 12 bits': { a: { ...BASE, type: 'char', major: 4096, minor: 0 } },
  'a minor number above 20 bits': { a: { ...BASE, type: 'block', major: 0, minor: 1 << 20 } },
  'an attribute of another namespace': {
    a: { ...BASE, type: 'dir', xattrs: [['system.posix_acl_access', 'x']] },
  },
  'an attribute without a name': { a: { ...BASE, type: 'dir', xattrs: [['user.', 'x']] } },
  'an attribute above 64 KiB': { a: { ...BASE, type: 'dir', xattrs: [['user.a', 'x'.repeat(65537)]] } },
  '65,536 owners': Object.fromEntries(
    Array.from({ length: 65536 }, (_, uid) => [`f${uid}`, { ...BASE, type: 'fifo' as const, uid, gid: 1 }]),
  ),
}

for (const [what, files] of Object.entries(INEXPRESSIBLE))
  test(`${what} is refused before anything is written`, async () => {
    const sink = memorySink()
    await assert.rejects(imageOf(sampleOf(files), SMALL, { sink }), (error) =>
      isStage5Error(error, 'S5_IMAGE_INPUT'),
    )
    assert.equal(sink.bytes().length, 0)
  })

test('a name of 255 bytes and a target of 4,095 bytes are kept', async () => {
  const sample = sampleOf({
    ['n'.repeat(255)]: '',
    link: { ...BASE, type: 'symlink', target: 't'.repeat(4095) },
  })
  assert.deepEqual(described(await treeInImage(await imageOf(sample))), described(sample.tree))
})

test('65,535 owners are kept', async () => {
  const files = Array.from({ length: 65535 }, (_, at): [string, Inode] => [
    `f${at}`,
    { ...BASE, type: 'fifo', uid: 2 * at },
  ])
  const { tree } = sampleOf(Object.fromEntries(files))
  const image = await openImage(await imageOf({ tree, bodies: new Map() }))
  assert.equal(image.superblock.ids, 65535)
  for (const at of [0, 1, 40000, 65535])
    assert.deepEqual(image.inodes[image.names[at]?.inode ?? -1], tree.inodes[tree.names[at]?.inode ?? -1])
})

test('options outside their range are refused', async () => {
  const wrong: readonly Partial<SquashfsOptions>[] = [
    { level: 0 },
    { level: 23 },
    { codec: 'gzip', level: 10 },
    { blockSize: 5000 },
    { blockSize: 2048 },
    { blockSize: 2 ** 21 },
    { mtime: -1 },
    { mtime: 2 ** 32 },
  ]
  for (const options of wrong)
    await assert.rejects(imageOf(sampleOf({}), { ...SMALL, ...options }), (error) =>
      isStage5Error(error, 'S5_IMAGE_INPUT'),
    )
})

test('attributes are left out when they are not wanted', async () => {
  const sample = sampleOf({ a: { ...BASE, type: 'fifo', xattrs: [['trusted.a', 'b']] } })
  const image = await treeInImage(await imageOf(sample, { ...SMALL, xattrs: false }))
  assert.deepEqual(
    image.inodes.map(({ xattrs }) => xattrs),
    [undefined, undefined],
  )
})

/** One of everything, small. */
export function everything(): Sample {
  const meta = { mode: 0o755, uid: 1000, gid: 100, mtime: 1600000000 }
  const content = digestOf('hello hello hello hello\n')
  const hello = fileInode(content, 24, { xattrs: [['security.capability', '\x01\0\0\x02\0\x20\0\0']] })
  const linked = fileInode(digestOf('linked'), 6)
  const sample = sampleOf(
    {
      'bin/hello': hello,
      'bin/big': Buffer.concat([new Uint8Array(4096), Buffer.alloc(4096, 'text '), noise(5000)]),
      'dev/null': { ...BASE, type: 'char', major: 1, minor: 3, mode: 0o666 },
      'dev/disk': { ...BASE, type: 'block', major: 259, minor: 300 },
      'etc/empty': '',
      'etc/motd': 'linked',
      'etc/issue': linked,
      'etc/issue.net': linked,
      'lib/\xe9': { ...meta, type: 'symlink', target: '/bin/hello' },
      'run/pipe': { ...meta, type: 'fifo' },
      'run/socket': { ...meta, type: 'socket', xattrs: [['trusted.x', 'y']] },
    },
    (path) => (path.startsWith('bin') ? 'tools_1' : 'base_1'),
  )
  const bodies = new Map(sample.bodies).set(content, Buffer.from('hello hello hello hello\n'))
  return { tree: sample.tree, bodies }
}

test('a tiny image is byte for byte what it was', async (t) => {
  const golden = new URL('../golden/squashfs.txt', import.meta.url)
  const image = await imageOf(everything(), { ...SMALL, exports: true })
  const head = `made with zstd ${process.versions['zstd']}`
  const dump = `${head}\n${digestOf(image)}\n${await dumpSquashfs(image)}`
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(golden, dump)
  const expected = readFileSync(golden, 'utf8')
  if (!expected.startsWith(`${head}\n`))
    return t.skip(`needs the zstd of the golden: ${expected.split('\n', 1)[0]}`)
  const message = 'if this is intentional, raise `version` in the emitter and run again with UPDATE_GOLDEN=1'
  assert.equal(dump, expected, message)
})
