/** What `package.yaml` and the entries of `index.yaml` say of a native package: read, checked, printed. */
import { parseDocument, stringify } from 'yaml'
import { isStage5Error, refuse } from '../base/errors.ts'
import { parseAtom } from '../pkg/atom.ts'
import type { DepExpr, Package, Provide } from '../pkg/package.ts'
import { isSemver } from '../pkg/semver-version.ts'
import { indexPathProblem } from './index-path.ts'

export interface NativeMetadata {
  /** `category/name`. */
  readonly name: string
  /** Semantic version. */
  readonly version: string
  /** 0 for the only build of a version. */
  readonly build: number
  /** `any`, `all`, or Debian's name of an architecture. */
  readonly arch: string
  /** Enabled flags, sorted. */
  readonly use: readonly string[]
  /** Known flags, sorted; a superset of `use`. */
  readonly iuse: readonly string[]
  /** Atoms; `a | b` is one of them. `deb:NAME` is a Debian one. */
  readonly depends: readonly string[]
  readonly conflicts: readonly string[]
  /** Names, each with a version where one is promised: `app/api 1.2.0`, `deb:httpd`. */
  readonly provides: readonly string[]
  readonly summary: string
  /** Bytes. */
  readonly installedSize: number
  /** Seconds since 1970, 0 when unknown. */
  readonly time: number
}

/** A line of `index.yaml`. */
export interface NativeEntry extends NativeMetadata {
  /** Relative to the folder of the index. */
  readonly file: string
  /** Bytes. */
  readonly size: number
  /** 64 lower-case hex digits. */
  readonly sha256: string
}

/** Version of `index.yaml` and `package.yaml`: readers refuse newer ones. */
const FORMAT = 1
const NAME = /^[a-z0-9][a-z0-9+_.-]*(?:\/[a-z0-9][a-z0-9+_.-]*)+$/
const FLAG = /^[A-Za-z0-9][A-Za-z0-9+_@-]*$/
const PROVIDE = /^(?:deb:)?([A-Za-z0-9][A-Za-z0-9+_./-]*)(?:\s+(?:\(=\s*)?([A-Za-z0-9.+~:-]+)\)?)?$/
/** 16 MiB of YAML are some 40,000 packages. */
const MAX_YAML = 16 * 2 ** 20

/** `NAME-VERSION[-BUILD].tar.zst`, with `/` of the name written `-`. */
export function nativeFileName(pkg: {
  readonly name: string
  readonly version: string
  readonly build: number
}): string {
  const build = pkg.build === 0 ? '' : `-${pkg.build}`
  return `${pkg.name.replaceAll('/', '-')}-${pkg.version}${build}.tar.zst`
}

/** `ssl -ldap` to flags: `ssl` is on, both are known. @returns undefined for words that are no flags */
export function flagsOf(text: string): { use: string[]; iuse: string[] } | undefined {
  const words = text.split(/[\s,]+/).filter((word) => word !== '')
  const names = words.map((word) => word.replace(/^-/, ''))
  if (!names.every((name) => FLAG.test(name)) || new Set(names).size !== names.length) return undefined
  return { use: words.filter((word) => !word.startsWith('-')).sort(), iuse: names.sort() }
}

/** What of these metadata cannot be; undefined when all is well. */
export function metadataProblem(data: NativeMetadata): string | undefined {
  if (!NAME.test(data.name)) return `expected a name such as app/shop, found ${JSON.stringify(data.name)}`
  if (!isSemver(data.version)) return `expected a semantic version, found ${JSON.stringify(data.version)}`
  if (!/^[a-z0-9][a-z0-9-]*$/.test(data.arch))
    return `expected an architecture, found ${JSON.stringify(data.arch)}`
  const flag = [...data.use, ...data.iuse].find((name) => !FLAG.test(name))
  if (flag !== undefined) return `expected a USE flag, found ${JSON.stringify(flag)}`
  const unknown = data.use.find((name) => !data.iuse.includes(name))
  if (unknown !== undefined) return `the flag ${unknown} is in use but not in iuse`
  const provide = data.provides.find((text) => !PROVIDE.test(text))
  if (provide !== undefined)
    return `expected "name" or "name version" in provides, found ${JSON.stringify(provide)}`
  try {
    needsOf(data)
  } catch (error) {
    if (!isStage5Error(error)) throw error
    return error.message
  }
  return undefined
}

/** Dependencies and conflicts as one expression. @throws S5_ATOM_SYNTAX */
function needsOf(data: NativeMetadata): DepExpr {
  const all = data.depends.map((text): DepExpr => {
    const any = text.split(' | ').map((atom): DepExpr => ({ need: parseAtom(atom, 'semver') }))
    return any.length === 1 ? (any[0] as DepExpr) : { any }
  })
  const blocks = data.conflicts.map((text): DepExpr => ({ block: parseAtom(text, 'semver'), strong: true }))
  return { all: [...all, ...blocks] }
}

/** @param entry checked by `readEntry` */
export function packageOfEntry(entry: NativeEntry, repo: string): Package {
  const provides = entry.provides.map((text): Provide => {
    const [, name = '', version] = PROVIDE.exec(text) ?? []
    return version === undefined ? { name } : { name, version }
  })
  return {
    scheme: 'semver',
    name: entry.name,
    version: entry.version,
    arch: entry.arch,
    repo,
    slot: '0',
    subslot: '0',
    use: entry.use,
    iuse: entry.iuse,
    buildId: entry.build,
    buildTime: entry.time,
    provides,
    needs: needsOf(entry),
    recommends: { all: [] },
    essential: false,
    multiArch: 'no',
    installedSize: entry.installedSize,
    summary: entry.summary,
    file: { path: entry.file, origin: '', size: entry.size, sums: { sha256: entry.sha256 } },
  }
}

/** An entry of an index, or why it cannot be used. */
export function readEntry(
  value: unknown,
):
  | NativeEntry
  | { readonly problem: string; readonly reason: 'bad-metadata' | 'index-path' | 'weak-digest' | 'size' } {
  const fields = mapOf(value)
  if (!fields) return { reason: 'bad-metadata', problem: 'is not a map' }
  const data = readMetadata(fields)
  if (typeof data === 'string') return { reason: 'bad-metadata', problem: data }
  const { file, size, sha256 } = fields
  const path =
    typeof file === 'string' ? indexPathProblem(Buffer.from(file).toString('latin1')) : 'is missing'
  if (path !== undefined) return { reason: 'index-path', problem: `file ${path}` }
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256))
    return { reason: 'weak-digest', problem: 'has no sha256 of 64 hex digits' }
  if (!isCount(size)) return { reason: 'size', problem: 'has no size in bytes' }
  return { ...data, file: file as string, size, sha256 }
}

/** The content of `package.yaml`. @throws S5_ARCHIVE_REFUSED `bad-metadata`, `version` */
export function parsePackageYaml(text: string, file: string): NativeMetadata {
  const fields = mapOf(yamlOf(text, file))
  if (!fields) throw refuse('bad-metadata', file, 'package.yaml is not a map')
  if (typeof fields['stage5'] === 'number' && fields['stage5'] > FORMAT)
    throw refuse('version', file, `package.yaml has format ${fields['stage5']}; this stage5 reads ${FORMAT}`)
  const data = readMetadata(fields)
  if (typeof data === 'string') throw refuse('bad-metadata', file, `package.yaml: ${data}`)
  return data
}

export function printPackageYaml(data: NativeMetadata): string {
  return stringify({ stage5: FORMAT, ...written(data) }, { lineWidth: 0 })
}

/** The entries of `index.yaml`, each unchecked. @throws S5_ARCHIVE_REFUSED `bad-metadata`, `version`, `truncated` */
export function parseIndexYaml(text: string, file: string): readonly unknown[] {
  const fields = mapOf(yamlOf(text, file))
  const packages = fields?.['packages']
  if (!fields || typeof fields['stage5'] !== 'number' || !Array.isArray(packages))
    throw refuse('bad-metadata', file, 'expected a map with stage5, count and packages')
  if (fields['stage5'] > FORMAT)
    throw refuse('version', file, `the index has format ${fields['stage5']}; this stage5 reads ${FORMAT}`)
  if (fields['count'] !== packages.length)
    throw refuse('truncated', file, `expected ${String(fields['count'])} packages, found ${packages.length}`)
  return packages
}

export function printIndexYaml(entries: readonly NativeEntry[]): string {
  const packages = entries.map((entry) => {
    const { file, size, sha256 } = entry
    return { ...written(entry), file, size, sha256 }
  })
  return stringify(
    { stage5: FORMAT, count: packages.length, packages },
    { lineWidth: 0, aliasDuplicateObjects: false },
  )
}

/** Keys as files have them; empty ones are left out. */
function written(data: NativeMetadata): { [key: string]: unknown } {
  const {
    name,
    version,
    build,
    arch,
    use,
    iuse,
    depends,
    conflicts,
    provides,
    summary,
    installedSize,
    time,
  } = data
  const all = {
    name,
    version,
    build,
    arch,
    use,
    iuse,
    depends,
    conflicts,
    provides,
    summary,
    'installed-size': installedSize,
    time,
  }
  const isEmpty = (value: unknown) => value === '' || (Array.isArray(value) && value.length === 0)
  return Object.fromEntries(Object.entries(all).filter(([, value]) => !isEmpty(value)))
}

function readMetadata(fields: { readonly [key: string]: unknown }): NativeMetadata | string {
  const text = (key: string, usual = '') => fields[key] ?? usual
  const count = (key: string) => fields[key] ?? 0
  const list = (key: string) => fields[key] ?? []
  for (const key of ['name', 'version', 'arch', 'summary'])
    if (typeof text(key) !== 'string') return `${key} is not a string (a version may need quotes)`
  for (const key of ['build', 'installed-size', 'time'])
    if (!isCount(count(key))) return `${key} is not a whole number`
  for (const key of ['use', 'iuse', 'depends', 'conflicts', 'provides'])
    if (!isStrings(list(key))) return `${key} is not a list of strings`
  const use = [...(list('use') as string[])].sort()
  const data: NativeMetadata = {
    name: text('name') as string,
    version: text('version') as string,
    build: count('build') as number,
    arch: text('arch', 'any') as string,
    use,
    iuse: fields['iuse'] === undefined ? use : [...(list('iuse') as string[])].sort(),
    depends: list('depends') as string[],
    conflicts: list('conflicts') as string[],
    provides: list('provides') as string[],
    summary: text('summary') as string,
    installedSize: count('installed-size') as number,
    time: count('time') as number,
  }
  return metadataProblem(data) ?? data
}

function yamlOf(text: string, file: string): unknown {
  if (text.length > MAX_YAML) throw refuse('too-big', file, `expected at most ${MAX_YAML} bytes of YAML`)
  const document = parseDocument(text, {
    version: '1.2',
    schema: 'core',
    uniqueKeys: true,
    prettyErrors: false,
    logLevel: 'silent',
  })
  const [problem] = document.errors
  if (problem) throw refuse('bad-metadata', file, `not YAML: ${problem.message.replace(/\s+/g, ' ')}`)
  try {
    return document.toJS({ maxAliasCount: 0 })
  } catch {
    throw refuse('bad-metadata', file, 'anchors and aliases are not used here')
  }
}

function mapOf(value: unknown): { readonly [key: string]: unknown } | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as { readonly [key: string]: unknown })
    : undefined
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
