/** The files of some folders, an entry for each inode, in buckets of those that may be equal. */
import { lstatSync, readdirSync, rmSync, type Stats } from 'node:fs'
import type { Report } from '../base/events.ts'
import { isAlive } from '../host/processes.ts'

/** A path as the system takes it: a string where it is ASCII, else its bytes. */
export type Place = string | Buffer

export interface FileName {
  /** Absolute. */
  readonly place: Place
  /** Number of the folder that it lies in, in `Scan.folders`; -1 in a store. */
  readonly folder: number
  /** Number of the argument. */
  readonly group: number
}

/** A file, whatever it is called. */
export interface FileNode {
  readonly ino: number
  readonly size: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeMs: number
  readonly ctimeMs: number
  readonly nlink: number
  /** Bytes on the disk. */
  readonly usage: number
  /** It is a file of the store too. */
  isShared: boolean
  readonly names: FileName[]
}

/** A folder that was asked for. */
interface Top {
  readonly directory: string
  readonly files: number
  /** On the disk, each inode once, in the first that has it. */
  readonly bytes: number
}

export interface Scan {
  /** Absolute paths, byte strings. */
  readonly folders: readonly string[]
  readonly groups: readonly Top[]
  /** Files of equal size, mode, owner and time on one file system; at least two in each, by inode number. */
  readonly buckets: readonly (readonly FileNode[])[]
}

/** Files of a store that roots may be linked to. */
export interface Shared {
  readonly directory: string
  /** Names in it. */
  readonly files: readonly string[]
}

export const TEMPORARY = '.stage5-dedupe-'

interface ScanOptions {
  /** Leaves behind what a killed run left. */
  readonly dryRun: boolean
  readonly shared: readonly Shared[]
  readonly report: Report
  readonly signal: AbortSignal
  /** Called once, when there are so many bytes that a second thread is worth its start. */
  readonly whenLarge: () => void
}

/** Less is compared and linked before a thread has started. */
const LARGE = 32 << 20

/** Mounts below the folders are left alone, and so is everything but regular files with content. */
export function scanFolders(
  directories: readonly string[],
  { dryRun, shared, report, signal, whenLarge }: ScanOptions,
): Scan {
  const folders: string[] = []
  let bytes = 0
  const groups: (Top & { files: number; bytes: number })[] = []
  const nodes = new Map<number, Map<number, FileNode>>()
  const buckets = new Map<string, FileNode[]>()

  for (const [group, directory] of directories.entries()) {
    const top = lstatSync(directory)
    const count = { directory, files: 0, bytes: 0 }
    groups.push(count)
    /** Of those that have other names. */
    const byNumber = nodes.get(top.dev) ?? new Map<number, FileNode>()
    nodes.set(top.dev, byNumber)
    const visit = (folder: string): void => {
      const number = folders.push(folder) - 1
      if (number % 256 === 0) {
        signal.throwIfAborted()
        report({ kind: 'image.progress', name: 'scan', done: group, total: directories.length })
      }
      for (const entry of readdirSync(placeOf(folder), {
        withFileTypes: true,
        encoding: 'latin1' as 'utf8',
      })) {
        const path = `${folder}/${entry.name}`
        const place = placeOf(path)
        if (entry.isDirectory()) {
          if (lstatSync(place).dev === top.dev) visit(path)
          continue
        }
        if (!entry.isFile()) continue
        if (isLeftOver(entry.name)) {
          if (!dryRun) rmSync(place, { force: true })
          continue
        }
        const stats = lstatSync(place)
        if (stats.size === 0 || !stats.isFile()) continue
        count.files++
        const name = { place, folder: number, group }
        const known = stats.nlink > 1 ? byNumber.get(stats.ino) : undefined
        if (known) {
          known.names.push(name)
          continue
        }
        const node = nodeOf(stats, name)
        count.bytes += node.usage
        if (bytes < LARGE && bytes + stats.size >= LARGE) whenLarge()
        bytes += stats.size
        if (node.nlink > 1) byNumber.set(node.ino, node)
        const key = keyOf(stats)
        const bucket = buckets.get(key)
        if (bucket) bucket.push(node)
        else buckets.set(key, [node])
      }
    }
    visit(byteString(directory))
  }
  for (const [at, { directory, files }] of shared.entries()) {
    signal.throwIfAborted()
    const folder = byteString(directory)
    for (const file of files) {
      const path = `${folder}/${file}`
      const place = placeOf(path)
      const stats = lstatSync(place, { throwIfNoEntry: false })
      if (!stats?.isFile() || stats.size === 0) continue
      const known = nodes.get(stats.dev)?.get(stats.ino)
      if (known) known.isShared = true
      else {
        const group = directories.length + at
        const node = { ...nodeOf(stats, { place, folder: -1, group }), isShared: true }
        buckets.get(keyOf(stats))?.push(node)
      }
    }
  }
  const several = [...buckets.values()].filter((bucket) => bucket.length > 1)
  for (const bucket of several) bucket.sort((a, b) => a.ino - b.ino)
  several.sort(([a], [b]) => (a as FileNode).ino - (b as FileNode).ino)
  return { folders, groups, buckets: several }
}

function nodeOf(
  { ino, size, mode, uid, gid, mtimeMs, ctimeMs, nlink, blocks }: Stats,
  name: FileName,
): FileNode {
  const usage = blocks * 512
  return { ino, size, mode, uid, gid, mtimeMs, ctimeMs, nlink, usage, isShared: false, names: [name] }
}

function keyOf({ size, mtimeMs, mode, uid, gid, dev }: Stats): string {
  return `${size} ${mtimeMs} ${mode} ${uid} ${gid} ${dev}`
}

// oxlint-disable-next-line no-control-regex -- ASCII needs no conversion
const ASCII = /^[\0-\x7f]*$/

/** @param path a byte string */
export function placeOf(path: string): Place {
  return ASCII.test(path) ? path : Buffer.from(path, 'latin1')
}

export function byteString(place: Place): string {
  return (typeof place === 'string' ? Buffer.from(place) : place).toString('latin1')
}

/** A second name of some file that a killed run could not put in its place. */
function isLeftOver(name: string): boolean {
  const pid = name.startsWith(TEMPORARY) ? Number.parseInt(name.slice(TEMPORARY.length), 10) : Number.NaN
  return Number.isInteger(pid) && !isAlive(pid)
}
