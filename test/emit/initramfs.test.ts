import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { isStage5Error } from '../../src/base/errors.ts'
import {
  INIT_APPLETS,
  type InitramfsEmitOptions,
  initramfsEmitter,
  type InitramfsOptions,
  initramfsTree,
} from '../../src/emit/initramfs.ts'
import { readCpio } from '../../src/format/cpio.ts'
import { FILE_TYPE } from '../../src/format/file-type.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { type Entry, entriesOf, type Inode, lookup, type Tree, treeOf } from '../../src/tree/tree.ts'
import { makeElf } from '../helpers/make-elf.ts'

const contents = memoryContents()
const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 5 }
const SCRIPT = new URL('../../stages/boot/init', import.meta.url)

async function file(text: string, more: Partial<Inode> = {}): Promise<Inode> {
  const bytes = Buffer.from(text, 'latin1')
  return { type: 'file', ...meta, size: bytes.length, content: await contents.write(bytes), ...more } as Inode
}

const entry = (path: string, inode: Inode): Entry => ({ path, owner: 'test', inode })

async function root(): Promise<Tree> {
  return treeOf([
    entry('bin', { type: 'symlink', ...meta, target: 'usr/bin' }),
    entry('usr/bin/busybox', await file('the busybox', { mode: 0o4755, uid: 7 })),
    entry('lib/modules/6/kernel/a/one.ko', await file('first')),
    entry('lib/modules/6/kernel/b/two.ko', await file('second')),
  ])
}

const OPTIONS: InitramfsOptions = {
  release: '6',
  modules: { order: ['lib/modules/6/kernel/b/two.ko', 'lib/modules/6/kernel/a/one.ko'], missing: [] },
  init: Buffer.from('#!/bin/sh\n'),
  data: [
    { label: 'www', paths: ['/var/www', '/var/log'] },
    { label: 'db', paths: ['/srv'] },
  ],
  date: 1234,
}

async function emitted(tree: Tree, options: InitramfsEmitOptions): Promise<Buffer> {
  const parts: Uint8Array[] = []
  await initramfsEmitter.emit(tree, options, {
    contents,
    blocks: { compress: () => Promise.reject(new Error('an initramfs has no blocks')) },
    sink: {
      write: async (bytes) => void parts.push(Buffer.from(bytes)),
      patch: () => Promise.reject(new Error('an initramfs is written in order')),
    },
    signal: new AbortController().signal,
  })
  return Buffer.concat(parts)
}

async function text(tree: Tree, path: string): Promise<string> {
  const inode = lookup(tree, path)?.inode
  assert.equal(inode?.type, 'file', path)
  return Buffer.from(await contents.read(inode.content)).toString('latin1')
}

test('the tree has init, busybox under every applet name, and the modules in load order', async () => {
  const tree = await initramfsTree(await root(), contents, OPTIONS)
  assert.equal(await text(tree, 'init'), '#!/bin/sh\n')
  assert.equal(lookup(tree, 'init')?.inode.mode, 0o755)
  assert.equal(await text(tree, 'bin/busybox'), 'the busybox')
  for (const name of INIT_APPLETS) {
    const inode = lookup(tree, `bin/${name}`)?.inode
    assert.equal(inode?.type === 'symlink' && inode.target, 'busybox', name)
  }
  assert.equal(await text(tree, 'etc/stage5/modules'), '/lib/modules/two.ko\n/lib/modules/one.ko\n')
  assert.equal(await text(tree, 'lib/modules/two.ko'), 'second')
  assert.equal(await text(tree, 'etc/stage5/data'), 'www /var/www /var/log\ndb /srv\n')
})

test('areas without a disk have a table of their own, and an overlay is marked', async () => {
  const data = [
    { label: 'keep', size: 5, paths: ['/a'] },
    { label: 'conf', size: 5, paths: ['/etc/x', '/etc/y'], kind: 'overlay' as const },
    { label: 'cache', size: 4096, paths: ['/c'], kind: 'tmpfs' as const },
    { label: 'site', size: 0, paths: ['/s'], kind: 'immutable' as const },
  ]
  const tree = await initramfsTree(await root(), contents, { ...OPTIONS, data })
  assert.equal(await text(tree, 'etc/stage5/data'), 'keep /a\nconf overlay /etc/x /etc/y\n')
  assert.equal(await text(tree, 'etc/stage5/areas'), 'cache tmpfs 4096 /c\nsite immutable 0 /s\n')
})

test('everything in the tree belongs to root and has the given time', async () => {
  const tree = await initramfsTree(await root(), contents, OPTIONS)
  for (const { path, inode } of entriesOf(tree))
    assert.deepEqual([path, inode.uid, inode.gid, inode.mtime], [path, 0, 0, 1234])
  assert.equal(lookup(tree, 'bin/busybox')?.inode.mode, 0o755)
})

test('a module that exists nowhere is an error that names it and the kernel', async () => {
  const modules = { order: [], missing: ['virtio_blk', 'nosuch'] }
  await assert.rejects(
    initramfsTree(await root(), contents, { ...OPTIONS, modules }),
    (error) =>
      isStage5Error(error, 'S5_MODULE_MISSING') &&
      error.message === 'kernel 6 has no module virtio_blk, nosuch: neither a file nor built in',
  )
})

test('a root without busybox is refused', async () => {
  await assert.rejects(
    initramfsTree(treeOf([]), contents, { ...OPTIONS, modules: { order: [], missing: [] } }),
    (error) => isStage5Error(error, 'S5_IMAGE_INPUT') && error.hint === 'add busybox-static to packages:',
  )
})

test('a busybox that needs libraries is refused', async () => {
  const bytes = Buffer.from(makeElf({ interpreter: '/lib64/ld-linux-x86-64.so.2' })).toString('latin1')
  const dynamic = treeOf([entry('bin/busybox', await file(bytes))])
  await assert.rejects(
    initramfsTree(dynamic, contents, { ...OPTIONS, modules: { order: [], missing: [] } }),
    (error) =>
      isStage5Error(error, 'S5_IMAGE_INPUT') &&
      error.message.endsWith('found that of test, which needs /lib64/ld-linux-x86-64.so.2'),
  )
})

test('data areas that the shell would split or expand are refused', async () => {
  for (const path of ['/var/a b', '/var/*', '/a\tb', '/a\\b', '/[a]', ''])
    await assert.rejects(
      initramfsTree(await root(), contents, { ...OPTIONS, data: [{ label: 'x', paths: [path] }] }),
      (error) => isStage5Error(error, 'S5_IMAGE_INPUT'),
      path,
    )
})

test('every applet of the initramfs is called by the shipped init', () => {
  const script = readFileSync(SCRIPT, 'latin1').replace(/^ *#.*$/gm, '')
  const words = new Set(script.match(/[a-z_][a-z0-9_]*/g))
  assert.deepEqual(
    INIT_APPLETS.filter((name) => !words.has(name)),
    [],
  )
})

test('an archive holds the tree: links, targets, devices and bodies', async () => {
  const twin = await file('twice')
  const linked: Inode = { type: 'symlink', ...meta, target: 'a\xff' }
  const tree = treeOf([
    entry('a', twin),
    entry('b', twin),
    entry('l1', linked),
    entry('l2', linked),
    entry('null', { type: 'char', ...meta, major: 1, minor: 3 }),
    entry('pipe', { type: 'fifo', ...meta }),
    entry('z', await file('')),
  ])
  const { entries } = readCpio(await emitted(tree, { compress: 'none', level: 0 }), 'x')
  const seen = entries.map(({ name, mode, nlink, body }) => [
    name,
    mode & 0o170000,
    nlink,
    Buffer.from(body).toString('latin1'),
  ])
  assert.deepEqual(seen, [
    ['.', FILE_TYPE.dir, 2, ''],
    ['a', FILE_TYPE.file, 2, ''],
    ['b', FILE_TYPE.file, 2, 'twice'],
    ['l1', FILE_TYPE.symlink, 2, 'a\xff'],
    ['l2', FILE_TYPE.symlink, 2, 'a\xff'],
    ['null', FILE_TYPE.char, 1, ''],
    ['pipe', FILE_TYPE.fifo, 1, ''],
    ['z', FILE_TYPE.file, 1, ''],
  ])
  const [, a, b] = entries
  assert.equal(a?.ino, b?.ino)
  assert.equal(new Set(entries.map(({ ino }) => ino)).size, 6)
  assert.deepEqual([entries[5]?.rdevMajor, entries[5]?.rdevMinor], [1, 3])
})

test('compressed archives unpack to the plain one and are the same each time', async () => {
  const tree = await initramfsTree(await root(), contents, OPTIONS)
  const plain = await emitted(tree, { compress: 'none', level: 0 })
  const zstd = await emitted(tree, { compress: 'zstd', level: 19 })
  const gzip = await emitted(tree, { compress: 'gzip', level: 9 })
  assert.deepEqual(zstdDecompressSync(zstd), plain)
  assert.deepEqual(gunzipSync(gzip), plain)
  assert.deepEqual([...gzip.subarray(4, 10)], [0, 0, 0, 0, 2, 255], 'no time and no operating system')
  assert.deepEqual(await emitted(tree, { compress: 'zstd', level: 19 }), zstd)
  assert.deepEqual(await emitted(tree, { compress: 'gzip', level: 9 }), gzip)
})

test('what cpio cannot carry is refused with its path', async () => {
  const capable = await file('x', { xattrs: [['security.capability', '\x01']] } as Partial<Inode>)
  await assert.rejects(
    emitted(treeOf([entry('bin/ping', capable)]), { compress: 'none', level: 0 }),
    (error) =>
      isStage5Error(error, 'S5_IMAGE_INPUT') &&
      error.message === 'bin/ping: a cpio archive cannot carry the attribute security.capability',
  )
  const huge = await file('x', { size: 2 ** 32 } as Partial<Inode>)
  await assert.rejects(
    emitted(treeOf([entry('huge', huge)]), { compress: 'none', level: 0 }),
    (error) =>
      isStage5Error(error, 'S5_IMAGE_INPUT') && error.message.startsWith('huge: expected less than 4 GiB'),
  )
})
