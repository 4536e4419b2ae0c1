/** A whole repository at once: which of its builds can be installed at all, and what is missing for the others. */
import { type Index, type Package, titleOf } from '../pkg/package.ts'
import type { ResolveInput } from './choose.ts'
import { explain } from './explain.ts'
import { buildCommand } from './missing-builds.ts'
import { openSession } from './resolve.ts'
import { type MissingSoname, missingSonames } from './soname.ts'

export interface RepositoryCheck {
  /** Builds that may be chosen. */
  readonly builds: number
  readonly installable: number
  /** Builds for which no set of packages exists, by title. */
  readonly broken: readonly { readonly pkg: string; readonly because: readonly string[] }[]
  /** Demands that no build meets, most wanted first. */
  readonly missing: readonly MissingDemand[]
  /** Libraries that some build needs and no build brings. */
  readonly sonames: readonly MissingSoname[]
}

export interface MissingDemand {
  /** As the dependency is written. */
  readonly demand: string
  /** Titles of the builds that cannot be installed for it, sorted. */
  readonly breaks: readonly string[]
  /** Commands that would build what is missing, where that is known. */
  readonly builds: readonly string[]
}

/** Conflicts after which a build counts as broken without proof; a guess that no real index reaches. */
const BOUNDS = { conflicts: 100_000, decisions: 10_000_000, wishes: false }

/**
 * Every build that any profile could choose, with the reason where none can.
 *
 * One search answers for all packages that it made true, so that a sound index costs few.
 */
export function checkRepository(index: Index, arch: string): RepositoryCheck {
  const input: ResolveInput = {
    name: index.repo,
    arch,
    repositories: [index.repo],
    packages: [],
    use: [],
    mask: [],
    provided: [],
    recommends: false,
    keywords: ['**'],
    usePolicy: 'any',
  }
  const { catalog, choice, problem } = openSession(input, [index])
  const all = [...catalog.names()].sort().flatMap((name) => choice.visible(name))
  const sound = new Set<Package>()
  const broken: { pkg: string; because: readonly string[] }[] = []
  const missing = new Map<string, { breaks: Set<string>; builds: Set<string> }>()
  for (const pkg of all) {
    if (sound.has(pkg)) continue
    const outcome = problem.solve([problem.variableOf(pkg) * 2], BOUNDS)
    if (outcome.status === 'found') {
      for (const variable of problem.trueVariables()) {
        const member = problem.packageOf(variable)
        if (member) sound.add(member)
      }
      continue
    }
    if (outcome.status === 'budget') {
      broken.push({ pkg: titleOf(pkg), because: ['no answer within the budget of the check'] })
      continue
    }
    const reasons = explain(problem, choice, catalog, outcome.facts, outcome.assumptions)
    broken.push({ pkg: titleOf(pkg), because: reasons.map(({ text }) => text) })
    for (const reason of reasons) {
      if (reason.kind !== 'needs' || reason.fits.length > 0) continue
      const found = missing.get(reason.item) ?? { breaks: new Set(), builds: new Set() }
      missing.set(reason.item, found)
      found.breaks.add(titleOf(pkg))
      for (const build of reason.builds) found.builds.add(buildCommand(build))
    }
  }
  const demands = [...missing].map(([demand, { breaks, builds }]) => ({
    demand,
    breaks: [...breaks].sort(),
    builds: [...builds].sort(),
  }))
  return {
    builds: all.length,
    installable: all.length - broken.length,
    broken,
    missing: demands.sort(
      (left, right) => right.breaks.length - left.breaks.length || (left.demand < right.demand ? -1 : 1),
    ),
    sonames: missingSonames(all, [], choice.sonameProviders),
  }
}
