/** Files that somebody named on the command line. */
import { open, readFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { Stage5Error } from '../base/errors.ts'
import { errnoOf } from '../host/disk.ts'
import { shownPath } from './world.ts'

/** @throws S5_FILE_MISSING when it is not there, or is a folder */
export async function readNamed(path: string): Promise<Buffer> {
  return await readFile(path).catch((cause: unknown) => {
    throw noFile(path, cause)
  })
}

/** @throws S5_FILE_MISSING when it is not there, or is a folder */
export async function openNamed(path: string): Promise<FileHandle> {
  try {
    const file = await open(path, 'r')
    if (!(await file.stat()).isDirectory()) return file
    await file.close()
  } catch (cause) {
    throw noFile(path, cause)
  }
  throw foundFolder(path)
}

function noFile(path: string, cause: unknown): unknown {
  const errno = errnoOf(cause)
  if (errno === 'EISDIR') return foundFolder(path, cause)
  if (errno !== 'ENOENT' && errno !== 'ENOTDIR') return cause
  return new Stage5Error('S5_FILE_MISSING', `there is no file ${shownPath(path)}`, { cause })
}

function foundFolder(path: string, cause?: unknown): Stage5Error {
  return new Stage5Error('S5_FILE_MISSING', `expected a file, found the folder ${shownPath(path)}`, { cause })
}
