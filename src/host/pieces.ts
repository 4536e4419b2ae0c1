/** A file or a part of it, in pieces that lie in the same memory one after the other. */
import { type FileHandle, open } from 'node:fs/promises'

const PIECE = 1 << 20

/** Bytes of a file. */
export interface Stretch {
  readonly offset: number
  readonly length: number
}

/** Each piece is good until the next one is asked for. */
export async function* piecesOfFile(path: string, stretch?: Stretch): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r')
  try {
    yield* piecesOf(file, undefined, stretch)
  } finally {
    await file.close()
  }
}

/** The same of an open file, which stays open. */
export async function* piecesOf(
  file: FileHandle,
  signal?: AbortSignal,
  { offset, length }: Stretch = { offset: 0, length: Infinity },
): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(PIECE)
  const end = offset + length
  for (let at = offset; at < end; ) {
    signal?.throwIfAborted()
    const { bytesRead } = await file.read(buffer, 0, Math.min(PIECE, end - at), at)
    if (bytesRead === 0) return
    at += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}
