/** Many small writes as few large ones, each written while the next is gathered. */
import type { Sink } from './emitter.ts'

/** Output is handed to the sink in pieces of about this size: a call of the file system costs as much as copying 100 kB. */
export const PIECE: number = 2 ** 20
/** Memory for a piece, and for the largest block behind it. */
const GATHERED = 2 * PIECE + 4096

export interface GatheringSink {
  /** Bytes written so far, gathered ones included. */
  position(): number
  /** Memory for bytes that are written next; it is this sink's again after the next call. */
  room(length: number): Promise<Uint8Array>
  write(bytes: Uint8Array): Promise<void>
  flush(): Promise<void>
  /** Resolves when nothing is being written any more. */
  settled(): Promise<void>
}

/**
 * Gathers small writes in memory that is used again and again; keeps no bytes of the caller. One piece is written while
 * the next is gathered.
 */
export function gatheringSink(sink: Pick<Sink, 'write'>): GatheringSink {
  let gathered = new Uint8Array(GATHERED)
  let other = new Uint8Array(GATHERED)
  let filled = 0
  let position = 0
  let writing: Promise<void> = Promise.resolve()
  const flush = async (): Promise<void> => {
    await writing
    if (filled === 0) return
    writing = sink.write(gathered.subarray(0, filled))
    writing.catch(() => undefined)
    filled = 0
    ;[gathered, other] = [other, gathered]
  }
  return {
    position: () => position,
    room: async (length) => {
      if (filled + length > GATHERED) await flush()
      return length > GATHERED ? new Uint8Array(length) : gathered.subarray(filled, filled + length)
    },
    write: async (bytes) => {
      position += bytes.length
      if (filled + bytes.length > GATHERED) await flush()
      if (bytes.length > GATHERED) {
        await writing
        return await sink.write(bytes)
      }
      // What was read into `room` stands where it belongs, or right behind.
      gathered.set(bytes, filled)
      filled += bytes.length
      if (filled >= PIECE) await flush()
    },
    flush: async () => {
      await flush()
      await writing
    },
    settled: () => writing.catch(() => undefined),
  }
}
