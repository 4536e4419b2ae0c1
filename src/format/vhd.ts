/**
 * The footer that makes a raw disk a fixed VHD, as Azure and Hyper-V want it.
 * @see Microsoft Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format"
 */

/** Seconds from 1970 to 2000, where VHD time begins. */
const EPOCH = 946_684_800

/**
 * @param size bytes of the disk, whole sectors
 * @param uuid as text
 * @param date seconds since 1970
 */
export function vhdFooter(size: number, uuid: string, date: number): Uint8Array {
  const footer = Buffer.alloc(512)
  footer.write('conectix', 0, 'latin1')
  footer.writeUInt32BE(2, 8) // Features: reserved, always set
  footer.writeUInt32BE(0x00010000, 12) // File Format Version
  footer.fill(0xff, 16, 24) // Data Offset: none for fixed disks
  footer.writeUInt32BE(Math.max(0, date - EPOCH), 24)
  // qemu tells by the creator that the size counts and not the geometry, which is rounded.
  footer.write('qem2', 28, 'latin1')
  footer.writeUInt32BE(0x00050003, 32) // Creator Version
  footer.write('Wi2k', 36, 'latin1') // Creator Host OS
  footer.writeBigUInt64BE(BigInt(size), 40) // Original Size
  footer.writeBigUInt64BE(BigInt(size), 48) // Current Size
  const { cylinders, heads, sectors } = geometry(size / 512)
  footer.writeUInt16BE(cylinders, 56)
  footer.writeUInt8(heads, 58)
  footer.writeUInt8(sectors, 59)
  footer.writeUInt32BE(2, 60) // Disk Type: fixed
  footer.write(uuid.replaceAll('-', ''), 68, 'hex')
  const sum = footer.reduce((total, byte) => total + byte, 0)
  footer.writeUInt32BE(~sum >>> 0, 64) // Checksum
  return footer
}

/** "Appendix: CHS Calculation". */
function geometry(total: number): { cylinders: number; heads: number; sectors: number } {
  const count = Math.min(total, 65535 * 16 * 255)
  if (count >= 65535 * 16 * 63) return { cylinders: Math.floor(count / 255 / 16), heads: 16, sectors: 255 }
  let sectors = 17
  let perHead = Math.floor(count / sectors)
  let heads = Math.max(4, Math.floor((perHead + 1023) / 1024))
  for (const more of [31, 63]) {
    if (more === 31 ? perHead < heads * 1024 && heads <= 16 : perHead < heads * 1024) break
    sectors = more
    heads = 16
    perHead = Math.floor(count / sectors)
  }
  return { cylinders: Math.floor(perHead / heads), heads, sectors }
}
