/** The eight file operations by which the store changes and reads its disk; injectable, so that tests can fail the Nth. */
import {
  closeSync,
  fsync,
  linkSync,
  mkdirSync,
  open as openFile,
  openSync,
  type PathLike,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { promisify } from 'node:util'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import { run } from './run.ts'

/**
 * Errors are those of Node (`code` is the errno name). `read` and `write` may do less than was asked, as the system
 * calls may.
 */
export interface Disk {
  /** `create` refuses an existing file and may be read too. @returns a descriptor, closed with `closeSync` */
  open(path: string, how: 'read' | 'create', mode?: number): number
  read(fd: number, into: Uint8Array, at: number, length: number, position: number): number
  write(fd: number, bytes: Uint8Array, at: number, length: number): number
  link(existing: string, path: string): void
  rename(from: string, to: string): void
  /** A file or a whole directory; nothing happens when it is not there. */
  remove(path: string): void
  makeDirectory(path: string): void
  /** Wait until one file or directory, or everything on its file system, has reached the disk. */
  sync(path: string, scope: 'file' | 'filesystem'): Promise<void>
}

const opened = promisify(openFile)
const synced = promisify(fsync)

/** The machine's own disk. */
export const realDisk: Disk = {
  open: (path, how, mode) => openSync(path, how === 'read' ? 'r' : 'wx+', mode ?? 0o600),
  read: readSync,
  write: (fd, bytes, at, length) => writeSync(fd, bytes, at, length),
  link: linkSync,
  rename: renameSync,
  remove: (path) => rmSync(path, { recursive: true, force: true }),
  makeDirectory: (path) => mkdirSync(path, { mode: 0o700 }),
  sync: async (path, scope) => {
    if (scope === 'filesystem') await syncFileSystem(path)
    else await syncFile(path)
  },
}

/** Wait until one file or directory, under whatever bytes its name has, has reached the disk. */
export async function syncFile(path: PathLike): Promise<void> {
  const fd = await opened(path, 'r')
  try {
    await synced(fd)
  } finally {
    closeSync(fd)
  }
}

/**
 * Wait until everything on the file system of `path` has reached the disk. Node has no syncfs; `sync -f` reports failed
 * writeback, also of earlier background writes.
 */
export async function syncFileSystem(path: string, signal?: AbortSignal): Promise<void> {
  await run(['sync', '-f', path], { ...(signal && { signal }) })
}

const LINK_REFUSED = new Set(['EMLINK', 'EXDEV', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP'])

/** @returns false when a hard link cannot be had here: too many names, other file system, none at all on this one */
export function tryLink(disk: Disk, existing: string, path: string): boolean {
  try {
    disk.link(existing, path)
    return true
  } catch (error) {
    if (LINK_REFUSED.has(errnoOf(error) ?? '')) return false
    throw error
  }
}

/** Write all of `bytes`, however little each call takes. */
export function writeAll(disk: Disk, fd: number, bytes: Uint8Array, at: number, length: number): void {
  const end = at + length
  let done = at
  while (done < end) {
    const count = disk.write(fd, bytes, done, end - done)
    if (count <= 0) throw Object.assign(new Error('EIO: write made no progress'), { code: 'EIO' })
    done += count
  }
}

/** Read exactly `length` bytes from `position`. @returns false when the file ends before */
export function readAll(disk: Disk, fd: number, into: Uint8Array, length: number, position: number): boolean {
  let done = 0
  while (done < length) {
    const count = disk.read(fd, into, done, length - done, position + done)
    if (count === 0) return false
    done += count
  }
  return true
}

/** The errno name of a Node system error, otherwise undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined
  return /^E[A-Z0-9]+$/.test(error.code) && !error.code.startsWith('ERR_') ? error.code : undefined
}

/**
 * What a failed file operation means to its user: S5_DISK_FULL, S5_FILE_FORBIDDEN or S5_DISK_FAILED for system errors,
 * anything else as it is.
 * @param subject what was being read or written
 */
export function diskError(error: unknown, subject: string, hint?: string): unknown {
  const errno = errnoOf(error)
  const failedSync = isStage5Error(error, 'S5_TOOL_FAILED') && error.message.startsWith('sync ')
  if (errno === undefined && !failedSync) return error
  const detail = error instanceof Error ? error.message : String(error)
  const full = errno === 'ENOSPC' || errno === 'EDQUOT' || (failedSync && /No space left/.test(detail))
  const forbidden = errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS'
  const code = full ? 'S5_DISK_FULL' : forbidden ? 'S5_FILE_FORBIDDEN' : 'S5_DISK_FAILED'
  return new Stage5Error(code, `${subject}: ${detail}`, {
    cause: error,
    data: { subject, errno },
    ...(hint !== undefined && { hint }),
  })
}
