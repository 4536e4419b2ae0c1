/** How much the containers of packages and deltas may ask to be read: the largest that is allowed is, one byte more is not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DELTA_FIRST_LINE, parseFirstLine } from '../../src/format/delta.ts'
import { gpkgContainer } from '../../src/format/gpkg.ts'
import { parseXpak, XPAK_TAIL, xpakSegment } from '../../src/format/xpak.ts'
import { makeXpakSegment } from '../helpers/gentoo-packages.ts'

const MIB = 2 ** 20

function tooBig(what: RegExp): { code: string; message: RegExp } {
  return { code: 'S5_ARCHIVE_REFUSED', message: new RegExp(`^f: too-big: ${what.source}`) }
}

test('an xpak segment has at most 64 MiB, a value in it 16 MiB', () => {
  const tail = (length: number): Buffer => {
    const bytes = Buffer.from('XPAKSTOP----STOP')
    bytes.writeUInt32BE(length, 8)
    assert.equal(bytes.length, XPAK_TAIL)
    return bytes
  }
  assert.equal(xpakSegment('f', tail(64 * MIB), 1024 * MIB)?.length, 64 * MIB)
  assert.throws(() => xpakSegment('f', tail(64 * MIB + 1), 1024 * MIB), tooBig(/the xpak segment/))
  const segment = (length: number): Buffer =>
    makeXpakSegment([{ name: 'A', value: Buffer.alloc(length) }]).subarray(0, -8)
  assert.equal(parseXpak('f', segment(16 * MIB)).get('A')?.length, 16 * MIB)
  assert.throws(() => parseXpak('f', segment(16 * MIB + 1)), tooBig(/a value of 16777217 bytes/))
})

test('a signature in a gpkg has at most 64 KiB', () => {
  const add = (size: number) => gpkgContainer('f').add('p-1/metadata.tar.zst.sig', 'file', size)
  assert.equal(add(65_536).role, 'signature')
  assert.throws(() => add(65_537), tooBig(/a signature of 65537 bytes/))
})

test('the header of a delta has at most 256 MiB', () => {
  const line = (length: number): Buffer => {
    const bytes = Buffer.from(`stage5 delta 1 ${String(length).padStart(10, '0')}\n`)
    assert.equal(bytes.length, DELTA_FIRST_LINE)
    return bytes
  }
  assert.equal(parseFirstLine(line(256 * MIB), 'f'), 256 * MIB)
  assert.throws(() => parseFirstLine(line(256 * MIB + 1), 'f'), tooBig(/a header of/))
})
