/**
 * Files that roots are hard-linked to: one for each combination of content and metadata that was ever asked for,
 * because all names of an inode share mode, owner, time and attributes.
 *
 * They lie in `links/NAME/`, directories that appear whole like segments, under names that spell their metadata. A
 * large object's own file is used for the first metadata asked for, so that its bytes exist once; further ones get
 * copies. Nothing in a link file is ever changed again once it has a second name.
 */
import { hash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  fchmodSync,
  fchownSync,
  futimesSync,
  lstatSync,
  readdirSync,
  rmdirSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import { type Digest, digestOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { type Disk, diskError, writeAll } from '../host/disk.ts'
import { takeLock } from '../host/lock.ts'
import { uniqueName } from '../host/temp.ts'
import type { FileInode, Xattr } from '../tree/tree.ts'
import type { Catalog } from './catalog.ts'
import { canSetXattrs, type FileXattrs, setXattrs } from './xattrs.ts'

export interface LinkFile {
  readonly path: string
  /** Whether it carries the xattrs that were asked for. */
  readonly hasXattrs: boolean
}

export interface Links {
  /**
   * A link file for each inode, in order; missing ones are made, all in one go.
   * @throws S5_STORE_DAMAGED, S5_DISK_FULL, S5_DISK_FAILED
   */
  ensure(inodes: readonly FileInode[], signal?: AbortSignal): Promise<LinkFile[]>
  count(): number
  /**
   * Removes link files of objects that are gone, on demand also those that no root is linked to. Needs the exclusive
   * lock of the store.
   */
  collect(alsoUnused: boolean): void
}

interface Wanted {
  readonly name: string
  readonly inode: FileInode
  readonly real: Attainable
  readonly xattrs: readonly Xattr[] | undefined
}

/** What this process can really give a file: users cannot give files away, and set-id bits would mean them then. */
export interface Owner {
  readonly isRoot: boolean
  readonly uid: number
  readonly gid: number
}

export function currentOwner(): Owner {
  const uid = process.geteuid?.() ?? 0
  return { isRoot: uid === 0, uid, gid: process.getegid?.() ?? 0 }
}

/** Metadata as this process can make it. */
export interface Attainable {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: number
}

export function attainable(meta: Attainable, owner: Owner): Attainable {
  if (owner.isRoot || (meta.uid === owner.uid && meta.gid === owner.gid)) return meta
  return { mode: meta.mode & 0o1777, uid: owner.uid, gid: owner.gid, mtime: meta.mtime }
}

/** Spells what the file is; the digest comes first. */
function nameOf(inode: FileInode, real: Attainable, xattrs: readonly Xattr[] | undefined): string {
  const extra = xattrs ? `-${hash('sha256', JSON.stringify(xattrs), 'hex').slice(0, 32)}` : ''
  return `${inode.content.slice(7)}-${real.mode.toString(8)}-${real.uid}-${real.gid}-${real.mtime}${extra}`
}

/** @param root the version directory of the store */
export function openLinks(root: string, disk: Disk, catalog: Catalog): Links {
  const folder = join(root, 'links')
  const owner = currentOwner()
  const loaded = new Set<string>()
  let known = new Map<string, string>()
  let turn: Promise<unknown> = Promise.resolve()

  function load(): void {
    const present = readdirSync(folder)
    const still = new Set(present)
    if ([...loaded].some((name) => !still.has(name))) {
      loaded.clear()
      known = new Map()
    }
    for (const group of present) {
      if (loaded.has(group)) continue
      loaded.add(group)
      for (const name of readdirSync(join(folder, group))) known.set(name, group)
    }
  }

  /** A link file that was written to through a root differs in size or time from what it was made as. */
  function isIntact({ name, inode, real }: Wanted): boolean {
    const group = known.get(name)
    if (group === undefined) return false
    const path = join(folder, group, name)
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (
      found !== undefined &&
      found.size === inode.size &&
      Math.floor(found.mtimeMs / 1000) === real.mtime &&
      (found.mode & 0o7777) === real.mode &&
      found.uid === real.uid &&
      found.gid === real.gid
    )
      return true
    disk.remove(path)
    known.delete(name)
    return false
  }

  async function make(missing: ReadonlyMap<string, Wanted>, signal: AbortSignal | undefined): Promise<void> {
    const group = uniqueName()
    const staging = join(root, 'staging', group)
    const lock = await takeLock(join(root, 'links.lock'), 'exclusive', {
      waitMs: 600_000,
      ...(signal ? { signal } : {}),
    })
    try {
      disk.makeDirectory(staging)
      const withXattrs: FileXattrs[] = []
      for (const wanted of missing.values()) {
        signal?.throwIfAborted()
        const path = join(staging, wanted.name)
        makeFile(path, wanted)
        if (wanted.xattrs) withXattrs.push({ path, xattrs: wanted.xattrs })
      }
      await setXattrs(withXattrs, signal)
      await disk.sync(staging, 'filesystem')
      disk.rename(staging, join(folder, group))
      await disk.sync(folder, 'file')
    } catch (error) {
      disk.remove(staging)
      throw error
    } finally {
      lock[Symbol.dispose]()
    }
    loaded.add(group)
    for (const name of missing.keys()) known.set(name, group)
  }

  function makeFile(path: string, { inode, real, xattrs }: Wanted): void {
    const place = catalog.locate(inode.content)
    if (!place) throw new Stage5Error('S5_STORE_DAMAGED', `object ${inode.content} is missing`)
    const canBeRead = owner.isRoot || (real.mode & 0o400) !== 0
    if (!place.path.endsWith('.pack') && canBeRead && !xattrs && statSync(place.path).nlink === 1) {
      disk.link(place.path, path)
      chmodSync(path, 0o600)
      if (owner.isRoot) chownSync(path, real.uid, real.gid)
      chmodSync(path, real.mode)
      utimesSync(path, real.mtime, real.mtime)
      return
    }
    const bytes = catalog.readSync(inode.content)
    // An object that roots are linked to may have been written to through one of them.
    if (digestOf(bytes) !== inode.content)
      throw new Stage5Error('S5_STORE_DAMAGED', `object ${inode.content} has other bytes`)
    const fd = disk.open(path, 'create', 0o600)
    try {
      writeAll(disk, fd, bytes, 0, bytes.length)
      if (owner.isRoot) fchownSync(fd, real.uid, real.gid)
      fchmodSync(fd, real.mode)
      futimesSync(fd, real.mtime, real.mtime)
    } finally {
      closeSync(fd)
    }
  }

  async function ensure(inodes: readonly FileInode[], signal: AbortSignal | undefined): Promise<LinkFile[]> {
    const withXattrs = inodes.some((inode) => inode.xattrs) && canSetXattrs()
    const all: Wanted[] = inodes.map((inode) => {
      const real = attainable(inode, owner)
      const xattrs = withXattrs ? inode.xattrs : undefined
      return { inode, real, xattrs, name: nameOf(inode, real, xattrs) }
    })
    try {
      load()
      const missing = new Map<string, Wanted>()
      for (const wanted of all) if (!isIntact(wanted)) missing.set(wanted.name, wanted)
      if (missing.size > 0) await make(missing, signal)
    } catch (error) {
      throw diskError(error, folder)
    }
    return all.map(({ inode, xattrs, name }) => ({
      path: join(folder, known.get(name) as string, name),
      hasXattrs: inode.xattrs === xattrs,
    }))
  }

  /** Whether no root has it: its only names are here and, when it is an object's own file, in its segment. */
  function isUnused(path: string, content: Digest): boolean {
    const { nlink, ino } = statSync(path)
    if (nlink === 1) return true
    const place = catalog.locate(content)
    return nlink === 2 && place !== undefined && statSync(place.path).ino === ino
  }

  return {
    ensure: (inodes, signal) => {
      const work = turn.then(() => ensure(inodes, signal))
      turn = work.catch(() => {})
      return work
    },
    count: () => {
      load()
      return known.size
    },
    collect: (alsoUnused) => {
      load()
      for (const [name, group] of known) {
        const content: Digest = `sha256:${name.slice(0, 64)}`
        const path = join(folder, group, name)
        if (catalog.has(content) && !(alsoUnused && isUnused(path, content))) continue
        disk.remove(path)
        known.delete(name)
      }
      for (const group of loaded)
        if (readdirSync(join(folder, group)).length === 0) rmdirSync(join(folder, group))
    },
  }
}
