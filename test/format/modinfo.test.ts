/** Kernel modules: their own words, and those of the modules that are built in. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseBuiltinModinfo, parseModinfo } from '../../src/format/modinfo.ts'
import { makeElf } from '../helpers/make-elf.ts'

const INFO =
  'license=GPL\0alias=virtio:d00000002v*\0alias=fs-x\0depends=virtio,virtio_ring\0softdep=pre: crc32c\0' +
  '\0\0firmware=a/b.bin\0parm=x:a=b\0name=virtio_blk\0vermagic=6.1.0 SMP \0'

for (const bits of [32, 64] as const)
  for (const little of [true, false])
    test(`the fields of a ${bits} bit ${little ? 'little' : 'big'} endian module are read in order`, () => {
      const bytes = makeElf({
        bits,
        little,
        type: 1,
        sections: { '.modinfo': Buffer.from(INFO), __ksymtab_strings: Buffer.from('NAMESPACE\0') },
        exports: ['zeta', 'alpha'],
        imports: ['printk', 'abc', 'printk'],
      })
      assert.deepEqual(parseModinfo(bytes), {
        name: 'virtio_blk',
        depends: ['virtio', 'virtio_ring'],
        aliases: ['virtio:d00000002v*', 'fs-x'],
        softdeps: ['pre: crc32c'],
        firmware: ['a/b.bin'],
        vermagic: '6.1.0 SMP ',
        exports: ['alpha', 'zeta'],
        imports: ['printk', 'abc'],
      })
    })

test('changed bytes give a value, never an exception', () => {
  const whole = makeElf({ sections: { '.modinfo': Buffer.from(INFO) }, exports: ['a'], imports: ['b'] })
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 }), (edits) => {
      const bytes = Buffer.from(whole)
      for (const [at, value] of edits) bytes[at] = value
      const info = parseModinfo(bytes)
      assert.ok(info === undefined || info.exports.length <= 1)
    }),
    { numRuns: 500 },
  )
})

test('an empty depends field means no dependency', () => {
  const info = parseModinfo(makeElf({ sections: { '.modinfo': Buffer.from('name=x\0depends=\0') } }))
  assert.deepEqual(info?.depends, [])
  assert.deepEqual(info?.exports, [])
})

test('bytes without the section are no module', () => {
  assert.equal(parseModinfo(makeElf({ sections: { '.text': Buffer.alloc(4) } })), undefined)
  assert.equal(parseModinfo(Buffer.from('\xfd7zXZ\0', 'latin1')), undefined)
})

test('built-in modules are grouped by name', () => {
  const text = 'ext4.license=GPL\0ext4.alias=fs-ext4\0pci.parm=a.b=c\0ext4.alias=ext3\0broken\0'
  assert.deepEqual(parseBuiltinModinfo(Buffer.from(text)), [
    { name: 'ext4', aliases: ['fs-ext4', 'ext3'] },
    { name: 'pci', aliases: [] },
  ])
})

test('symbols with longer names than any kernel has are passed over', () => {
  const sections = { '.modinfo': Buffer.from('license=GPL\0') }
  const long = 'x'.repeat(600)
  const info = parseModinfo(makeElf({ sections, exports: [long, 'mine'], imports: [long, 'theirs'] }))
  assert.deepEqual([info?.exports, info?.imports], [['mine'], ['theirs']])
})
