import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isStage5Error } from '../../src/base/errors.ts'
import { type CpioMember, cpioHeader, cpioPadding, cpioTrailer, readCpio } from '../../src/format/cpio.ts'
import { FILE_TYPE } from '../../src/format/file-type.ts'

const PLAIN: CpioMember = {
  name: 'a',
  ino: 1,
  mode: FILE_TYPE.file | 0o644,
  uid: 0,
  gid: 0,
  nlink: 1,
  mtime: 0,
  size: 0,
  rdevMajor: 0,
  rdevMinor: 0,
}

function archive(members: readonly { member: CpioMember; body: Uint8Array }[]): Buffer {
  const parts: Uint8Array[] = []
  for (const { member, body } of members)
    parts.push(cpioHeader({ ...member, size: body.length }), body, cpioPadding(body.length))
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([...parts, cpioTrailer(length)])
}

function refusal(reason: string): (error: unknown) => boolean {
  return (error) => isStage5Error(error, 'S5_ARCHIVE_REFUSED') && error.data['reason'] === reason
}

test('a member is written field by field as the buffer format says', () => {
  const head = cpioHeader({
    name: 'dev/x',
    ino: 0x11,
    mode: FILE_TYPE.char | 0o620,
    uid: 0x22,
    gid: 0x33,
    nlink: 0x44,
    mtime: 0x55,
    size: 0,
    rdevMajor: 0x66,
    rdevMinor: 0x77,
  })
  const fields = ['00000011', '00002190', '00000022', '00000033', '00000044', '00000055', '00000000']
  const rest = ['00000000', '00000000', '00000066', '00000077', '00000006', '00000000']
  assert.equal(head.length, 116)
  assert.equal(Buffer.from(head).toString('latin1'), `070701${fields.join('')}${rest.join('')}dev/x\0`)
})

test('an archive of nothing is one trailer of 512 bytes', () => {
  const empty = Buffer.from(cpioTrailer(0))
  assert.equal(empty.length, 512)
  assert.equal(empty.toString('latin1', 110, 121), 'TRAILER!!!\0')
  assert.deepEqual(readCpio(empty, 'x'), { entries: [], end: 124 })
})

const byte32 = fc.integer({ min: 0, max: 0xffffffff })
const name = fc
  .uint8Array({ minLength: 1, maxLength: 40 })
  .map((bytes) => Buffer.from(bytes).toString('latin1').replaceAll('\0', 'z'))
const member = fc.record({
  member: fc.record({
    name,
    ino: byte32,
    mode: fc.integer({ min: 0, max: 0o7777 }).map((bits) => FILE_TYPE.file | bits),
    uid: byte32,
    gid: byte32,
    nlink: byte32,
    mtime: byte32,
    size: fc.constant(0),
    rdevMajor: byte32,
    rdevMinor: byte32,
  }),
  body: fc.uint8Array({ maxLength: 20 }),
})

test('what is written is read back, at every alignment', () => {
  fc.assert(
    fc.property(fc.array(member, { maxLength: 5 }), (members) => {
      const bytes = archive(members)
      assert.equal(bytes.length % 512, 0)
      const { entries } = readCpio(bytes, 'x')
      assert.deepEqual(
        entries.map(({ body, ...rest }) => ({ member: rest, body: Uint8Array.from(body) })),
        members.map(({ member, body }) => ({ member: { ...member, size: body.length }, body })),
      )
    }),
  )
})

test('archives that follow each other are read one by one', () => {
  const first = archive([{ member: PLAIN, body: Buffer.from('1') }])
  const second = archive([{ member: { ...PLAIN, name: 'b' }, body: Buffer.from('22') }])
  const both = Buffer.concat([first, second])
  const { end } = readCpio(both, 'x')
  assert.equal(end, first.toString('latin1').indexOf('TRAILER!!!') + 14)
  assert.equal(readCpio(both, 'x', first.length).entries[0]?.name, 'b')
})

test('what the format or Linux cannot hold is refused by the writer', () => {
  const bad: Partial<CpioMember>[] = [
    { size: 2 ** 32 },
    { mtime: -1 },
    { mtime: 2 ** 32 },
    { uid: 2 ** 32 },
    { name: 'TRAILER!!!' },
    { name: 'n'.repeat(4096) },
    { mode: FILE_TYPE.symlink | 0o777, size: 4096 },
  ]
  for (const change of bad)
    assert.throws(
      () => cpioHeader({ ...PLAIN, ...change }),
      (error) => isStage5Error(error, 'S5_IMAGE_INPUT'),
      JSON.stringify(change).slice(0, 60),
    )
  const good: Partial<CpioMember>[] = [
    { size: 2 ** 32 - 1 },
    { name: 'n'.repeat(4095) },
    { mode: FILE_TYPE.symlink | 0o777, size: 4095 },
  ]
  for (const change of good) assert.ok(cpioHeader({ ...PLAIN, ...change }).length >= 112)
})

test('the reader refuses archives that are cut at any byte before the end of the trailer', () => {
  const whole = archive([{ member: PLAIN, body: Buffer.from('12345') }])
  const { end } = readCpio(whole, 'x')
  for (let length = 0; length < end; length++)
    assert.throws(() => readCpio(whole.subarray(0, length), 'x'), refusal('truncated'), `${length}`)
})

test('the reader refuses other magics, bad digits and bad names with their reasons', () => {
  const with5 = (at: number, text: string) => {
    const bytes = archive([{ member: PLAIN, body: Buffer.from('12345') }])
    bytes.write(text, at, 'latin1')
    return () => readCpio(bytes, 'x')
  }
  assert.throws(with5(0, '070702'), refusal('magic'))
  assert.throws(with5(0, '070707'), refusal('magic'))
  assert.throws(with5(20, 'g'), refusal('bad-header'))
  assert.throws(with5(94, '00000000'), refusal('bad-name'))
  assert.throws(with5(94, '00000001'), refusal('bad-name'))
  assert.throws(with5(94, 'ffffffff'), refusal('bad-name'))
  assert.throws(with5(111, 'x'), refusal('bad-name'))
  assert.throws(with5(54, 'ffffffff'), refusal('truncated'))
})

test('one changed byte gives a value or a refusal', () => {
  const whole = archive([
    { member: PLAIN, body: Buffer.from('12345') },
    { member: { ...PLAIN, name: 'bb' }, body: Buffer.from('') },
  ])
  for (let at = 0; at < whole.length; at++)
    for (const value of [0, 0x30, 0x66, 0xff]) {
      const bytes = Buffer.from(whole)
      bytes[at] = value
      try {
        readCpio(bytes, 'x')
      } catch (error) {
        assert.ok(isStage5Error(error, 'S5_ARCHIVE_REFUSED'), `byte ${at} as ${value}`)
      }
    }
})
