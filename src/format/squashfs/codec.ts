/**
 * Compressing and unpacking one block the way that squashfs readers accept.
 *
 * The kernel unpacks zstd with a window of one block, so a frame must declare its size: with the length pledged, zstd
 * writes a single segment without a larger window, shrinks its tables from 64 MiB to the block (level 15 takes 0.4 times
 * the time and gives 7 % less), and puts the size into the header. No checksum. An output buffer as large as the
 * worst case makes each block one task of the thread pool.
 */
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'

export type SquashfsCodec = 'zstd' | 'gzip'

const deflate = promisify<Uint8Array, zlib.ZlibOptions, Buffer>(zlib.deflate)
const zstd = promisify<Uint8Array, zlib.ZstdOptions, Buffer>(zlib.zstdCompress)

/** Memory that a `zstdPacker` fills before it takes more, bytes. */
const PACKED_AT_ONCE = 2 ** 20

/** Levels that each codec takes, and the one that readers assume when the image does not say. */
export const LEVELS = {
  zstd: { min: 1, max: 22, assumed: 15 },
  gzip: { min: 1, max: 9, assumed: 9 },
} as const

/**
 * What goes into the image, unless it is not smaller than `bytes`. One call holds 1 MiB (zstd 3) to about 6 MiB
 * (zstd 15) for blocks of 128 KiB; callers bound how many run.
 */
export async function compressBlock(
  codec: SquashfsCodec,
  level: number,
  bytes: Uint8Array,
): Promise<Uint8Array> {
  const packed =
    codec === 'zstd'
      ? await zstd(bytes, zstdOptions(level, bytes))
      : await deflate(bytes, deflateOptions(level, bytes))
  // A copy in memory of its own: zlib's answer is the front of a buffer for the worst case, three times as large.
  return new Uint8Array(packed)
}

/** The same bytes as `compressBlock`, on this thread; what is kept of them should be copied, as they hold on to more. */
export function compressBlockSync(codec: SquashfsCodec, level: number, bytes: Uint8Array): Uint8Array {
  return codec === 'zstd'
    ? zlib.zstdCompressSync(bytes, zstdOptions(level, bytes))
    : zlib.deflateSync(bytes, deflateOptions(level, bytes))
}

/**
 * The same bytes as `compressBlock` with zstd, by one context for all blocks: making one for each block costs a third of
 * the time at level 3. Each write ends a frame; zstd knows its size, as all of the input is there.
 * @returns packs one block after the other; what it gives holds on to more memory
 */
export function zstdPacker(level: number): (bytes: Uint8Array) => Promise<Uint8Array> {
  const { ZSTD_e_end, ZSTD_c_compressionLevel } = zlib.constants
  const stream = zlib.createZstdCompress({
    flush: ZSTD_e_end,
    params: { [ZSTD_c_compressionLevel]: level },
    chunkSize: PACKED_AT_ONCE,
  })
  let pieces: Buffer[] = []
  stream.on('data', (piece: Buffer) => pieces.push(piece))
  // Whoever writes is told.
  stream.on('error', () => undefined)
  return (bytes) =>
    new Promise((resolve, reject) => {
      stream.write(bytes, (error) => {
        const [first, ...more] = pieces
        pieces = []
        if (error || !first) reject(error ?? new Error('zstd gave nothing'))
        else resolve(more.length === 0 ? first : Buffer.concat([first, ...more]))
      })
    })
}

/** @throws whatever zlib throws for damaged bytes, or when the result would pass `limit` bytes */
export function unpackBlockSync(codec: SquashfsCodec, bytes: Uint8Array, limit: number): Uint8Array {
  const options = { maxOutputLength: limit, chunkSize: Math.max(64, limit) }
  return codec === 'zstd' ? zlib.zstdDecompressSync(bytes, options) : zlib.inflateSync(bytes, options)
}

function zstdOptions(level: number, bytes: Uint8Array): zlib.ZstdOptions {
  return {
    params: { [zlib.constants.ZSTD_c_compressionLevel]: level },
    pledgedSrcSize: bytes.length,
    chunkSize: bytes.length + (bytes.length >> 8) + 512,
  }
}

function deflateOptions(level: number, bytes: Uint8Array): zlib.ZlibOptions {
  return { level, windowBits: 15, memLevel: 8, chunkSize: bytes.length + (bytes.length >> 8) + 512 }
}
