/** The `Packages` index of a Gentoo binhost: a header and one block of `KEY: value` lines for each package. */
import { refused } from './release.ts'

export type GentooFields = ReadonlyMap<string, string>

export interface GentooIndex {
  readonly header: GentooFields
  /** Seconds since 1970. */
  readonly timestamp: number
  /** What the header says how many there are, where it says it. */
  readonly count: number | undefined
  /**
   * Entries in their order, each with the number of its first line.
   * @throws S5_INDEX_REFUSED `truncated` behind the last one when there are fewer than announced; `too-long`
   */
  entries(): Generator<{ readonly fields: GentooFields; readonly line: number }, void, undefined>
}

/** Bytes of a line; the longest real one has some thousand. */
const MAX_LINE = 2 ** 20

/**
 * Reads the header; entries are read as they are asked for.
 *
 * A line is split at its first `:`, one blank after it is removed, of a repeated key the last counts, and a line without
 * `:` is passed over, all as Portage does.
 * @param keys of entries that are wanted; the others are dropped
 * @throws S5_INDEX_REFUSED `magic`, `truncated`, `version`, `bad-metadata`, `too-long`
 * @see formats of Portage, getbinpkg.py and binarytree.py
 */
export function parseGentooIndex(file: string, bytes: Uint8Array, keys?: ReadonlySet<string>): GentooIndex {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 512)).toString('latin1')
  if (bytes.length === 0) throw refused(file, 'truncated', 'the index is empty')
  if (start.includes('\0') || /^\s*</.test(start) || !/^[A-Z][A-Z0-9_]*:/m.test(start))
    throw refused(file, 'magic', `expected an index of packages, found ${JSON.stringify(start.slice(0, 24))}`)
  const text = new TextDecoder('utf-8').decode(bytes)
  if (!text.endsWith('\n')) throw refused(file, 'truncated', 'the index ends inside a line')
  const reader = { text, at: 0, line: 1, file }
  const header = nextBlock(reader) ?? new Map<string, string>()
  const version = header.get('VERSION')
  if (version === undefined || !/^[0-9]{1,9}$/.test(version) || Number(version) > 0)
    throw refused(
      file,
      'version',
      `expected VERSION: 0, found ${version === undefined ? 'none' : JSON.stringify(version.slice(0, 40))}`,
    )
  const { at, line } = reader
  return {
    header,
    timestamp: wholeNumber(file, 'TIMESTAMP', header.get('TIMESTAMP') ?? ''),
    count: header.has('PACKAGES')
      ? wholeNumber(file, 'PACKAGES', header.get('PACKAGES') as string)
      : undefined,
    *entries() {
      Object.assign(reader, { at, line })
      let found = 0
      for (;;) {
        const first = skipBlank(reader)
        const fields = nextBlock(reader, keys)
        if (fields === undefined) break
        found++
        yield { fields, line: first }
      }
      const count = Number(header.get('PACKAGES') ?? 0)
      if (found < count) throw refused(file, 'truncated', `expected ${count} packages, found ${found}`)
    },
  }
}

function wholeNumber(file: string, key: string, text: string): number {
  if (!/^[0-9]{1,15}$/.test(text.trim()))
    throw refused(
      file,
      'bad-metadata',
      `${key}: expected a number, found ${JSON.stringify(text.slice(0, 40))}`,
    )
  return Number(text)
}

interface Reader {
  readonly text: string
  readonly file: string
  at: number
  line: number
}

/** @returns the number of the line that follows */
function skipBlank(reader: Reader): number {
  const { text } = reader
  for (let code = text.charCodeAt(reader.at); code <= 32; code = text.charCodeAt(++reader.at))
    if (code === 10) reader.line++
  return reader.line
}

/** Lines up to an empty one. */
function nextBlock(reader: Reader, keys?: ReadonlySet<string>): Map<string, string> | undefined {
  const { text, file } = reader
  skipBlank(reader)
  if (reader.at >= text.length) return undefined
  const fields = new Map<string, string>()
  while (reader.at < text.length) {
    const { at } = reader
    let end = text.indexOf('\n', at)
    if (end < 0) end = text.length
    if (end - at > MAX_LINE) throw refused(file, 'too-long', `line ${reader.line} has ${end - at} characters`)
    reader.at = end + 1
    reader.line++
    const colon = text.indexOf(':', at)
    if (colon >= 0 && colon < end) {
      const key = text.slice(at, colon)
      if (keys === undefined || keys.has(key)) fields.set(key, valueOf(text, colon + 1, end))
    } else if (text.slice(at, end).trim() === '') return fields
  }
  return fields
}

function valueOf(text: string, from: number, to: number): string {
  const start = from < to && text.charCodeAt(from) === 32 ? from + 1 : from
  let end = to
  while (end > start && text.charCodeAt(end - 1) <= 32) end--
  return text.slice(start, end)
}
