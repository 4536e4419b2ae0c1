/** erofs images as fsck.erofs unpacks them, and a guest that lives on one. */
import assert from 'node:assert/strict'
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { waitReady } from '../../src/deploy/qemu.ts'
import { erofsEmitter } from '../../src/emit/erofs.ts'
import { findTool, run } from '../../src/host/run.ts'
import { openFileSink } from '../../src/host/file-sink.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { type Entry, entriesOf, type Inode, type Tree, treeOf } from '../../src/tree/tree.ts'
import { bootBuilt, buildProfile, cannotBoot, shell } from '../helpers/guest.ts'

const isRoot = process.getuid?.() === 0
const contents = memoryContents()
const signal = new AbortController().signal
const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 1_700_000_000 }

/** Sizes around tails and blocks, directories of several blocks, links, devices and odd names. */
async function everything(): Promise<Tree> {
  const entries: Entry[] = []
  const add = (path: string, inode: Inode) => entries.push({ path, owner: '', inode })
  const body = async (size: number, more: Partial<Inode> = {}): Promise<Inode> => {
    const bytes = Buffer.alloc(size, `${size} `)
    return { type: 'file', ...meta, size, content: await contents.write(bytes), ...more } as Inode
  }
  add('', { type: 'dir', ...meta, mode: 0o755 })
  for (const size of [0, 1, 1023, 1024, 1025, 4095, 4096, 4097, 5120, 5121, 8191, 8192, 8193, 100_000])
    add(`sizes/${size}`, await body(size))
  for (let at = 0; at < 1500; at++)
    add(`many/name-${at}`, { type: 'symlink', ...meta, mode: 0o777, target: `t${at}` })
  for (let at = 0; at < 100; at++) add(`long/${'x'.repeat(200)}${at}`, await body(at))
  const twin = await body(6000, { mode: 0o4755 })
  add('hard/a', twin)
  add('hard/b', twin)
  add('dir/sub/deep', { type: 'dir', ...meta, mode: 0o1777 })
  add('long-target', { type: 'symlink', ...meta, mode: 0o777, target: 'y'.repeat(3000) })
  add('\xc3\xa4 name', await body(5))
  add('fifo', { type: 'fifo', ...meta })
  if (isRoot) {
    add('null', { type: 'char', ...meta, major: 1, minor: 3 })
    add('disk', { type: 'block', ...meta, major: 259, minor: 70_000 })
    add('owned', await body(9, { uid: 1000, gid: 70_000 }))
    add(
      'capable',
      await body(9, { xattrs: [['security.capability', `\x01\0\0\x02\0\x04${'\0'.repeat(14)}`]] }),
    )
  }
  return treeOf(entries)
}

async function imageOf(tree: Tree, path: string): Promise<void> {
  await using sink = await openFileSink(path)
  const blocks = { compress: () => Promise.reject(new Error('nothing is compressed')) }
  await erofsEmitter.emit(tree, { date: 5, seed: 's' }, { contents, blocks, sink, signal })
  await sink.finish()
}

test('fsck.erofs unpacks what the tree says', async (t) => {
  if (!findTool('fsck.erofs')) return t.skip('needs fsck.erofs')
  using folder = temporaryDirectory()
  const tree = await everything()
  const image = join(folder.path, 'image.erofs')
  const target = join(folder.path, 'out')
  await imageOf(tree, image)
  await run(['fsck.erofs', image])
  mkdirSync(target)
  await run(['fsck.erofs', `--extract=${target}`, '--overwrite', '--preserve-perms', image])
  let seen = 0
  for (const { path, inode } of entriesOf(tree)) {
    seen++
    const place = join(target, Buffer.from(path, 'latin1').toString())
    const stat = lstatSync(place)
    if (inode.type === 'file') {
      assert.deepEqual(readFileSync(place), Buffer.from(await contents.read(inode.content)), path)
      // fsck.erofs 1.5 sets owners after modes, which takes the setuid bit away.
      assert.equal(stat.mode & 0o777, inode.mode & 0o777, path)
    }
    if (inode.type === 'symlink') assert.equal(readlinkSync(place), inode.target)
    if ('major' in inode)
      assert.deepEqual(
        [stat.isBlockDevice(), stat.isCharacterDevice()],
        [inode.type === 'block', inode.type === 'char'],
      )
    if (isRoot) assert.deepEqual([stat.uid, stat.gid], [inode.uid, inode.gid], path)
  }
  const all = readdirSync(target, { recursive: true })
  assert.equal(all.length, seen - 1)
})

test('a damaged image does not pass fsck.erofs', async (t) => {
  if (!findTool('fsck.erofs')) return t.skip('needs fsck.erofs')
  using folder = temporaryDirectory()
  const image = join(folder.path, 'image.erofs')
  await imageOf(await everything(), image)
  const bytes = readFileSync(image)
  bytes.writeUInt16LE(0xffff, 4096 + 4)
  writeFileSync(image, bytes)
  assert.notEqual((await run(['fsck.erofs', image], { accept: 'any' })).code, 0)
})

test('a guest lives on a proved erofs, with devices, owners and links', async (t) => {
  if (cannotBoot) return t.skip(cannotBoot)
  using project = temporaryDirectory()
  mkdirSync(join(project.path, 'profiles'))
  writeFileSync(
    join(project.path, 'profiles/flat.yaml'),
    `stage5: 1
parents: [minimal]
network: none
images: [-squashfs, erofs, verity]
users: [{name: web, uid: 700}]
files:
  - {path: /srv/owned, content: "text", owner: web, group: web, mode: "4750", capabilities: cap_net_raw=ep}
  - {path: /srv/zero, type: char, major: 1, minor: 5}
`,
  )
  const found = await buildProfile(project.path, 'flat')
  if ('skip' in found) return t.skip(found.skip)
  const words = readFileSync(found.file('.cmdline'), 'latin1').trim().split(' ')
  await using guest = await bootBuilt(found, t.signal, {
    base: found.file('.erofs'),
    verity: found.file('.verity'),
    cmdline: words,
  })
  await waitReady(guest, 'stage5: ready', 240_000)
  await guest.waitFor('# ', 240_000)
  assert.match((await shell(guest, 'grep /base /proc/mounts')).join(), /^\/dev\/dm-0 \S+ erofs ro,/)
  assert.deepEqual(await shell(guest, 'stat -c "%u %g %a %s" /srv/owned'), ['700 700 4750 4'])
  assert.deepEqual(await shell(guest, 'stat -c "%F %t %T" /srv/zero'), ['character special file 1 5'])
  assert.deepEqual(await shell(guest, 'busybox cmp /bin/sh /bin/ls && echo same'), ['same'])
})
