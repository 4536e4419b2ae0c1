/** From a solution to a better one, step by step, within a counted budget. */
import type { Package } from '../pkg/package.ts'
import type { Literal, Outcome } from './cdcl.ts'
import type { Choice } from './choose.ts'
import { pruned } from './select.ts'
import type { Problem } from './solve.ts'

/** A guess that leaves a profile of some thousand packages below a few seconds; what it cuts off is reported. */
const BUDGET = { conflicts: 20_000, decisions: 1_000_000 }

interface Improved {
  /** Variables of the solution, superfluous ones left out. */
  readonly kept: readonly number[]
  /** The choice made for each request: later questions keep it. */
  readonly fixed: readonly Literal[]
  /** Whether every single step was tried; `false` when the budget ended first. */
  readonly optimal: boolean
}

/**
 * Improve on the solution that `problem` has just found.
 *
 * In this order: each request at its preferred candidate, first request first; then the fewest versions missed over all
 * other packages, in their slots; then the fewest newer builds of the same version missed. With `prefer: minimal` the
 * fewest packages come before versions of what was not asked for.
 */
export function improve(problem: Problem, choice: Choice): Improved {
  const purse = openPurse(problem)
  let kept: readonly number[] = pruned(problem, problem.trueVariables())
  const fixed: Literal[] = []
  for (const { variables, source } of problem.requirements(problem.profile)) {
    if (typeof source !== 'number') continue
    const isKept = new Set(kept)
    let taken = variables.findIndex((variable) => isKept.has(variable))
    for (let better = 0; better < taken; better++) {
      if (nameAt(problem, variables[better]) !== nameAt(problem, variables[taken])) continue
      if (purse.ask([...fixed, (variables[better] as number) * 2])?.status !== 'found') continue
      kept = pruned(problem, problem.trueVariables())
      taken = better
    }
    fixed.push((variables[taken] as number) * 2)
  }
  if (choice.prefersMinimal) kept = fewest(problem, purse, kept, fixed)
  const standingOf = standings(problem, choice)
  const impossible = new Set<number>()
  const tried = new Set<number>()
  for (let found = true; found; ) {
    found = false
    for (const better of kept.flatMap((variable) => standingOf(variable).better)) {
      if (tried.has(better) || impossible.has(better)) continue
      tried.add(better)
      const status = purse.ask([...fixed, better * 2])?.status
      if (status === 'refused') impossible.add(better)
      if (status !== 'found') continue
      const other = pruned(problem, problem.trueVariables())
      if (choice.prefersMinimal && countOf(problem, other) > countOf(problem, kept)) continue
      if (!isLess(missedBy(standingOf, other), missedBy(standingOf, kept))) continue
      kept = other
      tried.clear()
      found = true
      break
    }
  }
  return { kept, fixed, optimal: !purse.isEmpty() }
}

/** Fewer packages, by trying to do without each one; those of the requests stay. */
function fewest(
  problem: Problem,
  purse: Purse,
  start: readonly number[],
  fixed: readonly Literal[],
): readonly number[] {
  let kept = start
  const isFixed = new Set(fixed)
  const tried = new Set<number>()
  for (let found = true; found; ) {
    found = false
    for (const spare of kept.toReversed()) {
      if (tried.has(spare) || isFixed.has(spare * 2) || !problem.packageOf(spare)) continue
      tried.add(spare)
      if (purse.ask([...fixed, spare * 2 + 1])?.status !== 'found') continue
      const other = pruned(problem, problem.trueVariables())
      if (countOf(problem, other) >= countOf(problem, kept)) continue
      kept = other
      found = true
      break
    }
  }
  return kept
}

function countOf(problem: Problem, kept: readonly number[]): number {
  return kept.filter((variable) => problem.packageOf(variable)).length
}

/** Another name is another wish, not a better version. */
function nameAt(problem: Problem, variable: number | undefined): string | undefined {
  return variable === undefined ? undefined : problem.packageOf(variable)?.name
}

interface Purse {
  /** The answer, or `undefined` when it cannot be afforded. */
  ask(assumptions: readonly Literal[]): Outcome | undefined
  isEmpty(): boolean
}

function openPurse(problem: Problem): Purse {
  const conflicts = problem.conflicts + BUDGET.conflicts
  const decisions = problem.decisions + BUDGET.decisions
  let isEmpty = false
  return {
    ask: (assumptions) => {
      if (isEmpty) return undefined
      const outcome = problem.solve(assumptions, {
        conflicts: conflicts - problem.conflicts,
        decisions: decisions - problem.decisions,
        wishes: false,
        proof: false,
      })
      isEmpty = outcome.status === 'budget'
      return outcome
    },
    isEmpty: () => isEmpty,
  }
}

/** How a chosen build stands to the others of its slot. */
interface Standing extends Missed {
  /** Variables of those to try in its place, best first; of a pinned one none. */
  readonly better: readonly number[]
}

/** Looked up once for each variable: a solution is measured after every step. */
function standings(problem: Problem, choice: Choice): (variable: number) => Standing {
  const known: Standing[] = []
  const standingOf = (pkg: Package | undefined): Standing => {
    if (!pkg) return { ...NOTHING_MISSED, better: [] }
    const better = choice.isPinned(pkg) ? [] : betterThan(choice, pkg).map((one) => problem.variableOf(one))
    return { ...missed(choice, pkg), better }
  }
  return (variable) => (known[variable] ??= standingOf(problem.packageOf(variable)))
}

/** The builds that are preferred to `pkg` in its slot, best first. */
function betterThan(choice: Choice, pkg: Package): readonly Package[] {
  const all = choice.visible(pkg.name)
  const place = all.indexOf(pkg)
  return place < 1 ? [] : all.slice(0, place).filter(({ slot }) => slot === pkg.slot)
}

interface Missed {
  readonly versions: number
  readonly builds: number
}

/** How far `pkg` is from the best of its slot. */
export function missed(choice: Choice, pkg: Package): Missed {
  const better = betterThan(choice, pkg)
  if (better.length === 0) return NOTHING_MISSED
  const versions = new Set(better.map(({ version }) => version))
  versions.delete(pkg.version)
  return { versions: versions.size, builds: better.filter(({ version }) => version === pkg.version).length }
}

const NOTHING_MISSED = { versions: 0, builds: 0 }

function missedBy(
  standingOf: (variable: number) => Standing,
  kept: readonly number[],
): readonly [number, number] {
  let versions = 0
  let builds = 0
  for (const variable of kept) {
    const standing = standingOf(variable)
    versions += standing.versions
    builds += standing.builds
  }
  return [versions, builds]
}

function isLess(left: readonly [number, number], right: readonly [number, number]): boolean {
  return left[0] < right[0] || (left[0] === right[0] && left[1] < right[1])
}
