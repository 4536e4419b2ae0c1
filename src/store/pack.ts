/** An append-only file of small payloads in a staging directory, buffered: one system call per megabyte. */
import { closeSync } from 'node:fs'
import { join } from 'node:path'
import { type Disk, readAll, writeAll } from '../host/disk.ts'

const BUFFERED = 1 << 20

export interface Pack {
  readonly name: string
  /** Bytes so far: the offset of what is appended next. */
  readonly size: number
  /** Takes a copy of `bytes`. @returns their offset */
  append(bytes: Uint8Array): number
  read(offset: number, size: number): Buffer
  /** Writes what is buffered. */
  flush(): void
  /** Forgets what is buffered and closes the file; idempotent. */
  close(): void
}

/** The file is made by the first write that reaches the disk. */
export function createPack(disk: Disk, directory: string, name: string): Pack {
  let buffer = Buffer.alloc(0)
  const path = join(directory, name)
  let fd: number | undefined
  let written = 0
  let filled = 0
  let failed: unknown

  function flush(): void {
    write(buffer, filled)
    filled = 0
  }

  /** After a failure nobody knows what the file holds: every later use fails with the same error. */
  function write(bytes: Uint8Array, length: number): void {
    if (failed !== undefined) throw failed
    try {
      fd ??= disk.open(path, 'create', 0o400)
      writeAll(disk, fd, bytes, 0, length)
    } catch (error) {
      failed = error
      throw error
    }
    written += length
  }

  return {
    name,
    get size() {
      return written + filled
    },
    append: (bytes) => {
      const offset = written + filled
      if (filled > 0 && filled + bytes.length > BUFFERED) flush()
      if (bytes.length > BUFFERED) {
        write(bytes, bytes.length)
      } else {
        if (buffer.length === 0) buffer = Buffer.allocUnsafeSlow(BUFFERED)
        buffer.set(bytes, filled)
        filled += bytes.length
      }
      return offset
    },
    read: (offset, size) => {
      const bytes = Buffer.allocUnsafeSlow(size)
      if (offset >= written) {
        buffer.copy(bytes, 0, offset - written, offset - written + size)
        return bytes
      }
      if (!readAll(disk, fd as number, bytes, size, offset))
        throw new RangeError(`${path} is shorter than its list`)
      return bytes
    },
    flush: () => {
      // Also when all that was appended is empty: the file must be there for those who sync and read it.
      if (filled > 0 || fd === undefined) flush()
    },
    close: () => {
      if (fd !== undefined) closeSync(fd)
      fd = undefined
    },
  }
}
