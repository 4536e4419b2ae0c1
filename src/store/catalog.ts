/**
 * All published segments of a store as one table in memory, and reading from them: synchronous, without a lock of its
 * own, so that worker threads can have one each beside the store that holds the lock.
 *
 * A hash table over 64-byte entries: 37,000 of them load in a few milliseconds, where a Map of strings takes ten times as
 * long and as much memory.
 */
import { closeSync, fstatSync, readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Digest } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { now } from '../host/clock.ts'
import { type Disk, diskError, errnoOf, readAll, realDisk } from '../host/disk.ts'
import { decodeIndex, ENTRY_BYTES, type Entry, INDEX_NAME, type Index, KINDS, type Kind } from './segment.ts'

const WORDS = ENTRY_BYTES / 4
const MAX_OPEN = 64
/** A segment in use says so by its modification time, at most this often. */
const USE_STEP_MS = 3_600_000

/** Where the bytes of something lie. */
export interface Place {
  readonly path: string
  readonly offset: number
  readonly size: number
}

/** Bytes of an object, of which it must have so many. */
export interface Part {
  readonly offset: number
  readonly length: number
}

/** Reads objects of a store; what a worker thread needs. */
export interface Reader {
  readonly has: (content: Digest) => boolean
  /** @throws S5_STORE_DAMAGED, S5_DISK_FAILED */
  readonly readSync: (content: Digest, part?: Part) => Uint8Array
  readonly locate: (content: Digest) => Place | undefined
}

interface SegmentFile {
  readonly segment: string
  readonly name: string
  readonly path: string
  fd: number | undefined
}

/** An entry of the table, with the segment that holds it. */
export interface Located extends Entry {
  readonly segment: string
}

export interface Catalog extends Reader, Disposable {
  find(kind: Kind, key: string): Located | undefined
  contains(kind: Kind, key: string): boolean
  /** The files of all entries with this key and sum. */
  paths(kind: Kind, key: string, sum: number): string[]
  /** The payload of a record, or undefined when it is missing or damaged: records can be made again. */
  record(kind: Kind, key: string): Buffer | undefined
  /** How long the payload of a record is, or undefined when it is missing. */
  recordSize(kind: Kind, key: string): number | undefined
  /** Like `record`, into the memory of the caller. @returns whether it is there and whole */
  recordInto(kind: Kind, key: string, into: Uint8Array): boolean
  /** The last bytes of a record, as they lie there. */
  recordTail(kind: Kind, key: string, length: number): Uint8Array | undefined
  /** The bytes of an entry, whole; throws what the disk throws, S5_STORE_DAMAGED when they are cut short. */
  payload(entry: Located): Buffer
  entries(): Iterable<Located>
  /** Names of the segments that are loaded, sorted, and of those whose index is damaged. */
  segments(): { readonly good: readonly string[]; readonly damaged: readonly string[] }
  /** Look for segments that came or went since. */
  refresh(): void
  /** A segment that this process has published. */
  adopt(segment: string, index: Index): void
}

const KIND_NAMES = Object.keys(KINDS) as Kind[]

/**
 * @param root the version directory of the store
 * @param readOnly whether to leave the times of use alone
 */
export function openCatalog(root: string, disk: Disk = realDisk, readOnly = false): Catalog {
  const folder = join(root, 'segments')
  const open = new Set<SegmentFile>()
  const used = new Set<string>()
  const wanted = Buffer.alloc(32)
  const key = new Uint32Array(wanted.buffer, wanted.byteOffset, 8)
  let loaded = false
  let files: SegmentFile[] = []
  let names = new Set<string>()
  let damaged = new Set<string>()
  let table = new Uint32Array(0)
  let count = 0
  let slots = new Int32Array(0)

  function reset(): void {
    for (const file of open) closeFile(file)
    files = []
    names = new Set()
    damaged = new Set()
    table = new Uint32Array(0)
    count = 0
    slots = new Int32Array(0)
  }

  function grow(more: number): void {
    const total = count + more
    if (total * WORDS > table.length) {
      const wider = new Uint32Array(Math.max(total, count * 2) * WORDS)
      wider.set(table.subarray(0, count * WORDS))
      table = wider
    }
    if (total * 2 <= slots.length) return
    let size = Math.max(slots.length, 1024)
    while (size < total * 2) size *= 2
    slots = new Int32Array(size).fill(-1)
    for (let entry = 0; entry < count; entry++) place(entry)
  }

  /** Of two entries with one key the first stays reachable. */
  function place(entry: number): void {
    const mask = slots.length - 1
    const at = entry * WORDS
    for (let slot = (table[at] as number) & mask; ; slot = (slot + 1) & mask) {
      if (slots[slot] !== -1) continue
      slots[slot] = entry
      return
    }
  }

  function adopt(segment: string, index: Index): void {
    if (names.has(segment)) return
    names.add(segment)
    grow(index.count)
    const base = files.length
    for (const name of index.files)
      files.push({ segment, name, path: `${folder}/${segment}/${name}`, fd: undefined })
    const first = count * WORDS
    new Uint8Array(table.buffer).set(index.table, first * 4)
    for (let number = 0; number < index.count; number++) {
      const at = first + number * WORDS + 9
      table[at] = (table[at] as number) + base
      place(count++)
    }
  }

  function load(): void {
    loaded = true
    const present = readdirSync(folder).sort()
    const now_ = new Set(present)
    if ([...names, ...damaged].some((name) => !now_.has(name))) reset()
    for (const segment of present) {
      if (names.has(segment) || damaged.has(segment)) continue
      const bytes = readFile(join(folder, segment, INDEX_NAME))
      const index = bytes && decodeIndex(bytes)
      if (index) adopt(segment, index)
      else damaged.add(segment)
    }
  }

  function readFile(path: string): Buffer | undefined {
    let fd: number
    try {
      fd = disk.open(path, 'read')
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined
      throw error
    }
    try {
      const bytes = Buffer.allocUnsafe(fstatSync(fd).size)
      return readAll(disk, fd, bytes, bytes.length, 0) ? bytes : undefined
    } finally {
      closeSync(fd)
    }
  }

  function lookup(kind: Kind, hex: string): number {
    if (!loaded) load()
    if (slots.length === 0) return -1
    if (wanted.write(hex, 0, 'hex') !== 32) return -1
    const slot = probe(KINDS[kind], (key[0] as number) & (slots.length - 1))
    return slots[slot] as number
  }

  /** The next slot from `start` on that is empty or holds `key`. */
  function probe(code: number, start: number): number {
    const mask = slots.length - 1
    for (let slot = start; ; slot = (slot + 1) & mask) {
      const entry = slots[slot] as number
      if (entry === -1) return slot
      const at = entry * WORDS
      if (
        table[at + 8] === code &&
        table[at] === key[0] &&
        table[at + 1] === key[1] &&
        table[at + 2] === key[2] &&
        table[at + 3] === key[3] &&
        table[at + 4] === key[4] &&
        table[at + 5] === key[5] &&
        table[at + 6] === key[6] &&
        table[at + 7] === key[7]
      )
        return slot
    }
  }

  function paths(kind: Kind, hex: string, sum: number): string[] {
    const found: string[] = []
    if (lookup(kind, hex) === -1) return found
    const mask = slots.length - 1
    for (let slot = (key[0] as number) & mask; ; ) {
      slot = probe(KINDS[kind], slot)
      const entry = slots[slot] as number
      if (entry === -1) return found
      const at = entry * WORDS
      if (table[at + 14] === sum) found.push((files[table[at + 9] as number] as SegmentFile).path)
      slot = (slot + 1) & mask
    }
  }

  function entryAt(entry: number): Located {
    const at = entry * WORDS
    const file = files[table[at + 9] as number] as SegmentFile
    return {
      kind: KIND_NAMES[table[at + 8] as number] as Kind,
      key: Buffer.from(table.buffer, at * 4, 32).toString('hex'),
      segment: file.segment,
      file: file.name,
      ...range(at),
      sum: table[at + 14] as number,
    }
  }

  function range(at: number): { offset: number; size: number } {
    return {
      offset: (table[at + 10] as number) + (table[at + 11] as number) * 2 ** 32,
      size: (table[at + 12] as number) + (table[at + 13] as number) * 2 ** 32,
    }
  }

  function descriptor(file: SegmentFile): number {
    if (file.fd === undefined) {
      file.fd = disk.open(file.path, 'read')
      touch(file.segment)
      for (const oldest of open) {
        if (open.size < MAX_OPEN) break
        closeFile(oldest)
      }
    } else open.delete(file)
    open.add(file)
    return file.fd
  }

  function closeFile(file: SegmentFile): void {
    if (file.fd !== undefined) closeSync(file.fd)
    file.fd = undefined
    open.delete(file)
  }

  function touch(segment: string): void {
    if (readOnly || used.has(segment)) return
    used.add(segment)
    const path = join(folder, segment)
    try {
      if (now() - statSync(path).mtimeMs > USE_STEP_MS) utimesSync(path, now() / 1000, now() / 1000)
    } catch {
      // The time of use only guides collection; reading goes on without it.
    }
  }

  /** @returns undefined when the file ends too early */
  function bytesOf(entry: number, part?: Part): Buffer | undefined {
    const at = entry * WORDS
    const file = files[table[at + 9] as number] as SegmentFile
    const { offset, size } = range(at)
    const { offset: from, length } = part ?? { offset: 0, length: size }
    if (from + length > size) return undefined
    const bytes = Buffer.allocUnsafeSlow(length)
    return readAll(disk, descriptor(file), bytes, length, offset + from) ? bytes : undefined
  }

  /** Like `bytesOf(lookup(…))`, once more after a refresh when the segment has been rewritten meanwhile. */
  function readKey(kind: Kind, hex: string, part?: Part): Buffer | undefined | 'missing' {
    for (let again = false; ; again = true) {
      const entry = lookup(kind, hex)
      try {
        if (entry !== -1) return bytesOf(entry, part)
        if (again) return 'missing'
      } catch (error) {
        if (errnoOf(error) !== 'ENOENT') throw error
        if (again) return 'missing'
      }
      load()
    }
  }

  const catalog: Catalog = {
    has: (content) => lookup('object', content.slice(7)) !== -1,
    contains: (kind, hex) => lookup(kind, hex) !== -1,
    paths,
    find: (kind, hex) => {
      const entry = lookup(kind, hex)
      return entry === -1 ? undefined : entryAt(entry)
    },
    locate: (content) => {
      const entry = lookup('object', content.slice(7))
      if (entry === -1) return undefined
      const at = entry * WORDS
      return { path: (files[table[at + 9] as number] as SegmentFile).path, ...range(at) }
    },
    readSync: (content, part) => {
      try {
        const bytes = readKey('object', content.slice(7), part)
        if (bytes === 'missing') throw new Stage5Error('S5_STORE_DAMAGED', `object ${content} is missing`)
        if (bytes === undefined) throw new Stage5Error('S5_STORE_DAMAGED', `object ${content} is cut short`)
        return bytes
      } catch (error) {
        throw diskError(error, `object ${content}`)
      }
    },
    record: (kind, hex) => {
      const entry = lookup(kind, hex)
      if (entry === -1) return undefined
      const bytes = readKey(kind, hex)
      if (bytes === 'missing' || bytes === undefined) return undefined
      return crc32(bytes) === table[lookup(kind, hex) * WORDS + 14] ? bytes : undefined
    },
    recordSize: (kind, hex) => {
      const entry = lookup(kind, hex)
      return entry === -1 ? undefined : range(entry * WORDS).size
    },
    recordTail: (kind, hex, length) => {
      const entry = lookup(kind, hex)
      if (entry === -1) return undefined
      const bytes = readKey(kind, hex, { offset: range(entry * WORDS).size - length, length })
      return bytes === 'missing' ? undefined : bytes
    },
    recordInto: (kind, hex, into) => {
      const entry = lookup(kind, hex)
      if (entry === -1) return false
      const at = entry * WORDS
      const { offset, size } = range(at)
      const sum = table[at + 14]
      const bytes = into.subarray(0, size)
      try {
        const fd = descriptor(files[table[at + 9] as number] as SegmentFile)
        return bytes.length === size && readAll(disk, fd, bytes, size, offset) && crc32(bytes) === sum
      } catch (error) {
        // A collection of another process has moved it: it is looked for by the slower way.
        if (errnoOf(error) === 'ENOENT') return false
        throw error
      }
    },
    payload: (entry) => {
      const bytes = Buffer.allocUnsafeSlow(entry.size)
      const fd = disk.open(join(folder, entry.segment, entry.file), 'read')
      try {
        if (!readAll(disk, fd, bytes, entry.size, entry.offset))
          throw new Stage5Error('S5_STORE_DAMAGED', `${entry.segment}/${entry.file} is cut short`)
      } finally {
        closeSync(fd)
      }
      return bytes
    },
    entries: function* () {
      if (!loaded) load()
      for (let entry = 0; entry < count; entry++) yield entryAt(entry)
    },
    segments: () => {
      if (!loaded) load()
      return { good: [...names].sort(), damaged: [...damaged].sort() }
    },
    refresh: load,
    adopt: (segment, index) => {
      if (loaded) adopt(segment, index)
    },
    [Symbol.dispose]: () => {
      for (const file of open) closeFile(file)
    },
  }
  return catalog
}

/**
 * The objects of a store, for a worker thread. The store itself must stay open meanwhile: it holds the lock.
 * @param path `Store.path`
 */
export function openReader(path: string): Reader & Disposable {
  return openCatalog(path)
}
