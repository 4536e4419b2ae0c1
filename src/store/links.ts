/**
 * Files and symlinks that roots are hard-linked to: one for each combination of content and metadata that was ever
 * asked for, because all names of an inode share mode, owner, time and attributes.
 *
 * They lie in segments of their own. A large object's own file is used for the first metadata asked for, so that its
 * bytes exist once; further ones get copies. Nothing is changed in an inode that a root may have.
 */
import { hash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  lstatSync,
  lutimesSync,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import { digestOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { type Disk, diskError, tryLink, writeAll } from '../host/disk.ts'
import { takeLock } from '../host/lock.ts'
import type { FileInode, SymlinkInode } from '../tree/tree.ts'
import type { Catalog } from './catalog.ts'
import type { RecordTransaction } from './transaction.ts'
import { canSetXattrs, type FileXattrs, setXattrs } from './xattrs.ts'

export type Linkable = FileInode | SymlinkInode

interface LinkFiles {
  /** The file to link to for each inode, in order. */
  readonly paths: readonly string[]
  /** Whether they carry the xattrs that were asked for. */
  readonly hasXattrs: boolean
}

export interface Links {
  /**
   * Link files for inodes; missing ones are made, all in one transaction. A file that was changed through a root is
   * not used again.
   * @throws S5_STORE_DAMAGED, S5_DISK_FULL, S5_DISK_FAILED, S5_LOCK_BUSY
   */
  ensure(inodes: readonly Linkable[], signal?: AbortSignal): Promise<LinkFiles>
  /** The files without attributes that roots may be linked to, by folder. */
  plain(): readonly { readonly directory: string; readonly files: readonly string[] }[]
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
interface Attainable {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: number
}

/** `meta` itself when all of it can be had. */
export function attainable(meta: Attainable, owner: Owner): Attainable {
  if (owner.isRoot || (meta.uid === owner.uid && meta.gid === owner.gid)) return meta
  return { mode: meta.mode & 0o1777, uid: owner.uid, gid: owner.gid, mtime: meta.mtime }
}

interface Wanted {
  readonly kind: 'link' | 'odd'
  readonly key: string
  readonly sum: number
  readonly inode: Linkable
  readonly real: Attainable
}

/** @param root the version directory of the store */
export function openLinks(root: string, disk: Disk, catalog: Catalog, begin: () => RecordTransaction): Links {
  const owner = currentOwner()
  let turn: Promise<unknown> = Promise.resolve()

  async function make(
    missing: ReadonlyMap<string, Wanted>,
    withXattrs: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    // Two processes must not both take one object's file for different metadata.
    const lock = await takeLock(join(root, 'links.lock'), 'exclusive', {
      waitMs: 600_000,
      ...(signal ? { signal } : {}),
    })
    try {
      await using made = begin()
      const xattrs: FileXattrs[] = []
      let files = 0
      for (const { kind, key, sum, inode, real } of missing.values()) {
        if (files % 1_000 === 0) signal?.throwIfAborted()
        const file = `link-${files++}`
        const path = `${made.directory}/${file}`
        if (inode.type === 'symlink') makeSymlink(path, inode, real)
        else makeFile(path, inode, real, withXattrs && inode.xattrs !== undefined)
        if (withXattrs && inode.xattrs) xattrs.push({ path, xattrs: inode.xattrs })
        made.place({ kind, key, file, offset: 0, size: sizeOf(inode), sum })
      }
      await setXattrs(xattrs, signal)
      await made.commit()
    } finally {
      lock[Symbol.dispose]()
    }
  }

  function makeSymlink(path: string, inode: SymlinkInode, real: Attainable): void {
    symlinkSync(Buffer.from(inode.target, 'latin1'), path)
    if (owner.isRoot) lchownSync(path, real.uid, real.gid)
    lutimesSync(path, real.mtime, real.mtime)
  }

  function makeFile(path: string, inode: FileInode, real: Attainable, isSpecial: boolean): void {
    const place = catalog.locate(inode.content)
    if (!place) throw new Stage5Error('S5_STORE_DAMAGED', `object ${inode.content} is missing`)
    const canBeRead = owner.isRoot || (real.mode & 0o400) !== 0
    const isFree = !place.path.endsWith('.pack') && statSync(place.path).nlink === 1
    if (isFree && canBeRead && !isSpecial && tryLink(disk, place.path, path)) {
      chmodSync(path, 0o600)
      if (owner.isRoot) chownSync(path, real.uid, real.gid)
      chmodSync(path, real.mode)
      utimesSync(path, real.mtime, real.mtime)
      return
    }
    const bytes = catalog.readSync(inode.content)
    // An object that roots are linked to may have been written to through one of them.
    if (!place.path.endsWith('.pack') && digestOf(bytes) !== inode.content)
      throw new Stage5Error('S5_STORE_DAMAGED', `object ${inode.content} has other bytes`)
    const fd = disk.open(path, 'create', 0o600)
    try {
      writeAll(disk, fd, bytes, 0, bytes.length)
      if (real.uid !== owner.uid || real.gid !== owner.gid) fchownSync(fd, real.uid, real.gid)
      fchmodSync(fd, real.mode)
      futimesSync(fd, real.mtime, real.mtime)
    } finally {
      closeSync(fd)
    }
  }

  async function ensure(inodes: readonly Linkable[], signal: AbortSignal | undefined): Promise<LinkFiles> {
    const wantXattrs = inodes.some((inode) => inode.xattrs !== undefined)
    const withXattrs = wantXattrs && canSetXattrs()
    const paths: string[] = []
    const missing = new Map<string, Wanted>()
    const later: { readonly at: number; readonly wanted: Wanted }[] = []
    for (const [at, inode] of inodes.entries()) {
      const real = attainable(inode, owner)
      const isOdd = inode.type === 'symlink' || (withXattrs && inode.xattrs !== undefined)
      const kind = isOdd ? 'odd' : 'link'
      const key = isOdd ? keyOfOdd(inode, withXattrs) : inode.content.slice(7)
      const sum = sumOf(real)
      const path = intactOf(catalog.paths(kind, key, sum), inode, real)
      paths.push(path ?? '')
      if (path !== undefined) continue
      const wanted = { kind, key, sum, inode, real } as const
      missing.set(`${kind} ${key} ${real.mode} ${real.uid} ${real.gid} ${real.mtime}`, wanted)
      later.push({ at, wanted })
    }
    if (missing.size > 0) {
      try {
        await make(missing, withXattrs, signal)
      } catch (error) {
        throw diskError(error, root)
      }
    }
    for (const { at, wanted } of later) {
      const { kind, key, sum, inode, real } = wanted
      paths[at] = intactOf(catalog.paths(kind, key, sum), inode, real) as string
    }
    return { paths, hasXattrs: withXattrs || !wantXattrs }
  }

  return {
    ensure: (inodes, signal) => {
      const work = turn.then(() => ensure(inodes, signal))
      turn = work.catch(() => {})
      return work
    },
    plain: () => {
      const bySegment = new Map<string, string[]>()
      for (const { kind, segment, file } of catalog.entries()) {
        if (kind !== 'link') continue
        const files = bySegment.get(segment)
        if (files) files.push(file)
        else bySegment.set(segment, [file])
      }
      return [...bySegment].map(([segment, files]) => ({ directory: join(root, 'segments', segment), files }))
    },
  }
}

function keyOfOdd(inode: Linkable, withXattrs: boolean): string {
  const what = inode.type === 'file' ? inode.content : `symlink ${inode.target}`
  return hash('sha256', `${what} ${JSON.stringify((withXattrs && inode.xattrs) || [])}`, 'hex')
}

/** Sorts files of one key by their metadata. What it lets through is compared in full by `isIntact`. */
export function sumOf({ mode, uid, gid, mtime }: Attainable): number {
  let sum = mode
  for (const part of [uid, gid, mtime]) sum = Math.imul(sum ^ part, 0x9e3779b1) ^ (sum >>> 15)
  return sum >>> 0
}

function sizeOf(inode: Linkable): number {
  return inode.type === 'file' ? inode.size : inode.target.length
}

function intactOf(paths: readonly string[], inode: Linkable, real: Attainable): string | undefined {
  for (const path of paths) if (isIntact(path, inode, real)) return path
  return undefined
}

/** A link file that was written to through a root differs in size or time from what it was made as. */
function isIntact(path: string, inode: Linkable, real: Attainable): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false })
  return (
    found !== undefined &&
    found.size === sizeOf(inode) &&
    Math.floor(found.mtimeMs / 1000) === real.mtime &&
    found.uid === real.uid &&
    found.gid === real.gid &&
    (inode.type === 'symlink' || (found.mode & 0o7777) === real.mode)
  )
}
