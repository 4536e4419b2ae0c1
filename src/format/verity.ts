/**
 * dm-verity as veritysetup(8) lays it out: a superblock in the first hash block, then the levels of the hash tree, the
 * level with one block first.
 *
 * Each 4096-byte block is hashed as sha256(salt ‖ block); 128 digests fill a block of the level above.
 * @see Linux Documentation/admin-guide/device-mapper/verity.rst; cryptsetup wiki, DMVerity, "Verity superblock format"
 */
import { hash } from 'node:crypto'
import { alignUp, type Struct, writeStruct } from '../base/bytes.ts'

export const VERITY_BLOCK = 4096
const DIGEST = 32
const PER_BLOCK = VERITY_BLOCK / DIGEST

/** Numbers of the superblock; signature at 0, uuid at 16, algorithm at 32, salt at 88. */
const SUPERBLOCK = [
  ['version', 8, 'u32'],
  ['hashType', 12, 'u32'],
  ['dataBlockSize', 64, 'u32'],
  ['hashBlockSize', 68, 'u32'],
  ['dataBlocks', 72, 'u64'],
  ['saltSize', 80, 'u16'],
] as const satisfies Struct

export interface VerityIdentity {
  /** 1 to 256 bytes. */
  readonly salt: Uint8Array
  readonly uuid: string
}

/** The first block of the hash area. */
export function veritySuperblock({ salt, uuid }: VerityIdentity, dataBlocks: number): Uint8Array {
  if (salt.length < 1 || salt.length > 256)
    throw new RangeError(`expected a salt of 1 to 256 bytes, found ${salt.length}`)
  const block = Buffer.alloc(VERITY_BLOCK)
  block.write('verity\0\0', 0, 'latin1')
  block.write(uuid.replaceAll('-', ''), 16, 'hex')
  block.write('sha256', 32, 'latin1')
  const numbers = { version: 1, hashType: 1, dataBlockSize: VERITY_BLOCK, hashBlockSize: VERITY_BLOCK }
  writeStruct(SUPERBLOCK, { ...numbers, dataBlocks, saltSize: salt.length }, block, 0)
  block.set(salt, 88)
  return block
}

interface VerityTree {
  /** 64 hex digits: what `roothash=` says. */
  readonly rootHash: string
  readonly dataBlocks: number
  /** From the one-block level down to the hashes of data blocks; empty for a single data block. */
  readonly levels: readonly Uint8Array[]
}

interface VerityHasher {
  /** Any piece of the data, in order; it is not kept. */
  push(bytes: Uint8Array): void
  /** Whole blocks that follow, by their hashes. @throws RangeError inside a block */
  pushHashes(hashes: Uint8Array): void
  /** Whole blocks so far. */
  blocks(): number
  /** The hashes of the blocks from a number on. */
  hashesFrom(block: number): Uint8Array
  /** @throws RangeError unless the data was a whole number of blocks and at least one */
  finish(): VerityTree
}

export function verityHasher(salt: Uint8Array): VerityHasher {
  const hashBlock = saltedHash(salt)
  const held = Buffer.alloc(VERITY_BLOCK)
  let filled = 0
  let hashes = Buffer.allocUnsafe(PER_BLOCK * DIGEST)
  let blocks = 0
  const add = (added: Uint8Array): void => {
    const end = blocks * DIGEST + added.length
    if (end > hashes.length) hashes = Buffer.concat([hashes], 2 * end)
    hashes.set(added, blocks * DIGEST)
    blocks = end / DIGEST
  }
  const push = (bytes: Uint8Array): void => {
    let at = 0
    while (at < bytes.length) {
      if (filled === 0 && bytes.length - at >= VERITY_BLOCK) {
        add(hashBlock(bytes.subarray(at, at + VERITY_BLOCK)))
        at += VERITY_BLOCK
        continue
      }
      const piece = bytes.subarray(at, at + VERITY_BLOCK - filled)
      held.set(piece, filled)
      filled += piece.length
      at += piece.length
      if (filled < VERITY_BLOCK) continue
      add(hashBlock(held))
      filled = 0
    }
  }
  const finish = (): VerityTree => {
    if (filled !== 0 || blocks === 0)
      throw new RangeError(`expected whole blocks of ${VERITY_BLOCK} bytes, found ${filled} bytes more`)
    const levels: Uint8Array[] = []
    let below: Buffer = hashes.subarray(0, blocks * DIGEST)
    while (below.length > DIGEST) {
      const level = Buffer.concat([below], alignUp(below.length, VERITY_BLOCK))
      levels.unshift(level)
      const above: Buffer[] = []
      for (let at = 0; at < level.length; at += VERITY_BLOCK)
        above.push(hashBlock(level.subarray(at, at + VERITY_BLOCK)))
      below = Buffer.concat(above)
    }
    return { rootHash: below.toString('hex'), dataBlocks: blocks, levels }
  }
  return {
    push,
    pushHashes: (known) => {
      if (filled !== 0 || known.length % DIGEST !== 0)
        throw new RangeError(`expected whole hashes at a whole block, found ${known.length} bytes`)
      add(known)
    },
    blocks: () => blocks,
    hashesFrom: (block) => Uint8Array.from(hashes.subarray(block * DIGEST, blocks * DIGEST)),
    finish,
  }
}

function saltedHash(salt: Uint8Array): (block: Uint8Array) => Buffer {
  const input = Buffer.alloc(salt.length + VERITY_BLOCK)
  input.set(salt)
  return (block) => {
    input.set(block, salt.length)
    return hash('sha256', input, 'buffer')
  }
}
