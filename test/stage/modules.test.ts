/** Kernel modules: closures by name and alias, and what stays in the root. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import type { Json } from '../../src/base/json.ts'
import { BOOT_MODULES, kernelReleases, moduleClosure, modules } from '../../src/stage/modules.ts'
import { type Contents, memoryContents } from '../../src/tree/contents.ts'
import { type Entry, entriesOf, lookup, type Tree, treeOf } from '../../src/tree/tree.ts'
import { makeElf } from '../helpers/make-elf.ts'

const MODULES = 'usr/lib/modules/6.1.0-1-cloud'

/** Modules by path below the release directory: the strings of their `.modinfo`. */
async function kernel(
  contents: Contents,
  modules: { readonly [path: string]: string },
  files: { readonly [path: string]: string } = {},
  directory = MODULES,
): Promise<Tree> {
  const entries: Entry[] = []
  const add = async (path: string, bytes: Uint8Array): Promise<void> => {
    const content = await contents.write(bytes)
    const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 5 }
    entries.push({ path, owner: 'linux_6.1', inode: { ...meta, type: 'file', size: bytes.length, content } })
  }
  for (const [path, info] of Object.entries(modules)) {
    const text = Buffer.from(info.split(' | ').join('\0'), 'latin1')
    await add(`${directory}/${path}`, makeElf({ type: 1, sections: { '.modinfo': text } }))
  }
  for (const [path, text] of Object.entries(files)) await add(path, Buffer.from(text, 'latin1'))
  return treeOf(entries)
}

const SMALL = {
  'kernel/fs/ext4/ext4.ko': 'alias=fs-ext4 | depends=jbd2,mbcache | softdep=pre: crc32c post: late',
  'kernel/fs/jbd2/jbd2.ko': 'depends=',
  'kernel/fs/mbcache.ko': 'depends=',
  'kernel/crypto/crc32c-intel.ko': 'alias=crypto-crc32c | alias=crc32c | depends=',
  'kernel/lib/late.ko': 'depends=ext4',
  'kernel/drivers/virtio/virtio_blk.ko': 'alias=virtio:d00000002v* | depends=virtio',
  'kernel/fs/unused.ko': 'depends=jbd2',
}
const BUILTIN = { [`${MODULES}/modules.builtin`]: 'kernel/drivers/virtio/virtio.ko\nkernel/block/loop.ko\n' }

function names(paths: readonly string[]): string[] {
  return paths.map((path) => path.slice(path.lastIndexOf('/') + 1, -3))
}

test('a closure has dependencies first and leaves built-in modules out', async () => {
  const contents = memoryContents()
  const tree = await kernel(contents, SMALL, BUILTIN)
  const { order, missing } = await moduleClosure(tree, contents, '6.1.0-1-cloud', [
    'ext4',
    'virtio-blk',
    'loop',
  ])
  assert.deepEqual(names(order), ['crc32c-intel', 'jbd2', 'mbcache', 'ext4', 'late', 'virtio_blk'])
  assert.deepEqual(missing, [])
})

test('aliases stand for the modules that claim them', async () => {
  const contents = memoryContents()
  const tree = await kernel(contents, SMALL, {
    ...BUILTIN,
    [`${MODULES}/modules.builtin.modinfo`]: 'loop.alias=block-major-7-*\0loop.alias=devname:loop-control\0',
  })
  const closure = (name: string): ReturnType<typeof moduleClosure> =>
    moduleClosure(tree, contents, '6.1.0-1-cloud', [name])
  assert.deepEqual(names((await closure('virtio:d00000002v00001AF4')).order), ['virtio_blk'])
  assert.deepEqual(names((await closure('crypto-crc32c')).order), ['crc32c-intel'])
  assert.deepEqual(await closure('devname:loop-control'), { order: [], missing: [] })
  assert.deepEqual(await closure('virtio:d00000003v00001AF4'), {
    order: [],
    missing: ['virtio:d00000003v00001AF4'],
  })
})

test('missing modules are named, also when another module needs them', async () => {
  const contents = memoryContents()
  const tree = await kernel(contents, { 'kernel/a.ko': 'depends=b-c' })
  const { order, missing } = await moduleClosure(tree, contents, '6.1.0-1-cloud', ['nope', 'a'])
  assert.deepEqual(names(order), ['a'])
  assert.deepEqual(missing, ['nope', 'b_c'])
})

test('a soft dependency that needs its asker comes after it', async () => {
  const contents = memoryContents()
  const tree = await kernel(contents, {
    'kernel/a.ko': 'depends= | softdep=pre: b',
    'kernel/b.ko': 'depends=a',
  })
  const { order } = await moduleClosure(tree, contents, '6.1.0-1-cloud', ['a'])
  assert.deepEqual(names(order), ['a', 'b'])
})

test('an unknown release is refused', async () => {
  const contents = memoryContents()
  const tree = await kernel(contents, SMALL)
  await assert.rejects(moduleClosure(tree, contents, '6.2', ['ext4']), (error) =>
    isStage5Error(error, 'S5_STAGE_INVALID'),
  )
})

test('a compressed module is refused by name', async () => {
  const contents = memoryContents()
  const tree = await kernel(contents, {}, { [`${MODULES}/kernel/a.ko.xz`]: '\xfd7zXZ\0' })
  await assert.rejects(
    moduleClosure(tree, contents, '6.1.0-1-cloud', ['a']),
    /a\.ko\.xz is not an uncompressed/,
  )
})

test('releases are ordered by number', async () => {
  const contents = memoryContents()
  const entries: Entry[] = []
  for (const release of ['6.1.0-9', '6.1.0-10', '5.19', '6.1.0-10-cloud'])
    entries.push(...entriesOf(await kernel(contents, SMALL, {}, `lib/modules/${release}`)))
  assert.deepEqual(kernelReleases(treeOf(entries)), ['5.19', '6.1.0-9', '6.1.0-10', '6.1.0-10-cloud'])
})

const params = (wanted: boolean, ...extra: readonly string[]): Json => ({
  wanted,
  names: [...BOOT_MODULES, ...extra],
  date: 77,
})

test('the stage keeps the closure, records the rest, and writes what modprobe reads', async () => {
  const contents = memoryContents()
  const order = Object.keys(SMALL).toReversed()
  const tree = await kernel(contents, SMALL, {
    ...BUILTIN,
    [`${MODULES}/modules.order`]: `${order.join('\n')}\n`,
    'usr/bin/other': 'x',
  })
  const world = { contents, signal: new AbortController().signal }
  const root = await modules.run({ tree, removed: [] }, params(true), world)
  const unused = lookup(tree, `${MODULES}/kernel/fs/unused.ko`)
  assert.ok(unused?.inode.type === 'file')
  assert.deepEqual(root.removed, [
    {
      path: `${MODULES}/kernel/fs/unused.ko`,
      owner: 'linux_6.1',
      rule: 'kernel-modules',
      size: unused.inode.size,
    },
  ])
  const text = async (name: string): Promise<string> => {
    const entry = lookup(root.tree, `${MODULES}/${name}`)
    assert.ok(entry?.inode.type === 'file', name)
    return Buffer.from(await contents.read(entry.inode.content)).toString('latin1')
  }
  assert.deepEqual(
    (await text('modules.dep')).split('\n').filter((line) => line.includes('late.ko: ')),
    ['kernel/lib/late.ko: kernel/fs/ext4/ext4.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko'],
  )
  assert.match(await text('modules.softdep'), /^softdep ext4 pre: crc32c post: late$/m)
  assert.match(await text('modules.alias'), /^alias virtio:d00000002v\* virtio_blk$/m)
  assert.equal((await text('modules.order')).includes('unused'), false)
  const dep = lookup(root.tree, `${MODULES}/modules.dep`)
  assert.equal(dep?.owner, 'stage:modules')
  assert.equal(dep?.inode.mtime, 77)
  assert.ok(lookup(root.tree, `${MODULES}/modules.dep.bin`))
  assert.ok(lookup(root.tree, 'usr/bin/other'))
  // what the stage wrote answers as the modules themselves do
  const again = await moduleClosure(root.tree, contents, '6.1.0-1-cloud', ['fs-ext4'])
  assert.deepEqual(names(again.order), ['crc32c-intel', 'jbd2', 'mbcache', 'ext4', 'late'])
})

test('without a kernel all modules go, and their directories', async () => {
  const contents = memoryContents()
  const tree = await kernel(contents, SMALL, { ...BUILTIN, 'usr/bin/x': 'x' })
  const world = { contents, signal: new AbortController().signal }
  const root = await modules.run({ tree, removed: [] }, params(false), world)
  assert.deepEqual(
    root.tree.names.map(({ path }) => path),
    ['', 'usr', 'usr/bin', 'usr/bin/x'],
  )
  assert.equal(root.removed.length, 8)
})

test('a module that the profile names and no kernel has is an error with the nearest name', async () => {
  const contents = memoryContents()
  const tree = await kernel(contents, SMALL, BUILTIN)
  const world = { contents, signal: new AbortController().signal }
  await assert.rejects(
    modules.run({ tree, removed: [] }, params(true, 'virtio_blkk'), world),
    (error) => isStage5Error(error, 'S5_STAGE_INVALID') && /did you mean virtio_blk\?/.test(error.message),
  )
})
