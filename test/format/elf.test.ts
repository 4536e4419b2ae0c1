/** ELF headers: both classes and byte orders, notes, and bytes that lie. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { elfSections, parseElf, sectionBytes } from '../../src/format/elf.ts'
import { type ElfParts, makeElf } from '../helpers/make-elf.ts'

const PARTS: ElfParts = {
  interpreter: '/lib64/ld-linux-x86-64.so.2',
  soname: 'libx.so.1',
  needed: ['libz.so.1', 'libc.so.6'],
  rpath: '/opt/x:$ORIGIN/../lib',
  runpath: '$ORIGIN',
  symbols: ['pthread_create', 'malloc'],
  flags: 0x400,
  notes: [
    { owner: 'GNU', type: 3, body: Buffer.from('0123456789abcdef', 'hex') },
    {
      owner: 'FDO',
      type: 0x407c0c0a,
      body: Buffer.from(
        '[{"feature":"zstd","description":"x","priority":"required","soname":["libzstd.so.1"]},' +
          '{"feature":"lz4","soname":["liblz4.so.1","liblz4.so.0"]},{"soname":[]},7]\0',
      ),
    },
  ],
  sections: { '.modinfo': Buffer.from('name=x\0'), '.debug_info': Buffer.alloc(5) },
}

for (const bits of [32, 64] as const)
  for (const little of [true, false])
    test(`${bits} bit ${little ? 'little' : 'big'} endian headers are read`, () => {
      const bytes = makeElf({ ...PARTS, bits, little, machine: 183 })
      assert.deepEqual(parseElf(bytes, ['pthread_create', 'pthread_creat', 'thread_create']), {
        bits,
        littleEndian: little,
        machine: 183,
        flags: 0x400,
        type: 'shared',
        interpreter: '/lib64/ld-linux-x86-64.so.2',
        dynamic: true,
        soname: 'libx.so.1',
        needed: ['libz.so.1', 'libc.so.6'],
        rpath: ['/opt/x', '$ORIGIN/../lib'],
        runpath: ['$ORIGIN'],
        dlopen: [
          { feature: 'zstd', priority: 'required', sonames: ['libzstd.so.1'] },
          { feature: 'lz4', priority: 'recommended', sonames: ['liblz4.so.1', 'liblz4.so.0'] },
        ],
        buildId: '0123456789abcdef',
        mentions: ['pthread_create'],
        truncated: false,
      })
      const sections = elfSections(bytes)
      assert.deepEqual(
        sections.map(({ name }) => name),
        ['', '.modinfo', '.debug_info', '.shstrtab'],
      )
      const modinfo = sections[1]
      assert.ok(modinfo)
      assert.equal(Buffer.from(sectionBytes(bytes, modinfo) ?? []).toString(), 'name=x\0')
    })

test('a static executable needs nothing', () => {
  const elf = parseElf(makeElf({ type: 2 }))
  assert.ok(elf)
  assert.equal(elf.type, 'executable')
  assert.equal(elf.dynamic, false)
  assert.equal(elf.interpreter, undefined)
  assert.deepEqual(elf.needed, [])
})

test('what is no ELF file is undefined', () => {
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('\x7fELF', 'latin1'),
    Buffer.from('#!/bin/sh\n'.repeat(9)),
  ])
    assert.equal(parseElf(bytes), undefined)
  const whole = Buffer.from(makeElf({}))
  whole[4] = 3
  assert.equal(parseElf(whole), undefined)
})

test('every prefix is read without complaint and says that it is one', () => {
  const whole = makeElf({ ...PARTS, sections: {} })
  const complete = parseElf(whole)
  for (let length = 64; length < whole.length; length++) {
    const elf = parseElf(whole.subarray(0, length))
    assert.ok(elf)
    if (elf.needed.length < 2 || elf.buildId === undefined || elf.interpreter === undefined)
      assert.equal(elf.truncated, true, `at ${length}`)
    else assert.deepEqual(elf.needed, complete?.needed)
  }
})

test('changed bytes give a value, never an exception', () => {
  const whole = makeElf(PARTS)
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)), {
        maxLength: 12,
      }),
      (edits) => {
        const bytes = Buffer.from(whole)
        for (const [at, value] of edits) bytes[at] = value
        const elf = parseElf(bytes)
        assert.ok(elf === undefined || elf.needed.length <= 65_535)
        for (const section of elfSections(bytes)) sectionBytes(bytes, section)
      },
    ),
    { numRuns: 500 },
  )
})

test('many overlapping notes are looked at a bounded number of times', () => {
  const size = 4 << 20
  const bytes = Buffer.alloc(size)
  makeElf({ type: 2 }).forEach((byte, at) => (bytes[at] = byte))
  const count = 65_000
  // Behind the headers all is zero: a note of 12 bytes after the other.
  const notes = 64 + count * 56
  bytes.writeUInt16LE(count, 56)
  for (let at = 0; at < count; at++) {
    const base = 64 + at * 56
    bytes.writeUInt32LE(4, base)
    bytes.writeUInt32LE(notes, base + 8)
    bytes.writeUInt32LE(size - notes, base + 32)
  }
  const before = process.cpuUsage()
  assert.ok(parseElf(bytes))
  assert.ok(process.cpuUsage(before).user < 5_000_000, 'microseconds of the processor')
})

test('what one file may have read of it is bounded: entries, names and notes', () => {
  const needing = (count: number) =>
    parseElf(makeElf({ needed: Array.from({ length: count }, (_, at) => `lib${at}`) }))
  assert.deepEqual([needing(8000)?.needed.length, needing(8000)?.truncated], [8000, false])
  assert.deepEqual([needing(9000)?.needed.length, needing(9000)?.truncated], [0, true])
  const named = (length: number) => parseElf(makeElf({ soname: 's'.repeat(length) }))
  assert.deepEqual([named(4000)?.soname?.length, named(4000)?.truncated], [4000, false])
  assert.deepEqual([named(5000)?.soname, named(5000)?.truncated], [undefined, true])
  const note = (length: number) => {
    const body = Buffer.from(JSON.stringify([{ soname: ['n'.repeat(length)] }]))
    return { owner: 'FDO', type: 0x407c0c0a, body }
  }
  const noted = parseElf(makeElf({ notes: [note(70_000), note(10)] }))
  assert.deepEqual(
    noted?.dlopen.map(({ sonames }) => sonames),
    [['n'.repeat(10)]],
  )
})
