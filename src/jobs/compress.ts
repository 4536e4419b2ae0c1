/** Blocks packed on a worker thread, which reads their input from the store's files: nothing large is sent to it. */
import { RUN_DIGEST, runDigest } from '../format/delta.ts'
import { compressBlockSync } from '../format/squashfs/codec.ts'
import type { CompressInput, CompressOutput } from './messages.ts'
import { openPartReader } from './parts.ts'

const reader = openPartReader()

/** One buffer for all blocks, so that one transfer takes them over. */
export function compressHere({ codec, level, blocks }: CompressInput): CompressOutput {
  const sizes = new Int32Array(blocks.length)
  const packed = blocks.map((ranges, at) => {
    const input = reader.gather(ranges)
    const bytes = compressBlockSync(codec, level, input)
    const isRaw = bytes.length >= input.length
    sizes[at] = isRaw ? -input.length : bytes.length
    return isRaw ? Uint8Array.from(input) : bytes
  })
  const bytes = new Uint8Array(packed.reduce((sum, { length }) => sum + RUN_DIGEST + length, 0))
  let filled = 0
  for (const part of packed) {
    bytes.set(part, filled)
    bytes.set(runDigest(part), filled + part.length)
    filled += RUN_DIGEST + part.length
  }
  return { bytes, sizes }
}
