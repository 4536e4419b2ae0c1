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
  const isChosen = membership(problem, chosen)
  let kept = needed(problem, isChosen)
  if (!kept) throw new RangeError('nothing to prune: a requirement is not met')
  for (let shrunk = true; shrunk; ) {
    shrunk = false
    for (const spare of replaceable(problem, kept)) {
      const rest = membership(problem, kept)
      rest[spare] = 0
      const order = needed(problem, rest)
      if (!order) continue
      kept = order
      shrunk = true
      break
    }
  }
  return kept
}

/** By variable: 1 for members. */
function membership(problem: Problem, members: readonly number[]): Uint8Array {
  const isMember = new Uint8Array(problem.size)
  for (const variable of members) isMember[variable] = 1
  return isMember
}

/**
 * Those that might be left out, last first: another one could take their place wherever they are asked for, but for
 * askers that only they themselves lead to. What requests get as their best stays.
 */
function replaceable(problem: Problem, kept: readonly number[]): number[] {
  const isKept = membership(problem, kept)
  const isRival = new Uint8Array(problem.size)
  const isWanted = new Uint8Array(problem.size)
  const askers = new Map<number, number[]>()
  const targets: number[][] = []
  for (const owner of kept) {
    const own: number[] = []
    for (const { tier, variables } of problem.requirements(owner)) {
      const start = own.length
      for (const variable of variables) if (isKept[variable] === 1) own.push(variable)
      if (own.length === start) continue
      const first = own[start] as number
      if (owner === problem.profile && tier === 0) isWanted[first] = 1
      if (own.at(-1) !== first) for (let at = start; at < own.length; at++) isRival[own[at] as number] = 1
      else if (first !== owner) push(askers, first, owner)
    }
    targets[owner] = own
  }
  const spare = kept.filter((variable) => isRival[variable] === 1 && isWanted[variable] === 0)
  if (spare.length === 0) return []
  const component = new Int32Array(problem.size)
  for (const [index, members] of componentsOf(kept, (owner) => targets[owner] as number[]).entries())
    for (const member of members) component[member] = index
  const canGo = (variable: number): boolean =>
    (askers.get(variable) ?? []).every((owner) => component[owner] === component[variable])
  return spare.filter(canGo).reverse()
}

function push(map: Map<number, number[]>, key: number, value: number): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}

/** What is reached from the profile among the chosen; `undefined` when a requirement on the way is not met. */
function needed(problem: Problem, isChosen: Uint8Array): number[] | undefined {
  const order = [problem.profile]
  const isKept = membership(problem, order)
  const keep = (variable: number): void => {
    if (isKept[variable] === 1) return
    isKept[variable] = 1
    order.push(variable)
  }
  const waiting: [(readonly number[])[], (readonly number[])[]] = [[], []]
  for (let index = 0; ; ) {
    const owner = order[index]
    if (owner !== undefined) {
      index++
      for (const { tier, variables } of problem.requirements(owner)) {
        let first = -1
        let count = 0
        for (const variable of variables)
          if (isChosen[variable] === 1 && count++ === 0) {
            first = variable
            if (owner === problem.profile && tier === 0) break
          }
        if (count === 0) {
          if (tier !== 2) return undefined
        } else if (count === 1 && tier < 2) keep(first)
        else waiting[tier === 2 ? 1 : 0].push(variables.filter((variable) => isChosen[variable] === 1))
      }
      continue
    }
    const met = waiting[0].shift() ?? waiting[1].shift()
    if (!met) return order
    if (!met.some((variable) => isKept[variable] === 1)) keep(met[0] as number)
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
