/**
 * The xpak segment behind the image of a Gentoo package (`.xpak`, `.tbz2`): metadata by name, every length checked.
 *
 * `[image] XPAKPACK [INDEX_LEN] [DATA_LEN] index data XPAKSTOP [OFFSET] STOP`; integers are 32 bits, big-endian, unsigned.
 * @see xpak(5) of Portage
 */
import { type Refusal, refuse } from '../base/errors.ts'

/** Bytes at the end of the file that say where the segment begins: XPAKSTOP, its length, STOP. */
export const XPAK_TAIL = 16
/** Bytes of a segment without index and data. */
const FRAME = 24
/** Bytes. Real segments have up to some hundred thousand. */
export const MAX_XPAK: number = 2 ** 26
const MAX_XPAK_VALUE: number = 2 ** 24
const MAX_NAME = 255

/**
 * Where the segment stands in a file.
 * @param tail the last `XPAK_TAIL` bytes of the file
 * @param size bytes of the file
 * @returns undefined when the file does not end as an xpak does
 * @throws S5_ARCHIVE_REFUSED `bad-size`, `too-big`
 */
export function xpakSegment(
  file: string,
  tail: Uint8Array,
  size: number,
): { readonly start: number; readonly length: number } | undefined {
  const bytes = Buffer.from(tail.buffer, tail.byteOffset, tail.byteLength)
  const marks = bytes.length === XPAK_TAIL && bytes.toString('latin1', 0, 8) === 'XPAKSTOP'
  if (!marks || bytes.toString('latin1', 12) !== 'STOP') return undefined
  const length = bytes.readUInt32BE(8)
  if (length < FRAME || length > size - 8)
    throw refuse('bad-size', file, `the xpak segment has ${length} bytes in a file of ${size}`)
  if (length > MAX_XPAK) throw refuse('too-big', file, `the xpak segment has ${length} bytes`)
  return { start: size - 8 - length, length }
}

/**
 * The values of a whole segment, by name, as views of it.
 * @throws S5_ARCHIVE_REFUSED `magic`, `layout`, `truncated`, `bad-name`, `duplicate`, `too-big`
 */
export function parseXpak(file: string, segment: Uint8Array): Map<string, Uint8Array> {
  const bytes = Buffer.from(segment.buffer, segment.byteOffset, segment.byteLength)
  const fail = (reason: Refusal, message: string, entry?: string) =>
    refuse(reason, file, message, entry === undefined ? {} : { entry })
  if (bytes.length < FRAME || bytes.toString('latin1', 0, 8) !== 'XPAKPACK')
    throw fail('magic', 'the xpak segment does not begin with XPAKPACK')
  const indexLength = bytes.readUInt32BE(8)
  const dataLength = bytes.readUInt32BE(12)
  if (FRAME + indexLength + dataLength !== bytes.length)
    throw fail(
      'layout',
      `index (${indexLength} bytes) and data (${dataLength} bytes) do not fill the xpak segment of ${bytes.length} bytes`,
    )
  const dataStart = 16 + indexLength
  if (bytes.toString('latin1', dataStart + dataLength) !== 'XPAKSTOP')
    throw fail('layout', 'the xpak segment does not end with XPAKSTOP')
  const values = new Map<string, Uint8Array>()
  let total = 0
  for (let at = 16; at < dataStart; ) {
    const nameLength = at + 12 <= dataStart ? bytes.readUInt32BE(at) : Infinity
    if (at + 12 + nameLength > dataStart)
      throw fail('truncated', `the xpak index ends inside its entry ${values.size + 1}`)
    const name = bytes.toString('latin1', at + 4, at + 4 + nameLength)
    const problem = metadataNameProblem(name)
    if (problem !== undefined)
      throw fail(name.length > MAX_NAME ? 'too-long' : 'bad-name', problem, name.slice(0, MAX_NAME))
    if (values.has(name)) throw fail('duplicate', 'twice in the xpak index', name)
    const offset = bytes.readUInt32BE(at + 4 + nameLength)
    const length = bytes.readUInt32BE(at + 8 + nameLength)
    if (offset + length > dataLength)
      throw fail(
        'truncated',
        `a value of ${length} bytes at ${offset} leaves the ${dataLength} bytes of data`,
        name,
      )
    if (length > MAX_XPAK_VALUE) throw fail('too-big', `a value of ${length} bytes`, name)
    total += length
    if (total > dataLength) throw fail('layout', 'values share bytes of the xpak data', name)
    values.set(name, segment.subarray(dataStart + offset, dataStart + offset + length))
    at += 12 + nameLength
  }
  return values
}

/** Why a name (byte string) cannot be a file of build-info, or undefined when it can. */
export function metadataNameProblem(name: string): string | undefined {
  if (name === '') return 'a metadata value without a name'
  if (name.length > MAX_NAME) return `a metadata name of ${name.length} bytes`
  if (name === '.' || name === '..' || name.includes('/')) return 'a metadata name that is a path'
  if (/[\0-\x1f\x7f]/.test(name)) return 'a metadata name with control characters'
  return undefined
}
