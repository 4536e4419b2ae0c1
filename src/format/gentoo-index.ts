/** The `Packages` index of a Gentoo binhost: a header and one block of `KEY: value` lines for each package. */
import { refused } from './release.ts'

export type GentooFields = ReadonlyMap<string, string>

export interface GentooIndex {
  readonly header: GentooFields
  /** Seconds since 1970. */
  readonly timestamp: number
  /** What the header says how many there are, where it says it. */
  readonly count: number | undefined
  /** Of entries. */
  readonly size: number
  /** CPV of the entry at `at`, counted from 0; '' without one. */
  cpv(at: number): string
  /** PROVIDES of an entry; '' without it. */
  provides(at: number): string
  fields(at: number): GentooFields
  readonly blocks: Blocks
  /** Entries in their order, each with the number of its first line. */
  entries(): Generator<{ readonly fields: GentooFields; readonly line: number }, void, undefined>
}

/** Bytes of a line; the longest real one has some thousand. */
const MAX_LINE = 2 ** 20

const NEWLINE = 10
const COLON = 58

/**
 * Reads the header and finds the entries; what an entry says is read when it is asked for. Keeps `bytes` alive.
 *
 * A line is split at its first `:`, one blank after it is removed, of a repeated key the last counts, and a line without
 * `:` is passed over, all as Portage does.
 * @param known `blocks` of an earlier reading of the same bytes, which then need not be searched
 * @throws S5_INDEX_REFUSED `magic`, `version`, `bad-metadata`, `too-long`; `truncated` also for fewer entries than announced
 * @see formats of Portage, getbinpkg.py and binarytree.py
 */
export function parseGentooIndex(file: string, bytes: Uint8Array, known?: Blocks): GentooIndex {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const start = buffer.toString('latin1', 0, 512).replace(BYTE_ORDER_MARK, '')
  if (bytes.length === 0) throw refused(file, 'truncated', 'the index is empty')
  if (start.includes('\0') || /^\s*</.test(start) || !/^[A-Z][A-Z0-9_]*:/m.test(start))
    throw refused(file, 'magic', `expected an index of packages, found ${JSON.stringify(start.slice(0, 24))}`)
  if (buffer.at(-1) !== NEWLINE) throw refused(file, 'truncated', 'the index ends inside a line')
  const blocks = known ?? blocksOf(buffer, file)
  const header: GentooFields =
    blocks.count === 0 ? new Map<string, string>() : blockAt(buffer, blocks.rows, 0)
  const version = header.get('VERSION')
  if (version === undefined || !/^[0-9]{1,9}$/.test(version) || Number(version) > 0)
    throw refused(
      file,
      'version',
      `expected VERSION: 0, found ${version === undefined ? 'none' : JSON.stringify(version.slice(0, 40))}`,
    )
  const timestamp = wholeNumber(file, 'TIMESTAMP', header.get('TIMESTAMP') ?? '')
  const announced = header.get('PACKAGES')
  const count = announced === undefined ? undefined : wholeNumber(file, 'PACKAGES', announced)
  const size = blocks.count - 1
  if (size < (count ?? 0)) throw refused(file, 'truncated', `expected ${count} packages, found ${size}`)
  const { rows } = blocks
  const fields = (at: number): GentooFields => blockAt(buffer, rows, at + 1)
  const line = (place: number): string => {
    if (place === 0) return ''
    const text = buffer.toString('utf8', place, buffer.indexOf(NEWLINE, place))
    return valueOf(text, 0, text.length)
  }
  return {
    header,
    timestamp,
    count,
    size,
    cpv: (at) => line(rows[(at + 1) * WIDTH + CPV] as number),
    provides: (at) => line(rows[(at + 1) * WIDTH + PROVIDES] as number),
    fields,
    blocks,
    *entries() {
      for (let at = 0; at < size; at++)
        yield { fields: fields(at), line: rows[(at + 1) * WIDTH + LINE] as number }
    },
  }
}

/** As latin1 shows it. */
const BYTE_ORDER_MARK = /^\u{ef}\u{bb}\u{bf}/u

function wholeNumber(file: string, key: string, text: string): number {
  if (!/^[0-9]{1,15}$/.test(text.trim()))
    throw refused(
      file,
      'bad-metadata',
      `${key}: expected a number, found ${JSON.stringify(text.slice(0, 40))}`,
    )
  return Number(text)
}

/** Columns of a row: where a block begins and ends, its first line, and where two values begin (0: nowhere). */
const BEGIN = 0
const END = 1
const LINE = 2
const CPV = 3
const PROVIDES = 4
const WIDTH = 5

/** Where the header and the entries of an index stand; of use with exactly its bytes. */
export interface Blocks {
  readonly rows: Uint32Array
  readonly count: number
}

/** One pass over all bytes: lines up to an empty one are a block. */
function blocksOf(bytes: Buffer, file: string): Blocks {
  let rows = new Uint32Array(WIDTH * 1024)
  let count = 0
  let line = 1
  const { length } = bytes
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
  for (;;) {
    for (let byte = bytes[at] as number; at < length && byte <= 32; byte = bytes[++at] as number)
      if (byte === NEWLINE) line++
    if (at >= length) return { rows: rows.subarray(0, count * WIDTH), count }
    if ((count + 1) * WIDTH > rows.length) {
      const wider = new Uint32Array(rows.length * 2)
      wider.set(rows)
      rows = wider
    }
    const row = count++ * WIDTH
    rows[row + BEGIN] = at
    rows[row + LINE] = line
    for (;;) {
      const first = at
      let end = first
      let byte = NEWLINE
      while (end < length && (byte = bytes[end] as number) <= 32 && byte !== NEWLINE) end++
      const isBlank = end >= length || byte === NEWLINE
      if (!isBlank) while (bytes[end] !== NEWLINE) end++
      if (end - first > MAX_LINE)
        throw refused(file, 'too-long', `line ${line} has ${end - first} characters`)
      rows[row + END] = first
      at = Math.min(end + 1, length)
      if (isBlank) {
        if (first < length) line++
        break
      }
      line++
      const letter = bytes[first]
      if (letter === 67 && bytes[first + 1] === 80 && bytes[first + 2] === 86 && bytes[first + 3] === COLON)
        rows[row + CPV] = first + 4
      else if (letter === 80 && bytes[first + 8] === COLON && isProvides(bytes, first))
        rows[row + PROVIDES] = first + 9
    }
  }
}

function isProvides(bytes: Buffer, at: number): boolean {
  return bytes.toString('latin1', at, at + 8) === 'PROVIDES'
}

function blockAt(bytes: Buffer, rows: Uint32Array, block: number): GentooFields {
  const begin = rows[block * WIDTH + BEGIN] as number
  const end = rows[block * WIDTH + END]
  const isBehindLine = bytes[begin - 1] === NEWLINE
  const text = bytes.toString('utf8', isBehindLine ? begin - 1 : begin, end)
  return new Block(isBehindLine ? text : `\n${text}`)
}

/** The lines of one block, searched when a key is asked for: of thirty values few are. */
class Block implements ReadonlyMap<string, string> {
  readonly #text: string

  /** @param text begins with the end of the line before */
  constructor(text: string) {
    this.#text = text
  }

  get(key: string): string | undefined {
    if (!isKey(key)) return undefined
    const start = `\n${key}:`
    let at = -1
    for (let next = this.#text.indexOf(start); next >= 0; next = this.#text.indexOf(start, at + 1)) at = next
    if (at < 0) return undefined
    const end = this.#text.indexOf('\n', at + 1)
    return valueOf(this.#text, at + key.length + 2, end < 0 ? this.#text.length : end)
  }

  has(key: string): boolean {
    return isKey(key) && this.#text.includes(`\n${key}:`)
  }

  get size(): number {
    return this.#all().size
  }

  keys(): MapIterator<string> {
    return this.#all().keys()
  }

  values(): MapIterator<string> {
    return this.#all().values()
  }

  entries(): MapIterator<[string, string]> {
    return this.#all().entries()
  }

  [Symbol.iterator](): MapIterator<[string, string]> {
    return this.entries()
  }

  forEach(visit: (value: string, key: string, map: ReadonlyMap<string, string>) => void): void {
    for (const [key, value] of this) visit(value, key, this)
  }

  #all(): Map<string, string> {
    const all = new Map<string, string>()
    for (const line of this.#text.split('\n')) {
      const colon = line.indexOf(':')
      if (colon >= 0) all.set(line.slice(0, colon), valueOf(line, colon + 1, line.length))
    }
    return all
  }
}

/** What may stand before the first `:` of a line. */
function isKey(key: string): boolean {
  return !key.includes(':') && !key.includes('\n')
}

function valueOf(text: string, from: number, to: number): string {
  const start = from < to && text.charCodeAt(from) === 32 ? from + 1 : from
  let end = to
  while (end > start && text.charCodeAt(end - 1) <= 32) end--
  return text.slice(start, end)
}
