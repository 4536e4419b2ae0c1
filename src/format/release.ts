/** The Release file of a Debian archive: dates, names, and the sizes and sums of its indexes. */
import { Stage5Error } from '../base/errors.ts'

export interface ReleaseEntry {
  /** Bytes. */
  readonly size: number
  /** 64 lower-case hex digits. */
  readonly sha256: string
}

export interface Release {
  /** '' where the file does not say. */
  readonly suite: string
  readonly codename: string
  /** Seconds since 1970. */
  readonly date: number
  /** Seconds since 1970; undefined for one that never expires. */
  readonly validUntil: number | undefined
  readonly acquireByHash: boolean
  readonly architectures: readonly string[]
  /** Whether `binary-ARCH/Packages` holds the `all` packages too, so that `binary-all` is not needed. */
  readonly allInEachArchitecture: boolean
  /** Only what SHA256 lists; by path relative to the directory of the suite. */
  readonly files: ReadonlyMap<string, ReleaseEntry>
}

/** One paragraph of RFC 822 style fields; continuation lines are in the value, each after a line feed. */
export interface Fields {
  get(field: string): string | undefined
}

/** @throws S5_INDEX_REFUSED when a date, a list or a sum cannot be read; `name` is what the message calls it */
export function parseRelease(fields: Fields, name: string): Release {
  const date = fields.get('Date')
  if (date === undefined) throw refused(name, 'missing-metadata', 'no Date')
  const validUntil = fields.get('Valid-Until')
  const sums = fields.get('SHA256')
  if (sums === undefined) throw refused(name, 'weak-digest', 'no SHA256 section')
  return {
    suite: word(fields, 'Suite'),
    codename: word(fields, 'Codename'),
    date: parseReleaseDate(date, name),
    validUntil: validUntil === undefined ? undefined : parseReleaseDate(validUntil, name),
    acquireByHash: word(fields, 'Acquire-By-Hash').toLowerCase() === 'yes',
    architectures: words(fields.get('Architectures') ?? ''),
    allInEachArchitecture: words(fields.get('No-Support-for-Architecture-all') ?? '').includes('Packages'),
    files: parseSums(sums, name),
  }
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/**
 * Seconds since 1970 of `Sat, 11 Jul 2026 10:16:37 UTC`.
 *
 * "The Date and Valid-Until fields … RFC 2822 date in UTC": zones other than UTC, GMT, Z and +0000 are refused, since apt
 * refuses them.
 * @throws S5_INDEX_REFUSED
 */
export function parseReleaseDate(text: string, name: string): number {
  const parts =
    /^(?:[A-Z][a-z]{2}, +)?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d{1,2}):(\d{2}):(\d{2}) +(?:UTC|GMT|Z|[+-]0000)$/.exec(
      text.trim(),
    )
  const [day, month, year, hour, minute, second] = parts
    ? [Number(parts[1]), MONTHS.indexOf(parts[2] as string), ...parts.slice(3).map(Number)]
    : []
  const ms = Date.UTC(year as number, month as number, day as number, hour, minute, second)
  const back = new Date(ms)
  if (
    !parts ||
    Number.isNaN(ms) ||
    back.getUTCMonth() !== month ||
    back.getUTCDate() !== day ||
    back.getUTCHours() !== hour ||
    back.getUTCMinutes() !== minute
  )
    throw refused(
      name,
      'bad-metadata',
      `expected a date such as "Sat, 11 Jul 2026 10:16:37 UTC", found ${show(text)}`,
    )
  return ms / 1000
}

/** Lines ` HEX SIZE PATH`. */
function parseSums(section: string, name: string): Map<string, ReleaseEntry> {
  const files = new Map<string, ReleaseEntry>()
  for (const line of section.split('\n')) {
    const text = line.trim()
    if (text === '') continue
    const [hex, size, path, ...rest] = text.split(/[ \t]+/)
    if (!/^[0-9a-fA-F]{64}$/.test(hex ?? '') || !/^\d{1,15}$/.test(size ?? '') || !path || rest.length > 0)
      throw refused(name, 'bad-metadata', `expected "sha256 size path", found ${show(text)}`)
    files.set(path, { sha256: (hex as string).toLowerCase(), size: Number(size) })
  }
  return files
}

function word(fields: Fields, field: string): string {
  return fields.get(field)?.trim() ?? ''
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((item) => item !== '')
}

function show(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text)
}

/** An index that is not used: `name: reason: message`. */
export function refused(name: string, reason: string, message: string): Stage5Error {
  return new Stage5Error('S5_INDEX_REFUSED', `${name}: ${reason}: ${message}`, {
    data: { reason, file: name },
  })
}
