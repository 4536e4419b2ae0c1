/**
 * The index files of kmod (`modules.dep.bin` and its sisters): a trie from keys to values, as `depmod` writes it.
 *
 * File: magic `0xB007F457`, version `0x00020001`, offset of the root node; all numbers big-endian u32. A node is its
 * prefix (a string ended by NUL), then its children (first and last byte, one offset for each byte between them, 0 for
 * none), then its values (their number; each a priority and a string ended by NUL). Which parts there are is said by
 * the top bits of the offset that leads to the node. Children stand before their parent. The root has no prefix.
 */

export interface KmodEntry {
  /** Byte string without NUL; bytes from 0x80 on cannot be in the trie and are left out. */
  readonly key: string
  readonly value: string
  /** Lower comes first among the values of one key. */
  readonly priority: number
}

const MAGIC = 0xb007f457
const VERSION = 0x00020001
const HAS_PREFIX = 0x80000000
const HAS_VALUES = 0x40000000
const HAS_CHILDREN = 0x20000000

/** The file for these entries, whose order matters only where key and priority are equal: the later comes first. */
export function writeKmodIndex(entries: readonly KmodEntry[]): Uint8Array {
  const byKey = new Map<string, KmodEntry[]>()
  for (const entry of entries) {
    if (!/^[\x01-\x7f]*$/.test(entry.key)) continue
    const known = byKey.get(entry.key)
    if (known) known.unshift(entry)
    else byKey.set(entry.key, [entry])
  }
  const keys = [...byKey.keys()].sort()
  const pieces: Buffer[] = []
  let end = 12
  const put = (bytes: Buffer): void => {
    pieces.push(bytes)
    end += bytes.length
  }

  /** Writes the subtree of `keys[from..to)`, which agree in their first `depth` bytes; returns its flagged offset. */
  const writeNode = (from: number, to: number, depth: number, isRoot: boolean): number => {
    const first = keys[from] as string
    const last = keys[to - 1] as string
    let stop = depth
    if (!isRoot) while (stop < first.length && first.charCodeAt(stop) === last.charCodeAt(stop)) stop++
    const values = first.length === stop ? (byKey.get(first) ?? []) : []
    const children: { readonly byte: number; readonly offset: number }[] = []
    for (let start = values.length > 0 ? from + 1 : from; start < to; ) {
      const byte = (keys[start] as string).charCodeAt(stop)
      let next = start + 1
      while (next < to && (keys[next] as string).charCodeAt(stop) === byte) next++
      children.push({ byte, offset: writeNode(start, next, stop + 1, false) })
      start = next
    }
    let offset = end
    if (stop > depth) {
      put(Buffer.from(`${first.slice(depth, stop)}\0`, 'latin1'))
      offset += HAS_PREFIX
    }
    const low = children[0]
    const high = children.at(-1)
    if (low && high) {
      const table = Buffer.alloc(2 + 4 * (high.byte - low.byte + 1))
      table[0] = low.byte
      table[1] = high.byte
      for (const { byte, offset: child } of children) table.writeUInt32BE(child, 2 + 4 * (byte - low.byte))
      put(table)
      offset += HAS_CHILDREN
    }
    if (values.length > 0) {
      put(numberBytes(values.length))
      for (const { priority, value } of values.toSorted((a, b) => a.priority - b.priority))
        put(Buffer.concat([numberBytes(priority), Buffer.from(`${value}\0`, 'latin1')]))
      offset += HAS_VALUES
    }
    return offset
  }

  const root = keys.length > 0 ? writeNode(0, keys.length, 0, true) : end
  return Buffer.concat([numberBytes(MAGIC), numberBytes(VERSION), numberBytes(root), ...pieces])
}

function numberBytes(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
