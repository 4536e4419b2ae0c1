import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/base/digest.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { ioctlProgram } from '../../src/emit/ioctl-program.ts'
import { emitVerity, verityIdentity } from '../../src/emit/verity.ts'
import { verityHasher, veritySuperblock } from '../../src/format/verity.ts'

const identity = { salt: Buffer.alloc(32, 7), uuid: '00112233-4455-8677-8899-aabbccddeeff' }

/** Blocks that differ by their number. */
function data(blocks: number): Buffer {
  const bytes = Buffer.alloc(4096 * blocks, 'stage5 block')
  for (let at = 0; at < blocks; at++) bytes.writeUInt32LE(at, at * 4096)
  return bytes
}

/** Made by `veritysetup format --salt=0707… --uuid=00112233-… ` (cryptsetup 2.6.1): sha256 of the hash device. */
const FROZEN: readonly (readonly [blocks: number, rootHash: string, file: string])[] = [
  [
    1,
    '3c74c85b793b6a5ee4e67347f7854155773f7c614892937d0a40228ff2584ef1',
    'sha256:4e44afbda94617e08aeba1c8c5a58816dc943827d02f8bd83eafd7b650e34134',
  ],
  [
    2,
    'e534b24d51840e96dd5971f38240ee476582421497666869274dbf142916b7c5',
    'sha256:835e61d893dba61fa53e96e3425307c3cafa42e91abe4d3e49a51f35d6882a6f',
  ],
  [
    128,
    'e3cb90e90cd59a654c7bf6dce837d59051a7dbf73fb8af3dfc82672ea7240258',
    'sha256:5aa9585874c500e43d9dc94060f6cb5477c8e098b7c7765d319d486d182788f1',
  ],
  [
    129,
    '64b7b4319639854f645ed1b410cf4ed09cbd32ed22e7c5bfa9191245dea91747',
    'sha256:7f9e149790c791528fa1d903a3dd859ec62e8add280385341b97846ca7e76601',
  ],
  [
    16385,
    'f856dbc31e88f2758962a0d6d44c9e879f050b1efd53282dc906df59172b47e1',
    'sha256:7109ee7ed3e7d56bef1cc1754e01c3f860fe0a3592c5ab132807223e4829133f',
  ],
]

test('hash trees are those of veritysetup, in pieces of any size', async () => {
  for (const [blocks, rootHash, file] of FROZEN) {
    for (const piece of [4096, 5000, 1 << 20]) {
      const bytes = data(blocks)
      const hasher = verityHasher(identity.salt)
      for (let at = 0; at < bytes.length; at += piece) hasher.push(bytes.subarray(at, at + piece))
      const tree = hasher.finish()
      assert.equal(tree.rootHash, rootHash, `${blocks} blocks in pieces of ${piece}`)
      const all = Buffer.concat([veritySuperblock(identity, tree.dataBlocks), ...tree.levels])
      assert.equal(digestOf(all), file)
    }
  }
})

test('a part of a block, and no block at all, are refused', () => {
  const hasher = verityHasher(identity.salt)
  assert.throws(() => hasher.finish(), RangeError)
  hasher.push(Buffer.alloc(4097))
  assert.throws(() => hasher.finish(), RangeError)
  assert.throws(() => veritySuperblock({ ...identity, salt: Buffer.alloc(0) }, 1), RangeError)
  assert.throws(() => veritySuperblock({ ...identity, salt: Buffer.alloc(257) }, 1), RangeError)
})

test('salt and UUID follow the seed', async () => {
  const signal = new AbortController().signal
  const read = async (_: unknown, take: (bytes: Uint8Array) => void) => take(data(2))
  const tree = await emitVerity([{ length: 8192 }], read, { identity: verityIdentity('a') }, signal)
  assert.match(tree.rootHash, /^[0-9a-f]{64}$/)
  assert.equal(Buffer.concat(tree.parts).length, 2 * 4096)
  assert.deepEqual(verityIdentity('a'), verityIdentity('a'))
  assert.notDeepEqual(verityIdentity('a').salt, verityIdentity('b').salt)
  assert.notEqual(verityIdentity('a').uuid, verityIdentity('b').uuid)
})

test('blocks whose hashes are known are not read, and the tree is the same', async () => {
  const signal = new AbortController().signal
  const hashed = new Map<string, Uint8Array>()
  const known = {
    get: (key: string) => hashed.get(key),
    put: (key: string, bytes: Uint8Array) => void hashed.set(key, bytes),
  }
  const stretches = [
    { offset: 0, length: 4096 * 3, key: 'a' },
    { offset: 4096 * 3, length: 4096 * 200, key: 'b' },
    { offset: 4096 * 203, length: 4096 },
  ]
  const treeOf = async (salt: number, changed?: number) => {
    const bytes = data(204)
    if (changed !== undefined) bytes.writeUInt8(255, changed)
    const read: number[] = []
    const identityOf = { ...identity, salt: Buffer.alloc(32, salt) }
    const { rootHash } = await emitVerity(
      stretches,
      async ({ offset, length }, take) => {
        read.push(offset)
        take(bytes.subarray(offset, offset + length))
      },
      { identity: identityOf, known },
      signal,
    )
    const plain = verityHasher(identityOf.salt)
    plain.push(bytes)
    return { read, isRight: rootHash === plain.finish().rootHash }
  }
  assert.deepEqual(await treeOf(7), { read: [0, 4096 * 3, 4096 * 203], isRight: true })
  assert.deepEqual(await treeOf(7), { read: [4096 * 203], isRight: true })
  assert.deepEqual(await treeOf(8), { read: [0, 4096 * 3, 4096 * 203], isRight: true })
  // Who gives a wrong name gets a wrong tree: the name is what tells the bytes.
  assert.deepEqual(await treeOf(7, 5000), { read: [4096 * 203], isRight: false })
  const hasher = verityHasher(identity.salt)
  assert.throws(() => hasher.pushHashes(Buffer.alloc(31)), RangeError)
  hasher.push(Buffer.alloc(1))
  assert.throws(() => hasher.pushHashes(Buffer.alloc(32)), RangeError)
})

test('the ioctl program is an ELF file for two architectures and no other', () => {
  assert.equal(ioctlProgram('amd64').length, 203)
  assert.equal(ioctlProgram('arm64').length, 216)
  assert.throws(
    () => ioctlProgram('s390x'),
    (error) => isStage5Error(error, 'S5_IMAGE_INPUT'),
  )
})
