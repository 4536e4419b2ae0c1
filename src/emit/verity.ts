/**
 * The hash tree of an image that is already written: what `veritysetup format` would make with this salt and UUID.
 *
 * Hashes of blocks are a function of the salt and the bytes: where a layout tells which bytes an image has, those that
 * were hashed before are not read again.
 */
import { digestOf, hexOf } from '../base/digest.ts'
import type { Run } from '../format/delta.ts'
import { VERITY_BLOCK, verityHasher, type VerityIdentity, veritySuperblock } from '../format/verity.ts'
import { seededUuid } from './data-disk.ts'

/** Salt and UUID of a seed: the same for every version of an image, so that equal blocks keep equal hashes. */
export function verityIdentity(seed: string): VerityIdentity {
  return {
    salt: Buffer.from(hexOf(digestOf(`${seed}\0verity salt`)), 'hex'),
    uuid: seededUuid(seed, 'verity'),
  }
}

/** Whole blocks of an image, from one `offset` to the next. */
export interface Stretch {
  readonly offset: number
  readonly length: number
  /** Names the bytes. */
  readonly key: string
}

/** Hashes of blocks that were made before. */
interface KnownHashes {
  get(key: string): Uint8Array | undefined
  put(key: string, bytes: Uint8Array): void
}

/** The hash area of an image. */
interface HashTree {
  /** 64 hex digits. */
  readonly rootHash: string
  /** End to end they are the hash area. */
  readonly parts: readonly Uint8Array[]
}

/** @param runs of the whole image, ascending; a stretch ends where another owner's, or tables, begin at a whole block */
export function stretchesOf(runs: readonly Run[]): readonly Stretch[] {
  const stretches: Stretch[] = []
  let first = 0
  for (const [index, { owner, offset, length }] of runs.entries()) {
    const end = offset + length
    const next = runs[index + 1]
    if (end % VERITY_BLOCK !== 0 || (next?.owner === owner && next.kind !== 'metadata')) continue
    const own = runs.slice(first, index + 1)
    const start = (own[0] as Run).offset
    const names = own.map((run) => `${run.length} ${run.digest}\n`).join('')
    stretches.push({ offset: start, length: end - start, key: digestOf(names) })
    first = index + 1
  }
  return stretches
}

/**
 * @param stretches of the whole image, ascending
 * @param read hands over a stretch, in pieces of any size
 */
export async function emitVerity<S extends Pick<Stretch, 'length'> & { readonly key?: string }>(
  stretches: readonly S[],
  read: (stretch: S, take: (bytes: Uint8Array) => void) => Promise<void>,
  { identity, known }: { readonly identity: VerityIdentity; readonly known?: KnownHashes },
  signal: AbortSignal,
): Promise<HashTree> {
  const hasher = verityHasher(identity.salt)
  const salt = Buffer.from(identity.salt).toString('hex')
  for (const stretch of stretches) {
    const key = stretch.key === undefined ? undefined : `verity:${salt}:${stretch.key}`
    const found = key === undefined ? undefined : known?.get(key)
    if (found) {
      hasher.pushHashes(found)
      continue
    }
    const begin = hasher.blocks()
    await read(stretch, (bytes) => {
      signal.throwIfAborted()
      hasher.push(bytes)
    })
    if (key !== undefined) known?.put(key, hasher.hashesFrom(begin))
  }
  const { rootHash, dataBlocks, levels } = hasher.finish()
  return { rootHash, parts: [veritySuperblock(identity, dataBlocks), ...levels] }
}
