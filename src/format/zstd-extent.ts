/** Where a zstd frame ends, read off its block headers without decompressing anything (RFC 8878, 3.1.1). */
import { refuse } from '../base/errors.ts'

/** Bytes of the field by the two bits that say how long it is. */
const DICTIONARY = [0, 1, 2, 4] as const
const CONTENT_SIZE = [0, 2, 4, 8] as const

/**
 * @returns the offset behind the frame that begins at `start`; a skippable frame counts as one
 * @throws S5_ARCHIVE_REFUSED `truncated`, `magic`, `bad-header`
 */
export function zstdFrameEnd(bytes: Uint8Array, start: number, file: string): number {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const need = (end: number): void => {
    if (end > view.length) throw refuse('truncated', file, `in a zstd frame at ${start}`)
  }
  need(start + 8)
  const magic = view.readUInt32LE(start)
  if (magic >>> 4 === 0x184d2a5) {
    const end = start + 8 + view.readUInt32LE(start + 4)
    need(end)
    return end
  }
  if (magic !== 0xfd2fb528) throw refuse('magic', file, `expected a zstd frame at ${start}`)
  const descriptor = view.readUInt8(start + 4)
  const isSingle = (descriptor & 0x20) !== 0
  const sizeField = CONTENT_SIZE[(descriptor >> 6) as 0 | 1 | 2 | 3]
  const fields = DICTIONARY[(descriptor & 3) as 0 | 1 | 2 | 3] + (sizeField || (isSingle ? 1 : 0))
  let at = start + 5 + (isSingle ? 0 : 1) + fields
  for (;;) {
    need(at + 3)
    const header = view.readUIntLE(at, 3)
    const kind = (header >> 1) & 3
    if (kind === 3) throw refuse('bad-header', file, `a zstd block of an unknown kind at ${at}`)
    at += 3 + (kind === 1 ? 1 : header >> 3)
    need(at)
    if ((header & 1) === 1) break
  }
  const end = at + ((descriptor & 4) === 0 ? 0 : 4)
  need(end)
  return end
}
