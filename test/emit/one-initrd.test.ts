import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ipxeScript } from '../../src/emit/netboot.ts'
import { planOneInitrd } from '../../src/emit/one-initrd.ts'
import { readCpio } from '../../src/format/cpio.ts'
import { isStage5Error } from '../../src/base/errors.ts'

function made(initramfs: Buffer, base: Buffer, cmdline: string) {
  const plan = planOneInitrd({ initramfs: initramfs.length, base: base.length }, cmdline, 1234)
  const bytes = Buffer.concat(
    plan.pieces.map((piece) => (piece === 'initramfs' ? initramfs : piece === 'base' ? base : piece)),
  )
  return { ...plan, bytes }
}

test('every part lies where it is said to lie, and the second archive begins at a multiple of 4', () => {
  for (const more of [0, 1, 2, 3])
    for (const tail of [0, 1, 2, 3]) {
      const initramfs = Buffer.alloc(1000 + more, 'i')
      const base = Buffer.alloc(4096 + tail, 'hsqs')
      const { bytes, parts, size } = made(initramfs, base, 'console=ttyS0 quiet')
      assert.equal(bytes.length, size)
      const part = (name: string) => {
        const found = parts.find((each) => each.name === name)
        assert.ok(found)
        return { ...found, bytes: bytes.subarray(found.offset, found.offset + found.length) }
      }
      assert.deepEqual(part('initramfs').bytes, initramfs)
      assert.deepEqual(part('pad').bytes, Buffer.alloc((4 - more) % 4))
      assert.deepEqual(part('squashfs.img').bytes, base)
      assert.equal(part('etc/cmdline').bytes.toString(), 'console=ttyS0 quiet\n')
      const cpio = part('cpio')
      assert.equal(cpio.offset % 4, 0)
      assert.equal(cpio.offset + cpio.length, size)
      const { entries, end } = readCpio(cpio.bytes, 'one')
      assert.deepEqual(
        entries.map(({ name, mode, mtime, size: length }) => [name, mode.toString(8), mtime, length]),
        [
          ['etc', '40755', 1234, 0],
          ['etc/cmdline', '100644', 1234, 20],
          ['squashfs.img', '100644', 1234, base.length],
        ],
      )
      assert.ok(cpio.bytes.subarray(end).every((byte) => byte === 0))
    }
})

test('a base of 4 GiB does not fit into a cpio archive', () => {
  const plan = (base: number) => planOneInitrd({ initramfs: 0, base }, '', 0)
  assert.throws(
    () => plan(2 ** 32),
    (error) => isStage5Error(error, 'S5_IMAGE_INPUT'),
  )
  assert.equal(plan(2 ** 32 - 1).parts.at(-1)?.length, 2 ** 32 - 1)
})

test('the iPXE script names the three files and where the base goes', () => {
  const script = ipxeScript({ kernel: 'k', initrd: 'i', base: 'b.squashfs', cmdline: 'quiet panic=1' })
  assert.equal(
    script,
    '#!ipxe\nkernel k initrd=i quiet panic=1\ninitrd i\ninitrd b.squashfs /squashfs.img mode=0644\nboot\n',
  )
})
