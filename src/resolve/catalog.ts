/** The packages of all indexes by name and by what they provide, in an order that does not depend on theirs. */
import { compareVersions } from '../pkg/compare.ts'
import type { Index, Package } from '../pkg/package.ts'

export interface Catalog {
  has(name: string): boolean
  /** Whether any package is one of Gentoo. */
  readonly hasGentoo: boolean
  /** The place of a package's repository or binhost among all: 0 is preferred. */
  readonly placeOf: (pkg: Package) => number
  /** All packages of a name, whatever their architecture: best first. */
  named(name: string): readonly Package[]
  /** All packages that provide a name: the most basic first, then by name, then best first. */
  providing(name: string): readonly Package[]
  /** Every name that a package has or provides; in no promised order. */
  names(): Iterable<string>
  /** Names of which some Gentoo build says that it brings a library of this name, for some ABI; in order. */
  bringing(library: string): readonly string[]
}

/** The place of a repository or binhost among all: 0 is preferred. */
function placesOf(
  indexes: readonly Pick<Index, 'repo' | 'headers'>[],
  repositories: readonly string[],
): (pkg: Package) => number {
  const places = new Map<string, number>()
  for (const name of repositories)
    for (const { repo, headers = [{ origin: '' }] } of indexes)
      if (repo === name) for (const { origin } of headers) places.set(`${repo}\0${origin}`, places.size)
  const whole = new Map(repositories.map((name) => [name, places.get(`${name}\0`) ?? places.size]))
  return ({ repo, file: { origin } }) =>
    places.get(`${repo}\0${origin}`) ?? whole.get(repo) ?? places.size + repositories.length
}

/**
 * Newest version first; of one version the newest build time, then the repository or binhost preferred, then the highest build
 * number. What is left is settled by bytes.
 *
 * @param isPriorityFirst what is preferred comes even before a newer version
 */
function byQuality(
  placeOf: (pkg: Package) => number,
  isPriorityFirst: boolean,
): (left: Package, right: Package) => number {
  return (left, right) =>
    (isPriorityFirst ? placeOf(left) - placeOf(right) : 0) ||
    (left.scheme === right.scheme
      ? compareVersions(left.scheme, right.version, left.version)
      : compareText(left.scheme, right.scheme)) ||
    right.buildTime - left.buildTime ||
    placeOf(left) - placeOf(right) ||
    right.buildId - left.buildId ||
    compareText(tieKey(left), tieKey(right))
}

/** One pass over all packages that are there; lists are made and sorted when they are first asked for. */
export function openCatalog(
  indexes: readonly Index[],
  repositories: readonly string[],
  rank: 'newest' | 'priority-first' = 'newest',
): Catalog {
  const named = new Map<string, Package[]>()
  const providing = new Map<string, Package[]>()
  const listings = indexes.flatMap(({ byName }) => byName ?? [])
  for (const index of indexes)
    for (const pkg of index.byName ? [] : index.packages) {
      add(named, pkg.name, pkg)
      for (const { name } of pkg.provides) if (name !== pkg.name) add(providing, name, pkg)
    }
  const hasGentoo = indexes.some(
    (index) => index.kind === 'gentoo' || index.packages.some(({ scheme }) => scheme === 'ebuild'),
  )
  const placeOf = placesOf(indexes, repositories)
  const quality = byQuality(placeOf, rank === 'priority-first')
  const providerOrder = (left: Package, right: Package): number =>
    (left.rank ?? 0) - (right.rank ?? 0) || compareText(left.name, right.name) || quality(left, right)
  const namedOf = onDemand((name: string) => {
    const listed = listings.flatMap((listing) => listing.named(name))
    return withoutCopies([...listed, ...(named.get(name) ?? [])].sort(quality))
  })
  let libraries: Map<string, string[]> | undefined
  return {
    has: (name) => providing.has(name) || namedOf(name).length > 0,
    hasGentoo,
    placeOf,
    named: namedOf,
    providing: onDemand((name) =>
      [...new Set(providing.get(name))].filter((pkg) => namedOf(pkg.name).includes(pkg)).sort(providerOrder),
    ),
    names: () =>
      new Set([...named.keys(), ...providing.keys(), ...listings.flatMap((one) => [...one.names()])]),
    bringing: (library) => {
      libraries ??= librariesOf([...named.values()].flat())
      const listed = listings.flatMap((listing) => [...listing.bringing(library)])
      return [...new Set([...listed, ...(libraries.get(library) ?? [])])].sort(compareText)
    },
  }
}

/** Names of packages by the libraries that they bring. */
function librariesOf(packages: readonly Package[]): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const { name, gentoo } of packages)
    for (const key of gentoo?.sonames ?? []) {
      const library = key.slice(key.indexOf(': ') + 2)
      const names = found.get(library)
      if (names) names.push(name)
      else found.set(library, [name])
    }
  return found
}

function add(map: Map<string, Package[]>, name: string, pkg: Package): void {
  const list = map.get(name)
  if (list) list.push(pkg)
  else map.set(name, [pkg])
}

function onDemand<K, V>(make: (key: K) => V): (key: K) => V {
  const made = new Map<K, V>()
  return (key) => {
    const found = made.get(key)
    if (found !== undefined) return found
    const value = make(key)
    made.set(key, value)
    return value
  }
}

/** A sorted list with the first of each build: what two suites or binhosts both list is one build. */
function withoutCopies(packages: readonly Package[]): readonly Package[] {
  if (packages.length < 2) return packages
  const builds = new Set(packages.map((pkg) => `${pkg.version} ${pkg.buildId} ${pkg.buildTime}`))
  if (builds.size === packages.length) return packages
  const seen = new Set<string>()
  return packages.filter((pkg) => {
    const key = identityOf(pkg)
    return !seen.has(key) && seen.add(key)
  })
}

/** What makes two lines of indexes the same build; the parts that decide quality are among them. */
function identityOf(pkg: Package): string {
  const { version, arch, slot, subslot, use, buildId, buildTime, file, gentoo } = pkg
  const parts = [version, arch, slot, subslot, use.join(' '), buildId, buildTime, file.size]
  return [...parts, gentoo ? gentoo.mtime : file.sums.sha256].join('\0')
}

function tieKey(pkg: Package): string {
  const { sums, path, origin, size } = pkg.file
  return [
    pkg.version,
    pkg.slot,
    pkg.subslot,
    pkg.arch,
    pkg.use.join(' '),
    pkg.repo,
    origin,
    path,
    size,
    sums.sha256 ?? sums.md5,
  ].join('\0')
}

export function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}
