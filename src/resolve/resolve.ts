/** A profile and verified indexes to the exact list of builds, or to the reason why there is none. */
import { type Index, type Package, titleOf } from '../pkg/package.ts'
import { itemsOf, neededAtoms } from '../pkg/dep-expr.ts'
import { matches } from '../pkg/match.ts'
import { type Catalog, openCatalog } from './catalog.ts'
import { type Choice, type ResolveInput, inputDigest, isBound, openChoice } from './choose.ts'
import { type Reason, buildsOf, explain, unknownRequests } from './explain.ts'
import { buildCommand } from './missing-builds.ts'
import { improve, missed } from './improve.ts'
import type { IdLedger, Lock, Locked } from './lock.ts'
import { installOrder } from './order.ts'
import { type MissingSoname, missingSonames } from './soname.ts'
import { type Selected, edgesOf, nameOf, pruned, selection } from './select.ts'
import { type Problem, openProblem } from './solve.ts'

export { type ResolveInput, inputDigest } from './choose.ts'
export { type Reason, type Rejected, refusalError } from './explain.ts'

/** A package that is not at the best version that may be chosen. */
interface HeldBack {
  readonly name: string
  readonly chosen: string
  readonly best: string
  /** `pin`: the old lock has the chosen one. */
  readonly kind: 'pin' | 'conflict' | 'preference'
  readonly because: readonly string[]
}

export interface Refusal {
  readonly ok: false
  readonly code: 'S5_PACKAGE_UNKNOWN' | 'S5_NO_SOLUTION'
  /** The chain of facts; leaving any one out there would be a solution. */
  readonly conflict: readonly Reason[]
  readonly message: string
  /** Nearest known names of what was asked for and does not exist. */
  readonly near: readonly string[]
}

export interface Resolved {
  readonly ok: true
  /** In install order, each with the reason why it is there. */
  readonly packages: readonly Locked[]
  readonly heldBack: readonly HeldBack[]
  /** Whether every single improvement was tried within the budget. */
  readonly optimal: boolean
  /** Shared libraries that a package needs and none brings. */
  readonly sonameMissing: readonly MissingSoname[]
  /** With `ignoreSlotOperators`: dependencies on a sub-slot that is not there, by package. */
  readonly loosened: readonly { readonly pkg: string; readonly atom: string }[]
  /** What `packages` are, in the same order. */
  readonly members: readonly Package[]
}

export type Resolution = Resolved | Refusal

const UNBOUNDED = { conflicts: Infinity, decisions: Infinity }
/** Of the search for what holds one package back; a guess, since nobody should wait for the reason longer than for the answer. */
const REASON_BOUNDS = { conflicts: 20_000, decisions: 1_000_000, wishes: false }

/**
 * Choose builds for a profile: complete (it finds a solution where one exists), and the same for equal input in any
 * order of the indexes and their packages.
 *
 * @param pins an older lock whose builds are preferred where they still may be chosen
 * @throws S5_ATOM_SYNTAX for an atom of the profile
 */
export function resolve(input: ResolveInput, indexes: readonly Index[], pins?: Lock): Resolution {
  const session = openSession(input, indexes, pins)
  const { choice, catalog, problem } = session
  const unknown = unknownRequests(choice, catalog)
  if (unknown.length > 0) return refusal('S5_PACKAGE_UNKNOWN', input, unknown)
  const first = problem.solve([], { ...UNBOUNDED, wishes: false })
  if (first.status === 'refused')
    return refusal('S5_NO_SOLUTION', input, explain(problem, choice, catalog, first.facts, []))
  const { kept, fixed, optimal } = improve(problem, choice)
  const heldBack = heldBackOf(session, kept, fixed)
  const all = input.recommends === false ? kept : withWishes(problem, kept)
  const late = input.strict ? heldBack.filter(({ name }) => isWanted(choice, name)) : []
  if (late.length > 0) return strictRefusal(input, late)
  const members = all.flatMap((variable) => problem.packageOf(variable) ?? [])
  const sonameMissing =
    input.soname === 'off' ? [] : missingSonames(members, input.sonameProvided ?? [], choice.sonameProviders)
  const { packages, order } = lockedOf(problem, choice, all)
  const loosened = input.ignoreSlotOperators ? loosenedIn(choice, order) : []
  return { ok: true, packages, heldBack, optimal, sonameMissing, loosened, members: order }
}

function loosenedIn(choice: Choice, members: readonly Package[]): { pkg: string; atom: string }[] {
  return members.flatMap((pkg) =>
    neededAtoms(choice.needsOf(pkg))
      .filter((atom) => isBound(atom) && members.some(({ name }) => name === atom.name))
      .filter((atom) => !members.some((member) => matches(atom, member, pkg)))
      .map((atom) => ({ pkg: titleOf(pkg), atom: atom.text })),
  )
}

export interface Session {
  readonly catalog: Catalog
  readonly choice: Choice
  readonly problem: Problem
}

export function openSession(input: ResolveInput, indexes: readonly Index[], pins?: Lock): Session {
  const catalog = openCatalog(indexes, input.repositories, input.rank)
  const choice = openChoice(input, catalog, pins)
  return { catalog, choice, problem: openProblem(choice) }
}

function refusal(code: Refusal['code'], input: ResolveInput, conflict: readonly Reason[]): Refusal {
  const lines = conflict.map(({ text }) => text)
  const builds = buildsOf(conflict).map((build) => `  a build is missing: ${buildCommand(build)}`)
  const message =
    code === 'S5_PACKAGE_UNKNOWN'
      ? [...lines, ...builds].join('\n')
      : [`no set of packages satisfies ${input.name}:`, ...lines.map((line) => `  ${line}`), ...builds].join(
          '\n',
        )
  const near = conflict.flatMap((reason) => (reason.kind === 'unknown' ? reason.near : []))
  return { ok: false, code, conflict, message, near }
}

function isWanted(choice: Choice, name: string): boolean {
  return choice.wanted.some(({ atom }) => atom.name === name || name.startsWith(`${atom.name}:`))
}

/** `strict: true`: what is asked for is not at its newest version. */
function strictRefusal(input: ResolveInput, late: readonly HeldBack[]): Refusal {
  const conflict = late.map(
    ({ name, chosen, best, because }): Reason => ({
      kind: 'held-back',
      name,
      chosen,
      best,
      because,
      text: `${best} is demanded by strict: true, but only ${chosen} fits: ${because.join('; ')}`,
    }),
  )
  return refusal('S5_NO_SOLUTION', input, conflict)
}

/** The solution with as many Recommends as go with it; nothing chosen before is given up for one. */
function withWishes(problem: Problem, kept: readonly number[]): readonly number[] {
  const assumptions = kept.map((variable) => variable * 2)
  const outcome = problem.solve(assumptions, { ...UNBOUNDED, wishes: true })
  return outcome.status === 'found' ? pruned(problem, problem.trueVariables()) : kept
}

function heldBackOf(
  { catalog, choice, problem }: Session,
  kept: readonly number[],
  fixed: readonly number[],
): HeldBack[] {
  const isFixed = new Set(fixed)
  return kept.flatMap((variable): HeldBack[] => {
    const pkg = problem.packageOf(variable)
    if (!pkg) return []
    const best = choice.newest(pkg)
    if (best === pkg) return []
    const names = { name: nameOf(pkg), chosen: titleOf(pkg), best: titleOf(best) }
    if (choice.isPinned(pkg)) return [{ ...names, kind: 'pin', because: ['the lock has it'] }]
    if (missed(choice, pkg).versions === 0) return []
    const others = isFixed.has(variable * 2) ? fixed.slice(0, fixed.indexOf(variable * 2)) : fixed
    const assumptions = [...others, problem.variableOf(best) * 2]
    const outcome = problem.solve(assumptions, REASON_BOUNDS)
    if (outcome.status !== 'refused')
      return [{ ...names, kind: 'preference', because: ['other packages would fall further behind'] }]
    const reasons = explain(problem, choice, catalog, outcome.facts, outcome.assumptions)
    return [{ ...names, kind: 'conflict', because: reasons.map(({ text }) => text) }]
  })
}

function lockedOf(
  problem: Problem,
  choice: Choice,
  kept: readonly number[],
): { readonly packages: readonly Locked[]; readonly order: readonly Package[] } {
  const selected = new Map<Package, Selected>(selection(problem, choice, kept).map((one) => [one.pkg, one]))
  const needs = edgesOf(
    problem,
    kept,
    (item, pkg) => pkg.after === undefined || !itemsOf(pkg.after).includes(item),
  )
  const before = edgesOf(
    problem,
    kept,
    (item, pkg) => pkg.before !== undefined && itemsOf(pkg.before).includes(item),
  )
  const order = installOrder(needs, before)
  return { order, packages: order.map((pkg) => locked(pkg, selected.get(pkg)?.because ?? [])) }
}

/** `sha256:` alone where the index has no such sum; it is filled in when the file was fetched and checked. */
function locked(pkg: Package, because: readonly string[]): Locked {
  const { scheme, name, version, arch, repo, slot, use, buildId, file, installedSize } = pkg
  const sha256 = file.sums.sha256
  const sums = sha256 === undefined ? file.sums : { sha256 }
  return {
    scheme,
    name,
    version,
    arch,
    repo,
    slot,
    use,
    buildId,
    file: { ...file, sums },
    sha256: `sha256:${sha256 ?? ''}`,
    installedSize,
    because,
  }
}

/** The lock of a resolution. */
export function lockOf(
  input: ResolveInput,
  indexes: readonly Index[],
  packages: readonly Locked[],
  ids: IdLedger,
): Lock {
  const repositories = input.repositories.flatMap((wanted) =>
    indexes
      .filter(({ repo }) => repo === wanted)
      .map(({ repo, kind, snapshot, date, signatures }) => ({
        name: repo,
        kind,
        snapshot,
        date,
        ...(signatures === undefined ? {} : { signatures }),
      })),
  )
  return { version: 1, profile: input.name, input: inputDigest(input), repositories, packages, ids }
}
