/** Shared libraries: what the members of a root need and none of them brings. */
import { isSonameKey, type SonameKey } from '../pkg/soname.ts'
import { type Package, titleOf } from '../pkg/package.ts'
import type { Catalog } from './catalog.ts'

/** A library that is needed and that nothing brings. */
export interface MissingSoname {
  readonly abi: string
  readonly soname: string
  /** Titles of the packages that need it, sorted. */
  readonly neededBy: readonly string[]
  /** Titles of the builds that may be chosen and bring it, best first. */
  readonly providers: readonly string[]
}

/** Who brings which library; best builds first. */
export function openSonames(
  catalog: Catalog,
  visible: (name: string) => readonly Package[],
): (key: SonameKey) => readonly Package[] {
  const found = new Map<SonameKey, readonly Package[]>()
  return (key) => {
    if (!isSonameKey(key)) return []
    const known = found.get(key)
    if (known) return known
    const providers = catalog
      .bringing(key.slice(key.indexOf(': ') + 2))
      .flatMap((name) => visible(name).filter(({ gentoo }) => gentoo?.sonames.includes(key)))
    found.set(key, providers)
    return providers
  }
}

/** What `packages` need beside what they bring and what is `provided`, by ABI and name. */
export function missingSonames(
  packages: readonly Package[],
  provided: readonly string[],
  providersOf: (key: SonameKey) => readonly Package[],
): MissingSoname[] {
  const brought = new Set(provided)
  for (const { gentoo } of packages) for (const key of gentoo?.sonames ?? []) brought.add(key)
  const missing = new Map<SonameKey, string[]>()
  for (const pkg of packages)
    for (const key of pkg.gentoo?.requires ?? [])
      if (!brought.has(key)) missing.set(key, [...(missing.get(key) ?? []), titleOf(pkg)])
  return [...missing]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, neededBy]) => {
      const colon = key.indexOf(': ')
      return {
        abi: key.slice(0, colon),
        soname: key.slice(colon + 2),
        neededBy: neededBy.sort(),
        providers: providersOf(key).map(titleOf),
      }
    })
}

/** As a warning: what is missing, who needs it, and what would bring it. */
export function printMissingSoname({ abi, soname, neededBy, providers }: MissingSoname): string {
  const [best] = providers
  const remedy =
    best === undefined
      ? 'no build that may be chosen brings it'
      : `${best} would bring it (soname: require adds it)`
  return `nothing brings ${soname} (${abi}), needed by ${neededBy.join(', ')}: ${remedy}`
}
