/** Of what a search made true, what is really needed, and by whom. */
import { printExpr } from '../pkg/dep-expr.ts'
import type { DepExpr, Package } from '../pkg/package.ts'
import { componentsOf } from './components.ts'
import type { Choice } from './choose.ts'
import type { Problem, Requirement } from './solve.ts'

/** One chosen package. */
export interface Selected {
  readonly pkg: Package
  /** `profile: nginx`, or `nginx: libpcre2-8-0 (>= 10.22)`: the shortest way from the profile. */
  readonly because: readonly string[]
}

/**
 * The part of `chosen` that is needed, with nothing in it that can be left out.
 *
 * Where several chosen ones meet one requirement, one that is needed anyway does, then the preferred one.
 * @returns variables, in the order in which the profile leads to them
 */
export function pruned(problem: Problem, chosen: readonly number[]): number[] {
  let kept = needed(problem, new Set(chosen)).order
  for (let shrunk = true; shrunk; ) {
    shrunk = false
    for (const spare of replaceable(problem, kept)) {
      const rest = new Set(kept)
      rest.delete(spare)
      const { order, isWhole } = needed(problem, rest)
      if (!isWhole) continue
      kept = order
      shrunk = true
      break
    }
  }
  return kept
}

/**
 * Those that might be left out, last first: another one could take their place wherever they are asked for, but for
 * askers that only they themselves lead to. What requests get as their best stays.
 */
function replaceable(problem: Problem, kept: readonly number[]): number[] {
  const isKept = new Set(kept)
  const rivals = new Set<number>()
  const wanted = new Set<number>()
  const askers = new Map<number, number[]>()
  const targets = new Map<number, number[]>()
  for (const owner of kept) {
    const all: number[] = []
    for (const { tier, variables } of problem.requirements(owner)) {
      const met = variables.filter((variable) => isKept.has(variable))
      const [first] = met
      all.push(...met)
      if (first === undefined) continue
      if (owner === problem.profile && tier === 0) wanted.add(first)
      if (met.length > 1) for (const variable of met) rivals.add(variable)
      else if (first !== owner) push(askers, first, owner)
    }
    targets.set(owner, all)
  }
  const component = new Map<number, number>()
  for (const [index, members] of componentsOf(kept, (variable) => targets.get(variable) ?? []).entries())
    for (const member of members) component.set(member, index)
  const canGo = (variable: number): boolean =>
    rivals.has(variable) &&
    !wanted.has(variable) &&
    (askers.get(variable) ?? []).every((owner) => component.get(owner) === component.get(variable))
  return kept.filter(canGo).reverse()
}

function push(map: Map<number, number[]>, key: number, value: number): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}

/** What is reached from the profile inside `chosen`; `isWhole` when every requirement on the way is met. */
function needed(
  problem: Problem,
  chosen: ReadonlySet<number>,
): { readonly order: number[]; readonly isWhole: boolean } {
  const order = [problem.profile]
  const kept = new Set(order)
  let isWhole = true
  const keep = (variable: number): void => {
    if (kept.has(variable)) return
    kept.add(variable)
    order.push(variable)
  }
  const waiting: [(readonly number[])[], (readonly number[])[]] = [[], []]
  for (let index = 0; ; ) {
    const owner = order[index]
    if (owner !== undefined) {
      index++
      for (const { tier, variables } of problem.requirements(owner)) {
        const met = variables.filter((variable) => chosen.has(variable))
        const isSettled = met.length === 1 || (owner === problem.profile && tier === 0)
        if (met.length === 0) isWhole &&= tier === 2
        else if (isSettled && tier < 2) keep(met[0] as number)
        else waiting[tier === 2 ? 1 : 0].push(met)
      }
      continue
    }
    const met = waiting[0].shift() ?? waiting[1].shift()
    if (!met) return { order, isWhole }
    if (!met.some((variable) => kept.has(variable))) keep(met[0] as number)
  }
}

/** The packages among `kept` with the shortest way from the profile to each. */
export function selection(problem: Problem, choice: Choice, kept: readonly number[]): Selected[] {
  const isKept = new Set(kept)
  const because = new Map<number, string[]>([[problem.profile, []]])
  const order: number[] = [problem.profile]
  for (let index = 0; index < order.length; index++) {
    const owner = order[index] as number
    for (const requirement of problem.requirements(owner))
      for (const variable of requirement.variables) {
        if (!isKept.has(variable)) continue
        const reasons = because.get(variable)
        if (reasons && owner !== problem.profile) continue
        const text = reasonOf(problem, choice, owner, because.get(owner) as string[], requirement)
        if (reasons) {
          if (!reasons.includes(text)) reasons.push(text)
          continue
        }
        because.set(variable, [text])
        order.push(variable)
      }
  }
  return order.flatMap((variable) => {
    const pkg = problem.packageOf(variable)
    return pkg ? [{ pkg, because: because.get(variable) as string[] }] : []
  })
}

/** A branch of an any-of passes on the reason for which it was taken. */
function reasonOf(
  problem: Problem,
  choice: Choice,
  owner: number,
  reasons: readonly string[],
  { source, tier }: Requirement,
): string {
  if (typeof source === 'number') return `profile: ${choice.wanted[source]?.text}`
  const pkg = problem.packageOf(owner)
  if (!pkg) return reasons[0] as string
  return `${nameOf(pkg)}: ${tier === 2 ? 'recommends ' : ''}${printExpr(source)}`
}

/** How a lock refers to one of its packages: the name, with the slot where that is not 0. */
export function nameOf({ name, slot }: { readonly name: string; readonly slot: string }): string {
  return slot === '0' ? name : `${name}:${slot}`
}

/** For each package of a selection, which others it needs to be there; through branches too. */
export function edgesOf(
  problem: Problem,
  kept: readonly number[],
  isCounted: (item: DepExpr, pkg: Package) => boolean,
): Map<Package, Package[]> {
  const isKept = new Set(kept)
  const membersOf = (variable: number): Package[] => {
    const pkg = problem.packageOf(variable)
    if (pkg) return [pkg]
    return problem
      .requirements(variable)
      .flatMap(({ variables }) => variables.filter((one) => isKept.has(one)).flatMap(membersOf))
  }
  const edges = new Map<Package, Package[]>()
  for (const variable of kept) {
    const pkg = problem.packageOf(variable)
    if (!pkg) continue
    const targets = new Set<Package>()
    for (const { source, variables } of problem.requirements(variable)) {
      if (typeof source === 'number' || !isCounted(source, pkg)) continue
      for (const one of variables)
        if (isKept.has(one)) for (const member of membersOf(one)) targets.add(member)
    }
    targets.delete(pkg)
    edges.set(pkg, [...targets])
  }
  return edges
}
