import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { isStage5Error } from '../../src/base/errors.ts'
import { diskLabels, planDisk } from '../../src/emit/disk-plan.ts'
import { type GptLayout, gptLayout, MIB, PARTITION_TYPES } from '../../src/format/gpt.ts'
import { withSections } from '../../src/format/pe.ts'
import { vhdFooter } from '../../src/format/vhd.ts'

const GUID = '00112233-4455-6677-8899-aabbccddeeff'

function partition(label: string, size: number) {
  return { type: PARTITION_TYPES.linux, guid: GUID, label, size, attributes: [60] }
}

/** Numbers of the header that lies `at` bytes into `bytes`, with its own checksum proved. */
function header(bytes: Buffer, at: number) {
  const sector = Buffer.from(bytes.subarray(at, at + 512))
  assert.equal(sector.toString('latin1', 0, 8), 'EFI PART')
  const sum = sector.readUInt32LE(16)
  sector.writeUInt32LE(0, 16)
  assert.equal(crc32(sector.subarray(0, 92)), sum)
  const number = (offset: number) => Number(sector.readBigUInt64LE(offset))
  return {
    ...{ own: number(24), other: number(32), first: number(40), last: number(48), array: number(72) },
    arraySum: sector.readUInt32LE(88),
    disk: sector.subarray(56, 72).toString('hex'),
  }
}

function wholeDisk({ size, head, tail }: GptLayout): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.set(head)
  bytes.set(tail, size - tail.length)
  return bytes
}

test('both headers name each other and the same entries, and no partition touches another', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5 * MIB }), { maxLength: 12 }), (sizes) => {
      const layout = gptLayout(
        GUID,
        sizes.map((size, at) => partition(`p${at}`, size)),
      )
      assert.equal(layout.size % MIB, 0)
      const disk = wholeDisk(layout)
      const front = header(disk, 512)
      const back = header(disk, layout.size - 512)
      assert.deepEqual([front.own, front.other], [back.other, back.own])
      assert.equal(front.own, 1)
      assert.equal(back.own, layout.size / 512 - 1)
      assert.equal(front.disk, '33221100554477668899aabbccddeeff')
      for (const { array, arraySum } of [front, back])
        assert.equal(crc32(disk.subarray(array * 512, array * 512 + 16384)), arraySum)
      let free = front.first
      for (const [at, size] of sizes.entries()) {
        const entry = disk.subarray(1024 + at * 128, 1152 + at * 128)
        const [first, last] = [Number(entry.readBigUInt64LE(32)), Number(entry.readBigUInt64LE(40))]
        assert.ok(first >= free && first % 2048 === 0 && first * 512 === layout.offsets[at])
        assert.ok((last - first + 1) * 512 >= size && (last - first) * 512 < size)
        assert.equal(entry.readBigUInt64LE(48), 1n << 60n)
        free = last + 1
      }
      assert.ok(free - 1 <= front.last)
      assert.deepEqual([disk.readUInt16LE(510), disk[450]], [0xaa55, 0xee])
    }),
    { numRuns: 50 },
  )
})

const CONTENT = {
  arch: 'amd64',
  stem: 'web_1.0',
  seed: 'web',
  rootHash: '0123456789abcdef'.repeat(4),
  esp: 64 * MIB,
  base: 5 * MIB + 4096,
  data: [{ label: 'data', size: 16 * MIB }],
}

test('a disk has two slots for the root, and its root and tree carry the root hash', () => {
  const { head, offsets } = planDisk(CONTENT)
  const entries = Buffer.from(head.subarray(1024))
  const label = (at: number) => entries.toString('utf16le', at * 128 + 56, at * 128 + 128).replace(/\0.*/, '')
  assert.deepEqual([0, 1, 2, 3, 4, 5].map(label), [
    'esp',
    'web_1.0',
    'web_1.0_verity',
    '_empty',
    '_empty',
    'data',
  ])
  assert.deepEqual(diskLabels('web_1.0'), { root: label(1), verity: label(2) })
  assert.equal(offsets[2] as number, (offsets[1] as number) + 7 * MIB, 'one and a quarter of 5 MiB and 4 KiB')
  const guid = (at: number) => entries.subarray(at * 128 + 16, at * 128 + 32).toString('hex')
  assert.equal(guid(1), '67452301ab89efcd0123456789abcdef')
  assert.equal(guid(2), '67452301ab89efcd0123456789abcdef')
  assert.equal(new Set([0, 3, 4, 5].map(guid)).size, 4)
  assert.equal(entries.readBigUInt64LE(48), 0n, 'UEFI only')
  const bios = planDisk({ ...CONTENT, bootCode: Buffer.alloc(440, 0x90) }).head
  assert.equal(Buffer.from(bios).readBigUInt64LE(1024 + 48), 4n, 'legacy boot')
  assert.deepEqual([bios[0], bios[439], bios[440]], [0x90, 0x90, 0])
  assert.notDeepEqual(planDisk({ ...CONTENT, seed: 'other' }).head, head)
})

test('what does not fit on a disk is refused', () => {
  const cases = [
    { ...CONTENT, stem: 'x'.repeat(30) },
    { ...CONTENT, slot: MIB },
    { ...CONTENT, arch: 's390x' },
  ]
  for (const content of cases)
    assert.throws(
      () => planDisk(content),
      (error) => isStage5Error(error, 'S5_IMAGE_INPUT'),
    )
})

/** A PE32+ image of headers alone, with room for two sections. */
function pe(): Buffer {
  const image = Buffer.alloc(1024)
  image.write('MZ', 0, 'latin1')
  image.writeUInt32LE(64, 60)
  image.write('PE\0\0', 64, 'latin1')
  image.writeUInt16LE(240, 64 + 20)
  image.writeUInt16LE(0x20b, 88)
  image.writeUInt32LE(512, 88 + 36)
  image.writeUInt32LE(0x3210, 88 + 56)
  image.writeUInt32LE(88 + 240 + 80, 88 + 60)
  return image
}

test('sections are appended to a PE image in order, each at a page and a multiple of the file alignment', () => {
  const sections = [
    { name: '.linux', bytes: Buffer.alloc(5000, 'k') },
    { name: '.cmdline', bytes: Buffer.from('quiet') },
  ]
  const image = Buffer.from(withSections(pe(), sections, 'stub'))
  assert.equal(image.readUInt16LE(64 + 6), 2)
  assert.equal(image.readUInt32LE(88 + 56), 0x7000)
  const row = (at: number) => {
    const start = 88 + 240 + at * 40
    const [size, address, stored, offset] = [8, 12, 16, 20].map((each) => image.readUInt32LE(start + each))
    const name = image.toString('latin1', start, start + 8).replace(/\0+$/, '')
    const bytes = image.subarray(offset, (offset as number) + (size as number))
    return { name, size, address, stored, offset, bytes: Buffer.from(bytes) }
  }
  const { bytes, ...first } = row(0)
  assert.deepEqual(first, { name: '.linux', size: 5000, address: 0x4000, stored: 5120, offset: 1024 })
  assert.deepEqual(bytes, sections[0]?.bytes)
  assert.deepEqual([row(1).address, row(1).offset, row(1).bytes.toString()], [0x6000, 6144, 'quiet'])
  assert.equal(image.length, 6144 + 512)
})

test('what is no PE image, or has no room, is refused', () => {
  const section = { name: '.x', bytes: Buffer.alloc(1) }
  const wrong = [Buffer.alloc(10), Buffer.alloc(1024), pe().subarray(0, 200)]
  for (const image of wrong)
    assert.throws(
      () => withSections(image, [section], 'stub'),
      (error) => isStage5Error(error, 'S5_ARCHIVE_REFUSED'),
    )
  assert.throws(
    () => withSections(pe(), [section, section, section], 'stub'),
    (error) => isStage5Error(error, 'S5_ARCHIVE_REFUSED') && /no room/.test(error.message),
  )
})

test('a VHD footer has the checksum and the size of its disk', () => {
  const footer = Buffer.from(vhdFooter(96 * MIB, GUID, 946_684_800 + 7))
  assert.equal(footer.length, 512)
  assert.equal(footer.readUInt32BE(24), 7)
  assert.equal(Number(footer.readBigUInt64BE(48)), 96 * MIB)
  const sum = footer.readUInt32BE(64)
  footer.writeUInt32BE(0, 64)
  assert.equal(~footer.reduce((total, byte) => total + byte, 0) >>> 0, sum)
  // "CHS Calculation" of the specification: 96 MiB are 196608 sectors of 17 on 12 heads.
  assert.deepEqual([footer.readUInt16BE(56), footer[58], footer[59]], [963, 12, 17])
})
