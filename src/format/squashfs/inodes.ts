/** Inodes in their short form where it can say everything, otherwise in the extended one. */
import { sizeOf, type Struct, writeStruct } from '../../base/bytes.ts'
import type { Listing } from './directories.ts'
import { type ImageInode, NO_BODY, type SquashfsSettings, type StoredBody } from './image.ts'
import {
  BASIC_DEVICE,
  BASIC_DIR,
  BASIC_FILE,
  BASIC_IPC,
  EXTENDED,
  EXTENDED_DEVICE,
  EXTENDED_DIR,
  EXTENDED_FILE,
  EXTENDED_IPC,
  encodeDevice,
  INODE_HEADER,
  NONE,
  SYMLINK,
  TYPE,
} from './layout.ts'
import { type MetadataWriter, metadataWriter } from './metadata.ts'

/** What the rest of the image says about an inode. */
interface InodePlace {
  readonly number: number
  readonly links: number
  /** Index of its set of extended attributes, -1 for none. */
  readonly xattr: number
  /** Of files. */
  readonly body: StoredBody | undefined
  /** Of directories. */
  readonly listing: Listing | undefined
  /** Of directories: number of the parent. */
  readonly parent: number
}

interface InodeWriter {
  readonly metadata: MetadataWriter
  write(inode: ImageInode, place: InodePlace): void
}

export function inodeWriter(settings: SquashfsSettings, ids: readonly number[]): InodeWriter {
  const metadata = metadataWriter(settings.codec, settings.level)
  const indexOfId = new Map(ids.map((id, index) => [id, index]))
  const scratch = Buffer.alloc(64)
  const put = <F extends string>(
    struct: Struct<F>,
    type: number,
    inode: ImageInode,
    place: InodePlace,
    values: { readonly [field in F]: number },
  ): void => {
    const uid = indexOfId.get(inode.uid) as number
    const gid = indexOfId.get(inode.gid) as number
    const { mode, mtime } = inode
    writeStruct(INODE_HEADER, { type, mode, uid, gid, mtime, number: place.number }, scratch, 0)
    writeStruct(struct, values, scratch, 0)
    metadata.write(scratch, sizeOf(struct))
  }
  const write = (inode: ImageInode, place: InodePlace): void => {
    const basic = TYPE[inode.type]
    const extended = basic + EXTENDED
    const { links } = place
    const xattr = place.xattr < 0 ? NONE : place.xattr
    const isPlain = xattr === NONE
    switch (inode.type) {
      case 'dir': {
        const { index, ...listing } = place.listing as Listing
        const values = { ...listing, links, parent: place.parent, xattr }
        if (isPlain && listing.indexes === 0 && listing.size <= 0xffff)
          put(BASIC_DIR, basic, inode, place, values)
        else put(EXTENDED_DIR, extended, inode, place, values)
        metadata.write(index)
        return
      }
      case 'file': {
        const { start, sizes, fragment, offset } = place.body ?? NO_BODY
        const sparse = sparseBytes(sizes, inode.size, settings.blockSize)
        const where = { start, size: inode.size, fragment: fragment < 0 ? NONE : fragment, offset }
        const fits = start <= 0xffffffff && inode.size <= 0xffffffff
        if (isPlain && fits && links === 1 && sparse === 0) put(BASIC_FILE, basic, inode, place, where)
        else put(EXTENDED_FILE, extended, inode, place, { ...where, sparse, links, xattr })
        metadata.write(u32s(sizes))
        return
      }
      case 'symlink':
        put(SYMLINK, isPlain ? basic : extended, inode, place, { links, size: inode.target.length })
        metadata.write(Buffer.from(inode.target, 'latin1'))
        if (!isPlain) metadata.write(u32s([xattr]))
        return
      case 'char':
      case 'block': {
        const values = { links, device: encodeDevice(inode.major, inode.minor), xattr }
        if (isPlain) put(BASIC_DEVICE, basic, inode, place, values)
        else put(EXTENDED_DEVICE, extended, inode, place, values)
        return
      }
      case 'fifo':
      case 'socket':
        if (isPlain) put(BASIC_IPC, basic, inode, place, { links })
        else put(EXTENDED_IPC, extended, inode, place, { links, xattr })
        return
    }
  }
  return { metadata, write }
}

/** Bytes in holes; one less for a file that is nothing but holes, so that it does not seem to occupy no block at all. */
function sparseBytes(sizes: ArrayLike<number>, size: number, blockSize: number): number {
  let holes = 0
  for (let at = 0; at < sizes.length; at++) if (sizes[at] === 0) holes++
  return Math.min(holes * blockSize, Math.max(0, size - 1))
}

function u32s(values: ArrayLike<number>): Buffer {
  const bytes = Buffer.allocUnsafe(4 * values.length)
  for (let at = 0; at < values.length; at++) bytes.writeUInt32LE(values[at] as number, 4 * at)
  return bytes
}
