/** The hash tree of an image that is already written: what `veritysetup format` would make with this salt and UUID. */
import { digestOf, hexOf } from '../base/digest.ts'
import { verityHasher, type VerityIdentity, veritySuperblock } from '../format/verity.ts'
import { seededUuid } from './data-disk.ts'
import type { Sink } from './emitter.ts'

/** Salt and UUID of a seed: the same for every version of an image, so that equal blocks keep equal hashes. */
export function verityIdentity(seed: string): VerityIdentity {
  return {
    salt: Buffer.from(hexOf(digestOf(`${seed}\0verity salt`)), 'hex'),
    uuid: seededUuid(seed, 'verity'),
  }
}

/**
 * @param data the image, in pieces of any size, whole 4096-byte blocks together
 * @returns the root hash, 64 hex digits
 */
export async function emitVerity(
  data: AsyncIterable<Uint8Array>,
  identity: VerityIdentity,
  sink: Sink,
  signal: AbortSignal,
): Promise<string> {
  const hasher = verityHasher(identity.salt)
  for await (const bytes of data) {
    signal.throwIfAborted()
    hasher.push(bytes)
  }
  const { rootHash, dataBlocks, levels } = hasher.finish()
  await sink.write(veritySuperblock(identity, dataBlocks))
  for (const level of levels) await sink.write(level)
  return rootHash
}
