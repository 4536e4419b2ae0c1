/** Which packages may be chosen under a profile, and which of them is preferred. */
import { Stage5Error, isStage5Error } from '../base/errors.ts'
import { type Digest, digestOf } from '../base/digest.ts'
import { type Json, stableJson } from '../base/json.ts'
import { parseAtom, schemeOfName } from '../pkg/atom.ts'
import { compareVersions, passesVersionTest } from '../pkg/compare.ts'
import { matchesPattern, parseEbuildAtom } from '../pkg/ebuild-atom.ts'
import { matches, mismatch, provides } from '../pkg/match.ts'
import type { Atom, DepExpr, Package, Scheme, UseTest, VersionTest } from '../pkg/package.ts'
import { isSonameKey, type SonameKey } from '../pkg/soname.ts'
import { type Flags, parseUseTest, passesUseTest } from '../pkg/use.ts'
import type { Catalog } from './catalog.ts'
import { type GentooHidden, type GentooWishes, openGentooRules } from './gentoo-rules.ts'
import type { Lock } from './lock.ts'
import type { Profile, Request, Where } from './profile.ts'
import { nameOfAtom } from './shape-words.ts'
import { openSonames } from './soname.ts'

/** The part of a profile that decides which packages it gets. */
export type ResolveInput = GentooWishes &
  Pick<Profile, 'name' | 'arch' | 'repositories' | 'packages' | 'use' | 'mask' | 'provided' | 'recommends'>

/** Raised when equal input may give another answer. */
const RESOLVER_VERSION = 1

/**
 * Digest of everything in the profile that resolving looks at; positions in files do not count.
 *
 * A lock with this `input` and the snapshots of today's indexes need not be resolved again.
 */
export function inputDigest(input: ResolveInput): Digest {
  const { name, arch, repositories, packages, use, mask, provided, recommends } = input
  const value: Json = {
    resolver: RESOLVER_VERSION,
    name,
    arch,
    repositories,
    packages: packages.map((request) => ({
      atom: request.atom,
      use: request.use,
      keywords: request.keywords,
      licenses: request.licenses,
    })),
    use,
    mask: mask.map(({ atom }) => atom),
    provided: provided.map((one) => ({ name: one.name, version: one.version })),
    recommends,
    ...gentooDigest(input),
  }
  return digestOf(stableJson(value))
}

/** Only what is said: a profile without Gentoo's keys keeps the digest that it had. */
function gentooDigest(input: ResolveInput): { readonly [key: string]: Json | undefined } {
  const { keywords = [], licenses = [], licenseGroups = {}, settings = [], unmask = [], sets = {} } = input
  const { rank = 'newest', ignoreSlotOperators = false } = input
  const { usePolicy = 'listed', soname = 'check', prefer = 'newest', strict = false, idepend = false } = input
  const some = <T extends object>(value: T): T | undefined =>
    Object.keys(value).length > 0 ? value : undefined
  const forced = (list: ResolveInput['useForce'] = []) =>
    some(list.flatMap(({ atom, flags }) => (flags.length > 0 ? [{ atom, flags }] : [])))
  return {
    keywords: some(keywords),
    licenses: some(licenses),
    licenseGroups: some(licenseGroups),
    settings: some(settings.map(({ where: _, ...setting }) => setting)),
    unmask: some(unmask.map(({ atom }) => atom)),
    sets: some(sets),
    usePolicy: usePolicy === 'listed' ? undefined : usePolicy,
    soname: soname === 'require' ? soname : undefined,
    prefer: prefer === 'newest' ? undefined : prefer,
    strict: strict || undefined,
    idepend: idepend || undefined,
    rank: rank === 'newest' ? undefined : rank,
    ignoreSlotOperators: ignoreSlotOperators || undefined,
    profileUse: forced(input.profileUse),
    useForce: forced(input.useForce),
    useMask: forced(input.useMask),
  }
}

interface Wanted {
  readonly atom: Atom
  readonly where: Where
  /** As written in the profile, with the flags asked for beside it. */
  readonly text: string
}

/** Why a package may not be chosen at all. */
export type Hidden =
  | { readonly kind: 'arch'; readonly arch: string }
  | { readonly kind: 'mask'; readonly atom: string; readonly where: Where }
  | GentooHidden

export interface Choice {
  readonly wanted: readonly Wanted[]
  /** Every package that may be chosen and is, or provides, what `atom` demands: preferred ones first. */
  candidates(atom: Atom, parent?: Flags): readonly Package[]
  /** The packages of a name that may be chosen: preferred ones first. */
  visible(name: string): readonly Package[]
  hidden(pkg: Package): Hidden | undefined
  isProvided(atom: Atom): boolean
  /** The best build in the slot of `pkg` as if there were no old lock. */
  newest(pkg: Package): Package
  /** Whether the old lock has exactly this build. */
  isPinned(pkg: Package): boolean
  /** Whether Recommends of this package are wishes. */
  takesRecommends(pkg: Package): boolean
  /**
   * What must be in the root with a package.
   * @throws S5_ATOM_SYNTAX
   */
  needsOf(pkg: Package): DepExpr
  /** The builds that may be chosen and bring a shared library. */
  readonly sonameProviders: (key: SonameKey) => readonly Package[]
  /** The flags of a Gentoo build that the profile binds. */
  boundFlags(pkg: Package): readonly UseTest[]
  /** The flags that the profile asks for beside a package. */
  askedFlags(name: string): readonly UseTest[]
  readonly prefersMinimal: boolean
  readonly hasGentoo: boolean
}

/** @throws S5_ATOM_SYNTAX with the place in the profile */
export function openChoice(input: ResolveInput, catalog: Catalog, pins?: Lock): Choice {
  const requests = input.packages.flatMap((request) => openSet(request, input.sets ?? {}, []))
  const wanted = requests.map((request) => {
    const atom = atomAt(request.atom, request.where, catalog)
    const flags = request.use.length === 0 ? '' : ` with USE ${request.use.join(' ')}`
    return { atom, where: request.where, text: request.atom + flags }
  })
  const patterns = (list: ResolveInput['mask']): ResolveMask[] =>
    list.map(({ atom, where }) => ({ atom: atomAt(atom, where, catalog, true), where }))
  const masks = patterns(input.mask)
  const unmasks = patterns(input.unmask ?? [])
  const rules = openGentooRules(
    { ...input, packages: requests },
    wanted.map(({ atom }) => atom),
  )
  const bound = new Map<string, UseTest[]>()
  for (const [index, { atom }] of wanted.entries()) {
    const flags = (requests[index]?.use ?? []).filter((word) => word !== '-*')
    const tests = flags.map(bindingTest)
    if (tests.length > 0) bound.set(atom.name, [...(bound.get(atom.name) ?? []), ...tests])
  }
  const everywhere = input.use.filter((word) => word !== '-*').map((word) => parseUseTest(word))
  const pinned = new Set(pins?.packages.map(pinKey))
  const visible = new Map<string, readonly Package[]>()

  const hidden = (pkg: Package): Hidden | undefined => {
    if (pkg.arch !== input.arch && pkg.arch !== 'all' && pkg.arch !== 'any')
      return { kind: 'arch', arch: pkg.arch }
    const mask = masks.find(({ atom }) => matchesPattern(atom, pkg))
    if (mask && !unmasks.some(({ atom }) => matchesPattern(atom, pkg)))
      return { kind: 'mask', atom: mask.atom.text, where: mask.where }
    if (pkg.gentoo) return rules.hidden(pkg, pkg.gentoo)
    const own = bound.get(pkg.name) ?? []
    const general = everywhere.filter(
      ({ flag }) => pkg.iuse.includes(flag) && !own.some((test) => test.flag === flag),
    )
    const failed = [...own, ...general].filter((test) => !passesUseTest(test, pkg))
    return failed.length > 0 ? { kind: 'use', tests: failed } : undefined
  }
  const pinnedFirst = (list: readonly Package[]): readonly Package[] => {
    if (pinned.size === 0 || !list.some(isPinned)) return list
    return [...list.filter(isPinned), ...list.filter((pkg) => !isPinned(pkg))]
  }
  /** Of one version, the builds whose flags deviate least come first. */
  const nearestFirst = (list: readonly Package[]): readonly Package[] => {
    if (list.length < 2 || !list[0]?.gentoo) return list
    const far = new Map<Package, number>()
    for (const pkg of list) if (pkg.gentoo) far.set(pkg, rules.deviations(pkg, pkg.gentoo))
    return list.toSorted(
      (left, right) =>
        (input.rank === 'priority-first' ? catalog.placeOf(left) - catalog.placeOf(right) : 0) ||
        (left.scheme === right.scheme ? compareVersions(left.scheme, right.version, left.version) : 0) ||
        (far.get(left) ?? 0) - (far.get(right) ?? 0),
    )
  }
  const isPinned = (pkg: Package): boolean => pinned.size > 0 && pinned.has(pinKey(pkg))
  const visibleOf = (name: string): readonly Package[] => {
    const found = visible.get(name)
    if (found) return found
    const list = pinnedFirst(nearestFirst(catalog.named(name).filter((pkg) => !hidden(pkg))))
    visible.set(name, list)
    return list
  }
  const sonameProviders = openSonames(catalog, visibleOf)
  const providedNames = new Set(input.sonameProvided)
  const needsOf = (pkg: Package): DepExpr => {
    const { gentoo } = pkg
    if (!gentoo) return pkg.needs
    const all = (input.depTypes ?? ['RDEPEND', 'PDEPEND']).map((kind) => gentoo.dependencies(kind))
    if (input.idepend && !input.depTypes?.includes('IDEPEND')) all.push(gentoo.dependencies('IDEPEND'))
    if (input.soname !== 'require') return { all }
    const own = new Set(gentoo.sonames)
    const libraries = gentoo.requires.filter((key) => !own.has(key) && !providedNames.has(key))
    return { all: [...all, ...libraries.map((name): DepExpr => ({ need: { name, text: name } }))] }
  }
  const candidates = (atom: Atom, parent?: Flags): readonly Package[] => {
    if (isSonameKey(atom.name)) return sonameProviders(atom.name)
    if (input.ignoreSlotOperators && isBound(atom)) return candidates(unbound(atom), parent)
    if (atom.arch !== undefined && !['any', 'native', input.arch].includes(atom.arch)) return []
    const real = visibleOf(atom.name).filter((pkg) => matches(atom, pkg, parent))
    const others = catalog
      .providing(atom.name)
      .filter((pkg) => pkg.name !== atom.name && provides(atom, pkg, parent) && !hidden(pkg))
    return others.length === 0 ? real : [...real, ...pinnedFirst(others)]
  }
  return {
    wanted,
    needsOf,
    sonameProviders,
    boundFlags: (pkg) => (pkg.gentoo ? rules.bound(pkg, pkg.gentoo) : []),
    askedFlags: (name) => bound.get(name) ?? [],
    prefersMinimal: input.prefer === 'minimal',
    hasGentoo: catalog.hasGentoo,
    candidates,
    visible: visibleOf,
    hidden,
    newest: (pkg) =>
      catalog.named(pkg.name).find((other) => other.slot === pkg.slot && !hidden(other)) ?? pkg,
    isPinned,
    isProvided: (atom) =>
      input.provided.some(
        ({ name, version }) =>
          name === atom.name &&
          (version === '' ||
            atom.version === undefined ||
            passesVersionTest(schemeOfTest(name, atom.version), atom.version, version)),
      ),
    takesRecommends: ({ name }) =>
      typeof input.recommends === 'boolean' ? input.recommends : input.recommends.includes(name),
  }
}

/** Bound to a sub-slot when its package was built. */
export function isBound({ slotOperator, subslot }: Atom): boolean {
  return slotOperator === '=' && subslot !== undefined
}

function unbound({ subslot: _, ...atom }: Atom): Atom {
  return atom
}

interface ResolveMask {
  readonly atom: Atom
  readonly where: Where
}

function schemeOfTest(name: string, test: VersionTest): Scheme {
  if ('range' in test) return 'semver'
  return name.includes('/') ? 'ebuild' : 'deb'
}

/** The requests that `@set` stands for. */
function openSet(
  request: Request,
  sets: { readonly [name: string]: readonly string[] },
  chain: readonly string[],
): Request[] {
  if (!request.atom.startsWith('@')) return [request]
  const name = request.atom.slice(1)
  const members = Object.hasOwn(sets, name) ? sets[name] : undefined
  const { file, line, column } = request.where
  if (!members)
    throw new Stage5Error('S5_PROFILE_INVALID', `${file}:${line}:${column}: unknown set @${name}`, {
      hint: `name its members under sets: {${name}: [...]}`,
    })
  if (chain.includes(name)) return []
  return members.flatMap((atom) => openSet({ ...request, atom }, sets, [...chain, name]))
}

/** In which writing an atom of a profile is read: that of the packages of its name, where there are some. */
function schemeOf(text: string, catalog: Catalog): Scheme {
  const [first] = catalog.named(nameOfAtom(text))
  if (first) return first.scheme
  if (schemeOfName(text) === 'deb') return 'deb'
  return catalog.hasGentoo && isGentooAtom(text) ? 'ebuild' : 'semver'
}

function isGentooAtom(text: string): boolean {
  try {
    parseEbuildAtom(text, { kind: 'pattern' })
    return true
  } catch (error) {
    if (!isStage5Error(error, 'S5_ATOM_SYNTAX')) throw error
    return /^[<>=~]/.test(text)
  }
}

function atomAt(text: string, where: Where, catalog: Catalog, isPattern = false): Atom {
  try {
    const scheme = schemeOf(text, catalog)
    return isPattern && scheme === 'ebuild'
      ? parseEbuildAtom(text, { kind: 'pattern' })
      : parseAtom(text, scheme)
  } catch (error) {
    if (!isStage5Error(error, 'S5_ATOM_SYNTAX')) throw error
    throw new Stage5Error('S5_ATOM_SYNTAX', `${where.file}:${where.line}:${where.column}: ${error.message}`, {
      cause: error,
    })
  }
}

/** A flag that the profile names for a package is a requirement; `-flag` also holds of a package that does not know it. */
function bindingTest(word: string): UseTest {
  const test = parseUseTest(word)
  return test.state === 'off' && test.otherwise === undefined ? { ...test, otherwise: false } : test
}

function pinKey(
  pkg: Pick<Package, 'name' | 'version' | 'slot' | 'arch' | 'buildId' | 'repo' | 'use'>,
): string {
  return [pkg.name, pkg.version, pkg.slot, pkg.arch, pkg.buildId, pkg.repo, pkg.use.join(' ')].join('\0')
}

/** Why `pkg` is no answer to `atom`: its own nature first, then what the profile forbids. */
export function rejection(
  choice: Choice,
  atom: Atom,
  pkg: Package,
  parent?: Flags,
): ReturnType<typeof mismatch> | Hidden | undefined {
  const reason =
    pkg.name === atom.name ? mismatch(atom, pkg, parent) : provides(atom, pkg, parent) ? undefined : 'version'
  return reason ?? choice.hidden(pkg)
}
