/** Sparse files as values: what is no hole, so that a thousand copies cost one reading. */
import { open } from 'node:fs/promises'

export interface SparseFile {
  readonly size: number
  readonly parts: readonly { readonly offset: number; readonly bytes: Uint8Array }[]
}

const STEP = 262_144

/** Everything that is not zero, in memory. */
export async function readSparse(path: string): Promise<SparseFile> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const parts: { offset: number; bytes: Uint8Array }[] = []
    const zeros = Buffer.alloc(STEP)
    const buffer = Buffer.allocUnsafe(STEP)
    for (let offset = 0; offset < size; ) {
      const { bytesRead } = await file.read(buffer, 0, STEP, offset)
      if (bytesRead === 0) break
      const bytes = buffer.subarray(0, bytesRead)
      if (bytes.compare(zeros, 0, bytesRead) !== 0) parts.push({ offset, bytes: Buffer.from(bytes) })
      offset += bytesRead
    }
    return { size, parts }
  } finally {
    await file.close()
  }
}

/** Makes or replaces `path`; the rest is holes. */
export async function writeSparse({ size, parts }: SparseFile, path: string): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    await file.truncate(size)
    for (const { offset, bytes } of parts) await file.write(bytes, 0, bytes.length, offset)
  } finally {
    await file.close()
  }
}
