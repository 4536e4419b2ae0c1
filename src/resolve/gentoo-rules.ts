/** Gentoo's rules about which builds may be chosen: keywords, licences, CHOST, EAPI and USE policy. */
import { Stage5Error } from '../base/errors.ts'
import { archOfGentoo, knownEapi } from '../pkg/ebuild-package.ts'
import { matchesPattern, parseEbuildAtom } from '../pkg/ebuild-atom.ts'
import type { Atom, GentooFacts, Package, RuntimeDependency, UseTest } from '../pkg/package.ts'
import { missingLicenses } from '../pkg/required-use.ts'
import { passesUseTest } from '../pkg/use.ts'
import type { Forced, Profile, Setting } from './profile.ts'

/** What a profile may say about Gentoo packages, and what only universes say. What is left out has its default. */
export interface GentooWishes
  extends Partial<
    Pick<
      Profile,
      | 'keywords'
      | 'licenses'
      | 'licenseGroups'
      | 'usePolicy'
      | 'settings'
      | 'unmask'
      | 'sets'
      | 'soname'
      | 'prefer'
      | 'strict'
      | 'idepend'
      | 'rank'
      | 'ignoreSlotOperators'
      | 'profileUse'
      | 'useForce'
      | 'useMask'
    >
  > {
  /** Patterns of CHOST; empty or absent: any. */
  readonly chosts?: readonly string[]
  /** Default: RDEPEND and PDEPEND. */
  readonly depTypes?: readonly RuntimeDependency[]
  /** Libraries taken as present, as `soname.ts` names them. */
  readonly sonameProvided?: readonly string[]
}

/** Why Gentoo's rules keep a build out. */
export type GentooHidden =
  | { readonly kind: 'signature' }
  | { readonly kind: 'keyword'; readonly keywords: readonly string[]; readonly accepted: readonly string[] }
  | { readonly kind: 'license'; readonly licenses: readonly string[] }
  | { readonly kind: 'chost'; readonly chost: string }
  | { readonly kind: 'eapi'; readonly eapi: string }
  | { readonly kind: 'unreadable'; readonly problem: string }
  | { readonly kind: 'use'; readonly tests: readonly UseTest[] }

interface GentooRules {
  hidden(pkg: Package, gentoo: GentooFacts): GentooHidden | undefined
  /** Under the policy `listed`: how many of a build's own flags stand otherwise than configured. */
  deviations(pkg: Package, gentoo: GentooFacts): number
  /** The flags of a build that the policy binds, as it wants them. */
  bound(pkg: Package, gentoo: GentooFacts): UseTest[]
}

interface RulesInput extends GentooWishes {
  readonly arch: string
  readonly use: readonly string[]
  readonly packages: Profile['packages']
}

/** @throws S5_ATOM_SYNTAX for an atom of a setting, S5_PROFILE_INVALID for an unknown group of licences */
export function openGentooRules(input: RulesInput, wanted: readonly Atom[]): GentooRules {
  const settings = (input.settings ?? []).map((setting) => ({ ...setting, ...patternOf(setting.atom) }))
  const requests = input.packages.flatMap((request, index): Compiled[] => {
    const atom = wanted[index]
    const { keywords, licenses, use, where } = request
    if (!atom) return []
    const own: Compiled = {
      pattern: { name: atom.name, text: atom.text },
      use,
      where,
      rank: 9,
      atom: request.atom,
    }
    return [{ ...own, ...(keywords && { keywords }), ...(licenses && { licenses }) }]
  })
  const compiled = [...settings.toSorted((left, right) => left.rank - right.rank), ...requests]
  const forces = [
    [(input.useForce ?? []).map(forceOf), true],
    [(input.useMask ?? []).map(forceOf), false],
  ] as const
  const usual = (input.profileUse ?? []).map(forceOf)
  const chosts = (input.chosts ?? []).map((pattern) => new RegExp(`^(?:${pattern})$`))
  const policy = input.usePolicy ?? 'listed'
  const accepted = input.keywords && input.keywords.length > 0 ? input.keywords : [gentooArch(input.arch)]
  const groups = input.licenseGroups ?? {}
  const general = licenseTest(input.licenses ?? [], groups)

  const bindsNothing =
    input.use.length === 0 &&
    compiled.every(({ use }) => use.length === 0) &&
    forces.every(([list]) => list.every(({ flags }) => flags.length === 0))

  const named = byPattern(compiled)
  const settingsOf = (pkg: Package): readonly Compiled[] => {
    const own = named.get(pkg.name) ?? named.get('') ?? []
    return own.length === 0 ? own : own.filter(({ pattern }) => matchesPattern(pattern, pkg))
  }
  const acceptsGenerally = keywordTest(accepted)

  /** How each flag is configured; those that someone named bind under `listed`. */
  function configured(
    pkg: Package,
    gentoo: GentooFacts,
  ): { states: Map<string, boolean>; named: Set<string> } {
    const states = new Map(gentoo.ownFlags.map((flag) => [flag, gentoo.defaultFlags.includes(flag)]))
    const named = new Set<string>()
    const apply = (words: readonly string[], binds: boolean): void => {
      for (const word of words) {
        const flags = word === '-*' ? gentoo.ownFlags : [word.replace(/^[+-]/, '')]
        for (const flag of flags) {
          states.set(flag, !word.startsWith('-'))
          if (binds) named.add(flag)
        }
      }
    }
    for (const { pattern, flags } of usual) if (!pattern || matchesPattern(pattern, pkg)) apply(flags, false)
    apply(input.use, true)
    for (const setting of settingsOf(pkg)) apply(setting.use, true)
    for (const [list, on] of forces)
      for (const flag of forcedFor(list, pkg)) {
        if (!gentoo.ownFlags.includes(flag)) continue
        states.set(flag, on)
        named.add(flag)
      }
    return { states, named }
  }

  function boundTests(pkg: Package, gentoo: GentooFacts): UseTest[] {
    if (policy === 'any' || (policy === 'listed' && bindsNothing)) return []
    const { states, named } = configured(pkg, gentoo)
    const strict = new Set(
      requests.filter(({ pattern }) => pattern.name === pkg.name).flatMap(({ use }) => use.map(flagOf)),
    )
    const bound = [...states].filter(([flag]) => {
      if (policy === 'exact' && gentoo.ownFlags.includes(flag)) return true
      return named.has(flag) && (strict.has(flag) || pkg.iuse.includes(flag))
    })
    return bound.map(
      ([flag, on]): UseTest => (on ? { flag, state: 'on' } : { flag, state: 'off', otherwise: false }),
    )
  }

  return {
    hidden: (pkg, gentoo) => {
      if (gentoo.isUnsigned) return { kind: 'signature' }
      if (knownEapi(gentoo.eapi) === undefined) return { kind: 'eapi', eapi: gentoo.eapi }
      const { chost } = gentoo
      if (chost !== '' && chosts.length > 0 && !chosts.some((pattern) => pattern.test(chost)))
        return { kind: 'chost', chost }
      const own = settingsOf(pkg)
      const more = own.flatMap((setting) => setting.keywords ?? [])
      const keywords = [...accepted, ...more]
      const isAccepted =
        more.length === 0 ? acceptsGenerally(gentoo.keywords) : acceptsKeywords(gentoo.keywords, keywords)
      if (!isAccepted) return { kind: 'keyword', keywords: gentoo.keywords, accepted: keywords }
      const licenses = own.flatMap((setting) => setting.licenses ?? [])
      const test =
        licenses.length > 0 ? licenseTest([...(input.licenses ?? ['*']), ...licenses], groups) : general
      const refused = refusedLicenses(pkg, gentoo, test)
      if (refused) return refused
      const tests = boundTests(pkg, gentoo).filter((test) => !passesUseTest(test, pkg))
      return tests.length > 0 ? { kind: 'use', tests } : undefined
    },
    bound: boundTests,
    deviations: (pkg, gentoo) => {
      if (policy !== 'listed') return 0
      if (bindsNothing && usual.every(({ flags }) => flags.length === 0)) {
        const { defaultFlags, ownFlags } = gentoo
        return ownFlags.filter((flag) => defaultFlags.includes(flag) !== pkg.use.includes(flag)).length
      }
      const { states } = configured(pkg, gentoo)
      return gentoo.ownFlags.filter((flag) => states.get(flag) !== pkg.use.includes(flag)).length
    },
  }
}

type Compiled = Omit<Setting, 'keywords' | 'licenses'> &
  Partial<Setting> & { readonly pattern: Atom; readonly rank: number }

/** Settings in their order by the name that they are for; under '' those with wildcards, which are in all lists. */
function byPattern(settings: readonly Compiled[]): ReadonlyMap<string, readonly Compiled[]> {
  const names = new Set(settings.map(({ pattern }) => pattern.name).filter((name) => !name.includes('*')))
  const wild = settings.filter(({ pattern }) => pattern.name.includes('*'))
  const lists = new Map<string, Compiled[]>([
    ['', wild],
    ...[...names].map((name) => [name, []] as [string, Compiled[]]),
  ])
  const exact = (name: string): readonly Compiled[][] => [lists.get(name) as Compiled[]]
  for (const setting of settings) {
    const { name } = setting.pattern
    const targets = name.includes('*') ? [...names].flatMap(exact) : exact(name)
    for (const list of targets) list.push(setting)
  }
  return lists
}

function patternOf(text: string): { readonly pattern: Atom; readonly rank: number } {
  const pattern = parseEbuildAtom(text, { kind: 'pattern' })
  const isWild = pattern.name.includes('*')
  const isExact = pattern.version !== undefined && 'op' in pattern.version && pattern.version.op === '='
  const rank = isWild
    ? 0
    : isExact
      ? 4
      : pattern.version
        ? 3
        : (pattern.slot ?? pattern.repo) === undefined
          ? 1
          : 2
  return { pattern, rank }
}

interface Force {
  readonly pattern: Atom | undefined
  readonly flags: readonly string[]
}

function forceOf({ atom, flags }: Forced): Force {
  return { pattern: atom === '' ? undefined : parseEbuildAtom(atom, { kind: 'pattern' }), flags }
}

/** The flags that lists force for a package; `-flag` lifts what stands before it. */
function forcedFor(list: readonly Force[], pkg: Package): Set<string> {
  const found = new Set<string>()
  for (const { pattern, flags } of list)
    if (!pattern || matchesPattern(pattern, pkg))
      for (const flag of flags)
        if (flag.startsWith('-')) found.delete(flag.slice(1))
        else found.add(flag)
  return found
}

function flagOf(word: string): string {
  return word.replace(/^[+-]/, '')
}

const GENTOO_ARCHES = ['arm', 'ppc64', 'riscv', 's390', 'x86']

/** Gentoo's name of an architecture that Debian calls `arch`. */
export function gentooArch(arch: string): string {
  return GENTOO_ARCHES.find((gentoo) => archOfGentoo(gentoo) === arch) ?? arch
}

/**
 * Whether a build with these KEYWORDS may be chosen. `~amd64` accepts `amd64` too; `*` any stable one, `~*` any in
 * testing, `**` everything.
 * @see make.conf(5), ACCEPT_KEYWORDS; portage(5), package.accept_keywords
 */
function acceptsKeywords(keywords: readonly string[], accepted: readonly string[]): boolean {
  return keywordTest(accepted)(keywords)
}

function keywordTest(accepted: readonly string[]): (keywords: readonly string[]) => boolean {
  const words = new Set<string>()
  for (const word of accepted)
    if (word === '-*') words.clear()
    else if (word.startsWith('-')) words.delete(word.slice(1))
    else words.add(word)
  if (words.has('**')) return () => true
  const accepts = (keyword: string): boolean => {
    if (keyword.startsWith('-')) return false
    if (keyword === '*') return true
    if (words.has(keyword)) return true
    if (keyword.startsWith('~'))
      return words.has('~*') || (keyword === '~*' && [...words].some((word) => word.startsWith('~')))
    return words.has('*') || words.has(`~${keyword}`)
  }
  return (keywords) => keywords.some(accepts)
}

/** @see make.conf(5), ACCEPT_LICENSE */
function licenseTest(
  words: readonly string[],
  groups: { readonly [name: string]: readonly string[] },
): ((license: string) => boolean) | undefined {
  if (words.length === 0) return undefined
  let isOpen = false
  const accepted = new Set<string>()
  const refused = new Set<string>()
  for (const word of words) {
    const isOff = word.startsWith('-')
    const name = isOff ? word.slice(1) : word
    if (name === '*') {
      isOpen = !isOff
      accepted.clear()
      refused.clear()
      continue
    }
    for (const license of name.startsWith('@') ? membersOf(name.slice(1), groups, []) : [name]) {
      ;(isOff ? refused : accepted).add(license)
      ;(isOff ? accepted : refused).delete(license)
    }
  }
  return (license) => accepted.has(license) || (isOpen && !refused.has(license))
}

function membersOf(
  group: string,
  groups: { readonly [name: string]: readonly string[] },
  chain: readonly string[],
): string[] {
  const members = Object.hasOwn(groups, group) ? groups[group] : undefined
  if (!members)
    throw new Stage5Error('S5_PROFILE_INVALID', `unknown group of licences @${group}`, {
      hint: `name its licences under licenseGroups: {${group}: [...]}`,
    })
  if (chain.includes(group)) return []
  return members.flatMap((member) =>
    member.startsWith('@') ? membersOf(member.slice(1), groups, [...chain, group]) : [member],
  )
}

function refusedLicenses(
  pkg: Package,
  gentoo: GentooFacts,
  isAccepted: ((license: string) => boolean) | undefined,
): GentooHidden | undefined {
  if (!isAccepted) return undefined
  try {
    const licenses = missingLicenses(gentoo.license, pkg.use, isAccepted)
    return licenses.length > 0 ? { kind: 'license', licenses } : undefined
  } catch (error) {
    if (!(error instanceof Stage5Error)) throw error
    return { kind: 'unreadable', problem: error.message }
  }
}
