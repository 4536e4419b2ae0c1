/** The port through which pure code reads and writes file bodies. Implemented by the store; by a Map in tests. */
import { type Digest, digestOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'

export interface Contents {
  /** @throws S5_STORE_DAMAGED when the object is missing or not what its name says */
  read(content: Digest): Promise<Uint8Array>
  /** Keeps the bytes and returns their digest; the same bytes may be written any number of times. */
  write(bytes: Uint8Array): Promise<Digest>
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
