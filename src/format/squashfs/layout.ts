/**
 * The structs of squashfs 4.0 with the offsets and meanings that its format description gives, all little-endian.
 *
 * Metadata (inodes, listings, tables) is a stream cut into blocks of 8 KiB; each is stored behind a 16-bit length whose
 * top bit says "not compressed". A reference to metadata is (position of the block in its table << 16) | offset in the
 * block when unpacked. Lookup tables are metadata blocks followed by a plain array of their absolute positions.
 */

/** `hsqs` on disk. */
export const MAGIC = 0x73717368
export const METADATA_SIZE = 8192
/** Set in the length before a metadata block that is stored as it is. */
export const METADATA_RAW = 0x8000
/** Set in the stored size of a data or fragment block that is stored as it is. */
export const BLOCK_RAW = 0x1000000
/** No fragment, no extended attributes. */
export const NONE = 0xffffffff
/** "A header must be followed by at most 256 entries." */
export const RUN_LIMIT = 256
/** A basic directory holds "an entry listing of at most 64k"; the stored size counts 3 for `.` and `..`. */
export const LISTING_EXTRA = 3
/** The archive is padded to this unit, which fits every device block size in use. */
export const IMAGE_UNIT = 4096

export const COMPRESSOR = { gzip: 1, zstd: 6 } as const

export const FLAG = {
  /** "Fragments are always generated": tails of large files are packed too. */
  alwaysFragments: 0x0020,
  /** "Data has been deduplicated." */
  duplicates: 0x0040,
  /** "NFS export table exists." */
  exports: 0x0080,
  /** "There are no xattrs in the archive." */
  noXattrs: 0x0200,
  /** "Compressor options are present": the only flag that the kernel looks at. */
  compressorOptions: 0x0400,
} as const

/** Types as listings and basic inodes have them; an extended inode has 7 more. */
export const TYPE = { dir: 1, file: 2, symlink: 3, block: 4, char: 5, fifo: 6, socket: 7 } as const
export const EXTENDED = 7

/** "It is always 96 bytes in size." Absent tables have all bits of their position set. */
export const SUPERBLOCK = [
  ['magic', 0, 'u32'],
  /** Inodes in the archive; inode numbers run from 1 to this. */
  ['inodes', 4, 'u32'],
  /** Seconds since 1970, unsigned. */
  ['mtime', 8, 'u32'],
  /** Power of two, 4 KiB to 1 MiB. */
  ['blockSize', 12, 'u32'],
  /** Entries of the fragment table. */
  ['fragments', 16, 'u32'],
  ['compressor', 20, 'u16'],
  /** "If the two fields do not agree, the archive is considered corrupted." */
  ['blockLog', 22, 'u16'],
  ['flags', 24, 'u16'],
  /** Entries of the id table. */
  ['ids', 26, 'u16'],
  ['major', 28, 'u16'],
  ['minor', 30, 'u16'],
  /** Reference to the inode of the root directory. */
  ['root', 32, 'u64'],
  /** Bytes without the padding at the end. */
  ['bytesUsed', 40, 'u64'],
  ['idTable', 48, 'u64'],
  ['xattrTable', 56, 'u64'],
  ['inodeTable', 64, 'u64'],
  ['directoryTable', 72, 'u64'],
  ['fragmentTable', 80, 'u64'],
  ['exportTable', 88, 'u64'],
] as const
export const SUPERBLOCK_SIZE = 96
export type Superblock = { readonly [field in (typeof SUPERBLOCK)[number][0]]: number }

/**
 * What every inode begins with: permissions only, indexes into the id table, seconds since 1970. The structs of the
 * inode types name what follows, with offsets from the start of the inode.
 */
export const INODE_HEADER = [
  ['type', 0, 'u16'],
  ['mode', 2, 'u16'],
  ['uid', 4, 'u16'],
  ['gid', 6, 'u16'],
  ['mtime', 8, 'u32'],
  ['number', 12, 'u32'],
] as const

/** `start`: listing's block in the directory table; `size` is "3 bytes larger than the real listing". */
export const BASIC_DIR = [
  ['start', 16, 'u32'],
  ['links', 20, 'u32'],
  ['size', 24, 'u16'],
  ['offset', 26, 'u16'],
  /** Inode number of the parent; of the root it is one more than any inode has. */
  ['parent', 28, 'u32'],
] as const
/** `indexes` entries of `DIR_INDEX` follow. */
export const EXTENDED_DIR = [
  ['links', 16, 'u32'],
  ['size', 20, 'u32'],
  ['start', 24, 'u32'],
  ['parent', 28, 'u32'],
  ['indexes', 32, 'u16'],
  ['offset', 34, 'u16'],
  ['xattr', 36, 'u32'],
] as const
/** `start`: absolute position of the first block; the stored size of each block follows as u32. */
export const BASIC_FILE = [
  ['start', 16, 'u32'],
  ['fragment', 20, 'u32'],
  ['offset', 24, 'u32'],
  ['size', 28, 'u32'],
] as const
/** `sparse`: "the number of bytes saved by omitting zero bytes". */
export const EXTENDED_FILE = [
  ['start', 16, 'u64'],
  ['size', 24, 'u64'],
  ['sparse', 32, 'u64'],
  ['links', 40, 'u32'],
  ['fragment', 44, 'u32'],
  ['offset', 48, 'u32'],
  ['xattr', 52, 'u32'],
] as const
/** The target follows, without a null byte; in an extended inode the u32 xattr index comes after it. */
export const SYMLINK = [
  ['links', 16, 'u32'],
  ['size', 20, 'u32'],
] as const
/** `device`: major in bits 8 to 19, minor in bits 0 to 7 and 20 to 31. */
export const BASIC_DEVICE = [
  ['links', 16, 'u32'],
  ['device', 20, 'u32'],
] as const
export const EXTENDED_DEVICE = [
  ['links', 16, 'u32'],
  ['device', 20, 'u32'],
  ['xattr', 24, 'u32'],
] as const
export const BASIC_IPC = [['links', 16, 'u32']] as const
export const EXTENDED_IPC = [
  ['links', 16, 'u32'],
  ['xattr', 20, 'u32'],
] as const

/** Head of a run in a listing: entries less one, the inode block they are in, and the number that they count from. */
export const RUN = [
  ['count', 0, 'u32'],
  ['start', 4, 'u32'],
  ['number', 8, 'u32'],
] as const
/** `type` is the basic one; `size` is one less than the length of the name, which follows. */
export const LISTED = [
  ['offset', 0, 'u16'],
  ['delta', 2, 'i16'],
  ['type', 4, 'u16'],
  ['size', 6, 'u16'],
] as const
/** `index`: offset of a run in the listing; `start`: the directory block where it begins; its first name follows. */
export const DIR_INDEX = [
  ['index', 0, 'u32'],
  ['start', 4, 'u32'],
  ['size', 8, 'u32'],
] as const

export const FRAGMENT = [
  ['start', 0, 'u64'],
  ['size', 8, 'u32'],
  ['unused', 12, 'u32'],
] as const

/** What the superblock's `xattrTable` points to; the positions of the id blocks follow. */
export const XATTR_TABLE = [
  /** Absolute position of the first block of names and values. */
  ['start', 0, 'u64'],
  ['count', 8, 'u32'],
  ['unused', 12, 'u32'],
] as const
export const XATTR_ID = [
  ['reference', 0, 'u64'],
  ['count', 8, 'u32'],
  /** Bytes of all names and values with their heads. */
  ['size', 12, 'u32'],
] as const
/** The name without its prefix follows, then a u32 length and the value. */
export const XATTR_NAME = [
  ['type', 0, 'u16'],
  ['size', 2, 'u16'],
] as const
/** Set in `type` when the value is a reference to a value elsewhere. */
export const XATTR_ELSEWHERE = 0x0100
export const XATTR_PREFIXES = ['user.', 'trusted.', 'security.'] as const

/** Device numbers as Linux encodes them: 12 bits of major, 20 bits of minor. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0
}

export function decodeDevice(device: number): { readonly major: number; readonly minor: number } {
  return { major: (device >>> 8) & 0xfff, minor: (device & 0xff) | ((device >>> 12) & 0xfff00) }
}
