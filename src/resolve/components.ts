/** Which nodes of a graph reach each other. */

interface Step<T> {
  readonly node: T
  readonly targets: readonly T[]
  next: number
}

/**
 * Strongly connected components, members in the order of `nodes`; targets outside are ignored.
 *
 * @see Tarjan: Depth-first search and linear graph algorithms, 1972; without recursion, since chains are long
 */
export function componentsOf<T>(nodes: readonly T[], targetsOf: (node: T) => readonly T[]): T[][] {
  const place = new Map(nodes.map((node, index) => [node, index]))
  const number = new Map<T, number>()
  const low = new Map<T, number>()
  const isOpen = new Set<T>()
  const stack: T[] = []
  const components: T[][] = []
  for (const start of nodes) {
    if (number.has(start)) continue
    const path: Step<T>[] = [{ node: start, targets: targetsOf(start), next: 0 }]
    while (path.length > 0) {
      const step = path[path.length - 1] as Step<T>
      const { node, targets } = step
      if (step.next === 0) {
        number.set(node, number.size)
        low.set(node, number.get(node) as number)
        stack.push(node)
        isOpen.add(node)
      }
      const target = targets[step.next++]
      if (target !== undefined) {
        if (!place.has(target)) continue
        if (!number.has(target)) path.push({ node: target, targets: targetsOf(target), next: 0 })
        else if (isOpen.has(target)) lower(low, node, number.get(target) as number)
        continue
      }
      path.pop()
      const parent = path[path.length - 1]
      if (parent) lower(low, parent.node, low.get(node) as number)
      if (low.get(node) !== number.get(node)) continue
      const members = stack.splice(stack.lastIndexOf(node))
      for (const member of members) isOpen.delete(member)
      components.push(
        members.sort((left, right) => (place.get(left) as number) - (place.get(right) as number)),
      )
    }
  }
  return components
}

function lower<T>(low: Map<T, number>, node: T, value: number): void {
  if (value < (low.get(node) as number)) low.set(node, value)
}
