/** Install order: what a package needs comes before it; cycles are opened where it hurts least. */
import type { Package } from '../pkg/package.ts'
import { compareText } from './catalog.ts'

/** For each package what must be there; packages outside the map are ignored. */
export type Edges = ReadonlyMap<Package, readonly Package[]>

/**
 * Dependencies first; among packages that could come next, by name, slot and version.
 *
 * In a cycle the one with the fewest `before` edges to packages not placed yet comes first, then the one with the
 * fewest edges at all: so that what Debian calls Pre-Depends holds unless those alone are a cycle.
 * @param needs all edges
 * @param before those that weigh more; a part of `needs`
 */
export function installOrder(needs: Edges, before: Edges): Package[] {
  const packages = [...needs.keys()].sort(byName)
  const components = componentsOf(packages, needs)
  const componentOf = new Map(
    components.flatMap((members, index) => members.map((pkg) => [pkg, index] as const)),
  )
  const missing = components.map(() => new Set<number>())
  const dependents = components.map(() => new Set<number>())
  for (const pkg of packages)
    for (const target of needs.get(pkg) as readonly Package[]) {
      const from = componentOf.get(pkg) as number
      const to = componentOf.get(target)
      if (to === undefined || to === from) continue
      ;(missing[from] as Set<number>).add(to)
      ;(dependents[to] as Set<number>).add(from)
    }
  const first = components.map((members) => packages.indexOf(members[0] as Package))
  const ready = components.map((_, index) => index).filter((index) => missing[index]?.size === 0)
  ready.sort((left, right) => (first[right] as number) - (first[left] as number))
  const order: Package[] = []
  for (let index = ready.pop(); index !== undefined; index = ready.pop()) {
    order.push(...opened(components[index] as Package[], needs, before))
    for (const dependent of dependents[index] as Set<number>) {
      const rest = missing[dependent] as Set<number>
      rest.delete(index)
      if (rest.size === 0) insert(ready, dependent, first)
    }
  }
  return order
}

function byName(left: Package, right: Package): number {
  return (
    compareText(left.name, right.name) ||
    compareText(left.slot, right.slot) ||
    compareText(left.version, right.version)
  )
}

/** Keep `ready` in falling order of `first`, so that the next one is popped. */
function insert(ready: number[], index: number, first: readonly number[]): void {
  let place = ready.length
  while (place > 0 && (first[ready[place - 1] as number] as number) < (first[index] as number)) place--
  ready.splice(place, 0, index)
}

/** The members of one cycle in the order of installation. */
function opened(members: readonly Package[], needs: Edges, before: Edges): Package[] {
  const open = new Set(members)
  const order: Package[] = []
  const count = (edges: Edges, pkg: Package): number =>
    (edges.get(pkg) ?? []).reduce((sum, target) => sum + (open.has(target) ? 1 : 0), 0)
  while (open.size > 0) {
    let best: Package | undefined
    let bestBefore = 0
    let bestAll = 0
    for (const pkg of open) {
      const early = count(before, pkg)
      const all = count(needs, pkg)
      if (best && (early > bestBefore || (early === bestBefore && all >= bestAll))) continue
      best = pkg
      bestBefore = early
      bestAll = all
    }
    order.push(best as Package)
    open.delete(best as Package)
  }
  return order
}

/**
 * Strongly connected components, members in the order of `packages`.
 *
 * @see Tarjan: Depth-first search and linear graph algorithms, 1972; without recursion, since chains are long
 */
function componentsOf(packages: readonly Package[], needs: Edges): Package[][] {
  const place = new Map(packages.map((pkg, index) => [pkg, index]))
  const number = new Map<Package, number>()
  const low = new Map<Package, number>()
  const isOpen = new Set<Package>()
  const stack: Package[] = []
  const components: Package[][] = []
  for (const start of packages) {
    if (number.has(start)) continue
    const path: { pkg: Package; next: number }[] = [{ pkg: start, next: 0 }]
    while (path.length > 0) {
      const step = path[path.length - 1] as { pkg: Package; next: number }
      const { pkg } = step
      if (step.next === 0) {
        number.set(pkg, number.size)
        low.set(pkg, number.get(pkg) as number)
        stack.push(pkg)
        isOpen.add(pkg)
      }
      const target = (needs.get(pkg) as readonly Package[])[step.next++]
      if (target !== undefined) {
        if (!place.has(target)) continue
        if (!number.has(target)) path.push({ pkg: target, next: 0 })
        else if (isOpen.has(target)) lower(low, pkg, number.get(target) as number)
        continue
      }
      path.pop()
      const parent = path[path.length - 1]
      if (parent) lower(low, parent.pkg, low.get(pkg) as number)
      if (low.get(pkg) !== number.get(pkg)) continue
      const members = stack.splice(stack.indexOf(pkg))
      for (const member of members) isOpen.delete(member)
      components.push(
        members.sort((left, right) => (place.get(left) as number) - (place.get(right) as number)),
      )
    }
  }
  return components
}

function lower(low: Map<Package, number>, pkg: Package, value: number): void {
  if (value < (low.get(pkg) as number)) low.set(pkg, value)
}
