/** Decompression: whole or refused, stopped at its limit, and no program left behind. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { constants, zstdCompressSync } from 'node:zlib'
import { type Compression, compressionOf, decompress } from '../../src/host/decompress.ts'
import { zstdReader } from '../../src/host/zstd-frames.ts'
import { type Packing, packed } from '../helpers/pack.ts'

const KINDS: readonly Packing[] = ['none', 'gz', 'xz', 'lzma', 'bz2', 'zst', 'lz4']
const idle = new AbortController().signal

async function* chunksOf(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step)
}

async function all(
  bytes: Uint8Array,
  kind: Compression,
  { step = 65_536, limit = 2 ** 30, window = 2 ** 27 } = {},
): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of decompress(chunksOf(bytes, step), kind, { file: 'x', bytes: limit, window }, idle))
    parts.push(part)
  return Buffer.concat(parts)
}

/** Bytes that do not compress to nothing, the same in every run. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = 1
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes[at] = (state >>> 24) & 0x3f
  }
  return bytes
}

test('every kind comes back to the bytes it was made from', async () => {
  const bytes = noise(700_000)
  for (const kind of KINDS) {
    const small = packed(bytes, kind)
    for (const step of [4099, small.length]) assert.ok((await all(small, kind, { step })).equals(bytes), kind)
  }
})

test('the first bytes tell the kind', () => {
  for (const kind of KINDS) assert.equal(compressionOf(packed(noise(100), kind)), kind)
  assert.equal(compressionOf(Buffer.from('532a4d1800000000', 'hex')), 'zst')
  assert.equal(compressionOf(Buffer.from('02214c1800', 'hex')), 'lz4')
  assert.equal(compressionOf(Buffer.from('LZIP\x01')), 'lz')
  assert.equal(compressionOf(Buffer.from('894c5a4f000d0a1a0a10', 'hex')), 'lzo')
  assert.equal(compressionOf(Buffer.from('894c5a4f000d0a1a', 'hex')), 'none')
  assert.equal(compressionOf(Buffer.alloc(0)), 'none')
})

test('the limit is exact', async () => {
  for (const kind of KINDS) {
    const small = packed(noise(100_000), kind)
    assert.equal((await all(small, kind, { limit: 100_000 })).length, 100_000)
    await assert.rejects(all(small, kind, { limit: 99_999 }), {
      code: 'S5_ARCHIVE_REFUSED',
      data: { reason: 'too-big', file: 'x', expected: 99_999 },
    })
  }
})

test('what the input throws comes through unchanged', async () => {
  const fault = new Error('the disk is gone')
  for (const kind of KINDS) {
    const small = packed(noise(300_000), kind)
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield small.subarray(0, small.length >> 1)
      throw fault
    }
    const work = async () => {
      for await (const piece of decompress(broken(), kind, { file: 'x', bytes: 2 ** 30 }, idle))
        assert.ok(piece)
    }
    await assert.rejects(work, (error) => error === fault, kind)
  }
})

test('an aborted signal ends it with its reason, also while nothing comes in', async () => {
  for (const kind of KINDS.filter((name) => name !== 'none')) {
    const small = packed(noise(300_000), kind)
    const stop = new AbortController()
    // Made at once: on a busy machine the input may be asked for its second piece after the release.
    const gate = Promise.withResolvers<void>()
    const stuck = async function* (): AsyncGenerator<Uint8Array> {
      yield small.subarray(0, small.length >> 1)
      await gate.promise
    }
    const work = async () => {
      for await (const piece of decompress(stuck(), kind, { file: 'x', bytes: 2 ** 30 }, stop.signal))
        assert.ok(piece)
    }
    const ended = assert.rejects(work, (error) => error === 'enough', kind)
    await pause(20)
    stop.abort('enough')
    gate.resolve()
    await ended
  }
})

test('leaving the loop early ends the program', async () => {
  const running = () => process.getActiveResourcesInfo().filter((name) => name === 'ProcessWrap').length
  // One of an earlier test may be about to be forgotten.
  const before = running()
  for (const kind of ['xz', 'bz2', 'zst', 'gz'] as const) {
    const pieces = decompress(
      chunksOf(packed(noise(2_000_000), kind), 9999),
      kind,
      { file: 'x', bytes: 2 ** 30 },
      idle,
    )
    await pieces.next()
    await pieces.return()
  }
  assert.ok(running() <= before)
})

test('a missing program is named with the line to type', async () => {
  const path = process.env['PATH']
  const small = packed(noise(100), 'xz')
  const tools = await import('../../src/host/run.ts')
  if (tools.findTool('xz', { PATH: '/nowhere' }) !== undefined) return
  process.env['PATH'] = '/nowhere'
  try {
    await assert.rejects(all(small, 'xz'), { code: 'S5_TOOL_MISSING', hint: 'apt install xz-utils' })
  } finally {
    process.env['PATH'] = path
  }
})

/** Frames as text: bytes of each in hexadecimal. */
function frames(bytes: Uint8Array, step: number): string[] {
  const seen = ['']
  const reader = zstdReader('x', {
    data: (piece) => void (seen[seen.length - 1] += Buffer.from(piece).toString('hex')),
    close: () => void seen.push(''),
  })
  for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step))
  reader.end()
  assert.equal(seen.pop(), '')
  return seen
}

test('zstd frames are told apart wherever the chunks are cut', () => {
  const checked = { params: { [constants.ZSTD_c_checksumFlag]: 1 } }
  const made = [
    zstdCompressSync(Buffer.alloc(0)),
    zstdCompressSync(Buffer.alloc(0), checked),
    zstdCompressSync(noise(10)),
    zstdCompressSync(noise(300), checked),
    zstdCompressSync(noise(150_000), checked),
    zstdCompressSync(Buffer.alloc(500_000)),
  ]
  const skippable = Buffer.from('5f2a4d18030000001f8b08', 'hex')
  const bytes = Buffer.concat([skippable, ...made.flatMap((frame) => [frame, skippable])])
  const expected = made.map((frame) => frame.toString('hex'))
  for (const step of [1, 2, 3, 5, 1021, 65_536, bytes.length]) assert.deepEqual(frames(bytes, step), expected)
})

test('zstd frames that end anywhere but at their end are truncated', () => {
  const bytes = zstdCompressSync(noise(40), { params: { [constants.ZSTD_c_checksumFlag]: 1 } })
  for (let length = 0; length < bytes.length; length++)
    assert.throws(() => frames(bytes.subarray(0, length), length || 1), {
      data: { reason: 'truncated', file: 'x', offset: length },
    })
})

test('zstd windows up to the limit are decoded', async () => {
  const params = { [constants.ZSTD_c_windowLog]: 22, [constants.ZSTD_c_contentSizeFlag]: 0 }
  const bytes = noise(6_000_000)
  const small = zstdCompressSync(bytes, { params })
  assert.ok((await all(small, 'zst', { window: 2 ** 22 })).equals(bytes))
  await assert.rejects(all(small, 'zst', { window: 2 ** 22 - 1 }), /too-big/)
})
