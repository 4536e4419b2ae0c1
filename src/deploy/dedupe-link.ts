/** Makes equal files names of one: a new name beside the old one, renamed over it, where both are as they were scanned. */
import { type BigIntStats, linkSync, lstatSync, renameSync, rmSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
import { errnoOf } from '../host/disk.ts'
import { comparer } from './dedupe-compare.ts'
import { type FileNode, type Place, TEMPORARY } from './dedupe-scan.ts'
import { journalToucher } from './dedupe-times.ts'

/** Files of equal size, mode, owner, time and attributes. */
export type Bucket = readonly FileNode[]

/** What every thread of a run knows. */
export interface Setting {
  readonly dryRun: boolean
  readonly journals: string
  /** By number of the folder: 1 before the first change in it. Shared by threads. */
  readonly touched: Uint8Array
  /** Not 0 when nothing more may be done. Shared by threads. */
  readonly stop: Int32Array
}

interface Gain {
  linked: number
  saved: number
}

/** What became of some buckets. */
export interface Outcome {
  /** By number of the argument. */
  readonly gains: Map<number, Gain>
  toShared: number
  /** Files that changed since they were scanned, and were left alone. */
  changed: number
}

type FileName = FileNode['names'][number]

/** The times of all folders of a bucket must be in the journal before. */
export function linker({
  dryRun,
  journals,
  touched,
  stop,
}: Setting): (buckets: readonly Bucket[]) => Outcome {
  const isStopped = (): boolean => Atomics.load(stop, 0) !== 0
  const classesOf = comparer(isStopped)
  const touchJournal = dryRun ? (): void => {} : journalToucher(journals)

  return (buckets) => {
    const outcome: Outcome = { gains: new Map(), toShared: 0, changed: 0 }
    for (const bucket of buckets) for (const equal of classesOf(bucket)) join(equal, outcome)
    return outcome
  }

  /** @returns false when the file may not have another name */
  function replace(master: FileNode, { place, folder }: FileName): boolean {
    touchJournal()
    touched[folder] = 1
    const temporary = beside(place, `${TEMPORARY}${process.pid}-${threadId}`)
    try {
      linkSync((master.names[0] as FileName).place, temporary)
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

  function join(nodes: readonly FileNode[], outcome: Outcome): void {
    let master = nodes.reduce((best, node) => (isBetter(node, best) ? node : best))
    let stats = unchanged(master, 0)
    if (!stats) return void outcome.changed++
    for (const node of nodes) {
      if (node === master || node.isShared) continue
      let done = 0
      for (let at = 0; at < node.names.length; at++) {
        if (isStopped()) return
        const name = node.names[at] as FileName
        const found = unchanged(node, at)
        if (!found) {
          outcome.changed++
          continue
        }
        if (found.mtimeNs !== stats.mtimeNs) break
        if (!dryRun && !replace(master, name)) {
          master = node
          stats = found
          break
        }
        done++
        const gain = outcome.gains.get(name.group) ?? { linked: 0, saved: 0 }
        outcome.gains.set(name.group, gain)
        gain.linked++
        if (master.isShared) outcome.toShared++
        if (done === node.nlink) gain.saved += node.usage
      }
    }
  }
}

/** Another name in the folder of a file. */
function beside(place: Place, name: string): Place {
  const end = place.lastIndexOf('/') + 1
  if (typeof place === 'string') return place.slice(0, end) + name
  return Buffer.concat([place.subarray(0, end), Buffer.from(name)])
}

/** Which of two equal files the other becomes a name of: one of the store, else the one with more names. */
function isBetter(node: FileNode, other: FileNode): boolean {
  return node.isShared === other.isShared ? node.nlink > other.nlink : node.isShared
}

/** The file under its name as it was scanned; undefined when it is another one, or was touched since. */
function unchanged(node: FileNode, at: number): BigIntStats | undefined {
  const { place } = node.names[at] as FileName
  const found = lstatSync(place, { bigint: true, throwIfNoEntry: false })
  if (!found || Number(found.ino) !== node.ino || Number(found.size) !== node.size) return undefined
  if (Number(found.mode) !== node.mode || Number(found.uid) !== node.uid || Number(found.gid) !== node.gid)
    return undefined
  if (Math.abs(Number(found.mtimeNs) / 1e6 - node.mtimeMs) > 0.01) return undefined
  // Taking one name of a file away moves its time of change.
  if (at === 0 && Math.abs(Number(found.ctimeNs) / 1e6 - node.ctimeMs) > 0.01) return undefined
  return found
}
