/**
 * Frees what nothing needs. Segments are never changed: what still lives in a segment with garbage moves into a new
 * segment, published like any other, before the old one goes.
 */
import { lstatSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Digest } from '../base/digest.ts'
import { now } from '../host/clock.ts'
import { type Disk, diskError, tryLink } from '../host/disk.ts'
import type { Catalog, Located } from './catalog.ts'
import { idOf, type Marked, mark } from './mark.ts'
import { isLinkFile } from './segment.ts'
import { beginTransaction, type RecordTransaction } from './transaction.ts'

export interface CollectOptions {
  /**
   * Records (unpacked packages, stage results, compressed blocks) of segments unused for longer are dropped unless a
   * ref needs them. Default: all are kept.
   */
  readonly maxIdleMs?: number
  /** Drop records, longest unused first, until objects and records take at most this. What refs need is kept. */
  readonly maxBytes?: number
  /** Damaged objects that shall go although they are in use, with the records that need them. */
  readonly drop?: ReadonlySet<Digest>
  /** The same for records and link files, by `Problem.id`. */
  readonly dropRecords?: ReadonlySet<string>
  /** What is kept beside the refs: objects, trees, or keys of unpacked packages. */
  readonly keep?: Iterable<Digest>
  readonly dryRun?: boolean
}

export interface Collected {
  readonly objects: number
  readonly bytes: number
}

/** Needs the exclusive lock. */
export async function collectSegments(
  root: string,
  disk: Disk,
  catalog: Catalog,
  refs: Iterable<Digest>,
  options: CollectOptions,
  signal: AbortSignal | undefined,
): Promise<Collected> {
  const folder = join(root, 'segments')
  catalog.refresh()
  const { good, damaged } = catalog.segments()
  const used = new Map(good.map((segment) => [segment, statSync(join(folder, segment)).mtimeMs]))
  const entries = [...catalog.entries()]
  const drop = options.drop ?? new Set()
  const dropRecords = options.dropRecords ?? new Set()
  const targets = [...refs, ...(options.keep ?? [])]
  const markAll = (since: number): Marked =>
    mark(catalog, { refs: targets, drop, isFresh: ({ segment }) => (used.get(segment) as number) >= since })

  let since = options.maxIdleMs === undefined ? Number.NEGATIVE_INFINITY : now() - options.maxIdleMs
  let marked = markAll(since)
  for (const time of [...new Set(used.values())].sort((a, b) => a - b)) {
    if (options.maxBytes === undefined || sizeOf(entries, marked) <= options.maxBytes) break
    if (time < since) continue
    since = time + 1
    marked = markAll(since)
  }

  /** Worth keeping while its object lives and it is fresh or some root has it. */
  const isLinkNeeded = ({ kind, key, segment, file }: Located): boolean =>
    (kind === 'odd' || marked.has(`object ${key}`)) &&
    ((used.get(segment) as number) >= since || hasOtherNames(join(folder, segment, file)))

  const kept = new Set<string>()
  const garbage = new Map<string, Located[]>()
  const alive = new Map<string, Located[]>()
  let objects = 0
  let bytes = 0
  for (const entry of entries) {
    const id = idOf(entry)
    const isNeeded = isLinkFile(entry) ? isLinkNeeded(entry) : marked.has(id)
    const lives = isNeeded && !kept.has(id) && !dropRecords.has(id)
    kept.add(id)
    const side = lives ? alive : garbage
    const list = side.get(entry.segment)
    if (list) list.push(entry)
    else side.set(entry.segment, [entry])
    if (lives) continue
    if (!isLinkFile(entry)) bytes += entry.size
    if (entry.kind === 'object') objects++
  }
  if (options.dryRun) return { objects, bytes }
  signal?.throwIfAborted()

  const dying = [
    ...new Set([...garbage.keys(), ...good.filter((name) => !alive.has(name))]),
    ...damaged,
  ].sort()
  if (dying.length === 0) return { objects, bytes }
  await using moved = beginTransaction(root, disk, catalog)
  try {
    let files = 0
    for (const segment of dying)
      for (const entry of alive.get(segment) ?? []) {
        const file = `moved-${files++}`
        if (isOwnFile(entry) && tryLink(disk, join(folder, segment, entry.file), join(moved.directory, file)))
          moved.place({ ...entry, file })
        else if (!isLinkFile(entry)) moveBytes(moved, catalog, entry)
        signal?.throwIfAborted()
      }
    await moved.commit()
    // A segment goes whole: one whose files were half removed would still name them.
    const gone = (segment: string): string => join(root, 'staging', `gone-${segment}`)
    for (const segment of dying) disk.rename(join(folder, segment), gone(segment))
    await disk.sync(folder, 'file')
    for (const segment of dying) disk.remove(gone(segment))
  } catch (error) {
    throw diskError(error, folder)
  } finally {
    catalog.refresh()
  }
  return { objects, bytes }
}

/** A damaged record stays behind: it would get the sum of its wrong bytes. */
function moveBytes(moved: RecordTransaction, catalog: Catalog, entry: Located): void {
  const bytes = catalog.payload(entry)
  if (entry.kind === 'object' || crc32(bytes) === entry.sum) moved.put(entry.kind, entry.key, bytes)
}

function isOwnFile({ offset, file }: Located): boolean {
  return offset === 0 && !file.endsWith('.pack')
}

/** Whether a root may be linked to it: what it shares with its object does not count for more than one. */
function hasOtherNames(path: string): boolean {
  return (lstatSync(path, { throwIfNoEntry: false })?.nlink ?? 0) > 2
}

function sizeOf(entries: readonly Located[], marked: Marked): number {
  return entries.reduce((total, entry) => total + (marked.has(idOf(entry)) ? entry.size : 0), 0)
}

/** Removes what crashed or ended processes left in staging. Needs the exclusive lock. */
export function sweepStaging(root: string, disk: Disk): void {
  const folder = join(root, 'staging')
  for (const name of readdirSync(folder)) disk.remove(join(folder, name))
}
