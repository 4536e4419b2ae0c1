/** Archives one over the other: the tree is what the kernel would have made of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Digest, digestOf } from '../../src/base/digest.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { treeOfArchives } from '../../src/emit/cpio-tree.ts'
import type { CpioEntry } from '../../src/format/cpio.ts'
import { FILE_TYPE } from '../../src/format/file-type.ts'
import { treeProblems } from '../../src/tree/check.ts'
import { lookup, type Tree } from '../../src/tree/tree.ts'

const contents = {
  read: () => Promise.reject(new Error('nothing is read')),
  write: async (bytes: Uint8Array): Promise<Digest> => digestOf(bytes),
}

function member(
  name: string,
  type: keyof typeof FILE_TYPE,
  text = '',
  more: Partial<CpioEntry> = {},
): CpioEntry {
  const body = Buffer.from(text)
  const numbers = { ino: 1, uid: 1, gid: 2, nlink: 1, mtime: 3, rdevMajor: 0, rdevMinor: 0 }
  return { name, mode: FILE_TYPE[type] | 0o755, size: body.length, body, ...numbers, ...more }
}

async function treeOf(...segments: CpioEntry[][]): Promise<Tree> {
  const tree = await treeOfArchives(segments, contents as never, 'old.img')
  assert.deepEqual(treeProblems(tree), [])
  return tree
}

function fileAt(tree: Tree, path: string): string | undefined {
  const inode = lookup(tree, path)?.inode
  return inode?.type === 'file' ? inode.content : inode?.type
}

test('names, owners, devices and links come as they are written', async () => {
  const tree = await treeOf([
    member('.', 'dir'),
    member('./bin', 'dir'),
    member('./bin/sh', 'symlink', 'busybox'),
    member('dev/console', 'char', '', { rdevMajor: 5, rdevMinor: 1 }),
    member('/bin/busybox', 'file', 'elf'),
  ])
  assert.deepEqual(lookup(tree, 'bin/sh')?.inode, {
    type: 'symlink',
    mode: 0o755,
    uid: 1,
    gid: 2,
    mtime: 3,
    target: 'busybox',
  })
  const device = lookup(tree, 'dev/console')?.inode
  assert.deepEqual(device?.type === 'char' && [device.major, device.minor], [5, 1])
  assert.equal(fileAt(tree, 'bin/busybox'), digestOf('elf'))
})

test('a later archive wins, and hard links share the body of the name that has one', async () => {
  const link = { ino: 9, nlink: 2 }
  const tree = await treeOf(
    [
      member('etc', 'dir'),
      member('etc/a', 'file', 'old'),
      member('x', 'file', '', link),
      member('y', 'file', 'two', link),
    ],
    [member('etc/a', 'file', 'new'), member('z', 'file', 'other', link)],
  )
  assert.equal(fileAt(tree, 'etc/a'), digestOf('new'))
  assert.deepEqual([fileAt(tree, 'x'), fileAt(tree, 'y')], [digestOf('two'), digestOf('two')])
  assert.equal(
    tree.names.filter(({ inode }) => inode === tree.names.find((n) => n.path === 'x')?.inode).length,
    2,
  )
  assert.equal(fileAt(tree, 'z'), digestOf('other'), 'numbers of another archive are other files')
})

test('symlinks above a name are followed inside the tree, as the kernel does', async () => {
  const tree = await treeOf(
    [member('usr', 'dir'), member('usr/lib', 'dir'), member('lib', 'symlink', '/usr/lib')],
    [member('lib/modules', 'dir'), member('lib/modules/x.ko', 'file', 'ko')],
  )
  assert.equal(fileAt(tree, 'usr/lib/modules/x.ko'), digestOf('ko'))
  assert.equal(fileAt(tree, 'lib'), 'symlink')
})

test('names that lead out, or over what is there, are refused', async () => {
  const cases: [string, CpioEntry[]][] = [
    ['traversal', [member('../x', 'file')]],
    ['bad-parent', [member('a', 'file'), member('a/b', 'file')]],
    ['bad-parent', [member('a', 'dir'), member('a/b', 'file'), member('a', 'file')]],
    ['bad-type', [member('.', 'file')]],
    ['bad-type', [{ ...member('a', 'file'), mode: 0o644 }]],
    ['too-long', [member('a', 'symlink', 'b'), member('b', 'symlink', 'a'), member('a/x', 'file')]],
  ]
  for (const [reason, entries] of cases)
    await assert.rejects(
      treeOf(entries),
      (error) => isStage5Error(error, 'S5_ARCHIVE_REFUSED') && error.data['reason'] === reason,
      reason,
    )
})
