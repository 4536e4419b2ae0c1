/**
 * Links equal files of folders that are in use with each other and with files of a store, in place.
 *
 * Equal means bytes, mode, owner, time to the nanosecond and extended attributes; times of folders are put back. So
 * nothing that can be read is different after, but that the files share an inode. A file that somebody writes to at this
 * very moment keeps its old inode for that writer: guests should be stopped, or be quiet, meanwhile.
 */
import type { Report } from '../base/events.ts'
import { diskError } from '../host/disk.ts'
import type { Xattr } from '../tree/tree.ts'
import type { Bucket, Setting } from './dedupe-link.ts'
import { byteString, type FileNode, type Scan, scanFolders, type Shared } from './dedupe-scan.ts'
import { openThreads, type Threads } from './dedupe-threads.ts'
import { findUnmended, openFolderTimes } from './dedupe-times.ts'

interface DedupeOptions {
  readonly dryRun: boolean
  /** Files that others of equal bytes and metadata become names of, and that are never replaced. */
  readonly shared: readonly Shared[]
  /** Where times of folders are written down, so that a killed run can be mended by the next. */
  readonly journals: string
  /** Extended attributes of the files below folders that have any, by path, a byte string. */
  readonly xattrs: (directories: readonly string[]) => Promise<Attributes>
  readonly report: Report
  readonly signal: AbortSignal
}

type Attributes = ReadonlyMap<string, readonly Xattr[]>

interface DedupeGroup {
  readonly directory: string
  readonly files: number
  /** On the disk, each inode once, in the first group that has it. */
  readonly bytes: number
  /** Names that were, or would be, linked to another file. */
  readonly linked: number
  /** Bytes on the disk that this freed, or would free. */
  readonly saved: number
}

interface Deduped {
  readonly groups: readonly DedupeGroup[]
  readonly linked: number
  readonly saved: number
  /** Names, of the linked ones, that became names of a shared file. */
  readonly toShared: number
  /** Files that changed while this ran, and were left alone. */
  readonly changed: number
}

/**
 * @param directories absolute paths, none inside another
 * @throws S5_DISK_FAILED, S5_DISK_FULL
 */
export async function dedupe(directories: readonly string[], options: DedupeOptions): Promise<Deduped> {
  try {
    const all = [...directories, ...options.shared.map(({ directory }) => directory)]
    const attributes = options.xattrs(all)
    attributes.catch(() => {})
    const unmended = options.dryRun ? undefined : findUnmended(options.journals)
    await using threads = openThreads()
    let scan: Scan
    try {
      scan = scanFolders(directories, { ...options, whenLarge: threads.start })
    } finally {
      await unmended?.mend()
    }
    return await linkAll(scan, splitByXattrs(scan.buckets, await attributes), threads, options)
  } catch (error) {
    throw diskError(error, 'dedupe')
  }
}

async function linkAll(
  scan: Scan,
  buckets: readonly Bucket[],
  threads: Threads,
  { dryRun, journals, report, signal }: DedupeOptions,
): Promise<Deduped> {
  const touched = new Uint8Array(new SharedArrayBuffer(scan.folders.length))
  const stop = new Int32Array(new SharedArrayBuffer(4))
  const setting: Setting = { dryRun, journals, touched, stop }
  const groups = scan.groups.map(({ directory, files, bytes }) => ({
    directory,
    files,
    bytes,
    linked: 0,
    saved: 0,
  }))
  const times = openFolderTimes(journals, scan.folders)
  const remember = (some: readonly Bucket[]): void => {
    if (dryRun) return
    const numbers = new Set<number>()
    for (const bucket of some)
      for (const { names } of bucket) for (const { folder } of names) if (folder >= 0) numbers.add(folder)
    times.remember(numbers)
  }
  let done = 0
  let toShared = 0
  let changed = 0
  try {
    for await (const { buckets: some, outcome } of threads.link(buckets, setting, remember)) {
      done += some
      report({ kind: 'image.progress', name: 'compare', done, total: buckets.length })
      signal.throwIfAborted()
      toShared += outcome.toShared
      changed += outcome.changed
      for (const [number, gain] of outcome.gains) {
        const group = groups[number] as (typeof groups)[number]
        group.linked += gain.linked
        group.saved += gain.saved
      }
    }
  } finally {
    await threads.stop()
    await times.restore(touched)
  }
  return {
    groups,
    linked: groups.reduce((sum, { linked }) => sum + linked, 0),
    saved: groups.reduce((sum, { saved }) => sum + saved, 0),
    toShared,
    changed,
  }
}

function splitByXattrs(buckets: readonly Bucket[], xattrs: Attributes): readonly Bucket[] {
  if (xattrs.size === 0) return buckets
  const key = ({ names: [name] }: FileNode): string =>
    JSON.stringify(xattrs.get(byteString((name as FileNode['names'][number]).place)) ?? [])
  return buckets.flatMap((bucket) => [...Map.groupBy(bucket, key).values()].filter((list) => list.length > 1))
}
