/** Which nodes of a graph reach each other. */

interface Step<T> {
  readonly place: number
  readonly targets: readonly T[]
  next: number
}

/**
 * Strongly connected components, members in the order of `nodes`; targets outside are ignored.
 *
 * @see Tarjan: Depth-first search and linear graph algorithms, 1972; without recursion, since chains are long
 */
export function componentsOf<T>(nodes: readonly T[], targetsOf: (node: T) => readonly T[]): T[][] {
  const places = new Map(nodes.map((node, place) => [node, place]))
  // By place of a node; 0: not reached yet.
  const number = new Int32Array(nodes.length)
  const low = new Int32Array(nodes.length)
  const isOpen = new Uint8Array(nodes.length)
  let reached = 0
  const stack: number[] = []
  const components: T[][] = []
  const path: Step<T>[] = []
  const enter = (place: number): void => {
    number[place] = low[place] = ++reached
    stack.push(place)
    isOpen[place] = 1
    path.push({ place, targets: targetsOf(nodes[place] as T), next: 0 })
  }
  const lower = (place: number, value: number): void => {
    low[place] = Math.min(low[place] as number, value)
  }
  for (const start of nodes.keys()) {
    if (number[start] !== 0) continue
    enter(start)
    for (let step = path.at(-1); step; step = path.at(-1)) {
      const { place } = step
      if (step.next < step.targets.length) {
        const target = places.get(step.targets[step.next++] as T)
        if (target === undefined) continue
        if (number[target] === 0) enter(target)
        else if (isOpen[target] === 1) lower(place, number[target] as number)
        continue
      }
      path.pop()
      const parent = path.at(-1)
      if (parent) lower(parent.place, low[place] as number)
      if (low[place] !== number[place]) continue
      const members = stack.splice(stack.lastIndexOf(place))
      for (const member of members) isOpen[member] = 0
      components.push(members.sort((left, right) => left - right).map((member) => nodes[member] as T))
    }
  }
  return components
}
