/** Facts of a search to sentences that anyone can check against the profile and the indexes. */
import { Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { nearest } from '../base/near.ts'
import { neededAtoms, printExpr } from '../pkg/dep-expr.ts'
import { type Atom, type Package, titleOf } from '../pkg/package.ts'
import { isSonameKey } from '../pkg/soname.ts'
import { printFlags as printAllFlags, printUseTest, wantedState } from '../pkg/use.ts'
import { type Catalog, compareText } from './catalog.ts'
import type { Literal } from './cdcl.ts'
import { type Choice, type Hidden, rejection } from './choose.ts'
import type { Where } from './profile.ts'
import { nameOf } from './select.ts'
import { type MissingBuild, buildCommand, missingBuild } from './missing-builds.ts'
import { minimalCore } from './shrink.ts'
import type { Fact, Problem } from './solve.ts'

/** A package that does not meet a demand, and why. */
export interface Rejected {
  readonly pkg: string
  readonly because: string
}

/** One fact of an explanation; `text` is the sentence. Packages are named as `titleOf` does. */
export type Reason = { readonly text: string } & (
  | {
      readonly kind: 'unknown'
      readonly atom: string
      readonly builds: readonly MissingBuild[]
      readonly where: Where
      readonly near: readonly string[]
    }
  | {
      readonly kind: 'request'
      readonly atom: string
      readonly builds: readonly MissingBuild[]
      readonly where: Where
      readonly fits: readonly string[]
      readonly rejected: readonly Rejected[]
    }
  | {
      readonly kind: 'needs'
      readonly pkg: string
      readonly item: string
      /** Gentoo: builds that would meet it, where none may be chosen. */
      readonly builds: readonly MissingBuild[]
      readonly fits: readonly string[]
      readonly rejected: readonly Rejected[]
    }
  | {
      readonly kind: 'blocks'
      readonly pkg: string
      readonly atom: string
      readonly others: readonly string[]
    }
  | { readonly kind: 'slot'; readonly name: string; readonly packages: readonly string[] }
  | { readonly kind: 'unreadable'; readonly pkg: string; readonly problem: string }
  | {
      readonly kind: 'held-back'
      readonly name: string
      readonly chosen: string
      readonly best: string
      readonly because: readonly string[]
    }
)

/** Most packages that one sentence names. */
const MOST_NAMED = 4

/**
 * A refusal of the search as a minimal chain of reasons, from the profile down. Requests that nothing can meet are each
 * a refusal of their own: all of them are told, so that what is missing can be built at once.
 */
export function explain(
  problem: Problem,
  choice: Choice,
  catalog: Catalog,
  facts: readonly number[],
  assumed: readonly Literal[],
): Reason[] {
  const unmet = assumed.length === 0 ? unmetRequests(problem) : []
  if (unmet.length > 1) return unmet.map((fact) => reasonOf(problem, choice, catalog, fact))
  const clauses = facts.map((fact) => problem.clauses[fact] as readonly Literal[])
  const core = minimalCore(clauses, [problem.profile * 2, ...assumed]).map((place) => facts[place] as number)
  return ordered(problem, core, assumed)
    .map((fact) => reasonOf(problem, choice, catalog, fact))
    .reduce(joinPairs, [])
}

/** The facts of requests whose clause names no build. */
function unmetRequests(problem: Problem): number[] {
  return problem.facts.flatMap(({ kind }, fact) =>
    kind === 'request' && problem.clauses[fact]?.length === 1 ? [fact] : [],
  )
}

/** Requests first, then breadth first along the demands, exclusions last. */
function ordered(problem: Problem, core: readonly number[], assumed: readonly Literal[]): number[] {
  const rest = new Set(core)
  const order: number[] = []
  const packages = new Set<Package>()
  const take = (fact: number): void => {
    rest.delete(fact)
    order.push(fact)
    for (const literal of problem.clauses[fact] as readonly Literal[])
      if (literal % 2 === 0) addPackages(problem, literal >> 1, packages)
  }
  for (const literal of assumed) if (literal % 2 === 0) addPackages(problem, literal >> 1, packages)
  for (const fact of core) if (problem.facts[fact]?.kind === 'request') take(fact)
  for (const pkg of packages)
    for (const fact of core) {
      const stated = problem.facts[fact] as Fact
      if (rest.has(fact) && stated.kind === 'needs' && stated.pkg === pkg) take(fact)
    }
  for (const kind of ['needs', 'unreadable', 'blocks', 'slot'])
    for (const fact of core) if (rest.has(fact) && problem.facts[fact]?.kind === kind) take(fact)
  return order
}

function addPackages(problem: Problem, variable: number, packages: Set<Package>): void {
  const pkg = problem.packageOf(variable)
  if (pkg) packages.add(pkg)
  else
    for (const { variables } of problem.requirements(variable))
      for (const one of variables) addPackages(problem, one, packages)
}

function reasonOf(problem: Problem, choice: Choice, catalog: Catalog, number: number): Reason {
  const fact = problem.facts[number] as Fact
  switch (fact.kind) {
    case 'request': {
      const wanted = choice.wanted[fact.request] as Choice['wanted'][number]
      const { tail, ...answers } = answersOf(problem, choice, catalog, number, [wanted.atom])
      const text = `the profile asks for ${wanted.text} (${printWhere(wanted.where)})${tail}`
      return { kind: 'request', atom: wanted.text, where: wanted.where, ...answers, text }
    }
    case 'needs': {
      const item = printExpr(fact.item)
      const pkg = titleOf(fact.pkg)
      const { tail, ...answers } = answersOf(
        problem,
        choice,
        catalog,
        number,
        neededAtoms(fact.item),
        fact.pkg,
      )
      return { kind: 'needs', pkg, item, ...answers, text: `${pkg} needs ${item}${tail}` }
    }
    case 'blocks': {
      const pkg = titleOf(fact.pkg)
      return blocksReason(pkg, fact.atom.text, [titleOf(fact.other)])
    }
    case 'slot': {
      const packages = [titleOf(fact.first), titleOf(fact.second)].sort(compareText)
      return slotReason(nameOf(fact.first), packages)
    }
    case 'unreadable': {
      const pkg = titleOf(fact.pkg)
      return {
        kind: 'unreadable',
        pkg,
        problem: fact.problem,
        text: `${pkg} cannot be read: ${fact.problem}`,
      }
    }
  }
}

/** Of a Gentoo build the flags of its own IUSE: the implicit ones are the same everywhere. */
function printFlags(pkg: Package): string {
  const iuse = pkg.gentoo?.ownFlags
  return printAllFlags(iuse ? { iuse, use: pkg.use.filter((flag) => iuse.includes(flag)) } : pkg)
}

function slotReason(name: string, packages: readonly string[]): Reason {
  const text = `only one build of ${name} can be in a root: ${listed(packages, 'or')}`
  return { kind: 'slot', name, packages, text }
}

function blocksReason(pkg: string, atom: string, others: readonly string[]): Reason {
  const text = `${pkg} excludes ${atom}: that is ${listed(others, 'and')}`
  return { kind: 'blocks', pkg, atom, others, text }
}

/** One sentence for all pairs of one slot, and one for all that one blocker excludes. */
function joinPairs(reasons: Reason[], next: Reason): Reason[] {
  for (const [place, same] of reasons.entries()) {
    if (same.kind === 'slot' && next.kind === 'slot' && same.name === next.name)
      return reasons.with(place, slotReason(next.name, union(same.packages, next.packages)))
    if (same.kind === 'blocks' && next.kind === 'blocks' && same.pkg === next.pkg && same.atom === next.atom)
      return reasons.with(place, blocksReason(next.pkg, next.atom, union(same.others, next.others)))
  }
  return [...reasons, next]
}

function union(left: readonly string[], right: readonly string[]): string[] {
  return [...new Set([...left, ...right])].sort(compareText)
}

/** Which packages meet a demand, which do not, and the end of the sentence that says so. */
function answersOf(
  problem: Problem,
  choice: Choice,
  catalog: Catalog,
  fact: number,
  atoms: readonly Atom[],
  parent?: Package,
): {
  readonly fits: readonly string[]
  readonly rejected: readonly Rejected[]
  readonly builds: readonly MissingBuild[]
  readonly tail: string
} {
  const fitting = new Set<Package>()
  for (const literal of problem.clauses[fact] as readonly Literal[])
    if (literal % 2 === 0) addPackages(problem, literal >> 1, fitting)
  const out = new Map<Package, { readonly atom: Atom; readonly why: ReturnType<typeof rejection> }>()
  for (const atom of atoms)
    for (const pkg of [...catalog.named(atom.name), ...catalog.providing(atom.name)])
      if (!fitting.has(pkg) && !out.has(pkg))
        out.set(pkg, { atom, why: rejection(choice, atom, pkg, parent) })
  const fits = [...fitting].map(titleOf)
  const rejected = [...out].map(([pkg, { atom, why }]) => ({
    pkg: titleOf(pkg),
    because: because(why, atom, pkg),
  }))
  if (fits.length > 0) {
    const others = rejected.length > 0 ? `, not ${grouped(rejected)}` : ''
    return { fits, rejected, builds: [], tail: `: ${listed(fits, 'or')}${others}` }
  }
  const absent = atoms.filter(({ name }) => !catalog.has(name)).map(({ name }) => name)
  const isLibrary = absent.some(isSonameKey)
  const missing =
    absent.length === 0 ? '' : `there is no package ${isLibrary ? 'that brings ' : ''}${listed(absent, 'or')}`
  const flags = flagSummary(choice, atoms, out, parent)
  const parts = [missing, flags ?? (rejected.length > 0 ? `not ${grouped(rejected)}` : '')].filter(
    (part) => part !== '',
  )
  const builds = atoms.slice(0, 1).flatMap((atom) => missingBuild(choice, catalog, atom, parent) ?? [])
  return {
    fits,
    rejected,
    builds,
    tail: `, but ${parts.length > 0 ? parts.join('; ') : 'nothing is allowed to'}`,
  }
}

/** Flags of an atom that the profile binds the other way, as they are asked for: `fpm`, `-apache2`. */
function flagsAgainst(choice: Choice, atom: Atom, pkg?: Package, parent?: Package): string[] {
  const bound = new Map((pkg ? choice.boundFlags(pkg) : []).map(({ flag, state }) => [flag, state === 'on']))
  return (atom.use ?? []).flatMap((test) => {
    const isOn = wantedState(test, parent)
    const profile = bound.get(test.flag)
    if (isOn === undefined || profile === undefined || isOn === profile) return []
    return [isOn ? test.flag : `-${test.flag}`]
  })
}

function opposite(flag: string): string {
  return flag.startsWith('-') ? flag.slice(1) : `-${flag}`
}

/** Where flags alone are in the way: which flag, and what the builds have. */
function flagSummary(
  choice: Choice,
  atoms: readonly Atom[],
  out: ReadonlyMap<Package, { readonly why: ReturnType<typeof rejection> }>,
  parent?: Package,
): string | undefined {
  const [atom] = atoms
  const builds = [...out]
  if (!atom || atoms.length > 1 || builds.length === 0) return undefined
  if (!builds.every(([, { why }]) => why === 'use' || (typeof why === 'object' && why.kind === 'use')))
    return undefined
  const against = flagsAgainst(choice, atom, builds[0]?.[0], parent)
  if (against.length > 0) {
    const [asked, wanted] = [against, against.map(opposite)].map((flags) => flags.join(' '))
    return `USE=${asked} of ${atom.name} is against the profile, which wants USE=${wanted}`
  }
  const tests = new Set((atom.use ?? []).map(printUseTest))
  for (const [, { why }] of builds)
    if (typeof why === 'object' && why.kind === 'use')
      for (const test of why.tests) tests.add(plainTest(printUseTest(test)))
  const count = builds.length === 1 ? '1 build' : `${builds.length} builds`
  const states = builds.map(([pkg]) => printFlags(pkg) || 'no flags')
  const text = `no build of ${atom.name} has USE=${[...tests].join(' ')} (${count}: ${listed(states, 'and')})`
  return (
    text +
    unknownFlags(
      [...tests].map(flagOf),
      builds.map(([pkg]) => pkg),
    )
  )
}

/** Flags that no build knows, with those they may be meant for; '' where all are known. */
function unknownFlags(flags: readonly string[], builds: readonly Package[]): string {
  const known = new Set(builds.flatMap((pkg) => [...(pkg.gentoo?.ownFlags ?? pkg.iuse)]))
  const unknown = flags.filter((flag) => !known.has(flag) && builds.every(({ iuse }) => !iuse.includes(flag)))
  if (unknown.length === 0) return ''
  const near = unknown.flatMap((flag) => nearest(flag, known, 1))
  return `; none knows ${listed(unknown, 'or')}${near.length > 0 ? `, perhaps ${listed(near, 'or')}` : ''}`
}

/** Of a test as it is written: `fpm` of `!fpm=`, `-fpm(+)`. */
function flagOf(written: string): string {
  return written.replace(/^[-!]/, '').replace(/[=?]$|\([+-]\)[=?]?$/, '')
}

function because(why: ReturnType<typeof rejection>, atom: Atom, pkg: Package): string {
  switch (why) {
    case undefined:
      return 'not needed'
    case 'name':
      return 'another package'
    case 'version':
      return pkg.name === atom.name ? 'version' : 'no such version provided'
    case 'slot':
      return `slot ${pkg.slot === pkg.subslot ? pkg.slot : `${pkg.slot}/${pkg.subslot}`}`
    case 'use':
      return `USE ${printFlags(pkg) || 'none'}`
    case 'repo':
      return `repository ${pkg.repo}`
    case 'arch':
      return `architecture ${pkg.arch}`
    case 'build':
      return `build ${pkg.buildId}`
  }
  return printHidden(why)
}

/** What is wrong with `pkg` as an answer to `atom`; `undefined` when nothing is. */
export function rejectionText(choice: Choice, atom: Atom, pkg: Package): string | undefined {
  const why = rejection(choice, atom, pkg)
  if (why === 'version') return `version ${pkg.version}`
  return why === undefined ? undefined : because(why, atom, pkg)
}

export function printHidden(why: Hidden): string {
  switch (why.kind) {
    case 'arch':
      return `architecture ${why.arch}`
    case 'mask':
      return `masked by ${why.atom} (${printWhere(why.where)})`
    case 'use':
      return `lacks USE=${why.tests.map(printUseTest).map(plainTest).join(' ')}`
    case 'keyword':
      return `keyword ${why.keywords.join(' ') || 'none'}, accepted: ${why.accepted.join(' ')}`
    case 'license':
      return `licence ${why.licenses.join(' ')} is not accepted`
    case 'chost':
      return `CHOST ${why.chost}`
    case 'eapi':
      return `unknown EAPI ${why.eapi}`
    case 'unreadable':
      return why.problem
    case 'signature':
      return 'no signature, which its repository requires (signatures: require; only a .gpkg.tar can have one)'
  }
}

/** A flag as people write it: the default that binds the absence of a flag is our own. */
function plainTest(written: string): string {
  return written.replace(/^(-.*)\(-\)$/, '$1')
}

function grouped(rejected: readonly Rejected[]): string {
  const groups = new Map<string, string[]>()
  for (const { pkg, because: reason } of rejected) groups.set(reason, [...(groups.get(reason) ?? []), pkg])
  return [...groups].map(([reason, pkgs]) => `${listed(pkgs, 'and')} (${reason})`).join(', ')
}

function listed(items: readonly string[], word: 'and' | 'or'): string {
  if (items.length > MOST_NAMED)
    return `${items.slice(0, MOST_NAMED - 1).join(', ')} ${word} ${items.length - MOST_NAMED + 1} more`
  return items.length < 2
    ? items.join('')
    : `${items.slice(0, -1).join(', ')} ${word} ${items[items.length - 1]}`
}

export function printWhere({ file, line, column }: Where): string {
  return `${file}:${line}:${column}`
}

/** The requests whose name no index knows. */
export function unknownRequests(choice: Choice, catalog: Catalog): Reason[] {
  const absent = choice.wanted.filter(({ atom }) => !catalog.has(atom.name) && !choice.isProvided(atom))
  const names = absent.length > 0 ? [...catalog.names()] : []
  return absent.map(({ atom, where, text: written }) => {
    const near = nearest(atom.name, names)
    const guess = near.length > 0 ? `, perhaps ${listed(near, 'or')}` : ''
    const text = `${printWhere(where)}: no repository of the profile has a package ${atom.name}${guess}`
    const builds = near.length > 0 ? [] : [missingBuild(choice, catalog, atom) ?? []].flat()
    return { kind: 'unknown', atom: written, builds, where, near, text }
  })
}

/** The builds that would mend a refusal, each once. */
export function buildsOf(conflict: readonly Reason[]): MissingBuild[] {
  const builds = conflict.flatMap((reason) => ('builds' in reason ? reason.builds : []))
  return [...new Map(builds.map((build) => [buildCommand(build), build])).values()]
}

/** A refusal as the error that the command line shows; `helps` are changes after which there is a solution. */
export function refusalError(
  refusal: {
    readonly code: 'S5_PACKAGE_UNKNOWN' | 'S5_NO_SOLUTION'
    readonly message: string
    readonly conflict: readonly Reason[]
  },
  helps: readonly { readonly text: string }[],
): Stage5Error {
  const near = refusal.conflict.flatMap((reason) =>
    reason.kind === 'unknown' ? reason.near.slice(0, 1) : [],
  )
  const lines = helps.map((one) => `\n  it can be solved ${one.text}`)
  return new Stage5Error(refusal.code, refusal.message + lines.join(''), {
    hint: near.length > 0 ? `write ${near[0]}` : undefined,
    data: {
      conflict: refusal.conflict as unknown as Json,
      builds: buildsOf(refusal.conflict).map(buildCommand),
      ...(helps.length > 0 && { relaxations: helps.map((one) => ({ ...one })) }),
    },
  })
}
