/** The packages of Gentoo indexes by name, made when a name is first asked for: a root has some hundred of ten thousand. */
import type { Package, PackagesByName } from './package.ts'

/** Entries of an index, which are read one by one. */
export interface EntrySource {
  readonly size: number
  /** CPV of the entry at `at`; '' without one. */
  cpv(at: number): string
  /** Its PROVIDES; '' without it. */
  provides(at: number): string
  /** Where they are known already. */
  readonly names?: EntryNames
}

/** How the entries of one source are named. */
export interface EntryNames {
  readonly list: readonly string[]
  /** By entry the place of its name in `list`, counted from 1; 0 when its CPV has no version. */
  readonly of: Uint32Array
}

export function entryNames(source: Pick<EntrySource, 'size' | 'cpv'>): EntryNames {
  const places = new Map<string, number>()
  const of = new Uint32Array(source.size)
  for (let at = 0; at < source.size; at++) {
    const name = nameIn(source.cpv(at))
    if (name === '') continue
    const place = places.get(name) ?? places.size + 1
    if (place > places.size) places.set(name, place)
    of[at] = place
  }
  return { list: [...places.keys()], of }
}

/** One entry: the number of its source, and its own. */
interface Place {
  readonly source: number
  readonly at: number
}

/**
 * @param make the usable packages among the entries of one name, in the order of the sources. It is called at once for
 *   entries whose CPV has no version, so that they are told of.
 */
export function listingOf(
  sources: readonly EntrySource[],
  make: (places: readonly Place[]) => readonly Package[],
): PackagesByName {
  const ends: number[] = []
  let total = 0
  for (const { size } of sources) ends.push((total += size))
  const placeOf = (index: number): Place => {
    const source = ends.findIndex((end) => index < end)
    return { source, at: index - (ends[source] as number) + (sources[source] as EntrySource).size }
  }
  const first = new Map<string, number>()
  const next = new Int32Array(total)
  const odd: Place[] = []
  for (const [source, entries] of [...sources.entries()].reverse()) {
    const { list, of } = entries.names ?? entryNames(entries)
    const start = (ends[source] as number) - entries.size
    for (let at = entries.size - 1; at >= 0; at--) {
      const place = of[at] as number
      if (place === 0) {
        odd.push({ source, at })
        continue
      }
      const name = list[place - 1] as string
      next[start + at] = first.get(name) ?? -1
      first.set(name, start + at)
    }
  }
  if (odd.length > 0) make(odd.reverse())
  const made = new Map<string, readonly Package[]>()
  let bringing: Map<string, Set<string>> | undefined
  const libraries = (): Map<string, Set<string>> => {
    const found = new Map<string, Set<string>>()
    for (const source of sources)
      for (let at = 0; at < source.size; at++)
        for (const word of source.provides(at).split(/\s+/)) {
          if (word === '' || word.endsWith(':')) continue
          const names = found.get(word)
          if (names) names.add(nameIn(source.cpv(at)))
          else found.set(word, new Set([nameIn(source.cpv(at))]))
        }
    return found
  }
  return {
    names: () => first.keys(),
    has: (name) => first.has(name),
    named: (name) => {
      const found = made.get(name)
      if (found) return found
      const places: Place[] = []
      for (let index = first.get(name) ?? -1; index >= 0; index = next[index] as number)
        places.push(placeOf(index))
      const packages = places.length === 0 ? [] : make(places)
      made.set(name, packages)
      return packages
    },
    bringing: (library) => (bringing ??= libraries()).get(library) ?? [],
  }
}

/** All packages of a listing, by name and then in the order of the sources. */
export function allOf(listing: PackagesByName): Package[] {
  return [...listing.names()].sort().flatMap((name) => listing.named(name))
}

/** What stands before the version of a CPV that has one; '' otherwise. Whether name and version are any is not asked. */
function nameIn(cpv: string): string {
  let hyphen = cpv.lastIndexOf('-')
  if (cpv.charCodeAt(hyphen + 1) === 114 && /^[0-9]+$/.test(cpv.slice(hyphen + 2)))
    hyphen = cpv.lastIndexOf('-', hyphen - 1)
  const digit = cpv.charCodeAt(hyphen + 1)
  return hyphen > 0 && digit >= 48 && digit <= 57 ? cpv.slice(0, hyphen) : ''
}
