/** A package file that is read from several places through one descriptor: what was verified is what is unpacked. */
import { open } from 'node:fs/promises'
import { Stage5Error } from '../base/errors.ts'

/** Bytes that can be read again. */
export interface RandomSource {
  /** File name without folders, for errors. */
  readonly name: string
  /** Bytes in all. */
  readonly size: number
  /** Bytes of the pieces that it is read in; 1 MiB when not given. */
  readonly chunk?: number
  /** Fewer bytes than asked for only at the end. */
  read(at: number, length: number): Promise<Uint8Array>
}

const CHUNK = 2 ** 20

/** Opens `file` for the time of `work`. @throws S5_FILE_MISSING */
export async function withSource<T>(
  file: string,
  label: string,
  work: (source: RandomSource) => Promise<T>,
): Promise<T> {
  const handle = await open(file, 'r').catch((cause: unknown) => {
    if ((cause as { code?: unknown }).code !== 'ENOENT') throw cause
    throw new Stage5Error('S5_FILE_MISSING', `${label}: there is no file ${file}`, { cause })
  })
  try {
    return await work({
      name: file.slice(file.lastIndexOf('/') + 1),
      size: (await handle.stat()).size,
      async read(at, length) {
        const buffer = Buffer.allocUnsafeSlow(length)
        let filled = 0
        while (filled < length) {
          const { bytesRead } = await handle.read(buffer, filled, length - filled, at + filled)
          if (bytesRead === 0) break
          filled += bytesRead
        }
        return buffer.subarray(0, filled)
      },
    })
  } finally {
    await handle.close()
  }
}

/** The bytes from `from` up to `to`, in pieces that belong to the caller. */
export async function* chunksBetween(
  source: RandomSource,
  from: number,
  to: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let at = from; at < to; ) {
    signal.throwIfAborted()
    const bytes = await source.read(at, Math.min(source.chunk ?? CHUNK, to - at))
    if (bytes.length === 0) return
    at += bytes.length
    yield bytes
  }
}
