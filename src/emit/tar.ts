/** A tree as a tar archive: ustar with pax headers for what does not fit, names in the order of the tree. */
import { printable, Stage5Error } from '../base/errors.ts'
import type { TarEntry } from '../format/tar.ts'
import { tarHeader, tarPadding, tarTrailer } from '../format/tar-write.ts'
import { piecesOf } from '../tree/contents.ts'
import type { Inode, Tree, TreePath } from '../tree/tree.ts'
import type { Emitter, EmitWorld } from './emitter.ts'

/** Numbers and no names of owners, so that no passwd of any machine matters. */
export const tarEmitter: Emitter = {
  format: 'tar',
  version: 1,
  emit: async (tree, _options, world) => {
    for await (const bytes of tarOf(tree, world)) await world.sink.write(bytes)
  },
}

/**
 * The pieces of the archive. The first name of a file carries the body, further ones are links to it.
 * @throws S5_IMAGE_INPUT for a socket, which tar does not know
 */
export async function* tarOf(
  tree: Tree,
  world: Pick<EmitWorld, 'contents' | 'signal' | 'progress'>,
): AsyncGenerator<Uint8Array> {
  const first = new Map<number, TreePath>()
  const total = tree.inodes.reduce((sum, inode) => sum + (inode.type === 'file' ? inode.size : 0), 0)
  let length = 0
  let done = 0
  for (const { path, inode: number } of tree.names) {
    world.signal.throwIfAborted()
    const inode = tree.inodes[number] as Inode
    const target = first.get(number)
    first.set(number, target ?? path)
    const head = tarHeader(entryOf(path, inode, target))
    yield head
    length += head.length
    if (inode.type !== 'file' || target !== undefined || inode.size === 0) continue
    yield* piecesOf(world.contents, inode.content, inode.size)
    const padding = tarPadding(inode.size)
    if (padding.length > 0) yield padding
    length += inode.size + padding.length
    world.progress?.((done += inode.size), total)
  }
  yield tarTrailer(length)
}

function entryOf(path: TreePath, inode: Inode, target: TreePath | undefined): TarEntry {
  const { mode, uid, gid, mtime, xattrs = [] } = inode
  if (inode.type === 'socket')
    throw new Stage5Error('S5_IMAGE_INPUT', `tar: ${printable(path)} is a socket`, { data: { path } })
  const name = path === '' ? './' : inode.type === 'dir' ? `${path}/` : path
  const common = { path: name, mode, uid, gid, mtime, major: 0, minor: 0, size: 0, linkname: '', xattrs }
  if (target !== undefined) return { ...common, type: 'hardlink', linkname: target, xattrs: [] }
  switch (inode.type) {
    case 'file':
      return { ...common, type: 'file', size: inode.size }
    case 'symlink':
      return { ...common, type: 'symlink', linkname: inode.target }
    case 'char':
    case 'block':
      return { ...common, type: inode.type, major: inode.major, minor: inode.minor }
    case 'dir':
    case 'fifo':
      return { ...common, type: inode.type }
  }
}
