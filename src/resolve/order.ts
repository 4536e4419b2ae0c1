/** Install order: what a package needs comes before it; cycles are opened where it hurts least. */
import type { Package } from '../pkg/package.ts'
import { compareText } from './catalog.ts'
import { componentsOf } from './components.ts'

/** For each package what must be there; packages outside the map are ignored. */
type Edges = ReadonlyMap<Package, readonly Package[]>

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
  const components = componentsOf(packages, (pkg) => needs.get(pkg) ?? [])
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
