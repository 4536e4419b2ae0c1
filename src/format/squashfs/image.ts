/** What a squashfs image holds, in the words of file systems: the input of the writer and the output of the reader. */
import type { SquashfsCodec } from './codec.ts'

export interface SquashfsSettings {
  readonly codec: SquashfsCodec
  readonly level: number
  /** Power of two, 4 KiB to 1 MiB. */
  readonly blockSize: number
  /** When the image was made, seconds since 1970. */
  readonly mtime: number
  /** Write the table that NFS servers need. */
  readonly exports: boolean
  readonly xattrs: boolean
}

export interface ImageMeta {
  /** Permission bits only. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Seconds since 1970. */
  readonly mtime: number
  /** Name as text, value as a byte string; sorted by name. */
  readonly xattrs?: readonly (readonly [name: string, value: string])[]
}

export type ImageInode =
  | (ImageMeta & { readonly type: 'dir' })
  | (ImageMeta & { readonly type: 'file'; readonly size: number })
  | (ImageMeta & { readonly type: 'symlink'; readonly target: string })
  | (ImageMeta & { readonly type: 'char' | 'block'; readonly major: number; readonly minor: number })
  | (ImageMeta & { readonly type: 'fifo' | 'socket' })

/** Path as a byte string (one character per byte), and an index into the table of inodes. */
export interface ImageName {
  readonly path: string
  readonly inode: number
}

/** Where the bytes of a file are. */
export interface StoredBody {
  /** Absolute position of the first block; 0 when no block is stored. */
  readonly start: number
  /** Stored size of each block with `BLOCK_RAW`; 0 is a hole of one block. */
  readonly sizes: ArrayLike<number>
  /** Index of the fragment block that holds the tail, -1 for none. */
  readonly fragment: number
  /** Where the tail begins in the unpacked fragment block. */
  readonly offset: number
}

/** A fragment block; `size` with `BLOCK_RAW`. */
export interface StoredFragment {
  readonly start: number
  readonly size: number
}

export const NO_BODY: StoredBody = { start: 0, sizes: [], fragment: -1, offset: 0 }

/** Major and minor numbers, lengths and counts that squashfs 4.0 and the kernel that reads it can express. */
export const LIMITS = {
  /** Linux NAME_MAX; the field would hold 256. */
  nameLength: 255,
  /** Linux PATH_MAX without the null byte; the kernel refuses targets longer than a page. */
  targetLength: 4095,
  /** The superblock counts the ids in 16 bits. */
  ids: 65535,
  u32: 0xffffffff,
  major: 0xfff,
  minor: 0xfffff,
  /** Linux XATTR_SIZE_MAX and XATTR_NAME_MAX. */
  xattrValue: 65536,
  xattrName: 255,
} as const
