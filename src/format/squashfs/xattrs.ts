/** The table of extended attributes: each distinct set once, in the order of its first use. */
import { writeStruct } from '../../base/bytes.ts'
import type { SquashfsCodec } from './codec.ts'
import type { ImageInode } from './image.ts'
import { XATTR_ID, XATTR_NAME, XATTR_PREFIXES, XATTR_TABLE } from './layout.ts'
import { lookupTable, metadataWriter } from './metadata.ts'

interface XattrSets {
  /** Index of the inode's set, -1 when it has none. */
  indexOf(inode: ImageInode): number
  readonly count: number
  /** The table at the absolute position `at`. */
  table(at: number): {
    readonly parts: readonly Uint8Array[]
    readonly position: number
    readonly end: number
  }
}

export function xattrSets(codec: SquashfsCodec, level: number): XattrSets {
  const indexes = new Map<string, number>()
  const ids: Buffer[] = []
  const pairs = metadataWriter(codec, level)
  const add = (xattrs: NonNullable<ImageInode['xattrs']>): number => {
    const record = Buffer.concat(xattrs.map(([name, value]) => pairRecord(name, value)))
    const id = Buffer.alloc(16)
    const reference = pairs.start * 0x10000 + pairs.offset
    writeStruct(XATTR_ID, { reference, count: xattrs.length, size: record.length }, id, 0)
    pairs.write(record)
    return ids.push(id) - 1
  }
  return {
    indexOf: ({ xattrs }) => {
      if (!xattrs || xattrs.length === 0) return -1
      const key = JSON.stringify(xattrs)
      let index = indexes.get(key)
      if (index === undefined) {
        index = add(xattrs)
        indexes.set(key, index)
      }
      return index
    },
    get count() {
      return ids.length
    },
    table: (at) => {
      const { blocks, length } = pairs.finish()
      const head = Buffer.alloc(16)
      writeStruct(XATTR_TABLE, { start: at, count: ids.length, unused: 0 }, head, 0)
      const table = lookupTable(Buffer.concat(ids), at + length, codec, level, head)
      return { ...table, parts: [...blocks, ...table.parts] }
    },
  }
}

function pairRecord(name: string, value: string): Buffer {
  const type = XATTR_PREFIXES.findIndex((prefix) => name.startsWith(prefix))
  const rest = Buffer.from(name.slice((XATTR_PREFIXES[type] as string).length), 'utf8')
  const record = Buffer.alloc(4 + rest.length + 4 + value.length)
  writeStruct(XATTR_NAME, { type, size: rest.length }, record, 0)
  record.set(rest, 4)
  record.writeUInt32LE(value.length, 4 + rest.length)
  record.write(value, 8 + rest.length, 'latin1')
  return record
}
