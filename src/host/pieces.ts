/** A file from its beginning, in pieces that lie in the same memory one after the other. */
import { open } from 'node:fs/promises'

const PIECE = 1 << 20

/** Each piece is good until the next one is asked for. */
export async function* piecesOfFile(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r')
  try {
    const buffer = Buffer.allocUnsafeSlow(PIECE)
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(buffer, 0, PIECE, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await file.close()
  }
}
