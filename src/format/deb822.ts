/** Stanzas of fields, as Debian writes them: Packages, Release, control files, apt sources. */
import { refuse } from '../base/errors.ts'

/** One paragraph. Field names are compared without regard to case. */
interface Stanza {
  /**
   * The value of a field: lines joined by newlines, each without its leading blank and without blanks at its end; the
   * line ` .` of the file is an empty line here. Byte string or text, as what was parsed.
   */
  get(field: string): string | undefined
  has(field: string): boolean
  /** Names as written and values, in the order of the file. */
  fields(): Iterable<readonly [name: string, value: string]>
  /** Line of the file where it starts, from 1. */
  readonly line: number
}

/** Longest line of real indexes: 75,649 bytes. */
const MAX_LINE = 2 ** 20

/**
 * The stanzas of a text one by one, without holding more than one; 45 MB of Packages take under a second.
 *
 * Bytes are read as a byte string (one character per byte). Lines that start with `#` are comments. Values are slices of
 * the text and keep it alive.
 * @param file names the text in errors
 * @throws S5_ARCHIVE_REFUSED `bad-metadata` for a line that is no field, a field that comes twice; `too-long`
 * @see deb822(5); Debian Policy 5.1
 */
export function* stanzasOf(text: string | Uint8Array, file = 'deb822'): Generator<Stanza> {
  const source =
    typeof text === 'string'
      ? text
      : Buffer.from(text.buffer, text.byteOffset, text.length).toString('latin1')
  const end = source.length
  const known: Known = new Map()
  let fields = new Map<string, Field>()
  let last: Field | undefined
  let line = 0
  let start = 0
  for (let at = 0; at < end; ) {
    let stop = source.indexOf('\n', at)
    if (stop < 0) stop = end
    line++
    if (stop - at > MAX_LINE) throw refuse('too-long', file, `line ${line} has ${stop - at} bytes`, { line })
    const first = source.charCodeAt(at)
    if (first === SPACE || first === TAB || first === RETURN || stop === at) {
      const from = at + 1 < stop ? at + 1 : stop
      const value = trimmedEnd(source, from, stop)
      if (value === '' && blank(source, at, stop)) {
        if (fields.size > 0) yield stanza(fields, start, known)
        if (fields.size > 0) fields = new Map()
        last = undefined
      } else {
        if (!last || first === RETURN)
          throw refuse('bad-metadata', file, `line ${line} continues no field`, { line })
        last.value += `\n${value === '.' ? '' : value}`
      }
    } else if (first !== HASH) {
      const colon = source.indexOf(':', at)
      if (colon < 0 || colon > stop || colon === at || first === DASH)
        throw refuse('bad-metadata', file, `line ${line} is neither a field nor the continuation of one`, {
          line,
        })
      const name = source.slice(at, colon)
      const key = keyOf(name, known)
      if (key === undefined)
        throw refuse('bad-metadata', file, `line ${line} has no proper field name`, { line })
      if (fields.size === 0) start = line
      last = { name, value: trimmed(source, colon + 1, stop) }
      if (fields.has(key))
        throw refuse('bad-metadata', file, `line ${line}: field ${name} comes twice`, { line })
      fields.set(key, last)
    }
    at = stop + 1
  }
  if (fields.size > 0) yield stanza(fields, start, known)
}

/** All stanzas of a text. @throws S5_ARCHIVE_REFUSED as `stanzasOf` */
export function parseDeb822(text: string | Uint8Array, file = 'deb822'): Stanza[] {
  return [...stanzasOf(text, file)]
}

/**
 * Stanzas as text that `parseDeb822` reads back: the reverse, up to blanks and the case of nothing.
 * @throws RangeError for what the format cannot say: an improper field name, a line `.`, blanks at the end of a line
 */
export function printDeb822(stanzas: Iterable<Iterable<readonly [name: string, value: string]>>): string {
  const texts: string[] = []
  for (const fields of stanzas) {
    const lines: string[] = []
    for (const [name, value] of fields) lines.push(...fieldLines(name, value))
    texts.push(`${lines.join('\n')}\n`)
  }
  return texts.join('\n')
}

function fieldLines(name: string, value: string): string[] {
  if (keyOf(name, new Map()) === undefined || name.startsWith('-') || name.startsWith('#'))
    throw new RangeError(`not a field name: ${JSON.stringify(name)}`)
  const [first = '', ...more] = value.split('\n')
  for (const line of more)
    if (line === '.' || /[ \t\r]$/.test(line))
      throw new RangeError(`not a line of a field: ${JSON.stringify(line)}`)
  if (first !== first.trim()) throw new RangeError(`not the first line of a field: ${JSON.stringify(first)}`)
  return [
    first === '' ? `${name}:` : `${name}: ${first}`,
    ...more.map((line) => (line === '' ? ' .' : ` ${line}`)),
  ]
}

interface Field {
  readonly name: string
  value: string
}

const TAB = 9
const RETURN = 13
const SPACE = 32
const HASH = 35
const DASH = 45

/** Lower-case forms of names seen: a real index has about forty, of a hostile one a thousand are remembered. */
type Known = Map<string, string>

/** "Any printable ASCII except space and colon"; undefined when `name` is something else. */
function keyOf(name: string, known: Known): string | undefined {
  const found = known.get(name)
  if (found !== undefined) return found
  if (!/^[\x21-\x39\x3b-\x7e]{1,100}$/.test(name)) return undefined
  const key = name.toLowerCase()
  // The slice would keep the whole text alive.
  if (known.size < 1000) known.set(Buffer.from(name, 'latin1').toString('latin1'), key)
  return key
}

function stanza(fields: ReadonlyMap<string, Field>, line: number, known: Known): Stanza {
  return {
    line,
    get: (field) => fields.get(known.get(field) ?? field.toLowerCase())?.value,
    has: (field) => fields.has(field.toLowerCase()),
    *fields() {
      for (const { name, value } of fields.values()) yield [name, value] as const
    },
  }
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB || code === RETURN
}

function blank(text: string, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (!isBlank(text.charCodeAt(at))) return false
  return true
}

function trimmedEnd(text: string, from: number, to: number): string {
  let end = to
  while (end > from && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(from, end)
}

function trimmed(text: string, from: number, to: number): string {
  let start = from
  while (start < to && isBlank(text.charCodeAt(start))) start++
  return trimmedEnd(text, start, to)
}
