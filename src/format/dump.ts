/**
 * Images as text, one line per field with offset, name and value: when a byte differs, the review sees which field.
 *
 * Offsets are hexadecimal positions in the image; fields inside compressed metadata have the position of their block and,
 * after `+`, the offset in it when unpacked. Data is named by position, length and digest.
 */
import { digestOf } from '../base/digest.ts'
import { bufferOf, sizeOf, type Struct } from '../base/bytes.ts'
import { printable } from '../base/errors.ts'
import type { SquashfsCodec } from './squashfs/codec.ts'
import * as layout from './squashfs/layout.ts'
import { readSquashfs, layoutOf, type SquashfsImage } from './squashfs/read.ts'
import { type Region, readExactly, readLookup, readRegion, type Source } from './squashfs/regions.ts'

/** @throws S5_ARCHIVE_REFUSED when this is not a squashfs image that `readSquashfs` reads */
export async function dumpSquashfs(bytes: Uint8Array): Promise<string> {
  const read = async (offset: number, length: number): Promise<Uint8Array> =>
    bytes.subarray(offset, offset + length)
  const image = await readSquashfs(read, 'image')
  const codec: SquashfsCodec = image.superblock.compressor === layout.COMPRESSOR.zstd ? 'zstd' : 'gzip'
  const source: Source = { read, codec, file: 'image' }
  const lines: string[] = []
  dumpSuperblock(lines, image)
  dumpData(lines, image, bytes)
  await dumpInodes(lines, source, image)
  await dumpListings(lines, source, image)
  await dumpTables(lines, source, image)
  dumpNames(lines, image)
  return `${lines.join('\n')}\n`
}

function dumpSuperblock(lines: string[], { superblock }: SquashfsImage): void {
  lines.push('superblock')
  for (const [name, offset] of layout.SUPERBLOCK)
    lines.push(`  ${hex(offset)} ${name} ${shown(name, superblock[name])}`)
}

function dumpData(lines: string[], image: SquashfsImage, bytes: Uint8Array): void {
  for (const { kind, offset, length, inode, index } of layoutOf(image)) {
    if (kind === 'metadata') continue
    const which = [
      inode === undefined ? '' : ` inode ${inode}`,
      index === undefined ? '' : ` index ${index}`,
    ].join('')
    const digest = digestOf(bytes.subarray(offset, offset + length)).slice(7, 23)
    lines.push(`${kind}${which}`, `  ${hex(offset)} bytes ${length} ${digest}`)
  }
}

/** Where in the image the unpacked metadata is: `block+offset`. */
type Locate = (at: number) => string

function locator(region: Region, position: number): Locate {
  const starts = [...region.places].map(([start, unpacked]) => ({ start, unpacked })).reverse()
  return (at) => {
    const block = starts.find(({ unpacked }) => unpacked <= at) ?? { start: 0, unpacked: 0 }
    return `${hex(position + block.start)}+${hex(at - block.unpacked)}`
  }
}

function dumpStruct<F extends string>(
  lines: string[],
  region: Region,
  locate: Locate,
  struct: Struct<F>,
  at: number,
): { readonly [field in F]: number } {
  const values = region.struct(struct, at)
  for (const [name, offset] of struct)
    lines.push(`  ${locate(at + offset)} ${name} ${shown(name, values[name])}`)
  return values
}

async function dumpInodes(lines: string[], source: Source, { superblock }: SquashfsImage): Promise<void> {
  const region = await readRegion(source, superblock.inodeTable, superblock.directoryTable)
  const locate = locator(region, superblock.inodeTable)
  for (let at = 0; at < region.bytes.length; ) {
    const { type } = region.struct(layout.INODE_HEADER, at)
    const isExtended = type > layout.EXTENDED
    const name = Object.entries(layout.TYPE).find(
      ([, code]) => code === type - (isExtended ? layout.EXTENDED : 0),
    )?.[0]
    lines.push(`inode ${isExtended ? 'extended' : 'basic'} ${name ?? '?'}`)
    dumpStruct(lines, region, locate, layout.INODE_HEADER, at)
    at = dumpInodeType(lines, region, locate, name ?? '', isExtended, at, superblock.blockSize)
  }
}

function dumpInodeType(
  lines: string[],
  region: Region,
  locate: Locate,
  type: string,
  isExtended: boolean,
  at: number,
  blockSize: number,
): number {
  switch (type) {
    case 'dir': {
      if (!isExtended) {
        dumpStruct(lines, region, locate, layout.BASIC_DIR, at)
        return at + sizeOf(layout.BASIC_DIR)
      }
      const { indexes } = dumpStruct(lines, region, locate, layout.EXTENDED_DIR, at)
      let next = at + sizeOf(layout.EXTENDED_DIR)
      for (let index = 0; index < indexes; index++) {
        const { size } = dumpStruct(lines, region, locate, layout.DIR_INDEX, next)
        next = dumpText(lines, region, locate, 'name', next + sizeOf(layout.DIR_INDEX), size + 1)
      }
      return next
    }
    case 'file': {
      const struct: Struct<'size' | 'fragment'> = (
        isExtended ? layout.EXTENDED_FILE : layout.BASIC_FILE
      ) as never
      const { size, fragment } = dumpStruct(lines, region, locate, struct, at)
      const blocks = fragment === layout.NONE ? Math.ceil(size / blockSize) : Math.floor(size / blockSize)
      let next = at + sizeOf(struct)
      for (let block = 0; block < blocks; block++, next += 4)
        dumpStruct(lines, region, locate, [['block', 0, 'u32']], next)
      return next
    }
    case 'symlink': {
      const { size } = dumpStruct(lines, region, locate, layout.SYMLINK, at)
      const next = dumpText(lines, region, locate, 'target', at + sizeOf(layout.SYMLINK), size)
      if (!isExtended) return next
      dumpStruct(lines, region, locate, [['xattr', 0, 'u32']], next)
      return next + 4
    }
    case 'char':
    case 'block': {
      const struct: Struct = isExtended ? layout.EXTENDED_DEVICE : layout.BASIC_DEVICE
      dumpStruct(lines, region, locate, struct, at)
      return at + sizeOf(struct)
    }
    default: {
      const struct: Struct = isExtended ? layout.EXTENDED_IPC : layout.BASIC_IPC
      dumpStruct(lines, region, locate, struct, at)
      return at + sizeOf(struct)
    }
  }
}

async function dumpListings(lines: string[], source: Source, image: SquashfsImage): Promise<void> {
  const { directoryTable } = image.superblock
  const region = await readRegion(source, directoryTable, image.directoriesEnd)
  const locate = locator(region, directoryTable)
  for (let at = 0; at < region.bytes.length; ) {
    lines.push('run')
    const { count } = dumpStruct(lines, region, locate, layout.RUN, at)
    at += sizeOf(layout.RUN)
    for (let entry = 0; entry <= count; entry++) {
      const { size } = dumpStruct(lines, region, locate, layout.LISTED, at)
      at = dumpText(lines, region, locate, 'name', at + sizeOf(layout.LISTED), size + 1)
    }
  }
}

async function dumpTables(lines: string[], source: Source, { superblock }: SquashfsImage): Promise<void> {
  const table = async (
    title: string,
    struct: Struct,
    count: number,
    at: number,
    end = at,
  ): Promise<number> => {
    const { records, start } = await readLookup(source, count, sizeOf(struct), at, end)
    const locate = locator(records, start)
    for (let index = 0; index < count; index++) {
      lines.push(`${title} ${index}`)
      dumpStruct(lines, records, locate, struct, index * sizeOf(struct))
    }
    return start
  }
  if (superblock.fragmentTable !== -1)
    await table('fragment', layout.FRAGMENT, superblock.fragments, superblock.fragmentTable)
  if (superblock.exportTable !== -1)
    await table('export', [['reference', 0, 'u64']], superblock.inodes, superblock.exportTable)
  await table('id', [['id', 0, 'u32']], superblock.ids, superblock.idTable)
  if (superblock.xattrTable === -1) return
  const head = bufferOf(await readExactly(source, superblock.xattrTable, sizeOf(layout.XATTR_TABLE)))
  const start = Number(head.readBigUInt64LE(0))
  const at = superblock.xattrTable + sizeOf(layout.XATTR_TABLE)
  const end = await table('xattr', layout.XATTR_ID, head.readUInt32LE(8), at, superblock.xattrTable)
  await dumpXattrs(lines, source, start, end)
}

async function dumpXattrs(lines: string[], source: Source, start: number, end: number): Promise<void> {
  const pairs = await readRegion(source, start, end)
  const locate = locator(pairs, start)
  for (let next = 0; next < pairs.bytes.length; ) {
    lines.push('attribute')
    const { size } = dumpStruct(lines, pairs, locate, layout.XATTR_NAME, next)
    next = dumpText(lines, pairs, locate, 'name', next + sizeOf(layout.XATTR_NAME), size)
    const { length } = dumpStruct(lines, pairs, locate, [['length', 0, 'u32']], next)
    next = dumpText(lines, pairs, locate, 'value', next + 4, length)
  }
}

function dumpText(
  lines: string[],
  region: Region,
  locate: Locate,
  name: string,
  at: number,
  size: number,
): number {
  lines.push(`  ${locate(at)} ${name} ${quoted(region.slice(at, size).toString('latin1'))}`)
  return at + size
}

/** The whole as file systems say it. */
function dumpNames(lines: string[], { names, inodes }: SquashfsImage): void {
  lines.push('names')
  for (const { path, inode } of names) lines.push(`  ${inode} ${inodes[inode]?.type} ${quoted(path)}`)
}

function quoted(text: string): string {
  return `"${printable(text).replaceAll('"', '\\x22')}"`
}

function hex(value: number): string {
  return value.toString(16).padStart(4, '0')
}

const IN_HEX = ['magic', 'flags', 'device', 'block', 'reference', 'root']

function shown(name: string, value: number): string {
  if (value === -1 || value === layout.NONE) return 'none'
  if (name === 'mode') return value.toString(8).padStart(4, '0')
  return IN_HEX.includes(name) ? `0x${value.toString(16)}` : String(value)
}
