/** The end of a zstd frame, with libzstd as the witness. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constants, zstdCompressSync } from 'node:zlib'
import { isStage5Error } from '../../src/base/errors.ts'
import { zstdFrameEnd } from '../../src/format/zstd-extent.ts'

const NOISE = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * at * 7919 + (at >> 3)) & 255))

test('the frame ends where libzstd ended it, whatever its header has', () => {
  const inputs = [Buffer.alloc(0), Buffer.from('a'), Buffer.alloc(400_000), NOISE]
  for (const [nth, input] of inputs.entries())
    for (const checksum of [0, 1])
      for (const contentSize of [0, 1]) {
        const params = {
          [constants.ZSTD_c_checksumFlag]: checksum,
          [constants.ZSTD_c_contentSizeFlag]: contentSize,
        }
        const frame = zstdCompressSync(input, { params })
        const bytes = Buffer.concat([Buffer.from('front'), frame, Buffer.from('behind')])
        assert.equal(zstdFrameEnd(bytes, 5, 'x'), 5 + frame.length, `${nth} ${checksum} ${contentSize}`)
      }
})

test('a skippable frame counts; what is cut off or no frame is refused', () => {
  const skip = Buffer.from('502a4d1803000000616263', 'hex')
  assert.equal(zstdFrameEnd(skip, 0, 'x'), skip.length)
  const frame = zstdCompressSync(NOISE)
  for (const [bytes, reason] of [
    [frame.subarray(0, frame.length - 5), 'truncated'],
    [frame.subarray(0, 6), 'truncated'],
    [skip.subarray(0, 9), 'truncated'],
    [Buffer.from('no frame at all'), 'magic'],
  ] as const)
    assert.throws(
      () => zstdFrameEnd(bytes, 0, 'x'),
      (error) => isStage5Error(error, 'S5_ARCHIVE_REFUSED') && error.data['reason'] === reason,
    )
})
