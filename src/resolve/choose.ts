/** Which packages may be chosen under a profile, and which of them is preferred. */
import { Stage5Error, isStage5Error } from '../base/errors.ts'
import { type Digest, digestOf } from '../base/digest.ts'
import { type Json, stableJson } from '../base/json.ts'
import { parseAtom, schemeOfName } from '../pkg/atom.ts'
import { passesVersionTest } from '../pkg/compare.ts'
import { matches, mismatch, provides } from '../pkg/match.ts'
import type { Atom, Package, UseTest } from '../pkg/package.ts'
import { type Flags, parseUseTest, passesUseTest } from '../pkg/use.ts'
import type { Catalog } from './catalog.ts'
import type { Lock } from './lock.ts'
import type { Profile, Where } from './profile.ts'

/** The part of a profile that decides which packages it gets. */
export type ResolveInput = Pick<
  Profile,
  'name' | 'arch' | 'repositories' | 'packages' | 'use' | 'mask' | 'provided' | 'recommends'
>

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
    packages: packages.map((request) => ({ atom: request.atom, use: request.use })),
    use,
    mask: mask.map(({ atom }) => atom),
    provided: provided.map((one) => ({ name: one.name, version: one.version })),
    recommends,
  }
  return digestOf(stableJson(value))
}

export interface Wanted {
  readonly atom: Atom
  readonly where: Where
  /** As written in the profile, with the flags asked for beside it. */
  readonly text: string
}

/** Why a package may not be chosen at all. */
export type Hidden =
  | { readonly kind: 'arch'; readonly arch: string }
  | { readonly kind: 'mask'; readonly atom: string; readonly where: Where }
  | { readonly kind: 'use'; readonly tests: readonly UseTest[] }

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
}

/** @throws S5_ATOM_SYNTAX with the place in the profile */
export function openChoice(input: ResolveInput, catalog: Catalog, pins?: Lock): Choice {
  const wanted = input.packages.map((request) => {
    const atom = atomAt(request.atom, request.where)
    const flags = request.use.length === 0 ? '' : ` with USE ${request.use.join(' ')}`
    return { atom, where: request.where, text: request.atom + flags }
  })
  const masks = input.mask.map(({ atom, where }) => ({ atom: atomAt(atom, where), where }))
  const bound = new Map<string, UseTest[]>()
  for (const [index, { atom }] of wanted.entries()) {
    const tests = (input.packages[index]?.use ?? []).map(bindingTest)
    if (tests.length > 0) bound.set(atom.name, [...(bound.get(atom.name) ?? []), ...tests])
  }
  const everywhere = input.use.map((word) => parseUseTest(word))
  const pinned = new Set(pins?.packages.map(pinKey))
  const visible = new Map<string, readonly Package[]>()

  const hidden = (pkg: Package): Hidden | undefined => {
    if (pkg.arch !== input.arch && pkg.arch !== 'all' && pkg.arch !== 'any')
      return { kind: 'arch', arch: pkg.arch }
    const mask = masks.find(({ atom }) => matches(atom, pkg))
    if (mask) return { kind: 'mask', atom: mask.atom.text, where: mask.where }
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
  const isPinned = (pkg: Package): boolean => pinned.has(pinKey(pkg))
  const visibleOf = (name: string): readonly Package[] => {
    const found = visible.get(name)
    if (found) return found
    const list = pinnedFirst(catalog.named(name).filter((pkg) => !hidden(pkg)))
    visible.set(name, list)
    return list
  }
  return {
    wanted,
    candidates: (atom, parent) => {
      if (atom.arch !== undefined && !['any', 'native', input.arch].includes(atom.arch)) return []
      const real = visibleOf(atom.name).filter((pkg) => matches(atom, pkg, parent))
      const others = catalog
        .providing(atom.name)
        .filter((pkg) => pkg.name !== atom.name && provides(atom, pkg, parent) && !hidden(pkg))
      return others.length === 0 ? real : [...real, ...pinnedFirst(others)]
    },
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
            passesVersionTest(catalog.named(name)[0]?.scheme ?? schemeOfName(name), atom.version, version)),
      ),
    takesRecommends: ({ name }) =>
      typeof input.recommends === 'boolean' ? input.recommends : input.recommends.includes(name),
  }
}

function atomAt(text: string, where: Where): Atom {
  try {
    return parseAtom(text, schemeOfName(text))
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
