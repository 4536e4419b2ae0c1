/** The trie of kmod, byte by byte for a small one. The oracle test compares with depmod on a real kernel. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { writeKmodIndex } from '../../src/format/kmod-index.ts'

const u32 = (value: number): Buffer => Buffer.from(value.toString(16).padStart(8, '0'), 'hex')

test('keys share their common beginning, children come first, values are in order of priority', () => {
  const bytes = writeKmodIndex([
    { key: 'abc', value: 'two', priority: 2 },
    { key: 'abc', value: 'one', priority: 1 },
    { key: 'ab', value: 'short', priority: 0 },
    { key: 'b\x80', value: 'no ascii', priority: 0 },
  ])
  const abc = 12
  const ab = abc + 4 + 8 + 8
  const root = ab + 2 + 2 + 4 + 4 + 4 + 6
  assert.deepEqual(
    Buffer.from(bytes),
    Buffer.concat([
      ...[u32(0xb007f457), u32(0x00020001), u32((root | 0x20000000) >>> 0)],
      ...[u32(2), u32(1), Buffer.from('one\0'), u32(2), Buffer.from('two\0')],
      ...[Buffer.from('b\0'), Buffer.from('cc'), u32((abc | 0x40000000) >>> 0)],
      ...[u32(1), u32(0), Buffer.from('short\0')],
      ...[Buffer.from('aa'), u32(ab + 0xe0000000)],
    ]),
  )
})

test('an index of nothing has an empty root', () => {
  assert.deepEqual(
    Buffer.from(writeKmodIndex([])),
    Buffer.concat([u32(0xb007f457), u32(0x00020001), u32(12)]),
  )
})
