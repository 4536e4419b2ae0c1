/** Makes a real directory of a tree: hard links to the store where links can go, copies elsewhere, all or nothing. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { printable, Stage5Error } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import { diskError, errnoOf, realDisk, writeAll } from '../host/disk.ts'
import { run } from '../host/run.ts'
import { uniqueName } from '../host/temp.ts'
import type { DeviceInode, FileInode, Inode, PipeInode, Tree, TreePath } from '../tree/tree.ts'
import { attainable, currentOwner, type Linkable, type Owner } from './links.ts'
import type { Store } from './store.ts'
import { canSetXattrs, type FileXattrs, setXattrs } from './xattrs.ts'

interface CheckoutOptions {
  /** `link`: files share their inodes with the store and with other checkouts, and must not be written to in place. */
  readonly how: 'link' | 'copy'
  readonly signal?: AbortSignal
  readonly report?: Report
}

interface Checkout {
  /** Names (files and symlinks) that are hard links to the store. */
  readonly linked: number
  /** Files written anew, empty ones included. */
  readonly copied: number
  /** Bytes in them. */
  readonly bytes: number
  /** What could not be made as the tree says, such as `/bin/su: mode and owner 0:0 need root`; for people. */
  readonly skipped: readonly string[]
}

/** What `link` answers when a file has to be made anew: other file system, too many links, not allowed, not there. */
const COPY_INSTEAD = new Set(['EXDEV', 'EMLINK', 'EPERM', 'ENOENT'])
const STEP = 1_000

/**
 * Make `directory`, which must not exist or be empty; nothing is visible under its name before all is done.
 *
 * Empty files are never linked: they would be the first to have too many names. Users other than root cannot give
 * files away; their files are their own, and `skipped` says so.
 * @throws S5_DIRECTORY_EXISTS, S5_STORE_DAMAGED, S5_DISK_FULL, S5_DISK_FAILED
 */
export async function checkout(
  store: Store,
  tree: Tree,
  directory: string,
  { how, signal, report }: CheckoutOptions,
): Promise<Checkout> {
  const target = resolve(directory)
  refuseExisting(target)
  await store.flush()
  const staging = `${target}.${uniqueName()}`
  try {
    mkdirSync(staging, { mode: 0o700 })
    const isNear = statSync(store.path).dev === statSync(dirname(staging)).dev
    const links = how === 'link' && isNear ? await linkFiles(store, tree, signal) : NO_LINKS
    const done = await fill(store, tree, staging, links, signal, report)
    renameSync(staging, target)
    return done
  } catch (error) {
    rmSync(staging, { recursive: true, force: true })
    if (errnoOf(error) === 'ENOTEMPTY' || errnoOf(error) === 'EEXIST') throw existing(target)
    throw diskError(error, target)
  }
}

function refuseExisting(target: string): void {
  try {
    if (readdirSync(target).length > 0) throw existing(target)
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') throw existing(target)
    if (errnoOf(error) !== 'ENOENT') throw diskError(error, target)
  }
}

function existing(target: string): Stage5Error {
  return new Stage5Error('S5_DIRECTORY_EXISTS', `${target}: expected nothing there or an empty directory`)
}

interface ToLink {
  /** By number of inode. */
  readonly paths: readonly (string | undefined)[]
  readonly hasXattrs: boolean
}

const NO_LINKS: ToLink = { paths: [], hasXattrs: false }

async function linkFiles(store: Store, tree: Tree, signal: AbortSignal | undefined): Promise<ToLink> {
  const numbers: number[] = []
  const inodes: Linkable[] = []
  for (const [number, inode] of tree.inodes.entries()) {
    if (inode.type !== 'symlink' && (inode.type !== 'file' || inode.size === 0)) continue
    numbers.push(number)
    inodes.push(inode)
  }
  const files = await store.links.ensure(inodes, signal)
  const paths = new Array<string | undefined>(tree.inodes.length)
  for (const [at, path] of files.paths.entries()) paths[numbers[at] as number] = path
  return { paths, hasXattrs: files.hasXattrs }
}

async function fill(
  store: Store,
  tree: Tree,
  staging: string,
  links: ToLink,
  signal: AbortSignal | undefined,
  report: Report | undefined,
): Promise<Checkout> {
  const owner = currentOwner()
  const made = new Array<string | Buffer | undefined>(tree.inodes.length)
  const skipped: string[] = []
  const xattrs: FileXattrs[] = []
  const withXattrs = tree.inodes.some((inode) => inode.xattrs) && canSetXattrs()
  let linked = 0
  let copied = 0
  let bytes = 0
  let mayLink = true

  for (const [at, { path, inode: number }] of tree.names.entries()) {
    if (at % STEP === 0) {
      signal?.throwIfAborted()
      report?.({ kind: 'image.progress', name: 'checkout', done: at, total: tree.names.length })
      await setImmediate()
    }
    const inode = tree.inodes[number] as Inode
    const place = placeOf(staging, path)
    const earlier = made[number]
    made[number] = place
    const file = links.paths[number]
    if (file !== undefined && mayLink && tryLink(file, place)) {
      linked++
      if (earlier === undefined && inode.xattrs && !links.hasXattrs) lose(path, 'extended attributes')
    } else if (earlier === undefined || !tryLink(earlier, place)) {
      const pending = make(path, inode, place)
      if (pending) await pending
    }
    if (earlier === undefined && attainable(inode, owner) !== inode)
      lose(path, `owner ${inode.uid}:${inode.gid}`)
  }
  await setXattrs(xattrs, signal)
  finishDirectories(tree, staging, owner)
  return { linked, copied, bytes, skipped }

  function make(path: TreePath, inode: Inode, place: string | Buffer): Promise<void> | undefined {
    if (inode.type === 'file') {
      copyFile(store, inode, place, owner)
      copied++
      bytes += inode.size
    } else if (inode.type === 'dir') {
      if (path !== '') mkdirSync(place, { mode: 0o700 })
    } else if (inode.type === 'symlink') {
      symlinkSync(Buffer.from(inode.target, 'latin1'), place)
      if (owner.isRoot) lchownSync(place, inode.uid, inode.gid)
      lutimesSync(place, inode.mtime, inode.mtime)
    } else return makeSpecial(path, inode)
    keepXattrs(inode, path, place)
    return undefined
  }

  function lose(path: TreePath, what: string): void {
    skipped.push(`/${printable(path)}: ${what} cannot be given`)
  }

  function keepXattrs(inode: Inode, path: TreePath, place: string | Buffer): void {
    if (!inode.xattrs) return
    if (withXattrs) xattrs.push({ path: place, xattrs: inode.xattrs })
    else lose(path, 'extended attributes')
  }

  function tryLink(file: string | Buffer, place: string | Buffer): boolean {
    try {
      linkSync(file, place)
      return true
    } catch (error) {
      const errno = errnoOf(error)
      if (errno === undefined || !COPY_INSTEAD.has(errno)) throw error
      if (errno === 'EXDEV' || errno === 'EPERM') mayLink = false
      return false
    }
  }

  /** Node has no mknod. */
  async function makeSpecial(path: TreePath, inode: DeviceInode | PipeInode): Promise<void> {
    const name = Buffer.from(path, 'latin1').toString('utf8')
    const isName = Buffer.from(name, 'utf8').toString('latin1') === path
    if (inode.type === 'socket' || !isName) {
      skipped.push(`/${printable(path)}: a ${inode.type} cannot be made`)
      return
    }
    const place = `${staging}/${name}`
    const numbers = 'major' in inode ? [String(inode.major), String(inode.minor)] : []
    const letter = { char: 'c', block: 'b', fifo: 'p' }[inode.type]
    const { code } = await run(['mknod', '--', place, letter, ...numbers], { accept: 'any' })
    if (code !== 0) {
      skipped.push(`/${printable(path)}: a ${inode.type} device needs root`)
      return
    }
    setMeta(place, inode, owner)
    keepXattrs(inode, path, place)
  }
}

/** Not plain ASCII, or with an empty, `.` or `..` component. One look at each of many paths. */
// oxlint-disable-next-line no-control-regex -- ASCII needs no conversion
const UNUSUAL = /[^\0-\x7f]|(?:^|\/)\.{0,2}(?:\/|$)/

/** @throws RangeError for a name that climbs: a tree is not taken at its word */
function placeOf(staging: string, path: TreePath): string | Buffer {
  if (!UNUSUAL.test(path)) return `${staging}/${path}`
  if (path === '') return staging
  if (/(?:^|\/)\.{0,2}(?:\/|$)/.test(path)) throw new RangeError(`not a clean path: ${printable(path)}`)
  return Buffer.concat([Buffer.from(`${staging}/`), Buffer.from(path, 'latin1')])
}

function setMeta(place: string | Buffer, inode: Inode, owner: Owner): void {
  const { mode, uid, gid, mtime } = attainable(inode, owner)
  if (owner.isRoot) chownSync(place, uid, gid)
  chmodSync(place, mode)
  utimesSync(place, mtime, mtime)
}

function copyFile(store: Store, inode: FileInode, place: string | Buffer, owner: Owner): void {
  const where = inode.size === 0 ? undefined : store.locate(inode.content)
  if (where && where.offset === 0 && !where.path.endsWith('.pack')) {
    copyFileSync(where.path, place, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    setMeta(place, inode, owner)
    return
  }
  const bytes = inode.size === 0 ? new Uint8Array(0) : store.readSync(inode.content)
  const fd = openSync(place, 'wx', 0o600)
  try {
    writeAll(realDisk, fd, bytes, 0, bytes.length)
    const { mode, uid, gid, mtime } = attainable(inode, owner)
    if (owner.isRoot) fchownSync(fd, uid, gid)
    fchmodSync(fd, mode)
    futimesSync(fd, mtime, mtime)
  } finally {
    closeSync(fd)
  }
}

/** Last and from the bottom up: making a name changes the time of its directory, and the mode may forbid it. */
function finishDirectories(tree: Tree, staging: string, owner: Owner): void {
  for (let at = tree.names.length - 1; at >= 0; at--) {
    const name = tree.names[at]
    const inode = name && tree.inodes[name.inode]
    if (name && inode?.type === 'dir') setMeta(placeOf(staging, name.path), inode, owner)
  }
}
