/** The interchange format of resolver questions: a request as JSON, and its answer. */
import { Stage5Error } from '../base/errors.ts'
import { archOfGentoo, packageOfEntry } from '../pkg/ebuild-package.ts'
import { parseEbuildAtom, splitVersion } from '../pkg/ebuild-atom.ts'
import { type GentooHeader, gentooHeaderOf, withFlagsOf } from '../pkg/gentoo-header.ts'
import { allOf, type EntrySource, listingOf } from '../pkg/listing.ts'
import type { Index, Package } from '../pkg/package.ts'
import { parseSonames } from '../pkg/soname.ts'
import type { ResolveInput } from './choose.ts'
import type { Forced, Profile, Request, Setting, Where } from './profile.ts'
import { packagesFromJson } from './universe-packages.ts'

/** A `Packages` index, for universes that name one by its path. */
export interface RawIndex extends EntrySource {
  readonly header: ReadonlyMap<string, string>
  fields(at: number): ReadonlyMap<string, string>
}

/** Entries that are there already. */
export function rawIndexOf(
  header: ReadonlyMap<string, string>,
  entries: readonly ReadonlyMap<string, string>[],
): RawIndex {
  const fields = (at: number): ReadonlyMap<string, string> => entries[at] as ReadonlyMap<string, string>
  return {
    header,
    size: entries.length,
    fields,
    cpv: (at) => fields(at).get('CPV') ?? '',
    provides: (at) => fields(at).get('PROVIDES') ?? '',
  }
}

/** A question that is ready to be answered. */
export interface Universe {
  readonly name: string
  readonly input: ResolveInput
  readonly indexes: readonly Index[]
  /** Entries that cannot be read, and why; those of an index that is a file appear when their names are looked at. */
  readonly problems: readonly string[]
}

export const UNIVERSE_FORMAT = 'stage5-universe/1'

/** What entries get that stand in the universe itself. */
const INLINE_DEFAULTS = [
  ['EAPI', '8'],
  ['SLOT', '0'],
] as const
/** What the header of such a binhost says where it says nothing. */
const INLINE_HEADER = [['REPO', 'gentoo']] as const

/**
 * @param readIndex parses the file that a binhost names under `index`
 * @throws S5_UNIVERSE_INVALID, S5_ATOM_SYNTAX
 */
export function universeOf(value: unknown, readIndex: (path: string) => RawIndex): Universe {
  const top = record(value, 'the universe')
  const format = top['format']
  if (format !== undefined && format !== UNIVERSE_FORMAT)
    throw invalid(`expected format ${UNIVERSE_FORMAT}, found ${JSON.stringify(format)}`)
  const config = record(top['config'] ?? {}, 'config')
  const request = record(top['request'] ?? {}, 'request')
  const defaults = strings(record(config['makeDefaults'] ?? {}, 'config.makeDefaults'), 'config.makeDefaults')
  const problems: string[] = []
  const binhosts = listOf(top['binhosts'] ?? [], 'binhosts').map((each, at) =>
    binhostOf(record(each, `binhosts[${at}]`), at, defaults, readIndex),
  )
  const order = binhosts.toSorted(
    (left, right) => right.priority - left.priority || (left.name < right.name ? -1 : 1),
  )
  if (new Set(order.map(({ name }) => name)).size < order.length)
    throw invalid('expected binhosts with different names')
  const indexes = indexesOf(order, problems)
  const name = text(top['name'] ?? 'universe', 'name')
  const input = inputOf(name, config, request, order)
  return { name, input, indexes, problems }
}

function indexesOf(binhosts: readonly Omit<Binhost, 'priority'>[], problems: string[]): Index[] {
  const all = binhosts.map(({ header }) => header)
  return binhosts.map(({ name, header, source, isInline, other }): Index => {
    if (other) return { repo: name, kind: other.kind, snapshot: name, date: 0, packages: other.packages }
    const merged = withFlagsOf(header, all)
    const byName = listingOf([source], (places) =>
      places.flatMap(({ at }): Package[] => {
        const pkg = packageOfEntry(source.fields(at), merged, name)
        if (!('problem' in pkg)) return [pkg]
        problems.push(`${name}: ${pkg.problem}`)
        return []
      }),
    )
    const headers = [{ origin: '', fields: header.fields }]
    const index = { repo: name, kind: 'gentoo', snapshot: name, date: header.timestamp, headers } as const
    if (isInline) return { ...index, packages: allOf(byName) }
    return {
      ...index,
      get packages() {
        return allOf(byName)
      },
      byName,
    }
  })
}

/** @param atoms asked for besides what the profile asks for */
export function withRequests(profile: Profile, atoms: readonly string[]): Profile {
  const where = { file: 'the command line', line: 1, column: 1 }
  const more = atoms.map((atom): Request => ({ atom, use: [], where }))
  return { ...profile, packages: [...profile.packages, ...more] }
}

/** The question that a profile asks of these indexes instead of its repositories; the first index is preferred. */
export function universeOfProfile(
  profile: Profile,
  found: readonly (RawIndex & { readonly name: string })[],
): Universe {
  const problems: string[] = []
  const binhosts = found.map((source) => ({
    name: source.name,
    header: gentooHeaderOf(source.header),
    source,
    isInline: false,
  }))
  const indexes = indexesOf(binhosts, problems)
  const input = { ...profile, repositories: binhosts.map(({ name }) => name) }
  return { name: profile.name, input, indexes, problems }
}

interface Binhost {
  readonly name: string
  readonly priority: number
  readonly header: GentooHeader
  readonly source: RawIndex
  readonly isInline: boolean
  /** What is no binhost of Gentoo. */
  readonly other?: Pick<Index, 'packages'> & { readonly kind: 'debian' | 'native' }
}

function binhostOf(
  value: Members,
  at: number,
  defaults: ReadonlyMap<string, string>,
  readIndex: (path: string) => RawIndex,
): Binhost {
  const where = `binhosts[${at}]`
  const name = text(value['name'] ?? (at === 0 ? 'main' : `main${at + 1}`), `${where}.name`)
  const { priority = 0 } = value
  if (typeof priority !== 'number') throw invalid(`${where}.priority: expected a number`)
  const { kind = 'gentoo' } = value
  if (kind === 'debian' || kind === 'native') {
    const packages = packagesFromJson(
      listOf(value['packages'] ?? [], `${where}.packages`),
      name,
      `${where}.packages`,
    )
    const nothing = rawIndexOf(new Map(), [])
    return {
      name,
      priority,
      header: gentooHeaderOf(new Map()),
      source: nothing,
      isInline: true,
      other: { kind, packages },
    }
  }
  if (kind !== 'gentoo') throw invalid(`${where}.kind: expected gentoo, debian or native`)
  const own = strings(record(value['header'] ?? {}, `${where}.header`), `${where}.header`)
  if (value['index'] !== undefined) {
    const index = readIndex(text(value['index'], `${where}.index`))
    const header = gentooHeaderOf(new Map([...defaults, ...index.header, ...own]))
    return { name, priority, header, source: index, isInline: false }
  }
  const entries = listOf(value['packages'] ?? [], `${where}.packages`).map((entry, line) => {
    const place = `${where}.packages[${line}]`
    const fields = strings(record(entry, place), place)
    return new Map([...INLINE_DEFAULTS, ...fields])
  })
  const header = new Map([...INLINE_HEADER, ...defaults, ...own])
  return {
    name,
    priority,
    header: gentooHeaderOf(header),
    source: rawIndexOf(header, entries),
    isInline: true,
  }
}

function inputOf(
  name: string,
  config: Members,
  request: Members,
  binhosts: readonly Binhost[],
): ResolveInput {
  const words = (key: string): readonly string[] => listOfText(config[key] ?? [], `config.${key}`)
  const known = (key: string): readonly string[] | undefined =>
    config[key] === undefined ? undefined : words(key)
  const at = (key: string): Where => ({ file: key, line: 1, column: 1 })
  const arch = text(
    config['arch'] ?? binhosts.find(({ header }) => header.arch !== '')?.header.arch ?? 'amd64',
    'config.arch',
  )
  const keywords = known('acceptKeywords') ?? [arch]
  const testing = keywords.filter((word) => /^[a-z]/i.test(word)).map((word) => `~${word}`)
  const settings: Setting[] = [
    ...settingsIn(config, 'packageUse', 'use'),
    ...settingsIn(config, 'packageLicense', 'licenses'),
    ...settingsIn(config, 'packageAcceptKeywords', 'keywords').map((setting) =>
      setting.keywords.length > 0 ? setting : { ...setting, keywords: testing },
    ),
  ]
  const chost = config['chost'] === undefined ? [] : [escaped(text(config['chost'], 'config.chost'))]
  const system = words('system')
  const world = words('world')
  const sets = new Map(
    Object.entries(record(config['sets'] ?? {}, 'config.sets')).map(([set, members]) => [
      set,
      listOfText(members, `config.sets.${set}`),
    ]),
  )
  const usual = { system, selected: world, world: ['@selected', '@system'] }
  for (const [set, members] of Object.entries(usual)) if (!sets.has(set)) sets.set(set, members)
  const requests = listOf(request['atoms'] ?? [], 'request.atoms').map((each, place): Request => {
    if (typeof each === 'string') return { atom: each, use: [], where: at('request') }
    const field = `request.atoms[${place}]`
    const asked = record(each, field)
    const list = (key: string): readonly string[] => listOfText(asked[key] ?? [], `${field}.${key}`)
    const more = { use: list('use'), keywords: list('keywords'), licenses: list('licenses') }
    return { atom: text(asked['atom'], `${field}.atom`), ...more, where: at('request') }
  })
  const atoms = requests.map(({ atom }) => atom)
  const isGentoo = binhosts.every(({ other }) => !other)
  const policy = config['respectUse'] ?? 'n'
  const usePolicy = POLICIES.get(text(policy, 'config.respectUse'))
  if (!usePolicy) throw invalid('config.respectUse: expected n, y or listed')
  const forced = (general: string, each: string): Forced[] => [
    { atom: '', flags: words(general) },
    ...settingsIn(config, each, 'use').map(({ atom, use }) => ({ atom, flags: use })),
  ]
  const useForce = forced('useForce', 'packageUseForce')
  const useMask = forced('useMask', 'packageUseMask')
  const profileUse = forced('profileUse', 'packageProfileUse')
  const patterns = [...words('packageMask'), ...words('packageUnmask'), ...settings.map(({ atom }) => atom)]
  for (const atom of [...patterns, ...[...useForce, ...useMask, ...profileUse].map((one) => one.atom)])
    if (isGentoo && atom !== '') parseEbuildAtom(atom, { kind: 'pattern' })
  const licenses = known('acceptLicense')
  const groups = record(config['licenseGroups'] ?? {}, 'config.licenseGroups')
  const chosts = (known('acceptChosts') ?? chost).map(asPattern)
  for (const list of [...sets.values(), atoms])
    for (const atom of list) if (isGentoo && !atom.startsWith('@')) parseEbuildAtom(atom)
  const depTypes = request['depTypes'] === undefined ? undefined : depTypesOf(request['depTypes'])
  return {
    name,
    arch: archOfGentoo(arch),
    repositories: binhosts.map((binhost) => binhost.name),
    packages: requests,
    use: words('use'),
    mask: words('packageMask').map((atom) => ({ atom, where: at('packageMask') })),
    unmask: words('packageUnmask').map((atom) => ({ atom, where: at('packageUnmask') })),
    provided: listOf(config['packageProvided'] ?? [], 'config.packageProvided').map((each) => ({
      ...providedOf(each),
      reason: 'packageProvided',
    })),
    recommends: recommendsOf(config['recommends'] ?? false),
    keywords,
    ...(licenses && { licenses }),
    licenseGroups: Object.fromEntries(
      Object.entries(groups).map(([group, members]) => [
        group,
        listOfText(members, `config.licenseGroups.${group}`),
      ]),
    ),
    usePolicy,
    settings,
    sets: Object.fromEntries(sets),
    chosts,
    profileUse,
    useForce,
    useMask,
    soname: request['sonameDeps'] === true ? 'require' : request['soname'] === 'off' ? 'off' : 'check',
    sonameProvided: words('sonameProvided').flatMap(sonameOf),
    ...(config['strict'] === true && { strict: true }),
    ...(config['prefer'] === 'minimal' && { prefer: 'minimal' as const }),
    ...(config['rank'] === 'priority-first' && { rank: 'priority-first' as const }),
    ...(config['ignoreSlotOperators'] === true && { ignoreSlotOperators: true }),
    ...(depTypes && { depTypes }),
  }
}

const POLICIES: ReadonlyMap<string, 'any' | 'exact' | 'listed'> = new Map([
  ['n', 'any'],
  ['y', 'exact'],
  ['any', 'any'],
  ['exact', 'exact'],
  ['listed', 'listed'],
])

function settingsIn(config: Members, key: string, kind: 'use' | 'keywords' | 'licenses'): Setting[] {
  return listOf(config[key] ?? [], `config.${key}`).map((each, at) => {
    const place = `config.${key}[${at}]`
    const entry = record(each, place)
    const atom = text(entry['atom'], `${place}.atom`)
    const words = listOfText(entry[kind] ?? [], `${place}.${kind}`)
    const empty = { use: [], keywords: [], licenses: [], where: { file: key, line: at + 1, column: 1 } }
    return { ...empty, atom, [kind]: words }
  })
}

function depTypesOf(value: unknown): NonNullable<ResolveInput['depTypes']> {
  return listOfText(value, 'request.depTypes').flatMap((word) => {
    if (word === 'RDEPEND' || word === 'PDEPEND' || word === 'IDEPEND') return [word]
    if (word === 'DEPEND' || word === 'BDEPEND') return []
    throw invalid(`request.depTypes: expected RDEPEND, PDEPEND or IDEPEND, found ${JSON.stringify(word)}`)
  })
}

function recommendsOf(value: unknown): boolean | readonly string[] {
  return typeof value === 'boolean' ? value : listOfText(value, 'config.recommends')
}

function providedOf(value: unknown): { readonly name: string; readonly version: string } {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const { name, version = '' } = value as Members
    return {
      name: text(name, 'config.packageProvided.name'),
      version: text(version, 'config.packageProvided.version'),
    }
  }
  const cpv = text(value, 'config.packageProvided')
  const found = splitVersion(cpv)
  if (!found)
    throw invalid(`config.packageProvided: expected category/package-version, found ${JSON.stringify(cpv)}`)
  return found
}

/** `x86_64 libfoo.so.1` as in soname.provided; also written with a colon. */
function sonameOf(words: string): string[] {
  const [abi = '', ...names] = words.split(/\s+/)
  return parseSonames(`${abi.replace(/:$/, '')}: ${names.join(' ')}`)
}

function escaped(chost: string): string {
  return chost.replaceAll(/[.+*?()[\]{}|\\^$]/g, String.raw`\$&`)
}

function asPattern(pattern: string): string {
  try {
    return new RegExp(pattern).source
  } catch {
    throw invalid(`config.acceptChosts: not a regular expression: ${JSON.stringify(pattern)}`)
  }
}

type Members = { readonly [key: string]: unknown }

function invalid(message: string): Stage5Error {
  return new Stage5Error('S5_UNIVERSE_INVALID', message)
}

function record(value: unknown, where: string): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${where}: expected an object`)
  return value as Members
}

function listOf(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(`${where}: expected a list`)
  return value
}

function text(value: unknown, where: string): string {
  if (typeof value !== 'string') throw invalid(`${where}: expected a string`)
  return value
}

function listOfText(value: unknown, where: string): readonly string[] {
  return listOf(value, where).map((each, at) => text(each, `${where}[${at}]`))
}

/** String members; numbers are taken as written, what else there is (REPO_REVISIONS) is left out. */
function strings(value: Members, where: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const [key, member] of Object.entries(value)) {
    if (typeof member === 'string') found.set(key, member)
    else if (typeof member === 'number') found.set(key, String(member))
    else if (['CPV', 'RDEPEND', 'PDEPEND', 'SLOT', 'USE', 'IUSE', 'KEYWORDS'].includes(key))
      throw invalid(`${where}.${key}: expected a string`)
  }
  return found
}
