/**
 * The store: every byte that stage5 keeps, by its digest, safe from crashes and shared by processes.
 *
 *   PATH/v1/
 *     lock                     held shared by every process that has the store open, exclusively to collect
 *     segments/NAME/           one transaction each; appears whole and is never changed
 *       index                  what is inside (segment.ts)
 *       ….pack                 small payloads, end to end
 *       …                      large payloads and link files (links.ts), a file each
 *     staging/BOOT-PID-RANDOM/ transactions that have not ended; rubbish when their process is gone
 *     refs/NAME                a digest each
 *     downloads/               fetched files, owned by the repository layer
 *
 * A transaction is written into staging, made durable, and renamed into segments: so an object that is visible is
 * whole, and one that was acknowledged stays. Only records and refs keep objects from being collected.
 */
import { type Digest, digestOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { diskError, realDisk } from '../host/disk.ts'
import type { LockOptions } from '../host/lock.ts'
import type { Memo } from '../stage/stage.ts'
import type { Contents } from '../tree/contents.ts'
import { encodeTree, treeDigest } from '../tree/text.ts'
import type { FileInode, Tree } from '../tree/tree.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import { createBatch } from './batch.ts'
import { openCatalog, type Part, type Place } from './catalog.ts'
import { type Collected, type CollectOptions, collectSegments, sweepStaging } from './collect.ts'
import { type Home, type HomeOptions, openHome } from './home.ts'
import { type Links, openLinks } from './links.ts'
import * as records from './records.ts'
import type { FoundPackage } from './records.ts'
import { openRefs } from './refs.ts'
import { beginTransaction, type RecordTransaction, type Transaction } from './transaction.ts'
import { type Problem, verifySegments } from './verify.ts'

export { bodiesIn, type Staged, type StagedBodies } from './bodies.ts'
export { openReader, type Place, type Reader } from './catalog.ts'
export type { Collected, CollectOptions } from './collect.ts'
export type { FoundPackage } from './records.ts'
export type { Transaction } from './transaction.ts'
export type { Problem } from './verify.ts'

/** Small objects and records that wait in one transaction before `write` publishes them by itself. */
const BATCH_BYTES = 64 * 1024 * 1024

/** Reading many blocks into the same memory spares the collector of garbage a pass over the heap for each 64 MB. */
export interface FoundBlock {
  readonly size: number
  /** @returns whether the first `size` bytes of `into` are the block; else it is gone or damaged */
  read(into: Uint8Array): boolean
  /** @returns the last bytes, which are not checked; undefined when they are gone */
  tail(length: number): Uint8Array | undefined
}

/** Compressed blocks by a text that names their input and how they were made. */
interface BlockStore {
  get(key: string): Uint8Array | undefined
  /** A block that is durable, to be read into memory of the caller. */
  find(key: string): FoundBlock | undefined
  /** Durable after `flush`. */
  put(key: string, bytes: Uint8Array): void
  flush(): Promise<void>
}

interface StoreStats {
  readonly segments: number
  readonly objects: number
  readonly objectBytes: number
  /** Trees, unpacked packages and stage results. */
  readonly records: number
  readonly recordBytes: number
  readonly blocks: number
  readonly blockBytes: number
  /** Files that roots are hard-linked to. */
  readonly links: number
}

export interface Store extends Contents, AsyncDisposable {
  /** The version directory. */
  readonly path: string
  /** Where fetched files go. */
  readonly downloads: string
  readonly has: (content: Digest) => boolean
  /** Where the bytes lie: a file of their own or a part of a pack. Worker threads rather use `openReader(path)`. */
  readonly locate: (content: Digest) => Place | undefined
  /** @throws S5_STORE_DAMAGED */
  readonly readSync: (content: Digest) => Uint8Array
  begin(): Transaction
  readonly memo: Memo
  readonly blocks: BlockStore
  /** What a package was unpacked to; undefined when that is not known or not all here any more. */
  unpacked(key: Digest): Promise<Unpacked | undefined>
  findUnpacked(key: Digest): FoundPackage | undefined
  /** Durable when it resolves. The contents must be committed or written before. */
  setUnpacked(key: Digest, value: Unpacked): Promise<void>
  /** @returns `treeDigest(tree)` */
  saveTree(tree: Tree): Promise<Digest>
  /** The canonical text of a tree: what was saved, else made anew. */
  treeText(tree: Tree): Promise<Uint8Array>
  /** @throws S5_STORE_DAMAGED when the tree or one of its contents is not here */
  loadTree(tree: Digest): Promise<Tree>
  /** A file of exactly this content and metadata that may be hard-linked and must not be written to. */
  link(inode: FileInode): Promise<string>
  readonly links: Links
  /** Makes all that was written and saved before durable, and then the ref. Without a target the ref goes. */
  setRef(name: string, target: Digest | undefined): Promise<void>
  refs(): Promise<ReadonlyMap<string, Digest>>
  /** Makes everything written or saved so far durable. */
  flush(): Promise<void>
  /** @throws S5_LOCK_BUSY while other processes have the store open */
  collect(options?: CollectHow, signal?: AbortSignal): Promise<Collected>
  verify(signal?: AbortSignal): AsyncIterable<Problem>
  stats(): StoreStats
}

interface CollectHow extends CollectOptions, LockOptions {
  /** Refs that do not count. */
  readonly without?: ReadonlySet<string>
  /** Runs while nobody else has the store open. */
  readonly alone?: () => void
}

interface StoreOptions extends HomeOptions {
  /** Of the same path, opened before: the store then lets go of it. */
  readonly home?: Home
}

/**
 * Open the store at `path`, made when missing. Disposing publishes what was written; what a transaction holds is
 * thrown away.
 * @param options `waitMs` (default one minute) is how long to wait for a collection to end
 * @throws S5_STORE_VERSION, S5_LOCK_BUSY, S5_DISK_FULL, S5_DISK_FAILED
 */
export async function openStore(path: string, options: StoreOptions = {}): Promise<Store> {
  const disk = options.disk ?? realDisk
  const home = options.home ?? (await openHome(path, options))
  const { root, lock } = home
  const live = new Set<RecordTransaction>()
  let isCollecting = false
  const catalog = openCatalog(root, disk)
  const batch = createBatch(begin)
  const refs = openRefs(root, disk)
  const links = openLinks(root, disk, catalog, begin)
  const access: records.RecordAccess = {
    get: (kind, key) => batch.peek(kind, key) ?? catalog.record(kind, key),
    put: (kind, key, bytes) => {
      if (!catalog.contains(kind, key)) batch.put(kind, key, bytes)
    },
    has: (content) => catalog.has(content) || batch.has(content),
  }

  /** Collection removes what nothing refers to yet, so nothing may be begun beside it. */
  function begin(): RecordTransaction {
    if (isCollecting) throw new RangeError('a transaction was begun while the store is being collected')
    const transaction = beginTransaction(root, disk, catalog, () => live.delete(transaction))
    live.add(transaction)
    return transaction
  }

  function readSync(content: Digest, part?: Part): Uint8Array {
    if (!catalog.has(content))
      for (const transaction of live) {
        const bytes = transaction.read(content, part)
        if (bytes) return bytes
      }
    return catalog.readSync(content, part)
  }

  let isOpen = true
  return {
    path: root,
    downloads: home.downloads,
    has: access.has,
    locate: catalog.locate,
    readSync: (content) => readSync(content),
    read: async (content) => readSync(content),
    readPart: async (content, offset, length) => readSync(content, { offset, length }),
    write: async (bytes) => {
      const content = digestOf(bytes)
      access.put('object', content.slice(7), bytes)
      if (batch.bytes > BATCH_BYTES) await batch.flush()
      return content
    },
    begin,
    memo: {
      get: async (key) => records.getRoot(access, key),
      set: async (key, value) => records.putRoot(access, key, value),
    },
    notes: {
      get: (key) => access.get('block', records.keyOfText(key)),
      put: (key, bytes) => access.put('block', records.keyOfText(key), bytes),
    },
    blocks: {
      get: (key) => access.get('block', records.keyOfText(key)),
      find: (text) => {
        const key = records.keyOfText(text)
        const size = catalog.recordSize('block', key)
        if (size === undefined) return undefined
        return {
          size,
          read: (into) => catalog.recordInto('block', key, into),
          tail: (length) => catalog.recordTail('block', key, length),
        }
      },
      put: (key, bytes) => access.put('block', records.keyOfText(key), bytes),
      flush: batch.flush,
    },
    unpacked: async (key) => {
      const found = records.findUnpacked(access, key)
      const tree = found?.tree()
      return found && tree && { tree, control: found.control }
    },
    findUnpacked: (key) => records.findUnpacked(access, key),
    setUnpacked: async (key, value) => {
      records.putUnpacked(access, key, value)
      await batch.flush()
    },
    saveTree: async (tree) => records.putTree(access, tree),
    treeText: async (tree) => access.get('tree', records.keyOf(treeDigest(tree))) ?? encodeTree(tree).bytes,
    loadTree: async (digest) => {
      let tree = records.getTree(access, digest)
      if (!tree) {
        // Another process may have saved it since this one looked.
        catalog.refresh()
        tree = records.getTree(access, digest)
      }
      if (!tree) throw new Stage5Error('S5_STORE_DAMAGED', `tree ${digest} is not in the store, or not whole`)
      return tree
    },
    link: async (inode) => {
      await batch.flush()
      const { paths } = await links.ensure([inode])
      return paths[0] as string
    },
    links,
    setRef: async (name, target) => {
      await batch.flush()
      await refs.set(name, target)
    },
    refs: async () => refs.all(),
    flush: batch.flush,
    collect: async (how = {}, signal) => {
      await batch.flush()
      if (live.size > 0) throw new RangeError('the store cannot be collected while transactions are open')
      isCollecting = true
      try {
        await lock.change('exclusive', { waitMs: 10_000, ...(signal ? { signal } : {}), ...how })
        if (!how.dryRun) sweepStaging(root, disk)
        const targets = [...refs.all()].flatMap(([name, to]) => (how.without?.has(name) ? [] : [to]))
        const collected = await collectSegments(root, disk, catalog, targets, how, signal)
        how.alone?.()
        return collected
      } catch (error) {
        throw diskError(error, root)
      } finally {
        isCollecting = false
        await lock.change('shared', { waitMs: 60_000 })
      }
    },
    verify: (signal) => verifySegments(root, disk, catalog, refs.all(), signal),
    stats: () => statsOf(),
    [Symbol.asyncDispose]: async () => {
      if (!isOpen) return
      isOpen = false
      // Whoever needs what was written to last has flushed it; the rest are caches.
      await batch.flush().catch(() => {})
      await batch[Symbol.asyncDispose]()
      catalog[Symbol.dispose]()
      home[Symbol.dispose]()
    },
  }

  function statsOf(): StoreStats {
    const count = {
      objects: 0,
      objectBytes: 0,
      records: 0,
      recordBytes: 0,
      blocks: 0,
      blockBytes: 0,
      links: 0,
    }
    for (const { kind, size } of catalog.entries()) {
      if (kind === 'link' || kind === 'odd') {
        count.links++
        continue
      }
      const what = kind === 'object' ? 'object' : kind === 'block' ? 'block' : 'record'
      count[`${what}s`]++
      count[`${what}Bytes`] += size
    }
    return { segments: catalog.segments().good.length, ...count }
  }
}
