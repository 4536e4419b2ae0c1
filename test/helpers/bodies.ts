/** File bodies in memory, with an account of what was opened and what became of it. */
import { type Digest, digestOf } from '../../src/base/digest.ts'
import type { Bodies } from '../../src/tree/bodies.ts'

export interface MemoryBodies extends Bodies {
  readonly kept: Map<Digest, Buffer>
  /** Number of bodies that were neither closed nor aborted. */
  unfinished(): number
}

export function memoryBodies(): MemoryBodies {
  const kept = new Map<Digest, Buffer>()
  let running = 0
  return {
    kept,
    open: (size) => {
      running++
      const parts: Buffer[] = []
      return {
        write: (bytes) => void parts.push(Buffer.from(bytes)),
        close: () => {
          running--
          const bytes = Buffer.concat(parts)
          if (bytes.length !== size) throw new RangeError(`announced ${size} bytes, wrote ${bytes.length}`)
          const digest = digestOf(bytes)
          kept.set(digest, bytes)
          return digest
        },
        abort: () => void running--,
      }
    },
    unfinished: () => running,
  }
}
