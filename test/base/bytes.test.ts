/** Structs over bytes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  alignUp,
  bufferOf,
  readField,
  readStruct,
  sizeOf,
  type Struct,
  writeField,
  writeStruct,
} from '../../src/base/bytes.ts'

const MIXED: Struct<'a' | 'b' | 'c' | 'd' | 'e' | 'f'> = [
  ['a', 0, 'u8'],
  ['b', 2, 'u16'],
  ['c', 4, 'i16'],
  ['d', 6, 'u32'],
  ['e', 10, 'i32'],
  ['f', 14, 'u64'],
]

test('a struct written and read back is the same', () => {
  const values = fc.record({
    a: fc.integer({ min: 0, max: 0xff }),
    b: fc.integer({ min: 0, max: 0xffff }),
    c: fc.integer({ min: -0x8000, max: 0x7fff }),
    d: fc.integer({ min: 0, max: 0xffffffff }),
    e: fc.integer({ min: -0x80000000, max: 0x7fffffff }),
    f: fc.oneof(fc.constant(-1), fc.maxSafeNat()),
  })
  fc.assert(
    fc.property(values, fc.nat(5), (value, at) => {
      const bytes = Buffer.alloc(at + sizeOf(MIXED))
      writeStruct(MIXED, value, bytes, at)
      assert.deepEqual(readStruct(MIXED, bytes, at), { ...value })
    }),
  )
})

test('fields are little-endian', () => {
  const bytes = Buffer.alloc(8)
  writeField(bytes, 0, 'u64', 0x01020304050607)
  assert.deepEqual([...bytes], [7, 6, 5, 4, 3, 2, 1, 0])
  writeField(bytes, 0, 'u64', -1)
  assert.deepEqual([...bytes], new Array(8).fill(255))
})

test('values that do not fit and fields that are not there are errors', () => {
  const bytes = Buffer.alloc(8)
  for (const [kind, value] of [
    ['u8', 256],
    ['u16', -1],
    ['i16', 0x8000],
    ['u32', 2 ** 32],
    ['i32', 2 ** 31],
    ['u64', 2 ** 53],
    ['u64', -2],
    ['u64', 0.5],
  ] as const)
    assert.throws(() => writeField(bytes, 0, kind, value), RangeError, `${kind} ${value}`)
  assert.throws(() => readField(bytes, 1, 'u64'), RangeError)
  assert.throws(() => readField(Buffer.from([0, 0, 0, 0, 0, 0, 0x20, 0]), 0, 'u64'), RangeError)
})

test('a buffer over bytes shares their memory', () => {
  const bytes = new Uint8Array(10).subarray(2, 6)
  bufferOf(bytes).writeUInt8(7, 1)
  assert.deepEqual([...bytes], [0, 7, 0, 0])
})

test('alignment rounds up to the unit and keeps multiples', () => {
  assert.deepEqual(
    [0, 1, 4095, 4096, 4097].map((length) => alignUp(length, 4096)),
    [0, 4096, 4096, 4096, 8192],
  )
})
