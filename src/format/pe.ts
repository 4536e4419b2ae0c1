/**
 * Sections appended to a PE image: how a unified kernel image is made of systemd's stub.
 * @see Microsoft PE Format, "COFF File Header" and "Section Table"; UAPI.5 Unified Kernel Image
 */
import { alignUp } from '../base/bytes.ts'
import { refuse } from '../base/errors.ts'

interface PeSection {
  /** At most 8 bytes, such as `.linux`. */
  readonly name: string
  readonly bytes: Uint8Array
}

/** Room that addresses of new sections are rounded to: a page. */
const PAGE = 4096
const SECTION = 40
/** IMAGE_SCN_CNT_INITIALIZED_DATA and IMAGE_SCN_MEM_READ. */
const READ_ONLY_DATA = 0x40000040

/**
 * @param file names the image in errors
 * @throws S5_ARCHIVE_REFUSED when `image` is no PE32+ image, or its header has no room
 */
export function withSections(image: Uint8Array, sections: readonly PeSection[], file: string): Uint8Array {
  const source = Buffer.from(image)
  const bad = (message: string) => refuse('bad-header', file, message, {})
  if (source.length < 64 || source.toString('latin1', 0, 2) !== 'MZ') throw bad('no PE image')
  const coff = source.readUInt32LE(60)
  if (coff + 264 > source.length || source.toString('latin1', coff, coff + 4) !== 'PE\0\0')
    throw bad('no PE image')
  const optional = coff + 24
  if (source.readUInt16LE(optional) !== 0x20b) throw bad('no PE32+ image')
  const count = source.readUInt16LE(coff + 6)
  const table = optional + source.readUInt16LE(coff + 20)
  const fileAlignment = source.readUInt32LE(optional + 36)
  const headers = source.readUInt32LE(optional + 60)
  if (table + (count + sections.length) * SECTION > Math.min(headers, source.length))
    throw bad(`no room for ${sections.length} more sections`)

  let address = alignUp(source.readUInt32LE(optional + 56), PAGE)
  let at = alignUp(source.length, fileAlignment)
  const pieces: Uint8Array[] = [source, new Uint8Array(at - source.length)]
  for (const [index, { name, bytes }] of sections.entries()) {
    const row = table + (count + index) * SECTION
    const stored = alignUp(bytes.length, fileAlignment)
    source.fill(0, row, row + SECTION)
    source.write(name, row, 8, 'latin1')
    source.writeUInt32LE(bytes.length, row + 8) // VirtualSize
    source.writeUInt32LE(address, row + 12) // VirtualAddress
    source.writeUInt32LE(stored, row + 16) // SizeOfRawData
    source.writeUInt32LE(at, row + 20) // PointerToRawData
    source.writeUInt32LE(READ_ONLY_DATA, row + 36)
    pieces.push(bytes, new Uint8Array(stored - bytes.length))
    at += stored
    address = alignUp(address + bytes.length, PAGE)
  }
  source.writeUInt16LE(count + sections.length, coff + 6)
  source.writeUInt32LE(address, optional + 56) // SizeOfImage
  source.writeUInt32LE(0, optional + 64) // CheckSum
  return Buffer.concat(pieces)
}
