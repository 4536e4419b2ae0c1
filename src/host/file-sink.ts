/** A file that an image is written into: in order, with a patch at the end. Nobody sees it under its name until done. */
import { createHash } from 'node:crypto'
import { constants, type PathLike } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Digest } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { piecesOf } from './pieces.ts'

interface FileSink extends AsyncDisposable {
  write(bytes: Uint8Array): Promise<void>
  patch(offset: number, bytes: Uint8Array): Promise<void>
  /** Flushes to the disk and closes. @returns size and digest of the whole file */
  finish(): Promise<Measured>
  /** Closes; whoever calls this has the file measured and flushed to the disk by `measureFile`. @returns bytes */
  close(): Promise<number>
}

const BUFFER = 1 << 20

/**
 * @param path a new file; dispose without `finish` closes it and leaves removal to the caller's directory
 * @param grown called with the bytes that are in the file, each time there are more
 */
export async function openFileSink(path: string, grown?: (size: number) => void): Promise<FileSink> {
  const file = await open(path, 'wx+', 0o644)
  const pending = Buffer.allocUnsafeSlow(BUFFER)
  let filled = 0
  let size = 0

  async function flush(): Promise<void> {
    if (filled === 0) return
    const bytes = pending.subarray(0, filled)
    filled = 0
    await append(bytes)
  }

  async function append(bytes: Uint8Array): Promise<void> {
    await writeAll(file, bytes, size, path)
    size += bytes.length
    grown?.(size)
  }

  return {
    write: async (bytes) => {
      if (filled + bytes.length > BUFFER) await flush()
      if (bytes.length >= BUFFER) return await append(bytes)
      pending.set(bytes, filled)
      filled += bytes.length
    },
    patch: async (offset, bytes) => {
      await flush()
      await writeAll(file, bytes, offset, path)
    },
    finish: async () => {
      await flush()
      // Not while it is written: a patched header would make that worthless. The disk and the processor work side by side.
      const [hex] = await Promise.all([hashFile(file), file.sync()])
      await file.close()
      return { size, digest: `sha256:${hex}` }
    },
    close: async () => {
      await flush()
      await file.close()
      return size
    },
    [Symbol.asyncDispose]: () => file.close().catch(() => undefined),
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number, path: string): Promise<void> {
  let done = 0
  try {
    while (done < bytes.length)
      done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT'))
      throw new Stage5Error('S5_DISK_FULL', `no space left while writing ${path}`, { cause: error })
    throw error
  }
}

async function hashFile(file: FileHandle, signal?: AbortSignal): Promise<string> {
  const sum = createHash('sha256')
  for await (const piece of piecesOf(file, signal)) sum.update(piece)
  return sum.digest('hex')
}

export interface Measured {
  readonly size: number
  readonly digest: Digest
}

/** Size and digest of a file that something else wrote; flushed to the disk. */
export async function measureFile(path: string): Promise<Measured> {
  const file = await open(path, 'r+')
  try {
    const [hex] = await Promise.all([hashFile(file), file.sync()])
    return { size: (await file.stat()).size, digest: `sha256:${hex}` }
  } finally {
    await file.close()
  }
}

/**
 * The digest of a file that is only read.
 * @param flags of open(2); reading alone where they are left out
 */
export async function digestFile(
  path: PathLike,
  { signal, flags = constants.O_RDONLY }: { readonly signal?: AbortSignal; readonly flags?: number } = {},
): Promise<Digest> {
  const file = await open(path, flags)
  try {
    return `sha256:${await hashFile(file, signal)}`
  } finally {
    await file.close()
  }
}
