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
      const next = keys ? columnsOf(text, keys) : nextBlock
      let found = 0
      for (;;) {
        const first = skipBlank(reader)
        const fields = next(reader)
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
function nextBlock(reader: Reader): Map<string, string> | undefined {
  const fields = new Map<string, string>()
  const { text } = reader
  const found = readLines(reader, (at, colon, end) => {
    fields.set(text.slice(at, colon), valueOf(text, colon + 1, end))
  })
  return found ? fields : undefined
}

/** @returns whether there was a block */
function readLines(reader: Reader, line: (at: number, colon: number, end: number) => void): boolean {
  const { text, file } = reader
  skipBlank(reader)
  if (reader.at >= text.length) return false
  while (reader.at < text.length) {
    const { at } = reader
    let end = text.indexOf('\n', at)
    if (end < 0) end = text.length
    if (end - at > MAX_LINE) throw refused(file, 'too-long', `line ${reader.line} has ${end - at} characters`)
    reader.at = end + 1
    reader.line++
    const colon = text.indexOf(':', at)
    if (colon >= 0 && colon < end) line(at, colon, end)
    else if (text.slice(at, end).trim() === '') return true
  }
  return true
}

const ENTRIES_AT_ONCE = 1024

/** Entries that know only where their values stand: of thirty values three are asked for before a package is wanted. */
function columnsOf(text: string, keys: ReadonlySet<string>): (reader: Reader) => GentooFields | undefined {
  const columns = new Map([...keys].map((key, at) => [key, at * 2]))
  const width = keys.size * 2
  let places = new Int32Array(0)
  let base = 0
  return (reader) => {
    if (base === places.length) {
      places = new Int32Array(width * ENTRIES_AT_ONCE)
      base = 0
    }
    const found = readLines(reader, (at, colon, end) => {
      const column = columns.get(text.slice(at, colon))
      if (column === undefined) return
      // A value begins behind a colon, so that 0 means none.
      places[base + column] = colon + 1
      places[base + column + 1] = end
    })
    if (!found) return undefined
    base += width
    return new Fields(text, columns, places, base - width)
  }
}

class Fields implements ReadonlyMap<string, string> {
  readonly #text: string
  readonly #columns: ReadonlyMap<string, number>
  readonly #places: Int32Array
  readonly #base: number

  constructor(text: string, columns: ReadonlyMap<string, number>, places: Int32Array, base: number) {
    this.#text = text
    this.#columns = columns
    this.#places = places
    this.#base = base
  }

  get(key: string): string | undefined {
    const at = this.#placeOf(key)
    return at === undefined
      ? undefined
      : valueOf(this.#text, this.#places[at] as number, this.#places[at + 1] as number)
  }

  has(key: string): boolean {
    return this.#placeOf(key) !== undefined
  }

  #placeOf(key: string): number | undefined {
    const column = this.#columns.get(key)
    return column === undefined || this.#places[this.#base + column] === 0 ? undefined : this.#base + column
  }

  get size(): number {
    return [...this.keys()].length
  }

  *keys(): MapIterator<string> {
    for (const key of this.#columns.keys()) if (this.has(key)) yield key
  }

  *values(): MapIterator<string> {
    for (const key of this.keys()) yield this.get(key) as string
  }

  *entries(): MapIterator<[string, string]> {
    for (const key of this.keys()) yield [key, this.get(key) as string]
  }

  [Symbol.iterator](): MapIterator<[string, string]> {
    return this.entries()
  }

  forEach(visit: (value: string, key: string, map: ReadonlyMap<string, string>) => void): void {
    for (const [key, value] of this) visit(value, key, this)
  }
}

function valueOf(text: string, from: number, to: number): string {
  const start = from < to && text.charCodeAt(from) === 32 ? from + 1 : from
  let end = to
  while (end > start && text.charCodeAt(end - 1) <= 32) end--
  return text.slice(start, end)
}
