/** The container of a .deb: members and their bytes, however the archive is cut into chunks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { arReader } from '../../src/format/ar.ts'
import { makeAr } from '../helpers/pack.ts'

function read(bytes: Uint8Array, step: number): string[] {
  const seen: string[] = []
  const reader = arReader('test.deb', {
    member: ({ name, size }) => void seen.push(`${name} ${size} `),
    data: (piece) => void (seen[seen.length - 1] += Buffer.from(piece).toString('latin1')),
    close: () => void (seen[seen.length - 1] += '.'),
  })
  for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step))
  reader.end()
  return seen
}

test('members come in order with their bytes, padding left out', () => {
  const bytes = makeAr([
    { name: 'debian-binary', data: '2.0\n' },
    { name: 'odd/', data: 'abc' },
    { name: 'empty', data: '' },
    { name: 'last', data: '\xff'.repeat(101) },
  ])
  const expected = ['debian-binary 4 2.0\n.', 'odd 3 abc.', 'empty 0 .', `last 101 ${'\xff'.repeat(101)}.`]
  for (const step of [1, 2, 59, 60, 61, bytes.length]) assert.deepEqual(read(bytes, step), expected)
})

test('an archive without members is whole', () => {
  assert.deepEqual(read(makeAr([]), 8), [])
})

test('every cut inside a member is refused as truncated', () => {
  const bytes = makeAr([{ name: 'odd', data: 'abc' }])
  for (let length = 0; length < bytes.length; length++) {
    if (length === 8) continue
    assert.throws(() => read(bytes.subarray(0, length), 1), {
      data: { reason: 'truncated', file: 'test.deb', offset: length },
    })
  }
})

test('an archive of more members than any package has is refused', () => {
  const members = Array.from({ length: 1001 }, (_, at) => ({ name: `m${at}`, data: 'x' }))
  assert.equal(read(makeAr(members.slice(1)), 4096).length, 1000)
  assert.throws(() => read(makeAr(members), 4096), { message: 'test.deb: too-big: more than 1000 members' })
})
