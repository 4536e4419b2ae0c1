/**
 * Structures of erofs without compression: 4096-byte blocks, 64-byte inodes, sorted directories.
 * @see Linux Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h
 */
import { type Struct, writeStruct } from '../base/bytes.ts'
import { printable, Stage5Error } from '../base/errors.ts'
import { FILE_TYPE } from './file-type.ts'

export const EROFS_BLOCK = 4096
/** Inodes are numbered by their place: `nid` counts slots of 32 bytes from the start of the image. */
export const EROFS_SLOT = 32
const SUPERBLOCK_AT = 1024

const SUPERBLOCK = [
  ['magic', 0, 'u32'],
  ['featureCompat', 8, 'u32'],
  ['blkszbits', 12, 'u8'],
  ['rootNid', 14, 'u16'],
  ['inos', 16, 'u64'],
  ['buildTime', 24, 'u64'],
  ['blocks', 36, 'u32'],
] as const satisfies Struct

/** `erofs_inode_extended`. */
const INODE = [
  ['format', 0, 'u16'],
  ['xattrCount', 2, 'u16'],
  ['mode', 4, 'u16'],
  ['size', 8, 'u64'],
  ['place', 16, 'u32'],
  ['ino', 20, 'u32'],
  ['uid', 24, 'u32'],
  ['gid', 28, 'u32'],
  ['mtime', 32, 'u64'],
  ['nlink', 44, 'u32'],
] as const satisfies Struct
const EROFS_INODE = 64

/** i_format: extended inode, with the data layouts FLAT_PLAIN and FLAT_INLINE. */
const EXTENDED = 1
const INLINE = 2 << 1

type ErofsType = 'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket'

/** What an inode says of itself. */
interface ErofsMeta {
  readonly type: ErofsType
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Seconds since 1970. */
  readonly mtime: number
  /** Values are byte strings. */
  readonly xattrs?: readonly (readonly [name: string, value: string])[]
  /** Of devices. */
  readonly major?: number
  readonly minor?: number
}

interface ErofsImage {
  readonly rootNid: number
  readonly inodes: number
  readonly blocks: number
  /** Seconds since 1970. */
  readonly date: number
  readonly uuid: string
}

/** The first block. Feature MTIME: times of inodes are those of modification. */
export function erofsHead({ rootNid, inodes, blocks, date, uuid }: ErofsImage): Buffer {
  const block = Buffer.alloc(EROFS_BLOCK)
  const numbers = { magic: 0xe0f5e1e2, featureCompat: 2, blkszbits: 12, rootNid, inos: inodes }
  writeStruct(SUPERBLOCK, { ...numbers, buildTime: date, blocks }, block, SUPERBLOCK_AT)
  block.write(uuid.replaceAll('-', ''), SUPERBLOCK_AT + 48, 'hex')
  return block
}

interface ErofsInode {
  readonly inode: ErofsMeta
  readonly number: number
  readonly nlink: number
  /** Bytes of content, target or directory. */
  readonly size: number
  /** First block of what is stored in whole blocks. */
  readonly block: number
  /** What follows the inode instead of filling a block of its own. */
  readonly tail: Uint8Array
}

/**
 * Bytes that an inode takes with its attributes, without its tail.
 * @throws S5_IMAGE_INPUT for an attribute that erofs has no number for
 */
export function erofsInodeSize(inode: ErofsMeta): number {
  return EROFS_INODE + xattrBody(inode.xattrs ?? []).length
}

export function writeErofsInode(target: Buffer, at: number, entry: ErofsInode): void {
  const { inode, number, nlink, size, block, tail } = entry
  const xattrs = xattrBody(inode.xattrs ?? [])
  const numbers = {
    format: EXTENDED | (tail.length > 0 ? INLINE : 0),
    // "i_xattr_icount": header of 12 bytes, then units of 4.
    xattrCount: xattrs.length === 0 ? 0 : (xattrs.length - 12) / 4 + 1,
    mode: FILE_TYPE[inode.type] | inode.mode,
    place: inode.major === undefined ? block : encodeDevice(inode.major, inode.minor ?? 0),
    ...{ size, ino: number, uid: inode.uid, gid: inode.gid, mtime: inode.mtime, nlink },
  }
  writeStruct(INODE, numbers, target, at)
  target.set(xattrs, at + EROFS_INODE)
  target.set(tail, at + EROFS_INODE + xattrs.length)
}

/** `new_encode_dev` of Linux. */
function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0
}

/** Prefixes of attribute names by their number; longer ones first. */
const PREFIXES = [
  ['system.posix_acl_default', 3],
  ['system.posix_acl_access', 2],
  ['security.', 6],
  ['trusted.', 4],
  ['user.', 1],
] as const

function xattrBody(xattrs: NonNullable<ErofsMeta['xattrs']>): Buffer {
  if (xattrs.length === 0) return Buffer.alloc(0)
  const entries = xattrs.map(([name, value]) => {
    const found = PREFIXES.find(([known]) => name.startsWith(known))
    if (!found || value.length > 0xffff)
      throw new Stage5Error('S5_IMAGE_INPUT', `erofs cannot carry the attribute ${printable(name)}`, {
        data: { format: 'erofs', name },
      })
    const [prefix, index] = found
    const suffix = Buffer.from(name.slice(prefix.length))
    const entry = Buffer.alloc(Math.ceil((4 + suffix.length + value.length) / 4) * 4)
    entry.writeUInt8(suffix.length, 0)
    entry.writeUInt8(index, 1)
    entry.writeUInt16LE(value.length, 2)
    entry.set(suffix, 4)
    entry.write(value, 4 + suffix.length, 'latin1')
    return entry
  })
  return Buffer.concat([Buffer.alloc(12), ...entries])
}

export interface ErofsName {
  /** Byte string. */
  readonly name: string
  readonly type: ErofsType
  readonly nid: number
}
const DIRENT = 12
const DIRENT_TYPE = { file: 1, dir: 2, char: 3, block: 4, fifo: 5, socket: 6, symlink: 7 } as const

/**
 * A directory: blocks that each begin with their entries and end with their names, in the order of bytes throughout.
 * Its size does not depend on the numbers in it.
 * @param names with `.` and `..`, sorted
 */
export function erofsDirectory(names: readonly ErofsName[]): Buffer {
  const blocks: Buffer[] = []
  for (let from = 0; from < names.length; ) {
    let used = 0
    let to = from
    for (; to < names.length; to++) {
      const more = DIRENT + (names[to] as ErofsName).name.length
      if (used + more > EROFS_BLOCK) break
      used += more
    }
    const isLast = to === names.length
    const block = Buffer.alloc(isLast ? used : EROFS_BLOCK)
    let nameAt = (to - from) * DIRENT
    for (const [at, { name, type, nid }] of names.slice(from, to).entries()) {
      block.writeBigUInt64LE(BigInt(nid), at * DIRENT)
      block.writeUInt16LE(nameAt, at * DIRENT + 8)
      block.writeUInt8(DIRENT_TYPE[type], at * DIRENT + 10)
      block.write(name, nameAt, 'latin1')
      nameAt += name.length
    }
    blocks.push(block)
    from = to
  }
  return Buffer.concat(blocks)
}
