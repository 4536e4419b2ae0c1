/** Trees for tests: written short, or made at random. */
import fc from 'fast-check'
import { digestOf } from '../../src/base/digest.ts'
import { type Entry, type Inode, type Tree, treeOf } from '../../src/tree/tree.ts'

const META = { mode: 0o644, uid: 0, gid: 0, mtime: 0 }

export function file(path: string, text: string, meta: Partial<Inode> = {}, owner = 'a_1'): Entry {
  const inode = {
    type: 'file',
    ...META,
    size: text.length,
    content: digestOf(Buffer.from(text, 'latin1')),
    ...meta,
  } as Inode
  return { path, owner, inode }
}

export function dir(path: string, meta: Partial<Inode> = {}, owner = 'a_1'): Entry {
  return { path, owner, inode: { type: 'dir', ...META, mode: 0o755, ...meta } as Inode }
}

export function link(path: string, target: string, owner = 'a_1'): Entry {
  return { path, owner, inode: { type: 'symlink', ...META, mode: 0o777, target } }
}

/** Names with bytes around `/` and outside UTF-8, so that wrong orders and decodings show. */
const nameArbitrary: fc.Arbitrary<string> = fc
  .array(fc.constantFrom('a', 'b', '.', '-', '0', '\xff', '\x01', ' ', '\\', 'Z'), {
    minLength: 1,
    maxLength: 4,
  })
  .map((letters) => letters.join(''))
  .filter((name) => name !== '.' && name !== '..')

const metaArbitrary = fc.record({
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.constantFrom(0, 33, 65534),
  gid: fc.constantFrom(0, 33, 50),
  mtime: fc.integer({ min: 0, max: 2 ** 31 }),
})

const inodeArbitrary: fc.Arbitrary<Inode> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(metaArbitrary, fc.string({ maxLength: 12 }))
      .map(([meta, text]): Inode => fileInode(text, meta)),
  },
  metaArbitrary.map((meta): Inode => ({ type: 'dir', ...meta })),
  fc
    .tuple(metaArbitrary, nameArbitrary)
    .map(([meta, target]): Inode => ({ type: 'symlink', ...meta, target })),
  metaArbitrary.map((meta): Inode => ({ type: 'char', ...meta, major: 1, minor: 3 })),
  metaArbitrary.map((meta): Inode => ({ type: 'fifo', ...meta })),
)

function fileInode(text: string, meta: { mode: number; uid: number; gid: number; mtime: number }): Inode {
  const bytes = Buffer.from(text, 'utf8')
  const inode = { type: 'file', ...meta, size: bytes.length, content: digestOf(bytes) } as const
  return text.length % 3 === 1
    ? { ...inode, xattrs: [['security.capability', `\x01\0\0\x02${text}`]] }
    : inode
}

/** Trees with every kind of inode, hard links and odd names. */
export const treeArbitrary: fc.Arbitrary<Tree> = fc
  .array(
    fc.tuple(
      fc.array(nameArbitrary, { minLength: 1, maxLength: 3 }),
      inodeArbitrary,
      fc.constantFrom('a_1', 'b_2'),
    ),
    {
      maxLength: 12,
    },
  )
  .map((drafts) => {
    const entries: Entry[] = []
    const files = new Set<string>()
    for (const [parts, inode, owner] of drafts) {
      const path = parts.join('/')
      const above = parts.slice(0, -1).map((_, at) => parts.slice(0, at + 1).join('/'))
      const taken = entries.some((entry) => entry.path === path || entry.path.startsWith(`${path}/`))
      if (taken || above.some((parent) => files.has(parent))) continue
      const twin = entries.find(
        (entry) => entry.inode.type === 'file' && inode.type === 'file' && inode.mtime % 5 === 0,
      )
      entries.push({ path, owner, inode: twin?.inode ?? inode })
      if (inode.type !== 'dir') files.add(path)
    }
    return treeOf(entries)
  })
