/** unsquashfs, mksquashfs and the kernel as witnesses of the squashfs writer. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { type Digest, digestOf } from '../../src/base/digest.ts'
import { printable } from '../../src/base/errors.ts'
import type { EmitWorld } from '../../src/emit/emitter.ts'
import { type PartBlocks, squashfsEmitter, type SquashfsOptions } from '../../src/emit/squashfs.ts'
import { compressBlock } from '../../src/format/squashfs/codec.ts'
import { entriesOf, type Inode, type Tree, treeOf } from '../../src/tree/tree.ts'
import {
  arbitrarySample,
  fileInode,
  noise,
  type Sample,
  SMALL,
  sampleOf,
  worldOf,
  zlibBlocks,
} from '../emit/squashfs-world.ts'
import {
  contentsOfDisk,
  type DiskEntry,
  fileSink,
  listDisk,
  pathsOfDisk,
  treeOfDisk,
} from './squashfs-disk.ts'

/** A folder that goes away with the test. */
function folder(t: TestContext): string {
  const directory = mkdtempSync(`${tmpdir()}/stage5-squashfs-`)
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Skips the test where something it needs is missing. */
function has(
  t: TestContext,
  ...needs: readonly ('root' | 'unsquashfs' | 'mksquashfs' | 'python3' | 'mount')[]
): boolean {
  for (const need of needs) {
    const there =
      need === 'root'
        ? process.getuid?.() === 0
        : spawnSync(need, ['--version'], { stdio: 'ignore' }).error === undefined
    if (!there) {
      t.skip(`needs ${need}`)
      return false
    }
  }
  return true
}

async function emitTo(
  path: string,
  tree: Tree,
  options: SquashfsOptions,
  world: Partial<EmitWorld> & Pick<EmitWorld, 'contents'>,
): Promise<void> {
  await using sink = await fileSink(path)
  const signal = new AbortController().signal
  await squashfsEmitter.emit(tree, options, { blocks: zlibBlocks(3), signal, ...world, sink })
}

async function emitSample(
  path: string,
  { tree, bodies }: Sample,
  options: SquashfsOptions = SMALL,
): Promise<void> {
  await emitTo(path, tree, options, { contents: worldOf(bodies).contents })
}

function unpack(image: string, to: string): void {
  execFileSync('unsquashfs', ['-quiet', '-no-progress', '-xattrs', '-d', to, image], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
}

function mounted<T>(image: string, at: string, look: () => T): T {
  mkdirSync(at, { recursive: true })
  execFileSync('mount', ['-t', 'squashfs', '-o', 'loop,ro', image, at])
  try {
    return look()
  } finally {
    execFileSync('umount', [at])
  }
}

/** What the tree says, in the words of `listDisk`; hard links by the first path of their group. */
function expected(tree: Tree, skip: (inode: Inode) => boolean = () => false): unknown[] {
  const first = new Map<Inode, string>()
  const links = new Map<Inode, number>()
  for (const { path, inode } of entriesOf(tree)) {
    if (!first.has(inode)) first.set(inode, path)
    links.set(inode, (links.get(inode) ?? 0) + 1)
  }
  return [...entriesOf(tree)].flatMap(({ path, inode }) => {
    if (skip(inode)) return []
    const { type, mode, uid, gid, mtime, xattrs = [] } = inode
    return {
      path,
      type,
      mode: type === 'symlink' ? 0o777 : mode,
      uid,
      gid,
      mtime,
      xattrs,
      ...(type === 'file' ? { size: inode.size, sha256: inode.content.slice(7) } : {}),
      ...(type === 'symlink' ? { target: inode.target } : {}),
      ...(type === 'char' || type === 'block' ? { major: inode.major, minor: inode.minor } : {}),
      ...(type === 'dir' ? {} : { links: links.get(inode), sameAs: first.get(inode) }),
    }
  })
}

function found(listed: readonly DiskEntry[]): unknown[] {
  const inOrder = [...entriesOf(treeOfDisk(listed))].map(({ path }) => path)
  const byPath = new Map(listed.map((entry) => [entry.path, entry]))
  const first = new Map<number, string>()
  return inOrder.map((path) => {
    const entry = byPath.get(path) as DiskEntry
    const { type, mode, uid, gid, mtime, size, sha256, target, major, minor, links, ino, xattrs } = entry
    if (!first.has(ino)) first.set(ino, path)
    return {
      path,
      type,
      mode: type === 'symlink' ? 0o777 : mode,
      uid,
      gid,
      mtime,
      xattrs,
      ...(type === 'file' ? { size, sha256 } : {}),
      ...(type === 'symlink' ? { target } : {}),
      ...(type === 'char' || type === 'block' ? { major, minor } : {}),
      ...(type === 'dir' ? {} : { links, sameAs: first.get(ino) }),
    }
  })
}

test('unsquashfs unpacks generated trees as they are', async (t) => {
  if (!has(t, 'root', 'unsquashfs', 'python3')) return
  const directory = folder(t)
  let run = 0
  await fc.assert(
    fc.asyncProperty(arbitrarySample(), fc.constantFrom('zstd', 'gzip'), async (sample, codec) => {
      const image = `${directory}/${++run}.squashfs`
      await emitSample(image, sample, { ...SMALL, codec })
      unpack(image, `${directory}/${run}`)
      const listed = listDisk(`${directory}/${run}`)
      const lost = new Set(
        sample.tree.names
          .filter(({ inode }) => isBeyondUnsquashfs(sample.tree.inodes[inode]))
          .map(({ path }) => path),
      )
      assert.deepEqual(
        found(listed.filter(({ path }) => !lost.has(path))),
        expected(sample.tree, isBeyondUnsquashfs),
      )
      rmSync(`${directory}/${run}`, { recursive: true })
    }),
    { numRuns: 40 },
  )
})

/** unsquashfs 4.5 takes minor numbers for 8 bits wide; the kernel does not. */
function isBeyondUnsquashfs(inode: Inode | undefined): boolean {
  return (inode?.type === 'char' || inode?.type === 'block') && inode.minor > 255
}

test('the kernel shows generated trees as they are', async (t) => {
  if (!has(t, 'root', 'mount', 'python3')) return
  const directory = folder(t)
  await fc.assert(
    fc.asyncProperty(arbitrarySample(), fc.boolean(), async (sample, exports) => {
      await emitSample(`${directory}/image`, sample, { ...SMALL, exports })
      const listed = mounted(`${directory}/image`, `${directory}/mnt`, () => listDisk(`${directory}/mnt`))
      assert.deepEqual(found(listed), expected(sample.tree))
    }),
    { numRuns: 40 },
  )
})

test('the kernel hands out attributes of any size that Linux allows', async (t) => {
  if (!has(t, 'root', 'mount', 'python3')) return
  const directory = folder(t)
  const sizes = [0, 1, 8191, 8192, 65536]
  const file = (size: number): Inode => ({
    ...fileInode(digestOf(''), 0),
    xattrs: [
      ['trusted.first', 'x'],
      ['user.big', 'y'.repeat(size)],
    ],
  })
  const sample = sampleOf(Object.fromEntries(sizes.map((size) => [`size-${size}`, file(size)])))
  await emitSample(`${directory}/image`, sample)
  const listed = mounted(`${directory}/image`, `${directory}/mnt`, () => listDisk(`${directory}/mnt`))
  assert.deepEqual(found(listed), expected(sample.tree))
})

test('unsquashfs -lln lists types, owners, sizes, device numbers and targets', async (t) => {
  if (!has(t, 'unsquashfs')) return
  const directory = folder(t)
  const meta = { mode: 0o640, uid: 7, gid: 8, mtime: 86400 * 365 }
  const sample = sampleOf({
    file: { ...meta, type: 'file', content: digestOf('12345'), size: 5 },
    link: { ...meta, type: 'symlink', target: '/a/b' },
    null: { ...meta, type: 'char', major: 1, minor: 3 },
    disk: { ...meta, type: 'block', major: 259, minor: 70 },
    pipe: { ...meta, type: 'fifo' },
    socket: { ...meta, type: 'socket' },
  })
  await emitSample(`${directory}/image`, {
    ...sample,
    bodies: new Map([[digestOf('12345'), Buffer.from('12345')]]),
  })
  const text = execFileSync('unsquashfs', ['-lln', '-UTC', `${directory}/image`], { encoding: 'utf8' })
  const lines = text
    .trim()
    .split('\n')
    .map((line) => line.replace(/ +/g, ' '))
  assert.deepEqual(lines, [
    'drwxr-xr-x 0/0 89 1970-01-01 00:00 squashfs-root',
    'brw-r----- 7/8 259, 70 1971-01-01 00:00 squashfs-root/disk',
    '-rw-r----- 7/8 5 1971-01-01 00:00 squashfs-root/file',
    'lrw-r----- 7/8 4 1971-01-01 00:00 squashfs-root/link -> /a/b',
    'crw-r----- 7/8 1, 3 1971-01-01 00:00 squashfs-root/null',
    'prw-r----- 7/8 0 1971-01-01 00:00 squashfs-root/pipe',
    'srw-r----- 7/8 0 1971-01-01 00:00 squashfs-root/socket',
  ])
})

test('the superblock says what was asked for', async (t) => {
  if (!has(t, 'unsquashfs')) return
  const directory = folder(t)
  const stat = async (options: SquashfsOptions): Promise<string> => {
    await emitSample(`${directory}/image`, sampleOf({ a: 'a'.repeat(9000) }), options)
    return execFileSync('unsquashfs', ['-s', `${directory}/image`], { encoding: 'utf8' })
  }
  const plain = await stat({ mtime: 0 })
  assert.match(plain, /Compression zstd\nBlock size 131072\nFilesystem is not exportable/)
  assert.match(plain, /Number of fragments 1\nNumber of inodes 2\nNumber of ids 1\n/)
  assert.match(
    await stat({ mtime: 0, level: 3, exports: true }),
    /compression-level 3\nBlock size 131072\nFilesystem is exportable/,
  )
  assert.match(
    await stat({ mtime: 0, codec: 'gzip', level: 6 }),
    /Compression gzip\n\tcompression-level 6\n\twindow-size 15\n/,
  )
})

test('a directory of 100,000 entries and one of the longest names are searched by their index', async (t) => {
  if (!has(t, 'root', 'mount')) return
  const directory = folder(t)
  const fifo = { type: 'fifo', mode: 0o600, uid: 0, gid: 0, mtime: 0 } as const
  const many = Array.from({ length: 100000 }, (_, at): [string, Inode] => [
    `many/${at.toString(36)}`,
    { ...fifo },
  ])
  const long = Array.from({ length: 2000 }, (_, at): [string, Inode] => [
    `long/${String(at).padEnd(255, 'x')}`,
    { ...fifo },
  ])
  const linked: Inode = { ...fifo }
  const links = Array.from({ length: 50 }, (_, at): [string, Inode] => [`many/link${at}`, linked])
  const sample = sampleOf(Object.fromEntries([...many, ...long, ...links]))
  await emitSample(`${directory}/image`, sample)
  mounted(`${directory}/image`, `${directory}/mnt`, () => {
    for (const [index, { path }] of sample.tree.names.entries())
      if (index % 97 === 0) assert.ok(statSync(`${directory}/mnt/${path}`), path)
    assert.equal(statSync(`${directory}/mnt/many/link7`).nlink, 50)
    for (const absent of ['many/000', 'many/zzzzz', `long/${'1'.padEnd(254, 'x')}`, 'long/0'])
      assert.equal(statSync(`${directory}/mnt/${absent}`, { throwIfNoEntry: false }), undefined, absent)
    const listed = execFileSync('find', [`${directory}/mnt`], { encoding: 'latin1', maxBuffer: 2 ** 26 })
    assert.equal(listed.trim().split('\n').length, sample.tree.names.length)
  })
})

test('a file of 5 GiB with holes has its size, its bytes and its blocks', async (t) => {
  if (!has(t, 'root', 'mount')) return
  const directory = folder(t)
  const size = 5 * 2 ** 30 + 12345
  const islands = [0, 2 ** 32 - 100, 2 ** 32 + 2 ** 20 * 7, size - 200]
  const content = digestOf('a stand-in: the body is made up as it is read')
  const zeros = new Uint8Array(2 ** 20)
  const contents = {
    ...worldOf(new Map()).contents,
    readPart: async (_content: Digest, offset: number, length: number) => {
      const hit = islands.filter((island) => island + 200 > offset && island < offset + length)
      if (hit.length === 0) return length === zeros.length ? zeros : zeros.subarray(0, length)
      const bytes = new Uint8Array(length)
      for (const island of hit)
        for (let at = Math.max(island, offset); at < Math.min(island + 200, offset + length); at++)
          bytes[at - offset] = (at - island) % 251
      return bytes
    },
  }
  const tree = treeOf([{ path: 'big', owner: 'one_1', inode: fileInode(content, size) }])
  await emitTo(`${directory}/image`, tree, { mtime: 0, level: 1, blockSize: 2 ** 20 }, { contents })
  assert.ok(statSync(`${directory}/image`).size < 2 ** 20)
  mounted(`${directory}/image`, `${directory}/mnt`, () => {
    const { size: shown, blocks } = statSync(`${directory}/mnt/big`)
    assert.equal(shown, size)
    assert.ok(blocks * 512 < 8 * 2 ** 20, `${blocks} blocks`)
    const file = openSync(`${directory}/mnt/big`, 'r')
    try {
      for (const island of islands) {
        const bytes = Buffer.alloc(200)
        assert.equal(readSync(file, bytes, 0, 200, island), 200)
        assert.deepEqual(
          [...bytes],
          Array.from({ length: 200 }, (_, at) => at % 251),
        )
      }
    } finally {
      closeSync(file)
    }
  })
})

test('files that lie above 4 GiB in the image are found', async (t) => {
  if (!has(t, 'root', 'mount')) return
  const directory = folder(t)
  const { tree: small, bodies } = sampleOf({ late: noise(300000, 3), later: 'later' }, () => 'b_1')
  const filler = digestOf('filler')
  const big = { path: 'filler', owner: 'a_1', inode: fileInode(filler, 4200 * 2 ** 20) }
  const tree = treeOf([...entriesOf(small), big])
  const piece = new Uint8Array(2 ** 20)
  const blocks: PartBlocks = {
    compress: async (codec, level, _key, read) => compressBlock(codec, level, await read()),
    compressParts: async (codec, level, _key, parts) => {
      if (parts[0]?.content === filler) return { bytes: piece, isRaw: true }
      const input = Buffer.concat(
        parts.map(({ content, offset, length }) =>
          (bodies.get(content) as Uint8Array).subarray(offset, offset + length),
        ),
      )
      return { bytes: await compressBlock(codec, level, input), isRaw: false }
    },
  }
  await using sink = await sparseSink(`${directory}/image`)
  const world = { ...worldOf(bodies), blocks, sink }
  await squashfsEmitter.emit(tree, { mtime: 0, level: 1, blockSize: 2 ** 20 }, world)
  mounted(`${directory}/image`, `${directory}/mnt`, () => {
    assert.equal(execFileSync('cat', [`${directory}/mnt/later`], { encoding: 'utf8' }), 'later')
    assert.deepEqual(execFileSync('cat', [`${directory}/mnt/late`]), Buffer.from(noise(300000, 3)))
  })
})

/** Skips over zeros, so that an image of 4 GiB costs no disk. */
async function sparseSink(path: string): Promise<Awaited<ReturnType<typeof fileSink>>> {
  const file = await fileSink(path)
  const nothing = new Uint8Array(2 ** 20)
  let position = 0
  return {
    write: async (bytes) => {
      const isEmpty =
        bytes.length <= nothing.length && Buffer.compare(bytes, nothing.subarray(0, bytes.length)) === 0
      if (!isEmpty || bytes.length < 4096) await file.patch(position, bytes)
      position += bytes.length
    },
    patch: (offset, bytes) => file.patch(offset, bytes),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  }
}

const LARGE = process.env['STAGE5_ORACLE_TREE'] ?? '/usr/share'

test(`${LARGE} packs as small as with mksquashfs, and the kernel and unsquashfs give it back`, async (t) => {
  if (!has(t, 'root', 'mount', 'unsquashfs', 'mksquashfs', 'python3')) return
  const directory = folder(t)
  const listed = listDisk(LARGE)
  const tree = treeOfDisk(listed)
  await emitTo(
    `${directory}/image`,
    tree,
    { mtime: 0, level: 3 },
    { contents: contentsOfDisk(pathsOfDisk(LARGE, listed)) },
  )
  const want = expected(tree)
  const same = (at: string): void => {
    const is = found(listDisk(at))
    assert.equal(is.length, want.length)
    for (const [index, entry] of want.entries())
      assert.deepEqual(is[index], entry, printable((entry as { path: string }).path))
  }
  mounted(`${directory}/image`, `${directory}/mnt`, () => same(`${directory}/mnt`))
  unpack(`${directory}/image`, `${directory}/unpacked`)
  same(`${directory}/unpacked`)
  const options = [
    '-comp',
    'zstd',
    '-Xcompression-level',
    '3',
    '-noappend',
    '-quiet',
    '-no-progress',
    '-no-exports',
  ]
  execFileSync('mksquashfs', [LARGE, `${directory}/theirs`, ...options], { stdio: 'ignore' })
  const ratio = statSync(`${directory}/image`).size / statSync(`${directory}/theirs`).size
  t.diagnostic(`size against mksquashfs: ${ratio.toFixed(4)}`)
  assert.ok(ratio <= 1.02, `${ratio} times the size of mksquashfs`)
})
