/**
 * The metadata of a qcow2 image whose allocation is known before anything is written: header, reference counts and
 * mapping tables in front, then the data clusters in the order of the disk. No backing file, snapshots or compression.
 * @see QEMU docs/interop/qcow2.rst: "Header", "Host cluster management", "Cluster mapping"
 */
import { alignUp } from '../base/bytes.ts'

/** Bytes of a cluster; every table begins at one. */
export const QCOW2_CLUSTER = 65_536
const CLUSTER_BITS = 16
const ENTRY = 8
/** References are counted in 16 bits. */
const REFCOUNT_ORDER = 4
const COUNTS = QCOW2_CLUSTER / 2
const ENTRIES = QCOW2_CLUSTER / ENTRY
/** Bit 63 of table entries: the reference count is exactly one (QCOW_OFLAG_COPIED), in the upper half. */
const COPIED = 0x80000000
const HALF = 0x100000000
const HEADER_LENGTH = 104

interface Qcow2Layout {
  /** Everything before the first data cluster, in whole clusters. */
  readonly head: Uint8Array
  /** Bytes of the image file. */
  readonly size: number
}

/** How many clusters each table takes, and where it begins, in clusters; the header is cluster 0. */
interface Places {
  readonly table: number
  readonly tableClusters: number
  readonly blocks: number
  readonly blockCount: number
  readonly l1: number
  readonly l1Entries: number
  readonly l2: number
  readonly data: number
  readonly end: number
}

/**
 * @param size of the disk, bytes; a multiple of 512
 * @param allocated numbers of the clusters that are stored, ascending; all others read as zeros
 * @throws RangeError
 */
export function qcow2Layout(size: number, allocated: readonly number[]): Qcow2Layout {
  if (size % 512 !== 0) throw new RangeError(`expected a disk of whole sectors, found ${size} bytes`)
  const clusters = Math.ceil(size / QCOW2_CLUSTER)
  const used = [...new Set(allocated.map((cluster) => Math.floor(cluster / ENTRIES)))]
  if ((allocated.at(-1) ?? 0) >= Math.max(clusters, 1))
    throw new RangeError('a cluster is behind the end of the disk')
  const places = placesOf(Math.max(1, Math.ceil(clusters / ENTRIES)), used.length, allocated.length)
  const head = Buffer.alloc(places.data * QCOW2_CLUSTER)
  writeHeader(head, size, places)
  for (let at = 0; at < places.blockCount; at++) putOffset(head, places.table, at, places.blocks + at, 0)
  for (let at = 0; at < places.end; at++) head.writeUInt16BE(1, places.blocks * QCOW2_CLUSTER + 2 * at)
  for (const [at, table] of used.entries()) putOffset(head, places.l1, table, places.l2 + at, COPIED)
  const nth = new Map(used.map((table, at) => [table, at]))
  for (const [at, cluster] of allocated.entries()) {
    const table = places.l2 + (nth.get(Math.floor(cluster / ENTRIES)) as number)
    putOffset(head, table, cluster % ENTRIES, places.data + at, COPIED)
  }
  return { head, size: places.end * QCOW2_CLUSTER }
}

/** The blocks of reference counts count themselves and their table, too: the smallest number that is enough. */
function placesOf(l1Entries: number, l2Clusters: number, dataClusters: number): Places {
  const l1Clusters = alignUp(l1Entries * ENTRY, QCOW2_CLUSTER) / QCOW2_CLUSTER
  for (let blockCount = 1; ; blockCount++) {
    const tableClusters = Math.ceil(blockCount / ENTRIES)
    const blocks = 1 + tableClusters
    const l1 = blocks + blockCount
    const l2 = l1 + l1Clusters
    const data = l2 + l2Clusters
    const end = data + dataClusters
    if (end <= blockCount * COUNTS)
      return { table: 1, tableClusters, blocks, blockCount, l1, l1Entries, l2, data, end }
  }
}

/** Big-endian; what is not named here is zero: no backing file, no encryption, no snapshots, no feature bits. */
function writeHeader(head: Buffer, size: number, places: Places): void {
  head.write('QFI\xfb', 0, 'latin1')
  head.writeUInt32BE(3, 4) // version
  head.writeUInt32BE(CLUSTER_BITS, 20)
  head.writeBigUInt64BE(BigInt(size), 24)
  head.writeUInt32BE(places.l1Entries, 36)
  head.writeBigUInt64BE(BigInt(places.l1 * QCOW2_CLUSTER), 40)
  head.writeBigUInt64BE(BigInt(places.table * QCOW2_CLUSTER), 48)
  head.writeUInt32BE(places.tableClusters, 56)
  head.writeUInt32BE(REFCOUNT_ORDER, 96)
  head.writeUInt32BE(HEADER_LENGTH, 100)
}

/** Puts the offset of cluster `target` into entry `index` of the table that begins at cluster `table`. */
function putOffset(head: Buffer, table: number, index: number, target: number, flag: number): void {
  const at = table * QCOW2_CLUSTER + index * ENTRY
  const offset = target * QCOW2_CLUSTER
  head.writeUInt32BE(flag + Math.floor(offset / HALF), at)
  head.writeUInt32BE(offset % HALF, at + 4)
}
