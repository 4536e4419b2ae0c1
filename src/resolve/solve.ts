/** Packages as a search problem: one variable per build, clauses made when a build is first chosen, each with its fact. */
import { isStage5Error } from '../base/errors.ts'
import { itemsOf, reduceExpr } from '../pkg/dep-expr.ts'
import type { Atom, DepExpr, Package } from '../pkg/package.ts'
import { type Bounds, type Literal, type Outcome, type Tier, openSearch } from './cdcl.ts'
import type { Choice } from './choose.ts'

/** What a clause says, in terms of packages. */
export type Fact =
  | { readonly kind: 'request'; readonly request: number }
  | { readonly kind: 'needs'; readonly pkg: Package; readonly item: DepExpr }
  | { readonly kind: 'blocks'; readonly pkg: Package; readonly atom: Atom; readonly other: Package }
  | { readonly kind: 'slot'; readonly first: Package; readonly second: Package }
  | { readonly kind: 'unreadable'; readonly pkg: Package; readonly problem: string }

/** One thing that a chosen variable asks for. */
export interface Requirement {
  readonly tier: Tier
  /** Any one of these variables meets it; preferred ones first. */
  readonly variables: readonly number[]
  /** Number of the request, or the item of the package's dependencies. */
  readonly source: number | DepExpr
}

export interface Problem {
  readonly facts: readonly Fact[]
  /** The clause of each fact. */
  readonly clauses: readonly (readonly Literal[])[]
  /** The variable that stands for the profile and is always true. */
  readonly profile: number
  readonly conflicts: number
  readonly decisions: number
  /** Number of variables that there are. */
  readonly size: number
  variableOf(pkg: Package): number
  /** `undefined` for the profile and for branches of an any-of that are groups. */
  packageOf(variable: number): Package | undefined
  /** What a variable asks for; complete once it has been true. */
  requirements(variable: number): readonly Requirement[]
  /** A variable that stands for all of these together, to be assumed. */
  together(variables: readonly number[]): number
  solve(assumptions: readonly Literal[], bounds: Bounds): Outcome
  /** @param beside leave out what follows from as many of the assumptions */
  trueVariables(beside?: number): number[]
}

const NO_FACT = -1

export function openProblem(choice: Choice): Problem {
  const facts: Fact[] = []
  const clauses: (readonly Literal[])[] = []
  const variables = new Map<Package, number>()
  const packages: (Package | undefined)[] = []
  const required: Requirement[][] = []
  const search = openSearch({ expand, together })

  function together(first: number, second: number): number {
    return state({ kind: 'slot', first: packages[first] as Package, second: packages[second] as Package }, [
      first * 2 + 1,
      second * 2 + 1,
    ])
  }

  function state(fact: Fact, clause: readonly Literal[]): number {
    facts.push(fact)
    clauses.push(clause)
    return facts.length - 1
  }

  function newVariable(pkg: Package | undefined): number {
    packages.push(pkg)
    required.push([])
    return search.variable(pkg === undefined)
  }

  /** The variable of a build; all builds of its name that share its slot come into being together. */
  function variableOf(pkg: Package): number {
    const found = variables.get(pkg)
    if (found !== undefined) return found
    const peers = choice.visible(pkg.name).filter(({ slot }) => slot === pkg.slot)
    const group = peers.map((peer) => {
      const variable = newVariable(peer)
      variables.set(peer, variable)
      return variable
    })
    search.group(group)
    return variables.get(pkg) as number
  }

  function expand(variable: number): void {
    const pkg = packages[variable]
    if (!pkg) return
    try {
      const needs = reduceExpr(choice.needsOf(pkg), pkg.use)
      for (const item of needs ? itemsOf(needs) : []) demand(variable, item, pkg)
      if (choice.takesRecommends(pkg)) wish(variable, pkg)
    } catch (error) {
      if (!isStage5Error(error, 'S5_ATOM_SYNTAX')) throw error
      const clause = [variable * 2 + 1]
      search.clause(clause, state({ kind: 'unreadable', pkg, problem: error.message }, clause))
    }
  }

  function demand(owner: number, item: DepExpr, pkg: Package): void {
    if ('block' in item) return exclude(owner, item, pkg)
    const met = answers(item, pkg, item)
    if (met !== undefined) require(owner, met, item, { kind: 'needs', pkg, item })
  }

  function exclude(
    owner: number,
    item: DepExpr & { readonly block: Atom; readonly strong: boolean },
    pkg: Package,
  ): void {
    for (const other of blocked(item, pkg)) {
      const clause = [owner * 2 + 1, variableOf(other) * 2 + 1]
      search.clause(clause, state({ kind: 'blocks', pkg, atom: item.block, other }, clause))
    }
  }

  function require(owner: number, met: readonly number[], source: number | DepExpr, fact: Fact): void {
    const tier = isOnePlace(met, owner === profile) ? 0 : 1
    const literals = met.map((variable) => variable * 2)
    ;(required[owner] as Requirement[]).push({ tier, variables: met, source })
    search.require(owner, tier, literals, state(fact, [owner * 2 + 1, ...literals]))
  }

  function wish(owner: number, pkg: Package): void {
    const recommends = reduceExpr(pkg.recommends, pkg.use)
    for (const item of recommends ? itemsOf(recommends) : []) {
      if ('block' in item) continue
      const met = answers(item, pkg, item)
      if (met === undefined || met.length === 0) continue
      ;(required[owner] as Requirement[]).push({ tier: 2, variables: met, source: item })
      search.require(
        owner,
        2,
        met.map((variable) => variable * 2),
        NO_FACT,
      )
    }
  }

  /** Whether nothing else can be needed that would do as well: a request takes the best slot, others one that is there. */
  function isOnePlace(met: readonly number[], isRequest: boolean): boolean {
    const first = packages[met[0] ?? -1]
    if (met.length < 2) return true
    return met.every((one) => {
      const pkg = packages[one]
      return pkg !== undefined && pkg.name === first?.name && (isRequest || pkg.slot === first.slot)
    })
  }

  /**
   * The variables of which one must be true, preferred ones first; `undefined` when it holds already.
   *
   * @param item what people are shown: the whole dependency that `part` belongs to
   */
  function answers(part: DepExpr, pkg: Package, item: DepExpr): readonly number[] | undefined {
    if ('need' in part) {
      if (choice.isProvided(part.need)) return undefined
      return choice.candidates(part.need, pkg).map(variableOf)
    }
    if ('any' in part) {
      const met = new Set<number>()
      for (const branch of part.any) {
        const found = answers(branch, pkg, item)
        if (found === undefined) return undefined
        for (const variable of found) met.add(variable)
      }
      return bestFirst(part.any, [...met])
    }
    return branch(itemsOf(part), pkg, item)
  }

  /** Branches that are all about one Gentoo package (its slots, say) are no order of preference: the newest is. */
  function bestFirst(branches: readonly DepExpr[], met: number[]): readonly number[] {
    const names = new Set(branches.map((part) => ('need' in part ? part.need.name : '')))
    const [name = ''] = names
    const list = names.size === 1 && name !== '' ? choice.visible(name) : []
    if (list[0]?.scheme !== 'ebuild') return met
    const place = new Map(list.map((pkg, at) => [variables.get(pkg), at]))
    return met.sort((left, right) => (place.get(left) ?? 0) - (place.get(right) ?? 0))
  }

  /** A group inside an any-of gets a variable of its own, which stands for all of its parts. */
  function branch(parts: readonly DepExpr[], pkg: Package, item: DepExpr): readonly number[] | undefined {
    const demands: (readonly number[])[] = []
    const blocks: (DepExpr & { readonly block: Atom; readonly strong: boolean })[] = []
    for (const part of parts) {
      if ('block' in part) {
        if (blocked(part, pkg).length > 0) blocks.push(part)
        continue
      }
      const met = answers(part, pkg, item)
      if (met?.length === 0) return []
      if (met !== undefined) demands.push(met)
    }
    if (blocks.length === 0 && demands.length < 2) return demands[0]
    const variable = newVariable(undefined)
    for (const met of demands) require(variable, met, item, { kind: 'needs', pkg, item })
    for (const block of blocks) exclude(variable, block, pkg)
    return [variable]
  }

  /**
   * Which builds a blocker excludes.
   *
   * @see Debian Policy 7.4: a package may conflict with a name that it provides itself
   * @see PMS 8, section 8.3.2: a weak block does not count against the package's own slot, a strong one does
   */
  function blocked(part: { readonly block: Atom; readonly strong: boolean }, pkg: Package): Package[] {
    return choice.candidates(part.block, pkg).filter((other) => {
      if (other.name !== pkg.name) return true
      if (pkg.scheme !== 'ebuild') return false
      return part.strong || other.slot !== pkg.slot
    })
  }

  const profile = newVariable(undefined)
  search.clause([profile * 2], NO_FACT)
  for (const [request, { atom }] of choice.wanted.entries()) {
    if (choice.isProvided(atom)) continue
    const met = choice.candidates(atom).map(variableOf)
    require(profile, met, request, { kind: 'request', request })
  }
  return {
    facts,
    clauses,
    profile,
    get conflicts() {
      return search.conflicts
    },
    get decisions() {
      return search.decisions
    },
    get size() {
      return packages.length
    },
    variableOf,
    packageOf: (variable) => packages[variable],
    requirements: (variable) => required[variable] as Requirement[],
    together: (wanted) => {
      const owner = newVariable(undefined)
      for (const variable of wanted) search.require(owner, 0, [variable * 2], NO_FACT)
      return owner
    },
    solve: (assumptions, bounds) => search.solve(assumptions, bounds),
    trueVariables: (beside) => search.trueVariables(beside),
  }
}
