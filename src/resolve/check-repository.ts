/** A whole repository at once: which of its builds can be installed at all, and what is missing for the others. */
import { type Index, type Package, titleOf } from '../pkg/package.ts'
import type { ResolveInput } from './choose.ts'
import { explain } from './explain.ts'
import { buildCommand } from './missing-builds.ts'
import { openSession } from './resolve.ts'
import { openProblem, type Problem } from './solve.ts'
import { type MissingSoname, missingSonames } from './soname.ts'

interface RepositoryCheck {
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

interface MissingDemand {
  /** As the dependency is written. */
  readonly demand: string
  /** Titles of the builds that cannot be installed for it, sorted. */
  readonly breaks: readonly string[]
  /** Commands that would build what is missing, where that is known. */
  readonly builds: readonly string[]
}

/** Most builds that can be installed; of the others some were not tried alone. */
function soundTogether(problem: Problem, all: readonly Package[]): Set<Package> {
  const sound = new Set<Package>()
  let waiting = all
  for (let round = 0; round < MOST_ROUNDS; round++) {
    let ground = groundOf(problem, waiting, sound)
    if (ground === undefined) break
    for (const pkg of waiting) {
      if (sound.has(pkg)) continue
      const before = problem.decisions
      const outcome = problem.solve([ground * 2, problem.variableOf(pkg) * 2], TOGETHER)
      if (outcome.status !== 'found') continue
      addMembers(problem, sound, 1)
      if (problem.decisions - before > MANY_DECISIONS) ground = together(problem, pkg, ground)
    }
    const left = waiting.filter((pkg) => !sound.has(pkg))
    if (left.length * 10 > waiting.length * 9) break
    waiting = left
  }
  return sound
}

/** What the first of `waiting` that can be installed brings with it, as one variable: others need most of it too. */
function groundOf(problem: Problem, waiting: readonly Package[], sound: Set<Package>): number | undefined {
  for (const pkg of waiting.slice(0, MOST_TRIED)) {
    if (problem.solve([problem.variableOf(pkg) * 2], BOUNDS).status !== 'found') continue
    addMembers(problem, sound)
    return together(problem, pkg)
  }
  return undefined
}

/** What was found, without `pkg` itself: its other builds need the same. `ground` was the first assumption. */
function together(problem: Problem, pkg: Package, ground?: number): number {
  const found = problem.trueVariables(ground === undefined ? 0 : 1)
  const needed = found.filter((variable) => (problem.packageOf(variable) ?? pkg) !== pkg)
  return problem.together(ground === undefined ? needed : [ground, ...needed])
}

function addMembers(problem: Problem, sound: Set<Package>, beside = 0): void {
  for (const variable of problem.trueVariables(beside)) {
    const member = problem.packageOf(variable)
    if (member) sound.add(member)
  }
}

/** Conflicts after which a build counts as broken without proof; a guess that no real index reaches. */
const BOUNDS = { conflicts: 100_000, decisions: 10_000_000, wishes: false }
/** Of a search on ground that another build has prepared; what it does not find is looked for elsewhere. */
const TOGETHER = { conflicts: 20, decisions: 10_000, wishes: false, proof: false }
/** After which what was found becomes ground for the next. */
const MANY_DECISIONS = 8
const MOST_ROUNDS = 12
/** A search that has seen the whole repository draws consequences all over it; one that has seen little is quick. */
const ASKED_OF_ONE_SEARCH = 128
/** How many builds of which none can be installed may come first. */
const MOST_TRIED = 20

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
  const session = openSession(input, [index])
  const { catalog, choice } = session
  let { problem } = session
  const all = [...catalog.names()].sort().flatMap((name) => choice.visible(name))
  const sound = soundTogether(problem, all)
  let asked = 0
  const broken: { pkg: string; because: readonly string[] }[] = []
  const missing = new Map<string, { breaks: Set<string>; builds: Set<string> }>()
  for (const pkg of all) {
    if (sound.has(pkg)) continue
    if (asked++ % ASKED_OF_ONE_SEARCH === 0) problem = openProblem(choice)
    const outcome = problem.solve([problem.variableOf(pkg) * 2], BOUNDS)
    if (outcome.status === 'found') {
      addMembers(problem, sound)
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
