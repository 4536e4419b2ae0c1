/** Refuses what squashfs cannot express before any work is done for it. */
import { printable, Stage5Error } from '../../base/errors.ts'
import { type ImageInode, type ImageName, LIMITS } from './image.ts'
import { XATTR_PREFIXES } from './layout.ts'

/**
 * The distinct user and group ids, ascending.
 * @throws S5_IMAGE_INPUT with the path and the limit that it breaks
 */
export function checkImage(
  names: readonly ImageName[],
  inodes: readonly ImageInode[],
  withXattrs: boolean,
): readonly number[] {
  if (inodes.length >= LIMITS.u32) throw inexpressible('', `${LIMITS.u32 - 1} inodes`, String(inodes.length))
  const ids = new Set<number>()
  const seen = new Uint8Array(inodes.length)
  for (const { path, inode: number } of names) {
    if (path.length - path.lastIndexOf('/') - 1 > LIMITS.nameLength)
      throw inexpressible(
        path,
        `a name of at most ${LIMITS.nameLength} bytes`,
        `${path.length - path.lastIndexOf('/') - 1}`,
      )
    if (seen[number]) continue
    seen[number] = 1
    const inode = inodes[number]
    if (!inode) throw new RangeError(`${path}: there is no inode ${number}`)
    checkInode(path, inode)
    if (withXattrs) checkXattrs(path, inode)
    ids.add(inode.uid)
    ids.add(inode.gid)
    if (ids.size > LIMITS.ids)
      throw inexpressible(path, `at most ${LIMITS.ids} different owners and groups`, 'more')
  }
  return [...ids].sort((a, b) => a - b)
}

function checkInode(path: string, inode: ImageInode): void {
  within(path, 'mode', inode.mode, 0o7777)
  within(path, 'uid', inode.uid, LIMITS.u32)
  within(path, 'gid', inode.gid, LIMITS.u32)
  within(path, 'mtime', inode.mtime, LIMITS.u32)
  switch (inode.type) {
    case 'file':
      within(path, 'size', inode.size, Number.MAX_SAFE_INTEGER)
      break
    case 'symlink':
      if (inode.target.length < 1 || inode.target.length > LIMITS.targetLength)
        throw inexpressible(
          path,
          `a target of 1 to ${LIMITS.targetLength} bytes`,
          String(inode.target.length),
        )
      break
    case 'char':
    case 'block':
      within(path, 'major', inode.major, LIMITS.major)
      within(path, 'minor', inode.minor, LIMITS.minor)
      break
    case 'dir':
    case 'fifo':
    case 'socket':
      break
  }
}

function checkXattrs(path: string, inode: ImageInode): void {
  for (const [name, value] of inode.xattrs ?? []) {
    const prefix = XATTR_PREFIXES.find((known) => name.startsWith(known))
    if (prefix === undefined || name.length === prefix.length || name.length > LIMITS.xattrName)
      throw inexpressible(path, `an attribute of ${XATTR_PREFIXES.join(' ')}`, printable(name))
    if (value.length > LIMITS.xattrValue)
      throw inexpressible(path, `${name} of at most ${LIMITS.xattrValue} bytes`, String(value.length))
  }
}

function within(path: string, what: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 0 || value > most)
    throw inexpressible(path, `${what} from 0 to ${most}`, String(value))
}

function inexpressible(path: string, expected: string, found: string): Stage5Error {
  return new Stage5Error(
    'S5_IMAGE_INPUT',
    `squashfs: /${printable(path)}: expected ${expected}, found ${found}`,
    {
      data: { format: 'squashfs', path, expected, found },
    },
  )
}
