import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isStage5Error } from '../../src/base/errors.ts'
import { tarOf } from '../../src/emit/tar.ts'
import { type TarEntry, tarReader } from '../../src/format/tar.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { entriesOf, type Inode, type Tree, treeOf } from '../../src/tree/tree.ts'
import { dir, file, link, treeArbitrary } from '../helpers/trees.ts'

const signal = new AbortController().signal

async function archive(tree: Tree, bodies: ReadonlyMap<string, Uint8Array> = new Map()): Promise<Buffer> {
  const contents = {
    ...memoryContents(),
    read: async (content: string) => {
      const inode = tree.inodes.find((each) => each.type === 'file' && each.content === content)
      return bodies.get(content) ?? new Uint8Array(inode?.type === 'file' ? inode.size : 0)
    },
  }
  const parts: Uint8Array[] = []
  for await (const bytes of tarOf(tree, { contents, signal })) parts.push(bytes)
  return Buffer.concat(parts)
}

function read(bytes: Buffer): TarEntry[] {
  const found: TarEntry[] = []
  const reader = tarReader('test.tar', {
    entry: (entry) => void found.push(entry),
    data: () => {},
    close: () => {},
  })
  reader.push(bytes)
  reader.end()
  return found
}

test('any tree comes back from its archive, links and attributes and all', async () => {
  await fc.assert(
    fc.asyncProperty(treeArbitrary, async (tree) => {
      const bytes = await archive(tree)
      assert.equal(bytes.length % 10240, 0)
      const first = new Map<number, string>()
      const expected = tree.names.map(({ path, inode: number }) => {
        const inode = tree.inodes[number] as Inode
        const target = first.get(number)
        first.set(number, target ?? path)
        const { mode, uid, gid, mtime } = inode
        const name = path === '' ? './' : inode.type === 'dir' ? `${path}/` : path
        return { name, mode, uid, gid, mtime, type: target === undefined ? inode.type : 'hardlink', target }
      })
      const found = read(bytes)
      assert.deepEqual(
        found.map(({ path, mode, uid, gid, mtime, type, linkname }) => ({
          ...{ name: path, mode, uid, gid, mtime, type },
          target: type === 'hardlink' ? linkname : undefined,
        })),
        expected,
      )
      for (const entry of entriesOf(tree)) {
        const twin = found.find(({ path }) => path === entry.path)
        if (twin?.type === 'file') assert.deepEqual(twin.xattrs, entry.inode.xattrs ?? [])
        if (twin?.type === 'symlink' && entry.inode.type === 'symlink')
          assert.equal(twin.linkname, entry.inode.target)
      }
    }),
    { numRuns: 150 },
  )
})

test('names and numbers of every length come back', async () => {
  const lengths = [1, 98, 99, 100, 101, 102, 155, 156, 200, 255]
  const entries = lengths.flatMap((length) => [
    file('n'.repeat(length), ''),
    file(`${'d'.repeat(100)}/${'n'.repeat(length)}`, ''),
    dir(`${'e'.repeat(length)}/${'f'.repeat(length)}`),
    link(`l${length}`, 't'.repeat(length)),
  ])
  const large = file('large-owner', '', { uid: 2_097_152, gid: 4_294_967_293, mtime: 8 ** 11 })
  const limits = file('limits', '', { uid: 2_097_151, gid: 2_097_151, mtime: 8 ** 11 - 1, mode: 0o7777 })
  const tree = treeOf([...entries, large, limits])
  const found = new Map(read(await archive(tree)).map((entry) => [entry.path.replace(/\/$/, ''), entry]))
  for (const { path, inode } of entriesOf(tree)) {
    if (path === '') continue
    const entry = found.get(path)
    assert.ok(entry, path)
    const { uid, gid, mtime, mode } = inode
    assert.deepEqual([entry.uid, entry.gid, entry.mtime, entry.mode], [uid, gid, mtime, mode], path)
    if (inode.type === 'symlink') assert.equal(entry.linkname, inode.target)
  }
})

test('a socket is refused by name', async () => {
  const socket = { type: 'socket', mode: 0o644, uid: 0, gid: 0, mtime: 0 } as const
  const tree = treeOf([{ path: 'run/log', owner: '', inode: socket }])
  await assert.rejects(
    archive(tree),
    (error) => isStage5Error(error, 'S5_IMAGE_INPUT') && /run\/log is a socket/.test(error.message),
  )
})
