/** The port through which pure code reads and writes file bodies. Implemented by the store; by a Map in tests. */
import { type Digest, digestOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'

export interface Contents {
  /** @throws S5_STORE_DAMAGED when the object is missing or not what its name says */
  read(content: Digest): Promise<Uint8Array>
  /**
   * A part of a body without the rest of it, where that can be had.
   * @throws S5_STORE_DAMAGED as `read` does, or when the body ends too early
   */
  readPart?(content: Digest, offset: number, length: number): Promise<Uint8Array>
  /** Keeps the bytes and returns their digest; the same bytes may be written any number of times. */
  write(bytes: Uint8Array): Promise<Digest>
  /** Absent where nothing is remembered. */
  readonly notes?: Notes
}

/** What was found out before, by a text that names the question and everything that was looked at. A note may be forgotten. */
interface Notes {
  get(key: string): Uint8Array | undefined
  put(key: string, bytes: Uint8Array): void
}

/** Most bytes of a piece. */
const PIECE = 1 << 20

/**
 * A body from its beginning, in pieces: a large one is never whole in memory where parts can be read.
 * @param length bytes that are wanted, at most the size of the body
 * @throws S5_STORE_DAMAGED as `read` does
 */
export async function* piecesOf(
  contents: Pick<Contents, 'read' | 'readPart'>,
  content: Digest,
  length: number,
): AsyncGenerator<Uint8Array> {
  if (length <= PIECE || !contents.readPart) return yield (await contents.read(content)).subarray(0, length)
  for (let at = 0; at < length; at += PIECE)
    yield await contents.readPart(content, at, Math.min(PIECE, length - at))
}

/**
 * The first bytes of a body, at most `length` of them; the rest is not read where parts can be had.
 * @param size of the body
 * @throws S5_STORE_DAMAGED as `read` does
 */
export async function headOf(
  contents: Pick<Contents, 'read' | 'readPart'>,
  { content, size }: { readonly content: Digest; readonly size: number },
  length: number,
): Promise<Uint8Array> {
  if (size > length && contents.readPart) return await contents.readPart(content, 0, length)
  return (await contents.read(content)).subarray(0, length)
}

/** Contents in memory: for tests and for small generated trees. */
export function memoryContents(): Contents & { readonly objects: Map<Digest, Uint8Array> } {
  const objects = new Map<Digest, Uint8Array>()
  return {
    objects,
    read: async (content) => {
      const bytes = objects.get(content)
      if (!bytes) throw new Stage5Error('S5_STORE_DAMAGED', `object ${content} is missing`)
      return bytes
    },
    write: async (bytes) => {
      const content = digestOf(bytes)
      objects.set(content, bytes)
      return content
    },
  }
}
