/**
 * File bodies into a staging directory: small ones end to end into a pack, large ones into files of their own.
 * Synchronous and without a store, so that a worker thread can fill the transaction of the thread that owns the store.
 */
import { hash, randomBytes } from 'node:crypto'
import { closeSync } from 'node:fs'
import { join } from 'node:path'
import { type Digest, digester } from '../base/digest.ts'
import { type Disk, diskError, realDisk, writeAll } from '../host/disk.ts'
import type { Bodies, Body } from '../tree/bodies.ts'
import { createPack, type Pack } from './pack.ts'

/**
 * Bodies up to this many bytes go into a pack. A file costs 25 µs and an inode, a packed body 2 µs; but a hard-linked
 * root needs a second copy of what is packed. 40,893 files, 884 MB, on ext4, seconds of processor for bringing in (2.7 of
 * them SHA-256) and MB of store with all link files: none packed 5.5 and 872, up to 4 KiB 3.9 and 910, 8 KiB 3.8 and 928,
 * 16 KiB 3.7 and 955, 64 KiB 3.6 and 1,037.
 */
export const PACKED_MAX = 8_192

/** A body that lies in a staging directory and waits for its transaction. */
export interface Staged {
  readonly content: Digest
  readonly file: string
  readonly offset: number
  readonly size: number
}

export interface StagedBodies extends Bodies, Disposable {
  /** What was written since the last call; all of it has left this process's buffers. */
  list(): Staged[]
}

/**
 * @param directory `Transaction.directory`
 * @param has what need not be written, for example `Reader.has`
 */
export function bodiesIn(
  directory: string,
  has: (content: Digest) => boolean,
  disk: Disk = realDisk,
): StagedBodies {
  const writer = randomBytes(6).toString('hex')
  const known = new Set<Digest>()
  let staged: Staged[] = []
  let pack: Pack | undefined
  let files = 0
  const unfinished = new Set<Body>()

  /** Runs a step that touches the disk. */
  function step<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw diskError(error, directory)
    }
  }

  function isNew(content: Digest): boolean {
    if (known.has(content) || has(content)) return false
    known.add(content)
    return true
  }

  function keep(bytes: Uint8Array): Digest {
    const content: Digest = `sha256:${hash('sha256', bytes, 'hex')}`
    if (isNew(content)) {
      pack ??= createPack(disk, directory, `${writer}-${files++}.pack`)
      staged.push({ content, file: pack.name, offset: pack.append(bytes), size: bytes.length })
    }
    return content
  }

  function openSmall(size: number): Body {
    let bytes: Uint8Array | undefined
    let filled = 0
    let content: Digest | undefined
    return {
      write: (part) => {
        if (filled + part.length > size) throw new RangeError(`a body of ${size} bytes got more`)
        if (part.length === size) content = step(() => keep(part))
        else {
          bytes ??= new Uint8Array(size)
          bytes.set(part, filled)
        }
        filled += part.length
      },
      close: () => {
        if (filled !== size) throw new RangeError(`a body of ${size} bytes got ${filled}`)
        return content ?? step(() => keep(bytes ?? new Uint8Array(0)))
      },
      abort: () => {},
    }
  }

  function openLarge(size: number): Body {
    const file = `${writer}-${files++}`
    const path = join(directory, file)
    const fd = step(() => disk.open(path, 'create', 0o400))
    const sum = digester()
    let filled = 0
    let isOpen = true
    const close = (): void => {
      isOpen = false
      closeSync(fd)
      unfinished.delete(body)
    }
    const abort = (): void => {
      if (!isOpen) return
      close()
      step(() => disk.remove(path))
    }
    const body: Body = {
      write: (part) => {
        if (filled + part.length > size) throw new RangeError(`a body of ${size} bytes got more`)
        sum.update(part)
        step(() => writeAll(disk, fd, part, 0, part.length))
        filled += part.length
      },
      close: () => {
        if (filled !== size) throw new RangeError(`a body of ${size} bytes got ${filled}`)
        const content = sum.digest()
        if (!isNew(content)) {
          abort()
          return content
        }
        close()
        staged.push({ content, file, offset: 0, size })
        return content
      },
      abort,
    }
    unfinished.add(body)
    return body
  }

  return {
    open: (size) => (size <= PACKED_MAX ? openSmall(size) : openLarge(size)),
    list: () => {
      step(() => pack?.flush())
      pack?.close()
      pack = undefined
      const list = staged
      staged = []
      return list
    },
    [Symbol.dispose]: () => {
      pack?.close()
      for (const body of unfinished) body.abort()
    },
  }
}
