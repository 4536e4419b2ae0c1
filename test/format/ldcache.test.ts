/** The cache of the loader: order of names, and the bytes of a small file. The oracle test asks ldconfig itself. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Elf, parseElf } from '../../src/format/elf.ts'
import { compareLibraryNames, ldCacheFlags, writeLdCache } from '../../src/format/ldcache.ts'
import { type ElfParts, makeElf } from '../helpers/make-elf.ts'

test('names are ordered as ldconfig does: digits as numbers, behind other characters', () => {
  const sorted = [
    'libx',
    'libx-',
    'libx.so',
    'libx.so.',
    'libx.so.2',
    'libx.so.10',
    'libx1',
    'libx02',
    'libx10',
  ]
  for (const [at, left] of sorted.entries())
    for (const [other, right] of sorted.entries())
      assert.equal(Math.sign(compareLibraryNames(left, right)), Math.sign(at - other), `${left} ${right}`)
  assert.equal(compareLibraryNames('lib02', 'lib2'), 0)
})

test('the order is total', () => {
  const name = fc.string({ unit: fc.constantFrom('a', '.', '0', '1', '2'), maxLength: 6 })
  fc.assert(
    fc.property(name, name, name, (a, b, c) => {
      assert.equal(Math.sign(compareLibraryNames(a, b)) + Math.sign(compareLibraryNames(b, a)), 0)
      if (compareLibraryNames(a, b) < 0 && compareLibraryNames(b, c) < 0)
        assert.ok(compareLibraryNames(a, c) < 0)
    }),
  )
})

test('flags say what the loader of an architecture asks for', () => {
  const flags = (parts: ElfParts): number | undefined => ldCacheFlags(parseElf(makeElf(parts)) as Elf)
  assert.equal(flags({ machine: 62 }), 0x0303)
  assert.equal(flags({ machine: 62, bits: 32 }), 0x0803)
  assert.equal(flags({ machine: 3, bits: 32 }), 3)
  assert.equal(flags({ machine: 183 }), 0x0a03)
  assert.equal(flags({ machine: 40, bits: 32, flags: 0x5000400 }), 0x0903)
  assert.equal(flags({ machine: 243, flags: 5 }), 0x1003)
  assert.equal(flags({ machine: 22, little: false }), 0x0403)
  assert.equal(flags({ machine: 9999 }), undefined)
})

test('entries are descending, equal ones keep their order, names are the ends of paths', () => {
  const bytes = Buffer.from(
    writeLdCache([
      { name: 'libb.so.1', path: '/first/libb.so.1', flags: 0x303 },
      { name: 'libb.so.1', path: '/second/libb.so.1', flags: 0x303 },
      { name: 'libb.so.1', path: '/lib32/libb.so.1', flags: 3 },
      { name: 'libb.so.9', path: '/first/libb.so.9', flags: 0x303 },
      { name: 'libb.so.10', path: '/first/libb.so.10', flags: 0x303 },
      { name: 'libb.so.1', path: '/x/glibc-hwcaps/v3/libb.so.1.5', flags: 0x303, hwcaps: 'v3' },
    ]),
  )
  const text = (at: number): string => bytes.toString('latin1', at, bytes.indexOf(0, at))
  assert.equal(bytes.toString('latin1', 0, 20), 'glibc-ld.so.cache1.1')
  assert.equal(bytes.readUInt32LE(20), 6)
  assert.equal(bytes[28], 2)
  const rows = Array.from({ length: 6 }, (_, row) => {
    const at = 48 + 24 * row
    return `${text(bytes.readUInt32LE(at + 4))} ${text(bytes.readUInt32LE(at + 8))} ${bytes.readUInt32LE(at + 20)}`
  })
  assert.deepEqual(rows, [
    'libb.so.10 /first/libb.so.10 0',
    'libb.so.9 /first/libb.so.9 0',
    `libb.so.1 /x/glibc-hwcaps/v3/libb.so.1.5 ${0x40000000}`,
    'libb.so.1 /first/libb.so.1 0',
    'libb.so.1 /second/libb.so.1 0',
    'libb.so.1 /lib32/libb.so.1 0',
  ])
  const extension = bytes.readUInt32LE(32)
  assert.equal(extension % 4, 0)
  assert.equal(bytes.readUInt32LE(extension), 0xeaa42174)
  assert.equal(text(bytes.readUInt32LE(bytes.readUInt32LE(extension + 16))), 'v3')
})

test('big endian machines get a big endian file', () => {
  const bytes = Buffer.from(writeLdCache([{ name: 'a', path: '/a', flags: 0x403 }], false))
  assert.equal(bytes[28], 3)
  assert.equal(bytes.readUInt32BE(20), 1)
  assert.equal(bytes.readUInt32BE(48), 0x403)
})
