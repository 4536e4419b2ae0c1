/** A file from its beginning, in pieces that lie in the same memory one after the other. */
import { type FileHandle, open } from 'node:fs/promises'

const PIECE = 1 << 20

/** Each piece is good until the next one is asked for. */
export async function* piecesOfFile(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r')
  try {
    yield* piecesOf(file)
  } finally {
    await file.close()
  }
}

/** The same of an open file, which stays open. */
export async function* piecesOf(file: FileHandle, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(PIECE)
  for (let at = 0; ; ) {
    signal?.throwIfAborted()
    const { bytesRead } = await file.read(buffer, 0, PIECE, at)
    if (bytesRead === 0) return
    at += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}
