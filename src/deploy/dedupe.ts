/**
 * Links equal files of folders that are in use with each other and with files of a store, in place: a new name beside the old one, renamed over it.
 *
 * Equal means bytes, mode, owner, time to the nanosecond and extended attributes; times of folders are put back. So
 * nothing that can be read is different after, but that the files share an inode. A file that somebody writes to at this
 * very moment keeps its old inode for that writer: guests should be stopped, or be quiet, meanwhile.
 */
import { type BigIntStats, linkSync, lstatSync, renameSync, rmSync } from 'node:fs'
import type { Report } from '../base/events.ts'
import { diskError, errnoOf } from '../host/disk.ts'
import type { Xattr } from '../tree/tree.ts'
import { type FileNode, type Place, type Scan, scanFolders, type Shared, TEMPORARY } from './dedupe-scan.ts'
import { compareAll } from './dedupe-threads.ts'
import { byteString, openFolderTimes, recoverFolderTimes } from './dedupe-times.ts'

export interface DedupeOptions {
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

export interface DedupeGroup {
  readonly directory: string
  readonly files: number
  /** On the disk, each inode once, in the first group that has it. */
  readonly bytes: number
  /** Names that were, or would be, linked to another file. */
  readonly linked: number
  /** Bytes on the disk that this freed, or would free. */
  readonly saved: number
}

export interface Deduped {
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
  const { signal, report } = options
  try {
    const all = [...directories, ...options.shared.map(({ directory }) => directory)]
    const attributes = options.xattrs(all)
    attributes.catch(() => {})
    const scan = scanFolders(directories, options)
    const xattrs = await attributes
    if (!options.dryRun) await recoverFolderTimes(options.journals)
    const work = linker(scan, options)
    try {
      for await (const { done, classes } of compareAll(scan.buckets)) {
        report({ kind: 'image.progress', name: 'compare', done, total: scan.buckets.length })
        signal.throwIfAborted()
        for (const equal of classes) for (const same of byXattrs(equal, xattrs)) work.join(same)
      }
    } finally {
      await work.restoreTimes()
    }
    return work.result()
  } catch (error) {
    throw diskError(error, 'dedupe')
  }
}

function byXattrs(nodes: readonly FileNode[], xattrs: Attributes): readonly (readonly FileNode[])[] {
  if (xattrs.size === 0) return [nodes]
  const found = Map.groupBy(nodes, ({ names: [name] }) =>
    JSON.stringify(xattrs.get(byteString((name as FileNode['names'][number]).place)) ?? []),
  )
  return [...found.values()].filter((list) => list.length > 1)
}

interface Linker {
  /** Makes all names of equal files names of one of them. */
  join(nodes: readonly FileNode[]): void
  restoreTimes(): Promise<void>
  result(): Deduped
}

function linker(scan: Scan, { dryRun, journals }: DedupeOptions): Linker {
  const groups = scan.groups.map((group) => ({ ...group, linked: 0, saved: 0 }))
  const times = openFolderTimes(journals)
  let changed = 0
  let toShared = 0

  /** @returns false when the file may not have another name */
  function replace(master: FileNode, { place, folder, group }: FileNode['names'][number]): boolean {
    const top = (scan.groups[group] as { directory: string }).directory
    times.remember(top)
    times.remember(scan.folders[folder] as Place)
    const temporary = `${top}/${TEMPORARY}${process.pid}`
    try {
      linkSync((master.names[0] as { place: Place }).place, temporary)
    } catch (error) {
      if (errnoOf(error) === 'EMLINK') return false
      throw error
    }
    try {
      renameSync(temporary, place)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
    return true
  }

  function join(nodes: readonly FileNode[]): void {
    let master = nodes.reduce((best, node) => (isBetter(node, best) ? node : best))
    let stats = unchanged(master, 0)
    if (!stats) return void changed++
    for (const node of nodes) {
      if (node === master || node.isShared) continue
      let done = 0
      for (let at = 0; at < node.names.length; at++) {
        const name = node.names[at] as FileNode['names'][number]
        const found = unchanged(node, at)
        if (!found) {
          changed++
          continue
        }
        if (found.mtimeNs !== stats.mtimeNs) break
        if (!dryRun && !replace(master, name)) {
          master = node
          stats = found
          break
        }
        done++
        const group = groups[name.group] as DedupeGroup & { linked: number; saved: number }
        group.linked++
        if (master.isShared) toShared++
        if (done === node.nlink) group.saved += node.usage
      }
    }
  }

  return {
    join,
    restoreTimes: () => times.restore(),
    result: () => ({
      groups,
      linked: groups.reduce((sum, { linked }) => sum + linked, 0),
      saved: groups.reduce((sum, { saved }) => sum + saved, 0),
      toShared,
      changed,
    }),
  }
}

/** Which of two equal files the other becomes a name of: one of the store, else the one with more names. */
function isBetter(node: FileNode, other: FileNode): boolean {
  return node.isShared === other.isShared ? node.nlink > other.nlink : node.isShared
}

/** The file under its name as it was scanned; undefined when it is another one, or was touched since. */
function unchanged(node: FileNode, at: number): BigIntStats | undefined {
  const { place } = node.names[at] as FileNode['names'][number]
  const found = lstatSync(place, { bigint: true, throwIfNoEntry: false })
  if (!found || Number(found.ino) !== node.ino || Number(found.size) !== node.size) return undefined
  if (Number(found.mode) !== node.mode || Number(found.uid) !== node.uid || Number(found.gid) !== node.gid)
    return undefined
  if (Math.abs(Number(found.mtimeNs) / 1e6 - node.mtimeMs) > 0.01) return undefined
  // Taking one name of a file away moves its time of change.
  if (at === 0 && Math.abs(Number(found.ctimeNs) / 1e6 - node.ctimeMs) > 0.01) return undefined
  return found
}
