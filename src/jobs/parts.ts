/** Runs of bytes out of the store's files, gathered into one buffer: the input of a block. */
import { closeSync } from 'node:fs'
import { Stage5Error } from '../base/errors.ts'
import { diskError, readAll, realDisk } from '../host/disk.ts'

/** Where the input of a block lies. */
export interface Ranges {
  readonly files: readonly string[]
  /** For each run three numbers: index into `files`, offset, length. */
  readonly runs: Float64Array
  /** Bytes of all runs. */
  readonly length: number
}

interface PartReader extends Disposable {
  /**
   * @returns a part of a buffer that the next call uses again
   * @throws S5_STORE_DAMAGED, S5_DISK_FAILED
   */
  gather(ranges: Ranges): Uint8Array
}

/** Fragment blocks read many small parts of few pack files: those stay open. */
const MAX_OPEN = 32

export function openPartReader(): PartReader {
  const open = new Map<string, number>()
  let scratch = Buffer.alloc(0)

  function descriptor(path: string): number {
    const known = open.get(path)
    if (known !== undefined) return known
    for (const [oldest, fd] of open) {
      if (open.size < MAX_OPEN) break
      closeSync(fd)
      open.delete(oldest)
    }
    const fd = realDisk.open(path, 'read')
    open.set(path, fd)
    return fd
  }

  return {
    gather: ({ files, runs, length }) => {
      if (scratch.length < length) scratch = Buffer.allocUnsafeSlow(Math.max(length, 2 ** 20))
      let filled = 0
      for (let at = 0; at < runs.length; at += 3) {
        const path = files[runs[at] as number] as string
        const size = runs[at + 2] as number
        try {
          const into = scratch.subarray(filled, filled + size)
          if (!readAll(realDisk, descriptor(path), into, size, runs[at + 1] as number))
            throw new Stage5Error('S5_STORE_DAMAGED', `${path} is cut short`, { data: { path } })
        } catch (error) {
          throw diskError(error, path)
        }
        filled += size
      }
      return scratch.subarray(0, filled)
    },
    [Symbol.dispose]: () => {
      for (const fd of open.values()) closeSync(fd)
      open.clear()
    },
  }
}
