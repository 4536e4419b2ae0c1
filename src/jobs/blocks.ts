/** Compressed blocks: from the store when they were made before, else from zlib's threads. */
import { promisify } from 'node:util'
import { constants, deflate, zstdCompress } from 'node:zlib'
import type { Limit } from '../base/limit.ts'
import type { Blocks, Codec } from '../emit/emitter.ts'

/** The part of the store that remembers compressed blocks. */
export interface BlockCache {
  get(key: string): Uint8Array | undefined
  put(key: string, bytes: Uint8Array): void
}

/** Part of every key: the library decides the bytes. */
const LIBRARY: { readonly [codec in Codec]: string } = {
  zstd: `zstd-${process.versions['zstd']}`,
  gzip: `zlib-${process.versions['zlib']}`,
}

const zstd = promisify(zstdCompress)
const gzip = promisify(deflate)

/**
 * @param limit bounds compressions in flight: each holds its input, its output and a context (about 4 MiB at zstd 15 for
 *   blocks of 128 KiB)
 */
export function openBlocks(
  cache: BlockCache,
  limit: Limit,
): Blocks & { readonly counts: { hits: number; misses: number } } {
  const counts = { hits: 0, misses: 0 }
  return {
    counts,
    compress: async (codec, level, key, read) => {
      const name = key === undefined ? undefined : `${LIBRARY[codec]}:${level}:${key}`
      const found = name === undefined ? undefined : cache.get(name)
      if (found) {
        counts.hits++
        return found
      }
      counts.misses++
      const packed = await limit(async () => compressNow(codec, level, await read()))
      if (name !== undefined) cache.put(name, packed)
      return packed
    },
  }
}

/** One block, without memory. zstd frames carry their content size and no checksum, as the kernel's decoder expects. */
export async function compressNow(codec: Codec, level: number, bytes: Uint8Array): Promise<Uint8Array> {
  if (codec === 'gzip') return await gzip(bytes, { level, windowBits: 15, memLevel: 8 })
  return await zstd(bytes, {
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 0 },
    pledgedSrcSize: bytes.length,
  })
}
