/** The port through which unpacking hands over file bodies piece by piece, synchronously: the fast path of ingest. */
import type { Digest } from '../base/digest.ts'

export interface Body {
  write(bytes: Uint8Array): void
  /** Ends the body. The content exists for others when the transaction that gave the `Bodies` commits. */
  close(): Digest
  /** Throws the body away. */
  abort(): void
}

export interface Bodies {
  /** @param size bytes that will be written in all */
  open(size: number): Body
}
