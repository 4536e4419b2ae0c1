/** The files of some folders, an entry for each inode, in buckets of those that may be equal. */
import { lstatSync, readdirSync, rmSync, type Stats } from 'node:fs'
import type { Report } from '../base/events.ts'
import { isAlive } from './dedupe-times.ts'

/** A path as the system takes it: a string where it is ASCII, else its bytes. */
export type Place = string | Buffer

export interface FileName {
  readonly place: Place
  /** Number of the folder that it lies in, in `Scan.folders`. */
  readonly folder: number
  /** Number of the argument. */
  readonly group: number
  /** Below the argument, a byte string. */
  readonly path: string
}

/** A file, whatever it is called. */
export interface FileNode {
  readonly dev: number
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

export interface Scan {
  readonly folders: readonly Place[]
  readonly groups: readonly { readonly directory: string; readonly files: number; readonly bytes: number }[]
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

export interface ScanOptions {
  /** Leaves behind what a killed run left. */
  readonly dryRun: boolean
  readonly shared: readonly Shared[]
  readonly report: Report
  readonly signal: AbortSignal
}

/** Mounts below the folders are left alone, and so is everything but regular files with content. */
export function scanFolders(
  directories: readonly string[],
  { dryRun, shared, report, signal }: ScanOptions,
): Scan {
  const folders: Place[] = []
  const groups: { directory: string; files: number; bytes: number }[] = []
  const nodes = new Map<number, Map<number, FileNode>>()
  const buckets = new Map<string, FileNode[]>()

  for (const [group, directory] of directories.entries()) {
    const top = lstatSync(directory)
    const count = { directory, files: 0, bytes: 0 }
    groups.push(count)
    const byNumber = nodes.get(top.dev) ?? new Map<number, FileNode>()
    nodes.set(top.dev, byNumber)
    const visit = (folder: Place, below: string): void => {
      const number = folders.push(folder) - 1
      if (number % 256 === 0) {
        signal.throwIfAborted()
        report({ kind: 'image.progress', name: 'scan', done: group, total: directories.length })
      }
      for (const entry of readdirSync(folder, { withFileTypes: true, encoding: 'latin1' as 'utf8' })) {
        const { name } = entry
        const path = below === '' ? name : `${below}/${name}`
        const place = placeIn(directory, path)
        if (entry.isDirectory()) {
          if (lstatSync(place).dev === top.dev) visit(place, path)
          continue
        }
        if (!entry.isFile()) continue
        if (below === '' && isLeftOver(name)) {
          if (!dryRun) rmSync(place, { force: true })
          continue
        }
        const stats = lstatSync(place)
        if (stats.size === 0 || !stats.isFile()) continue
        count.files++
        const found = { place, folder: number, group, path }
        const known = byNumber.get(stats.ino)
        if (known) {
          known.names.push(found)
          continue
        }
        const node = nodeOf(stats, found)
        count.bytes += node.usage
        byNumber.set(stats.ino, node)
        const key = keyOf(node)
        const bucket = buckets.get(key)
        if (bucket) bucket.push(node)
        else buckets.set(key, [node])
      }
    }
    visit(directory, '')
  }
  for (const [at, { directory, files }] of shared.entries()) {
    signal.throwIfAborted()
    for (const path of files) {
      const place = placeIn(directory, path)
      const stats = lstatSync(place, { throwIfNoEntry: false })
      if (!stats?.isFile() || stats.size === 0) continue
      const known = nodes.get(stats.dev)?.get(stats.ino)
      if (known) known.isShared = true
      else {
        const group = directories.length + at
        const node = { ...nodeOf(stats, { place, folder: -1, group, path }), isShared: true }
        buckets.get(keyOf(node))?.push(node)
      }
    }
  }
  const several = [...buckets.values()].filter((bucket) => bucket.length > 1)
  for (const bucket of several) bucket.sort((a, b) => a.ino - b.ino)
  several.sort(([a], [b]) => (a as FileNode).ino - (b as FileNode).ino)
  return { folders, groups, buckets: several }
}

function nodeOf(
  { dev, ino, size, mode, uid, gid, mtimeMs, ctimeMs, nlink, blocks }: Stats,
  name: FileName,
): FileNode {
  const usage = blocks * 512
  return { dev, ino, size, mode, uid, gid, mtimeMs, ctimeMs, nlink, usage, isShared: false, names: [name] }
}

function keyOf({ size, mtimeMs, mode, uid, gid, dev }: FileNode): string {
  return `${size} ${mtimeMs} ${mode} ${uid} ${gid} ${dev}`
}

// oxlint-disable-next-line no-control-regex -- ASCII needs no conversion
const ASCII = /^[\0-\x7f]*$/

function placeIn(directory: string, path: string): Place {
  if (ASCII.test(path)) return `${directory}/${path}`
  return Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(path, 'latin1')])
}

/** A second name of some file that a killed run could not put in its place. */
function isLeftOver(name: string): boolean {
  const pid = name.startsWith(TEMPORARY) ? Number(name.slice(TEMPORARY.length)) : Number.NaN
  return Number.isInteger(pid) && !isAlive(pid)
}
