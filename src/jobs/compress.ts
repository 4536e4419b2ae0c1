/** Blocks packed on a worker thread, which reads their input from the store's files: nothing large is sent to it. */
import { RUN_DIGEST, runDigest } from '../format/delta.ts'
import { compressBlockSync, type SquashfsCodec, zstdPacker } from '../format/squashfs/codec.ts'
import type { CompressInput, CompressOutput } from './messages.ts'
import { openPartReader } from './parts.ts'

const reader = openPartReader()

/** By level; one job at a time comes to a thread. */
const packers = new Map<number, (bytes: Uint8Array) => Promise<Uint8Array>>()

async function pack(codec: SquashfsCodec, level: number, input: Uint8Array): Promise<Uint8Array> {
  if (codec !== 'zstd') return compressBlockSync(codec, level, input)
  const packer = packers.get(level) ?? zstdPacker(level)
  packers.set(level, packer)
  return await packer(input)
}

/** One buffer for all blocks, so that one transfer takes them over. */
export async function compressHere({ codec, level, blocks }: CompressInput): Promise<CompressOutput> {
  const sizes = new Int32Array(blocks.length)
  const packed: Uint8Array[] = []
  for (const [at, ranges] of blocks.entries()) {
    const input = reader.gather(ranges)
    const bytes = await pack(codec, level, input)
    const isRaw = bytes.length >= input.length
    sizes[at] = isRaw ? -input.length : bytes.length
    packed.push(isRaw ? Uint8Array.from(input) : bytes)
  }
  const bytes = new Uint8Array(packed.reduce((sum, { length }) => sum + RUN_DIGEST + length, 0))
  let filled = 0
  for (const part of packed) {
    bytes.set(part, filled)
    bytes.set(runDigest(part), filled + part.length)
    filled += RUN_DIGEST + part.length
  }
  return { bytes, sizes }
}
