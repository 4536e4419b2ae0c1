/** The question that a profile asks of its repositories as one file: the universe that gives the same answer. */
import type { Json } from '../base/json.ts'
import { archOfGentoo } from '../pkg/ebuild-package.ts'
import { neededAtoms } from '../pkg/dep-expr.ts'
import type { DepExpr, Index, Package } from '../pkg/package.ts'
import type { Catalog } from './catalog.ts'
import type { Choice, ResolveInput } from './choose.ts'
import { gentooArch } from './gentoo-rules.ts'
import { openSession } from './resolve.ts'
import { UNIVERSE_FORMAT } from './universe.ts'
import { packageToJson } from './universe-packages.ts'

type JsonObject = { [key: string]: Json | undefined }

/**
 * Of the indexes only what the question can lead to: builds of every name that some dependency leads to, whether or not
 * they may be chosen.
 *
 * @throws S5_ATOM_SYNTAX
 */
export function universeJson(input: ResolveInput, indexes: readonly Index[]): JsonObject {
  const { catalog, choice } = openSession(input, indexes)
  const names = reachable(catalog, choice)
  const ordered = input.repositories.flatMap((name) => indexes.filter(({ repo }) => repo === name))
  const places = ordered.flatMap((index): Place[] =>
    index.kind === 'gentoo'
      ? (index.headers ?? [{ origin: '', fields: new Map<string, string>() }]).map((header) => ({
          index,
          header,
        }))
      : [{ index, header: undefined }],
  )
  return {
    format: UNIVERSE_FORMAT,
    name: input.name,
    binhosts: places.map(({ index, header }, at): Json => {
      const packages = [...names]
        .sort()
        .flatMap((name) => catalog.named(name))
        .filter(({ repo, file }) => repo === index.repo && (!header || file.origin === header.origin))
      const name = header && header.origin !== '' ? `${index.repo} ${header.origin}` : index.repo
      const priority = places.length - at
      if (!header) return { name, priority, kind: index.kind, packages: packages.map(packageToJson) }
      return {
        name,
        priority,
        header: Object.fromEntries(header.fields),
        packages: packages.flatMap(({ gentoo }) =>
          gentoo && !gentoo.isUnsigned
            ? [{ EAPI: '0', SLOT: '0', ...Object.fromEntries(gentoo.entry), REPO: gentoo.repository }]
            : [],
        ),
      }
    }),
    config: configOf(input),
    request: requestOf(input),
  }
}

interface Place {
  readonly index: Index
  readonly header: { readonly origin: string; readonly fields: ReadonlyMap<string, string> } | undefined
}

/** Names that dependencies of any build lead to, and those that bring a library that one of them needs. */
function reachable(catalog: Catalog, choice: Choice): Set<string> {
  const names = new Set<string>()
  const waiting = choice.wanted.map(({ atom }) => atom.name)
  const libraries = new Set<string>()
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (names.has(name)) continue
    names.add(name)
    for (const pkg of catalog.providing(name)) waiting.push(pkg.name)
    for (const pkg of catalog.named(name)) {
      waiting.push(...targetsOf(pkg, choice.takesRecommends(pkg)))
      for (const key of pkg.gentoo?.requires ?? []) {
        const library = key.slice(key.indexOf(': ') + 2)
        if (libraries.has(library)) continue
        libraries.add(library)
        waiting.push(...catalog.bringing(library))
      }
    }
  }
  return names
}

/** An entry that cannot be read has no targets: that it is there is what counts. */
function targetsOf(pkg: Package, takesRecommends: boolean): string[] {
  try {
    const all: DepExpr[] = [pkg.needs]
    if (takesRecommends) all.push(pkg.recommends)
    if (pkg.gentoo) all.push(pkg.gentoo.dependencies('IDEPEND'))
    return all.flatMap(neededAtoms).map(({ name }) => name)
  } catch {
    return []
  }
}

function configOf(input: ResolveInput): JsonObject {
  const { settings = [], licenses = [], keywords = [], sets = {}, usePolicy = 'listed' } = input
  const arch = gentooArch(input.arch)
  const some = <T extends readonly unknown[]>(list: T | undefined): T | undefined =>
    list && list.length > 0 ? list : undefined
  const each = (key: 'use' | 'keywords' | 'licenses'): Json | undefined =>
    some(settings.flatMap((one) => (one[key].length > 0 ? [{ atom: one.atom, [key]: one[key] }] : [])))
  const forced = (list: ResolveInput['useForce'], isGeneral: boolean): Json | undefined => {
    const found = (list ?? []).filter(({ atom }) => (atom === '') === isGeneral)
    return isGeneral
      ? some(found.flatMap(({ flags }) => flags))
      : some(found.map(({ atom, flags }) => ({ atom, use: flags })))
  }
  return {
    arch: archOfGentoo(arch) === input.arch ? arch : input.arch,
    acceptKeywords: some(keywords) ?? [arch],
    acceptChosts: some(input.chosts),
    acceptLicense: some(licenses),
    licenseGroups: input.licenseGroups,
    packageLicense: each('licenses'),
    respectUse: { any: 'n', exact: 'y', listed: 'listed' }[usePolicy],
    profileUse: forced(input.profileUse, true),
    packageProfileUse: forced(input.profileUse, false),
    use: some(input.use),
    packageUse: each('use'),
    packageAcceptKeywords: each('keywords'),
    useForce: forced(input.useForce, true),
    useMask: forced(input.useMask, true),
    packageUseForce: forced(input.useForce, false),
    packageUseMask: forced(input.useMask, false),
    packageMask: some(input.mask.map(({ atom }) => atom)),
    packageUnmask: some((input.unmask ?? []).map(({ atom }) => atom)),
    packageProvided: some(input.provided.map(({ name, version }) => ({ name, version }))),
    sets: Object.keys(sets).length > 0 ? sets : undefined,
    sonameProvided: some((input.sonameProvided ?? []).map((key) => key.replace(': ', ' '))),
    recommends: input.recommends === false ? undefined : input.recommends,
    prefer: input.prefer === 'minimal' ? 'minimal' : undefined,
    strict: input.strict || undefined,
    rank: input.rank === 'priority-first' ? input.rank : undefined,
    ignoreSlotOperators: input.ignoreSlotOperators || undefined,
  }
}

function requestOf(input: ResolveInput): JsonObject {
  const depTypes = [...(input.depTypes ?? ['RDEPEND', 'PDEPEND'])]
  if (input.idepend && !depTypes.includes('IDEPEND')) depTypes.push('IDEPEND')
  return {
    atoms: input.packages.map(({ atom, use, keywords = [], licenses = [] }): Json => {
      if (use.length + keywords.length + licenses.length === 0) return atom
      return { atom, use, keywords, licenses }
    }),
    depTypes,
    sonameDeps: input.soname === 'require',
    soname: input.soname === 'off' ? 'off' : undefined,
  }
}
