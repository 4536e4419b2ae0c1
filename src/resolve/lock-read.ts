/** Lock documents to values: a quick reader for exactly the form that is written, and the decoder for all forms. */
import type { PackageFile, Scheme } from '../pkg/package.ts'
import type { IdLedger, Lock, Locked, LockedRepository } from './lock.ts'

/** The document as plain data, or `undefined` when it is not in the form that `printLock` writes. */
export function readFixedForm(text: string): unknown {
  const lines = text.split('\n')
  if (lines.pop() !== '') return undefined
  const reader = { lines: lines.filter((line) => !line.startsWith('#')), next: 0 }
  try {
    const value = readMap(reader, 0, false)
    return reader.next === reader.lines.length ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

interface Reader {
  readonly lines: readonly string[]
  next: number
}

const ENTRY = /^([A-Za-z][A-Za-z0-9_./+~@-]*|"(?:[^"\\]|\\.)*"):(?: (.+))?$/

/** Lines of one indentation; the first one may stand behind `- `. */
function readMap(reader: Reader, indent: number, isItem: boolean): Map<string, unknown> {
  const map = new Map<string, unknown>()
  for (let first = isItem; reader.next < reader.lines.length; first = false) {
    const line = reader.lines[reader.next] as string
    const lead = first ? `${' '.repeat(indent - 2)}- ` : ' '.repeat(indent)
    if (!line.startsWith(lead) || line[indent] === ' ' || (!first && line[indent] === '-')) break
    const entry = ENTRY.exec(line.slice(indent))
    if (!entry) throw new SyntaxError('no entry')
    const key = readScalar(entry[1] as string)
    if (typeof key !== 'string' || map.has(key)) throw new SyntaxError('no proper key')
    reader.next++
    map.set(key, entry[2] === undefined ? readBlock(reader, indent + 2) : readScalar(entry[2]))
  }
  return map
}

function readBlock(reader: Reader, indent: number): unknown {
  const line = reader.lines[reader.next]
  if (!line?.startsWith(`${' '.repeat(indent)}- `)) return readMap(reader, indent, false)
  const items: unknown[] = []
  const lead = `${' '.repeat(indent)}- `
  while (reader.lines[reader.next]?.startsWith(lead)) {
    const rest = (reader.lines[reader.next] as string).slice(lead.length)
    if (ENTRY.test(rest)) items.push(readMap(reader, lead.length, true))
    else {
      reader.next++
      items.push(readScalar(rest))
    }
  }
  return items
}

function readScalar(text: string): unknown {
  if (/^[A-Za-z][A-Za-z0-9_./+~@-]*$/.test(text)) {
    if (/^(?:true|false|yes|no|on|off|null|y|n)$/i.test(text)) throw new SyntaxError('not a plain string')
    return text
  }
  if (text === '[]') return []
  if (text === '{}') return new Map()
  if (text.startsWith('[') && text.endsWith(']')) return text.slice(1, -1).split(', ').map(readScalar)
  if (text.startsWith('{') && text.endsWith('}'))
    return new Map(
      text
        .slice(1, -1)
        .split(', ')
        .map((pair) => {
          const entry = ENTRY.exec(pair)
          if (!entry?.[1] || entry[2] === undefined) throw new SyntaxError('no pair')
          return [entry[1], readScalar(entry[2])] as const
        }),
    )
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'string' && typeof value !== 'number') throw new SyntaxError('not a scalar')
  return value
}

type Path = readonly (string | number)[]
type Decoded = { readonly lock: Lock } | { readonly path: Path; readonly problem: string }

/** What the decoder refuses; never leaves this module. */
class Refused extends Error {
  readonly path: Path
  constructor(path: Path, message: string) {
    super(message)
    this.path = path
  }
}

/** Plain data (maps as `Map` or objects) to a lock, or the path of what is wrong in it. */
export function decodeLock(value: unknown): Decoded {
  try {
    return { lock: lockOf(value) }
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    return { path: error.path, problem: error.message }
  }
}

function lockOf(value: unknown): Lock {
  const top = members(
    value,
    [],
    ['version', 'profile', 'input', 'repositories', 'users', 'groups', 'packages'],
  )
  if (top.get('version') !== 1)
    throw new Refused(['version'], `expected version 1, found ${JSON.stringify(top.get('version'))}`)
  return {
    version: 1,
    profile: string(top, 'profile', []),
    input: digest(string(top, 'input', []), ['input']),
    repositories: items(top, 'repositories', []).map((item, index) =>
      repositoryOf(item, ['repositories', index]),
    ),
    ids: { users: ledgerOf(top, 'users'), groups: ledgerOf(top, 'groups') },
    packages: items(top, 'packages', []).map((item, index) => lockedOf(item, ['packages', index])),
  }
}

function repositoryOf(value: unknown, path: Path): LockedRepository {
  const map = members(value, path, ['name', 'kind', 'snapshot', 'date', 'signatures'])
  const signatures = map.has('signatures') ? string(map, 'signatures', path) : undefined
  return {
    name: string(map, 'name', path),
    kind: oneOf(string(map, 'kind', path), ['debian', 'native', 'gentoo'], [...path, 'kind']),
    snapshot: string(map, 'snapshot', path),
    date: integer(map, 'date', path),
    ...(signatures === undefined
      ? {}
      : { signatures: oneOf(signatures, ['require', 'if-present', 'off'], [...path, 'signatures']) }),
  }
}

const SUMS = ['md5', 'sha1', 'sha256', 'sha512', 'blake2b'] as const
const LOCKED_KEYS = [
  'name',
  'version',
  'scheme',
  'slot',
  'use',
  'build',
  'arch',
  'repo',
  'file',
  'origin',
  'size',
  'installed',
  'sha256',
  'sums',
  'because',
]

function lockedOf(value: unknown, path: Path): Locked {
  const map = members(value, path, LOCKED_KEYS)
  const sha256 = string(map, 'sha256', path)
  if (sha256 !== '') digest(`sha256:${sha256}`, [...path, 'sha256'])
  const scheme = map.has('scheme') ? string(map, 'scheme', path) : 'deb'
  return {
    scheme: oneOf<Scheme>(scheme, ['deb', 'semver', 'ebuild'], [...path, 'scheme']),
    name: string(map, 'name', path),
    version: string(map, 'version', path),
    arch: string(map, 'arch', path),
    repo: string(map, 'repo', path),
    slot: map.has('slot') ? string(map, 'slot', path) : '0',
    use: map.has('use')
      ? items(map, 'use', path).map((item, index) => text(item, [...path, 'use', index]))
      : [],
    buildId: map.has('build') ? integer(map, 'build', path) : 0,
    file: {
      path: relative(string(map, 'file', path), [...path, 'file']),
      origin: map.has('origin') ? string(map, 'origin', path) : '',
      size: integer(map, 'size', path),
      sums: map.has('sums') ? sumsOf(map.get('sums'), [...path, 'sums']) : { sha256 },
    },
    sha256: `sha256:${sha256}`,
    installedSize: integer(map, 'installed', path),
    because: becauseOf(map.get('because'), [...path, 'because']),
  }
}

function becauseOf(value: unknown, path: Path): string[] {
  if (typeof value === 'string') return [value]
  if (!Array.isArray(value)) throw new Refused(path, 'expected text or a list')
  return value.map((item, index) => text(item, [...path, index]))
}

/** A lock is repository input: a package file is never outside its repository. */
function relative(file: string, path: Path): string {
  if (file === '' || file.startsWith('/') || file.split('/').includes('..'))
    throw new Refused(path, `expected a path inside the repository, found ${JSON.stringify(file)}`)
  return file
}

function sumsOf(value: unknown, path: Path): PackageFile['sums'] {
  const map = members(value, path, SUMS)
  const sums: { -readonly [name in (typeof SUMS)[number]]?: string } = {}
  for (const name of SUMS) if (map.has(name)) sums[name] = string(map, name, path)
  return sums
}

function ledgerOf(top: ReadonlyMap<string, unknown>, key: string): IdLedger['users'] {
  const map = members(top.get(key), [key])
  return Object.fromEntries([...map.keys()].map((name) => [name, integer(map, name, [key])]))
}

function members(value: unknown, path: Path, known?: readonly string[]): ReadonlyMap<string, unknown> {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isMap) throw new Refused(path, 'expected a map')
  const map = value instanceof Map ? (value as Map<string, unknown>) : new Map(Object.entries(value))
  for (const key of map.keys())
    if (known && !known.includes(key))
      throw new Refused([...path, key], `unknown key, expected ${known.join(', ')}`)
  return map
}

function items(map: ReadonlyMap<string, unknown>, key: string, path: Path): readonly unknown[] {
  const value = map.get(key)
  if (!Array.isArray(value)) throw new Refused([...path, key], 'expected a list')
  return value
}

function string(map: ReadonlyMap<string, unknown>, key: string, path: Path): string {
  return text(map.get(key), [...path, key])
}

function text(value: unknown, path: Path): string {
  if (typeof value !== 'string')
    throw new Refused(path, `expected text, found ${JSON.stringify(value) ?? 'nothing'}`)
  return value
}

function integer(map: ReadonlyMap<string, unknown>, key: string, path: Path): number {
  const value = map.get(key)
  if (typeof value !== 'number' || !Number.isSafeInteger(value))
    throw new Refused([...path, key], `expected a whole number, found ${JSON.stringify(value) ?? 'nothing'}`)
  return value
}

function oneOf<T extends string>(value: string, known: readonly T[], path: Path): T {
  const found = known.find((one) => one === value)
  if (found === undefined)
    throw new Refused(path, `expected ${known.join(', ')}, found ${JSON.stringify(value)}`)
  return found
}

function digest(value: string, path: Path): `sha256:${string}` {
  if (!/^sha256:[0-9a-f]{64}$/.test(value)) throw new Refused(path, 'expected sha256: and 64 hex digits')
  return value as `sha256:${string}`
}
