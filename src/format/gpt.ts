/**
 * GUID partition tables on 512-byte sectors: a protective MBR, header and entries in front, entries and header again at
 * the end. Partitions start at multiples of 1 MiB, in the order given.
 * @see UEFI 2.10, 5.3 "GUID Partition Table (GPT) Disk Layout"
 */
import { crc32 } from 'node:zlib'
import { alignUp } from '../base/bytes.ts'

const SECTOR = 512
export const MIB: number = 1024 * 1024
const ENTRIES = 128
const ENTRY = 128
/** Sectors of the entry array. */
const ARRAY = (ENTRIES * ENTRY) / SECTOR
/** Partition names are 72 bytes of UTF-16. */
export const LABEL_MAX = 36

/** Type GUIDs and attribute bits of the Discoverable Partitions Specification (UAPI.2), and of UEFI. */
export const PARTITION_TYPES = {
  esp: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
  linux: '0fc63daf-8483-4772-8e79-3d69d8477de4',
  amd64: {
    root: '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
    verity: '2c7357ed-ebd2-46d9-aec1-23d437ec2bf5',
  },
  arm64: {
    root: 'b921b045-1df0-41c3-af44-4c6f280d3fae',
    verity: 'df3300ce-d69f-4c92-978c-9bfb0f38d820',
  },
} as const

export const ATTRIBUTE = { legacyBoot: 2, growFileSystem: 59, readOnly: 60, noAuto: 63 } as const

export interface Partition {
  readonly type: string
  readonly guid: string
  /** At most 36 characters of ASCII. */
  readonly label: string
  /** Bytes; rounded up to whole sectors. */
  readonly size: number
  /** Bit numbers. */
  readonly attributes: readonly number[]
}

export interface GptLayout {
  /** Bytes of the disk, a multiple of 1 MiB. */
  readonly size: number
  /** Where each partition begins, in bytes. */
  readonly offsets: readonly number[]
  /** MBR, header and entries: the first sectors of the disk. */
  readonly head: Uint8Array
  /** Entries and header: the last sectors of the disk. */
  readonly tail: Uint8Array
}

/** @param bootCode up to 440 bytes for the MBR; none when the disk is for UEFI only */
export function gptLayout(
  diskGuid: string,
  partitions: readonly Partition[],
  bootCode: Uint8Array = new Uint8Array(0),
): GptLayout {
  if (partitions.length > ENTRIES) throw new RangeError(`expected at most ${ENTRIES} partitions`)
  if (bootCode.length > 440) throw new RangeError(`expected at most 440 bytes of boot code`)
  const offsets: number[] = []
  let end = MIB
  for (const { size } of partitions) {
    offsets.push(end)
    end = alignUp(end + size, MIB)
  }
  const size = end + MIB
  const entries = Buffer.alloc(ENTRIES * ENTRY)
  for (const [at, partition] of partitions.entries())
    writeEntry(entries.subarray(at * ENTRY), partition, (offsets[at] as number) / SECTOR)
  const last = size / SECTOR - 1
  const header = (own: number, other: number, array: number): Buffer =>
    headerOf(diskGuid, { own, other, array, last }, crc32(entries))
  const head = Buffer.concat([protectiveMbr(bootCode, last), header(1, last, 2), entries])
  const tail = Buffer.concat([entries, header(last, 1, last - ARRAY)])
  return { size, offsets, head, tail }
}

/** One partition of type 0xEE over the whole disk keeps tools that know no GPT away. */
function protectiveMbr(bootCode: Uint8Array, last: number): Buffer {
  const sector = Buffer.alloc(SECTOR)
  sector.set(bootCode)
  sector.writeUInt8(0x02, 447) // StartingCHS 0x000200
  sector.writeUInt8(0xee, 450)
  sector.fill(0xff, 451, 454) // EndingCHS: not representable
  sector.writeUInt32LE(1, 454)
  sector.writeUInt32LE(Math.min(last, 0xffffffff), 458)
  sector.writeUInt16LE(0xaa55, 510)
  return sector
}

/** Sector numbers. */
interface Place {
  readonly own: number
  readonly other: number
  readonly array: number
  readonly last: number
}

function headerOf(diskGuid: string, { own, other, array, last }: Place, arraySum: number): Buffer {
  const sector = Buffer.alloc(SECTOR)
  sector.write('EFI PART', 0, 'latin1')
  sector.writeUInt32LE(0x00010000, 8) // Revision
  sector.writeUInt32LE(92, 12) // HeaderSize
  sector.writeBigUInt64LE(BigInt(own), 24) // MyLBA
  sector.writeBigUInt64LE(BigInt(other), 32) // AlternateLBA
  sector.writeBigUInt64LE(BigInt(2 + ARRAY), 40) // FirstUsableLBA
  sector.writeBigUInt64LE(BigInt(last - ARRAY - 1), 48) // LastUsableLBA
  sector.set(guidBytes(diskGuid), 56)
  sector.writeBigUInt64LE(BigInt(array), 72) // PartitionEntryLBA
  sector.writeUInt32LE(ENTRIES, 80)
  sector.writeUInt32LE(ENTRY, 84)
  sector.writeUInt32LE(arraySum, 88)
  sector.writeUInt32LE(crc32(sector.subarray(0, 92)), 16)
  return sector
}

function writeEntry(entry: Buffer, { type, guid, label, size, attributes }: Partition, first: number): void {
  if (label.length > LABEL_MAX) throw new RangeError(`expected a label of at most ${LABEL_MAX}: ${label}`)
  entry.set(guidBytes(type), 0)
  entry.set(guidBytes(guid), 16)
  entry.writeBigUInt64LE(BigInt(first), 32)
  entry.writeBigUInt64LE(BigInt(first + Math.ceil(size / SECTOR) - 1), 40)
  entry.writeBigUInt64LE(
    attributes.reduce((bits, bit) => bits | (1n << BigInt(bit)), 0n),
    48,
  )
  entry.write(label, 56, 'utf16le')
}

/** EFI writes the first three groups of a GUID little-endian. */
function guidBytes(guid: string): Buffer {
  const bytes = Buffer.from(guid.replaceAll('-', ''), 'hex')
  if (bytes.length !== 16) throw new RangeError(`${guid} is not a GUID`)
  bytes.subarray(0, 4).reverse()
  bytes.subarray(4, 6).reverse()
  bytes.subarray(6, 8).reverse()
  return bytes
}
