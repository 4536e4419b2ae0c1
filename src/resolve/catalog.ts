/** The packages of all indexes by name and by what they provide, in an order that does not depend on theirs. */
import { compareVersions } from '../pkg/compare.ts'
import type { Index, Package } from '../pkg/package.ts'

export interface Catalog {
  has(name: string): boolean
  /** Whether any package is one of Gentoo. */
  readonly hasGentoo: boolean
  /** All packages of a name, whatever their architecture: best first. */
  named(name: string): readonly Package[]
  /** All packages that provide a name: the most basic first, then by name, then best first. */
  providing(name: string): readonly Package[]
  /** Every name that a package has or provides; in no promised order. */
  names(): Iterable<string>
}

/**
 * Newest version first; of one version the newest build time, then the repository preferred, then the highest build
 * number. What is left is settled by bytes.
 *
 * @param repositories names, most preferred first
 */
export function byQuality(repositories: readonly string[]): (left: Package, right: Package) => number {
  const place = new Map(repositories.map((name, index) => [name, index]))
  const placeOf = (pkg: Package): number => place.get(pkg.repo) ?? repositories.length
  return (left, right) =>
    (left.scheme === right.scheme
      ? compareVersions(left.scheme, right.version, left.version)
      : compareText(left.scheme, right.scheme)) ||
    right.buildTime - left.buildTime ||
    placeOf(left) - placeOf(right) ||
    right.buildId - left.buildId ||
    compareText(tieKey(left), tieKey(right))
}

/** One pass over all packages; lists are sorted when they are first asked for. */
export function openCatalog(indexes: readonly Index[], repositories: readonly string[]): Catalog {
  const named = new Map<string, Package[]>()
  const providing = new Map<string, Package[]>()
  for (const { packages } of indexes)
    for (const pkg of packages) {
      add(named, pkg.name, pkg)
      for (const { name } of pkg.provides) if (name !== pkg.name) add(providing, name, pkg)
    }
  const hasGentoo = indexes.some(
    ({ kind, packages }) => kind === 'gentoo' || packages.some(({ scheme }) => scheme === 'ebuild'),
  )
  const quality = byQuality(repositories)
  const providerOrder = (left: Package, right: Package): number =>
    (left.rank ?? 0) - (right.rank ?? 0) || compareText(left.name, right.name) || quality(left, right)
  const namedOf = onDemand((name: string) => withoutCopies([...(named.get(name) ?? [])].sort(quality)))
  return {
    has: (name) => named.has(name) || providing.has(name),
    hasGentoo,
    named: namedOf,
    providing: onDemand((name) =>
      [...new Set(providing.get(name))].filter((pkg) => namedOf(pkg.name).includes(pkg)).sort(providerOrder),
    ),
    names: () => new Set([...named.keys(), ...providing.keys()]),
  }
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
  const seen = new Set<string>()
  return packages.filter((pkg) => {
    const key = identityOf(pkg)
    return !seen.has(key) && seen.add(key)
  })
}

/** What makes two lines of indexes the same build; the parts that decide quality are among them. */
function identityOf(pkg: Package): string {
  const { version, arch, slot, subslot, use, buildId, buildTime, file, gentoo } = pkg
  const { size, sums } = file
  const parts = [version, arch, slot, subslot, use.join(' '), buildId, buildTime, size]
  return [...parts, gentoo ? gentoo.mtime : sums.sha256].join('\0')
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
