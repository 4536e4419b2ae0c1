/** Inodes as they are stored, back into the words of file systems. */
import { sizeOf, type Struct } from '../../base/bytes.ts'
import { refuse } from '../../base/errors.ts'
import type { ImageInode, ImageMeta, StoredBody } from './image.ts'
import {
  BASIC_DEVICE,
  BASIC_DIR,
  BASIC_FILE,
  BASIC_IPC,
  decodeDevice,
  EXTENDED,
  EXTENDED_DEVICE,
  EXTENDED_DIR,
  EXTENDED_FILE,
  EXTENDED_IPC,
  INODE_HEADER,
  LISTING_EXTRA,
  NONE,
  SYMLINK,
  TYPE,
  XATTR_ELSEWHERE,
  XATTR_NAME,
  XATTR_PREFIXES,
} from './layout.ts'
import type { Region } from './regions.ts'

interface InodeSource {
  readonly file: string
  readonly region: Region
  readonly idOf: (index: number) => number
  readonly xattrs:
    | {
        readonly ids: readonly { readonly reference: number; readonly count: number; readonly size: number }[]
        readonly pairs: Region
      }
    | undefined
  readonly blockSize: number
}

/** `listing` of directories without the 3 bytes of `.` and `..`; `body` of files. */
interface StoredInode {
  readonly inode: ImageInode
  readonly body?: StoredBody
  readonly listing?: { readonly start: number; readonly offset: number; readonly size: number }
}

export interface InodeTable {
  /** @throws S5_ARCHIVE_REFUSED; `path` is for the message */
  read(reference: number, path: string): StoredInode
}

const TYPES = Object.keys(TYPE) as ImageInode['type'][]

export function inodeTable(source: InodeSource): InodeTable {
  const { region, file } = source
  let left = region.bytes.length
  return {
    read: (reference, path) => {
      const at = region.at(Math.floor(reference / 0x10000), reference % 0x10000)
      const header = region.struct(INODE_HEADER, at)
      const isExtended = header.type > EXTENDED
      const type = TYPES.find((known) => TYPE[known] === header.type - (isExtended ? EXTENDED : 0))
      if (!type) throw refuse('bad-type', file, `inode type ${header.type}`, { entry: path })
      const { length, xattr, ...stored } = readType(source, type, isExtended, at, {
        mode: header.mode,
        uid: source.idOf(header.uid),
        gid: source.idOf(header.gid),
        mtime: header.mtime,
      })
      left -= length
      if (left < 0) throw refuse('layout', file, 'inodes overlap', { entry: path })
      const xattrs = xattr === NONE ? undefined : readXattrs(source, xattr)
      return xattrs ? { ...stored, inode: { ...stored.inode, xattrs } } : stored
    },
  }
}

function readType(
  { region, blockSize }: InodeSource,
  type: ImageInode['type'],
  isExtended: boolean,
  at: number,
  meta: ImageMeta,
): StoredInode & { readonly length: number; readonly xattr: number } {
  const basic = <F extends string>(struct: Struct<F>): { readonly [field in F | 'xattr']: number } => ({
    ...region.struct(struct, at),
    xattr: NONE,
  })
  const sizeof = (short: Struct, long: Struct): number => sizeOf(isExtended ? long : short)
  switch (type) {
    case 'dir': {
      const stored = isExtended ? region.struct(EXTENDED_DIR, at) : basic(BASIC_DIR)
      const { start, offset, size, xattr } = stored
      const listing = { start, offset, size: Math.max(0, size - LISTING_EXTRA) }
      return { inode: { ...meta, type }, listing, xattr, length: sizeof(BASIC_DIR, EXTENDED_DIR) }
    }
    case 'file': {
      const stored = isExtended ? region.struct(EXTENDED_FILE, at) : basic(BASIC_FILE)
      const { start, size, offset, xattr } = stored
      const fragment = stored.fragment === NONE ? -1 : stored.fragment
      const count = fragment < 0 ? Math.ceil(size / blockSize) : Math.floor(size / blockSize)
      const length = sizeof(BASIC_FILE, EXTENDED_FILE)
      const list = region.slice(at + length, 4 * count)
      const sizes = Uint32Array.from({ length: count }, (_, index) => list.readUInt32LE(4 * index))
      const body = { start, sizes, fragment, offset }
      return { inode: { ...meta, type, size }, body, xattr, length: length + 4 * count }
    }
    case 'symlink': {
      const { size } = region.struct(SYMLINK, at)
      const length = sizeOf(SYMLINK) + size
      const target = region.slice(at + sizeOf(SYMLINK), size).toString('latin1')
      const xattr = isExtended ? region.slice(at + length, 4).readUInt32LE(0) : NONE
      return { inode: { ...meta, type, target }, xattr, length }
    }
    case 'char':
    case 'block': {
      const { device, xattr } = isExtended ? region.struct(EXTENDED_DEVICE, at) : basic(BASIC_DEVICE)
      const inode = { ...meta, type, ...decodeDevice(device) }
      return { inode, xattr, length: sizeof(BASIC_DEVICE, EXTENDED_DEVICE) }
    }
    case 'fifo':
    case 'socket': {
      const { xattr } = isExtended ? region.struct(EXTENDED_IPC, at) : basic(BASIC_IPC)
      return { inode: { ...meta, type }, xattr, length: sizeof(BASIC_IPC, EXTENDED_IPC) }
    }
  }
}

function readXattrs({ xattrs, file }: InodeSource, index: number): readonly (readonly [string, string])[] {
  const id = xattrs?.ids[index]
  if (!xattrs || !id) throw refuse('layout', file, `there are no attributes ${index}`)
  const { pairs } = xattrs
  let at = pairs.at(Math.floor(id.reference / 0x10000), id.reference % 0x10000)
  const found: (readonly [string, string])[] = []
  for (let pair = 0; pair < id.count; pair++) {
    const { type, size } = pairs.struct(XATTR_NAME, at)
    const prefix = XATTR_PREFIXES[type & 0xff]
    if (prefix === undefined) throw refuse('bad-type', file, `attribute type ${type}`)
    const name = prefix + pairs.slice(at + 4, size).toString('utf8')
    const length = pairs.slice(at + 4 + size, 4).readUInt32LE(0)
    const value = pairs.slice(at + 8 + size, length)
    found.push([name, (type & XATTR_ELSEWHERE ? elsewhere(pairs, value) : value).toString('latin1')])
    at += 8 + size + length
  }
  return found.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

/** A value that is stored with an earlier attribute: the 8 bytes refer to its length. */
function elsewhere(pairs: Region, value: Buffer): Buffer {
  if (value.length !== 8) return value.subarray(0, 0)
  const at = pairs.at(value.readUInt32LE(2) + value.readUInt16LE(6) * 2 ** 32, value.readUInt16LE(0))
  return pairs.slice(at + 4, pairs.slice(at, 4).readUInt32LE(0))
}
