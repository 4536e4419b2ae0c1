/**
 * What a store gains at once: payloads in a staging directory that becomes a segment by one rename, when all of it has
 * reached the disk. Dispose means abort.
 */
import { closeSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Digest } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { type Disk, diskError, readAll, writeAll } from '../host/disk.ts'
import type { Bodies } from '../tree/bodies.ts'
import { uniqueName } from '../host/temp.ts'
import { bodiesIn, PACKED_MAX, type Staged } from './bodies.ts'
import type { Catalog, Part } from './catalog.ts'
import { createPack, type Pack } from './pack.ts'
import {
  decodeIndex,
  encodeIndex,
  type Entry,
  INDEX_NAME,
  type Index,
  isLinkFile,
  type Kind,
} from './segment.ts'

/** More files than this are made durable by one sync of the file system, fewer one by one. */
const SINGLE_SYNCS = 16

export interface Transaction extends AsyncDisposable {
  /** For the thread that owns the store. */
  readonly bodies: Bodies
  /** For worker threads: `bodiesIn(directory, reader.has)`, and then `add(list())` here. */
  readonly directory: string
  add(list: readonly Staged[]): void
  /**
   * Publishes everything or nothing. Afterwards objects are durable and visible to every process that opens the store.
   * @throws S5_DISK_FULL, S5_DISK_FAILED
   */
  commit(): Promise<void>
}

/** A transaction that takes records too. */
export interface RecordTransaction extends Transaction {
  put(kind: Kind, key: string, bytes: Uint8Array): void
  /** What `put` took and `commit` has not yet published. */
  peek(kind: Kind, key: string): Buffer | undefined
  /** A payload that lies in this directory already. */
  place(entry: Entry): void
  has(content: Digest): boolean
  /**
   * Bytes of an object that `put` or `add` took, before `commit` is done.
   * @throws S5_STORE_DAMAGED, S5_DISK_FAILED
   */
  read(content: Digest, part?: Part): Buffer | undefined
  readonly bytes: number
}

export function beginTransaction(
  root: string,
  disk: Disk,
  catalog: Catalog,
  ended: () => void = () => {},
): RecordTransaction {
  const name = uniqueName()
  const directory = join(root, 'staging', name)
  const entries: Entry[] = []
  const records = new Map<string, Entry>()
  const contents = new Map<Digest, Staged>()
  const own = bodiesIn(directory, (content) => contents.has(content) || catalog.has(content), disk)
  let pack: Pack | undefined
  let bytes = 0
  /** Where the files lie: `directory`, until they are published. */
  let folder = directory
  let state: 'open' | 'committing' | 'done' = 'open'

  function step<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw diskError(error, directory)
    }
  }
  step(() => disk.makeDirectory(directory))

  function remove(path: string): void {
    try {
      rmSync(path, { recursive: true, force: true })
    } catch {
      // What stays is in staging, where the next exclusive opening removes it.
    }
  }

  function end(): void {
    state = 'done'
    ended()
    pack?.close()
    try {
      own[Symbol.dispose]()
    } catch {
      // It is thrown away anyway.
    }
  }

  function add(list: readonly Staged[]): void {
    for (const staged of list) {
      const { content, file, offset, size } = staged
      if (contents.has(content)) {
        // Two threads brought the same bytes. What lies in a pack stays there, unnamed.
        if (!file.endsWith('.pack')) remove(join(directory, file))
        continue
      }
      contents.set(content, staged)
      entries.push({ kind: 'object', key: content.slice(7), file, offset, size, sum: 0 })
    }
  }

  /** An object whose digest is known already. */
  function writeLarge(key: string, payload: Uint8Array): void {
    const path = join(directory, key)
    step(() => {
      const fd = disk.open(path, 'create', 0o400)
      try {
        writeAll(disk, fd, payload, 0, payload.length)
      } catch (error) {
        remove(path)
        throw error
      } finally {
        closeSync(fd)
      }
    })
    add([{ content: `sha256:${key}`, file: key, offset: 0, size: payload.length }])
  }

  async function publish(): Promise<void> {
    add(own.list())
    pack?.flush()
    if (entries.length === 0) return remove(directory)
    const bytes = encodeIndex(entries)
    const fd = disk.open(join(directory, INDEX_NAME), 'create', 0o400)
    try {
      writeAll(disk, fd, bytes, 0, bytes.length)
    } finally {
      closeSync(fd)
    }
    const files = new Set(entries.map(({ file }) => file))
    // Link files may be symlinks, or unreadable to us: they cannot be opened one by one.
    const hasLinks = entries.some(isLinkFile)
    if (hasLinks || files.size > SINGLE_SYNCS) await disk.sync(directory, 'filesystem')
    else {
      for (const file of [...files, INDEX_NAME]) await disk.sync(join(directory, file), 'file')
      await disk.sync(directory, 'file')
    }
    const segments = join(root, 'segments')
    const segment = join(segments, name)
    disk.rename(directory, segment)
    folder = segment
    try {
      await disk.sync(segments, 'file')
    } catch (error) {
      // The name may be gone after a power cut, so nothing may build on it now.
      remove(segment)
      throw error
    }
    catalog.adopt(basename(segment), decodeIndex(bytes) as Index)
  }

  return {
    bodies: own,
    directory,
    add,
    get bytes() {
      return bytes
    },
    put: (kind, key, payload) => {
      const id = `${kind} ${key}`
      if (records.has(id) || (kind === 'object' && contents.has(`sha256:${key}`))) return
      bytes += payload.length
      if (kind === 'object' && payload.length > PACKED_MAX) {
        return writeLarge(key, payload)
      }
      pack ??= createPack(disk, directory, 'records.pack')
      const offset = step(() => (pack as Pack).append(payload))
      const entry: Entry = {
        kind,
        key,
        file: pack.name,
        offset,
        size: payload.length,
        sum: kind === 'object' ? 0 : crc32(payload),
      }
      records.set(id, entry)
      entries.push(entry)
    },
    peek: (kind, key) => {
      const entry = records.get(`${kind} ${key}`)
      return entry && step(() => (pack as Pack).read(entry.offset, entry.size))
    },
    place: (entry) => void entries.push(entry),
    has: (content) => contents.has(content) || records.has(`object ${content.slice(7)}`),
    read: (content, part) => {
      const packed = records.get(`object ${content.slice(7)}`)
      const staged = packed ?? contents.get(content)
      if (!staged) return undefined
      const { offset, length } = part ?? { offset: 0, length: staged.size }
      if (offset + length > staged.size)
        throw new Stage5Error('S5_STORE_DAMAGED', `object ${content} is cut short`)
      if (packed) return step(() => (pack as Pack).read(packed.offset + offset, length))
      const bytes = Buffer.allocUnsafeSlow(length)
      return step(() => {
        const fd = disk.open(join(folder, staged.file), 'read')
        try {
          return readAll(disk, fd, bytes, length, staged.offset + offset) ? bytes : undefined
        } finally {
          closeSync(fd)
        }
      })
    },
    commit: async () => {
      if (state !== 'open') throw new RangeError('this transaction has ended')
      state = 'committing'
      try {
        await publish()
      } catch (error) {
        remove(directory)
        throw diskError(error, directory)
      } finally {
        end()
      }
    },
    [Symbol.asyncDispose]: async () => {
      if (state !== 'open') return
      end()
      remove(directory)
    },
  }
}
