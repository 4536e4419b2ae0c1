/** The upper layers of overlays in a folder of the host: those of guests that live in roots of their own. Needs root. */
import { constants, existsSync, lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { digestOf } from '../base/digest.ts'
import { isStage5Error, printable, Stage5Error } from '../base/errors.ts'
import type { UpperEntry } from '../fleet/shadow.ts'
import { errnoOf, syncFile } from '../host/disk.ts'
import { digestFile } from '../host/file-sink.ts'
import { comparePaths, type Inode, type TreePath, type Xattr } from '../tree/tree.ts'
import { type Beside, goingNames, sortXattrs, type UpperLayer } from './upper-layer.ts'

/** Extended attributes of real files. */
interface XattrTools {
  /** Of everything below a directory, by path in it. */
  readonly read: (directory: string, signal: AbortSignal) => Promise<ReadonlyMap<TreePath, readonly Xattr[]>>
  readonly set: (
    files: readonly { readonly path: Uint8Array; readonly xattrs: readonly Xattr[] }[],
    signal: AbortSignal,
  ) => Promise<void>
}

/**
 * @param folder absolute; may not exist yet
 * @returns a layer whose calls throw S5_FILE_FORBIDDEN for others than root: what overlayfs notes is hidden from them
 */
export function folderLayer(folder: string, xattrs: XattrTools): UpperLayer {
  return {
    isLive: true,
    exists: () => existsSync(folder),
    settle: async () => {},

    read: async (paths, isCompared, signal) => {
      mustBeRoot(folder)
      for (let left = LOOKS; ; left--) {
        try {
          return await look(folder, paths, isCompared, xattrs, signal)
        } catch (error) {
          if (left === 1 || !isStage5Error(error, 'S5_TOOL_FAILED') || signal.aborted) throw error
        }
      }
    },

    mend: async (upper, remove, add, signal) => {
      mustBeRoot(folder)
      const going = goingNames(upper, remove, add)
      for (const { path } of going) await rm(placeOf(folder, path), { recursive: true, force: true })
      for (const one of add) await put(folder, one)
      const marked = add.flatMap(({ path, inode: { xattrs: own } }) =>
        own ? [{ path: placeOf(folder, path), xattrs: own }] : [],
      )
      await xattrs.set(marked, signal)
      for (const path of new Set([...going, ...add].map((one) => above(one.path)))) await sync(folder, path)
    },
  }
}

/** The attr tools fail over a name that a running guest takes away meanwhile. */
const LOOKS = 5

async function look(
  folder: string,
  paths: readonly TreePath[],
  isCompared: (path: TreePath) => boolean,
  xattrs: XattrTools,
  signal: AbortSignal,
): Promise<readonly UpperEntry[]> {
  const found = new Map<TreePath, Stats>()
  for (const path of paths) walk(folder, path, found)
  const attributes = await xattrs.read(folder, signal)
  const entries: UpperEntry[] = []
  for (const [path, stats] of found) {
    signal.throwIfAborted()
    try {
      entries.push(await entryOf(folder, path, stats, attributes.get(path) ?? [], isCompared(path)))
    } catch (error) {
      if (!GONE.has(errnoOf(error) ?? '')) throw error
    }
  }
  return entries.sort((a, b) => comparePaths(a.path, b.path))
}

/** What a name answers that is no more what it was a moment ago: gone, or another thing. */
const GONE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EINVAL', 'ENXIO', 'ESPIPE'])

/** A file that became a link or a pipe meanwhile is neither followed nor waited for. */
const AS_IT_WAS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

function mustBeRoot(folder: string): void {
  if (process.geteuid?.() === 0) return
  throw new Stage5Error('S5_FILE_FORBIDDEN', `${folder}: only root sees what an overlay keeps`, {
    hint: 'run it as root',
    data: { folder },
  })
}

function placeOf(folder: string, path: TreePath): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(path, 'latin1')])
}

function ifThere<T>(ask: () => T): T | undefined {
  try {
    return ask()
  } catch (error) {
    if (GONE.has(errnoOf(error) ?? '')) return undefined
    throw error
  }
}

function walk(folder: string, directory: TreePath, found: Map<TreePath, Stats>): void {
  const names = ifThere(() => readdirSync(placeOf(folder, directory), { encoding: 'buffer' })) ?? []
  for (const name of names) {
    const path = `${directory}/${name.toString('latin1')}`
    const stats = ifThere(() => lstatSync(placeOf(folder, path)))
    if (!stats) continue
    found.set(path, stats)
    if (stats.isDirectory()) walk(folder, path, found)
  }
}

async function entryOf(
  folder: string,
  path: TreePath,
  stats: Stats,
  all: readonly Xattr[],
  isCompared: boolean,
): Promise<UpperEntry> {
  const { xattrs, marks } = sortXattrs(all)
  const { uid, gid, size } = stats
  const meta = { mode: stats.mode & 0o7777, uid, gid, mtime: 0, ...(xattrs.length > 0 && { xattrs }) }
  const place = placeOf(folder, path)
  if (stats.isDirectory()) return { path, inode: { type: 'dir', ...meta }, ...marks }
  if (stats.isFile()) {
    const content = isCompared ? await digestFile(place, { flags: AS_IT_WAS }) : digestOf(new Uint8Array(0))
    return { path, inode: { type: 'file', ...meta, size, content }, ...marks }
  }
  if (stats.isSymbolicLink()) {
    const target = readlinkSync(place, { encoding: 'buffer' }).toString('latin1')
    return { path, inode: { type: 'symlink', ...meta, target } }
  }
  if (stats.isCharacterDevice() && stats.rdev === 0) return { path }
  return { path, inode: special(path, stats, meta) }
}

/** @see makedev(3): 12 bits of the major number, 20 of the minor one */
function special(path: TreePath, stats: Stats, meta: Omit<Inode, 'type'>): Inode {
  if (stats.isFIFO()) return { type: 'fifo', ...meta }
  if (stats.isSocket()) return { type: 'socket', ...meta }
  if (!stats.isCharacterDevice() && !stats.isBlockDevice())
    throw new Error(`/${printable(path)} has mode ${stats.mode.toString(8)}`)
  const major = (stats.rdev >>> 8) & 0xfff
  const minor = (stats.rdev & 0xff) | ((stats.rdev >>> 12) & 0xfff00)
  return { type: stats.isBlockDevice() ? 'block' : 'char', ...meta, major, minor }
}

function above(path: TreePath): TreePath {
  return path.slice(0, path.lastIndexOf('/'))
}

/** So that what was taken out does not come back after a cut of power. */
async function sync(folder: string, path: TreePath): Promise<void> {
  try {
    await syncFile(placeOf(folder, path))
  } catch (error) {
    if (!GONE.has(errnoOf(error) ?? '')) throw error
  }
}

async function put(folder: string, { path, inode, bytes }: Beside): Promise<void> {
  const file = await open(placeOf(folder, path), 'wx', 0o600)
  try {
    await file.writeFile(bytes)
    await file.chown(inode.uid, inode.gid)
    await file.chmod(inode.mode)
    await file.utimes(inode.mtime, inode.mtime)
    await file.sync()
  } finally {
    await file.close()
  }
}
