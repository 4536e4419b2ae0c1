/** Reads a real directory into a tree: the reverse of a checkout. */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type Stats,
} from 'node:fs'
import { refuse } from '../base/errors.ts'
import { diskError } from '../host/disk.ts'
import type { Bodies } from '../tree/bodies.ts'
import {
  comparePaths,
  type Entry,
  type Inode,
  joinPath,
  type Meta,
  type Tree,
  treeOf,
  type TreePath,
  type Xattr,
} from '../tree/tree.ts'

interface ReadOptions {
  /** Label of all names. Default ''. */
  readonly owner?: string
  /** From `readXattrs(directory)`, when they are wanted. */
  readonly xattrs?: ReadonlyMap<TreePath, readonly Xattr[]>
}

const PIECE = 1 << 18

/**
 * The tree below `directory`; symlinks are never followed, names are bytes, hard links stay links. A file that
 * changes while it is read is refused.
 * @throws S5_DISK_FAILED; S5_ARCHIVE_REFUSED with reason `size` when a file changed meanwhile
 */
export function readDirectory(directory: string, bodies: Bodies, options: ReadOptions = {}): Tree {
  const owner = options.owner ?? ''
  const entries: Entry[] = []
  const linked = new Map<string, Inode>()
  const piece = Buffer.allocUnsafeSlow(PIECE)
  const top = Buffer.from(directory)

  function visit(path: TreePath): void {
    const place = path === '' ? top : Buffer.concat([top, Buffer.from(`/${path}`, 'latin1')])
    const stats = lstatSync(place)
    const id = `${stats.dev}:${stats.ino}`
    const inode = linked.get(id) ?? inodeOf(path, place, stats)
    if (stats.nlink > 1 && inode.type !== 'dir') linked.set(id, inode)
    entries.push({ path, owner, inode })
    if (inode.type !== 'dir') return
    const names = readdirSync(place, { encoding: 'buffer' }).map((name) => name.toString('latin1'))
    for (const name of names.sort(comparePaths)) visit(joinPath(path, name))
  }

  function inodeOf(path: TreePath, place: Buffer, stats: Stats): Inode {
    const xattrs = options.xattrs?.get(path)
    const meta: Meta = {
      mode: stats.mode & 0o7777,
      uid: stats.uid,
      gid: stats.gid,
      mtime: Math.floor(stats.mtimeMs / 1000),
      ...(xattrs && xattrs.length > 0 ? { xattrs } : {}),
    }
    if (stats.isDirectory()) return { type: 'dir', ...meta }
    if (stats.isSymbolicLink()) {
      const target = readlinkSync(place, { encoding: 'buffer' }).toString('latin1')
      return { type: 'symlink', ...meta, target }
    }
    if (stats.isFIFO()) return { type: 'fifo', ...meta }
    if (stats.isSocket()) return { type: 'socket', ...meta }
    if (stats.isFile()) return { type: 'file', ...meta, ...readBody(path, place, stats) }
    const type = stats.isBlockDevice() ? 'block' : 'char'
    return { type, ...meta, ...deviceNumbers(stats.rdev) }
  }

  function readBody(
    path: TreePath,
    place: Buffer,
    before: Stats,
  ): Pick<Inode & { type: 'file' }, 'size' | 'content'> {
    const fd = openSync(place, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const { ino, dev, size } = fstatSync(fd)
      if (ino !== before.ino || dev !== before.dev) throw changed(path)
      const body = bodies.open(size)
      try {
        let done = 0
        while (done < size) {
          const count = readSync(fd, piece, 0, Math.min(PIECE, size - done), done)
          if (count === 0) throw changed(path)
          body.write(piece.subarray(0, count))
          done += count
        }
        if (fstatSync(fd).size !== size) throw changed(path)
        return { size, content: body.close() }
      } catch (error) {
        body.abort()
        throw error
      }
    } finally {
      closeSync(fd)
    }
  }

  function changed(path: TreePath): Error {
    return refuse('size', directory, 'a file changed while it was read', { entry: path })
  }

  try {
    visit('')
  } catch (error) {
    throw diskError(error, directory)
  }
  return treeOf(entries)
}

/** As glibc's gnu_dev_major and gnu_dev_minor. */
function deviceNumbers(rdev: number): { major: number; minor: number } {
  const device = BigInt(rdev)
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n)
  return { major: Number(major), minor: Number(minor) }
}
