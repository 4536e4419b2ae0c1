/** Gentoo packages: every hostile archive as their image, every cut, every compressor, bombs, and what messages say. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { isStage5Error, type Stage5Error } from '../../src/base/errors.ts'
import type { RandomSource } from '../../src/repo/source.ts'
import { unpackGpkgFrom } from '../../src/repo/unpack-gpkg.ts'
import { unpackXpakFrom } from '../../src/repo/unpack-xpak.ts'
import { TAR_CASES } from '../corpus/tar.ts'
import { memoryBodies } from '../helpers/bodies.ts'
import { DEMO_INFO, makeGpkg, makeXpakSegment } from '../helpers/gentoo-packages.ts'
import { makeTar, packed } from '../helpers/pack.ts'

const SEGMENT = makeXpakSegment(Object.entries(DEMO_INFO).map(([name, value]) => ({ name, value })))
const IMAGE = makeTar([{ name: 'image/' }, { name: 'image/a', data: 'alpha' }])

function xpakOf(image: Uint8Array): Buffer {
  return Buffer.concat([image, SEGMENT])
}

/** A package whose image is these bytes, under this name. */
function gpkgOf(image: Uint8Array, name = 'image.tar.zst'): Buffer {
  return makeGpkg({
    members: (members) =>
      members.map((member) => (member.name.startsWith('image') ? { name, data: image } : member)),
  })
}

/** The paths of the tree, or the refusal. */
async function outcome(bytes: Buffer): Promise<readonly string[] | Stage5Error> {
  const source: RandomSource = {
    name: 'demo.pkg',
    size: bytes.length,
    read: async (at, length) => bytes.subarray(at, at + length),
  }
  const bodies = memoryBodies()
  const isXpak = bytes.subarray(-4).toString() === 'STOP'
  const unpack = isXpak ? unpackXpakFrom : unpackGpkgFrom
  try {
    const { tree } = await unpack(source, bodies, {
      label: 'demo_1',
      signal: new AbortController().signal,
    })
    return tree.names.map(({ path }) => path)
  } catch (error) {
    assert.ok(isStage5Error(error, 'S5_ARCHIVE_REFUSED'), String(error))
    assert.match(error.message, /^demo_1 \(demo\.pkg\): [a-z-]+: [\x20-\x7e\u00a0-\uffff]+$/)
    return error
  } finally {
    assert.equal(bodies.unfinished(), 0)
  }
}

async function wordOf(bytes: Buffer): Promise<string> {
  const found = await outcome(bytes)
  return 'message' in found ? (found.data['reason'] as string) : found.join(' ')
}

for (const { name, bytes, expect } of TAR_CASES)
  test(`image of an .xpak: ${name}`, async () => {
    const found = await outcome(xpakOf(zstdCompressSync(bytes)))
    assert.deepEqual('message' in found ? found.data['reason'] : found, expect)
  })

test('a gpkg that is cut anywhere is refused', async () => {
  const whole = makeGpkg({ files: [{ name: 'image/a', data: 'alpha' }] })
  assert.equal(await wordOf(whole), ' a')
  for (let length = 0; length < whole.length; length += 37)
    assert.equal(await wordOf(whole.subarray(0, length)), 'truncated', `${length} bytes`)
})

test('the compressed image of a package is refused wherever it is cut, in every compression', async () => {
  for (const kind of ['gz', 'xz', 'bz2', 'zst', 'lz4'] as const) {
    const image = packed(IMAGE, kind)
    for (const part of [0.2, 0.5, 0.9]) {
      const cut = image.subarray(0, Math.floor(image.length * part))
      const words = [await wordOf(gpkgOf(cut, `image.tar.${kind}`)), await wordOf(xpakOf(cut))]
      for (const word of words) assert.match(word, /^(truncated|decompress)$/, `${kind} ${part}`)
    }
  }
})

test('lzip and lzop are read too', async (t) => {
  for (const [tool, ending] of [
    ['lzip', 'lz'],
    ['lzop', 'lzo'],
  ] as const) {
    const { stdout, error } = spawnSync(tool, ['-c'], { input: IMAGE })
    if (error) {
      t.diagnostic(`${tool} is not installed`)
      continue
    }
    assert.equal(await wordOf(gpkgOf(stdout, `image.tar.${ending}`)), ' a', tool)
    const plain = spawnSync(tool, ['-c'], { input: makeTar([{ name: './a', data: 'alpha' }]) }).stdout
    assert.equal(await wordOf(xpakOf(plain)), ' a', tool)
  }
})

test('images that grow without measure are refused', async () => {
  const zeros = zstdCompressSync(Buffer.alloc(300e6))
  const header = makeTar([{ name: 'image/' }]).subarray(0, 512)
  const bomb = Buffer.concat([zstdCompressSync(header), zeros])
  assert.equal(await wordOf(gpkgOf(bomb)), 'too-big')
  assert.equal(await wordOf(xpakOf(zeros)), 'too-big')
  const window = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3, 0x01, 0x00, 0x00])
  assert.equal(await wordOf(gpkgOf(window)), 'too-big')
  assert.equal(await wordOf(xpakOf(window)), 'too-big')
})

test('a wrong hash and a wrong size are told with both values', async () => {
  const told = async (change: (manifest: string) => string): Promise<string> => {
    const found = await outcome(makeGpkg({ manifest: change }))
    assert.ok('message' in found)
    return found.message
  }
  const size = await told((text) => text.replace(/(image\S+) \d+/, '$1 98765'))
  assert.match(size, /size: .*98765.*\d+/)
  const hash = await told((text) => text.replace(/SHA512 [0-9a-f]{128}/, `SHA512 ${'0'.repeat(128)}`))
  assert.match(hash, /digest: .*0{16}.*[0-9a-f]{16}/)
})

test('odd names of files are kept byte for byte', async () => {
  const names = [
    '\x01\n\x1b[31m',
    '-rf',
    '.wh.a',
    'caf\xc3\xa9',
    'cafe\xcc\x81',
    'a\xff',
    'C:\\x',
    '...',
  ].sort()
  const found = await outcome(makeGpkg({ files: names.map((name) => ({ name: `image/${name}` })) }))
  assert.deepEqual(found, ['', ...names])
  const refused = await outcome(makeGpkg({ files: [{ name: 'image/\x1b[31m\n/../x' }] }))
  assert.ok('message' in refused)
  assert.equal(refused.data['reason'], 'traversal')
})
