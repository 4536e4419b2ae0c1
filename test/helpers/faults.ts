/** Disks that fail on purpose: at the Nth operation, from the Nth on, or in what they promise. */
import { type Disk, realDisk } from '../../src/host/disk.ts'

export type Errno = 'ENOSPC' | 'EIO' | 'EMFILE' | 'EROFS' | 'EMLINK' | 'EXDEV'

export interface Fault {
  /** 1 is the first operation. */
  readonly at: number
  /** `short`: writes and reads do one byte and no error. */
  readonly with: Errno | 'short'
  /** Later operations fail too, as on a full or read-only disk. */
  readonly lasting?: boolean
}

export interface FaultyDisk extends Disk {
  /** Operations so far. */
  readonly count: number
  /** Whether the fault came to pass. */
  readonly struck: boolean
}

function failure(errno: Errno, what: string): Error {
  return Object.assign(new Error(`${errno}: injected, ${what}`), { code: errno, syscall: what })
}

/** The real disk, counted, with a fault. Removal never fails: it is how everything cleans up. */
export function faultyDisk(fault?: Fault): FaultyDisk {
  let count = 0
  let struck = false

  /** @returns whether this operation shall be short */
  function step(what: string): boolean {
    count++
    if (!fault || (fault.lasting ? count < fault.at : count !== fault.at)) return false
    struck = true
    if (fault.with === 'short') return true
    throw failure(fault.with, what)
  }

  return {
    get count() {
      return count
    },
    get struck() {
      return struck
    },
    open: (path, how, mode) => {
      step('open')
      return realDisk.open(path, how, mode)
    },
    read: (fd, into, at, length, position) =>
      realDisk.read(fd, into, at, step('read') ? Math.min(1, length) : length, position),
    write: (fd, bytes, at, length) =>
      realDisk.write(fd, bytes, at, step('write') ? Math.min(1, length) : length),
    link: (from, to) => {
      step('link')
      realDisk.link(from, to)
    },
    rename: (from, to) => {
      step('rename')
      realDisk.rename(from, to)
    },
    remove: (path) => realDisk.remove(path),
    makeDirectory: (path) => {
      step('mkdir')
      realDisk.makeDirectory(path)
    },
    sync: async (path, scope) => {
      step('sync')
      // A fault test asks what is left after an error, not after a power cut.
      if (scope === 'file') await realDisk.sync(path, scope)
    },
  }
}

/** Broken on purpose, one protection each: tests that stay green on these say nothing. */
export const MUTANTS: Readonly<
  Record<'noSync' | 'noDirectorySync' | 'directWrite' | 'shortWrites' | 'renameFirst', Disk>
> = {
  /** Nothing is ever synced. */
  noSync: { ...realDisk, sync: async () => {} },
  /** Contents are synced, the names in directories are not. */
  noDirectorySync: {
    ...realDisk,
    sync: async (path, scope) => {
      if (scope === 'file' && !/\/(?:segments|refs)$|\/staging\/[^/]+$/.test(path))
        await realDisk.sync(path, scope)
    },
  },
  /** Segments are written where readers look, not in staging. */
  directWrite: direct({
    ...realDisk,
    rename: (from, to) => {
      if (from !== to) realDisk.rename(from, to)
    },
  }),
  /** One write is taken for all. */
  shortWrites: {
    ...realDisk,
    write: (fd, bytes, at, length) => (realDisk.write(fd, bytes, at, Math.min(length, 4_096)), length),
  },
  /** Segments are renamed over whatever stands there, and may be seen before they are written out. */
  renameFirst: renamedFirst(),
}

function direct(disk: Disk): Disk {
  const at = (path: string): string => path.replace(/\/staging\/(?=[^/]+-[^/]+-)/, '/segments/')
  return {
    ...disk,
    open: (path, how, mode) => disk.open(at(path), how, mode),
    link: (from, to) => disk.link(at(from), at(to)),
    rename: (from, to) => disk.rename(at(from), to),
    remove: (path) => disk.remove(at(path)),
    makeDirectory: (path) => disk.makeDirectory(at(path)),
    sync: (path, scope) => disk.sync(at(path), scope),
  }
}

/** Syncs come after the rename, where they find nothing to wait for any more. */
function renamedFirst(): Disk {
  const late = new Set<string>()
  return {
    ...realDisk,
    sync: async (path, scope) => {
      if (/\/staging\//.test(path)) late.add(path)
      else await realDisk.sync(path, scope)
    },
  }
}
