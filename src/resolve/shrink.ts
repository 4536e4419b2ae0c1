/** From clauses that contradict each other, a part of which none can be spared. */
import { type Literal, openSearch } from './cdcl.ts'

/** Tests of one shrinking; a core of a thousand clauses is cut to its proof long before. */
const MOST_TESTS = 2000
const NO_BOUNDS = { conflicts: Infinity, decisions: Infinity, wishes: false }

/**
 * A minimal part of `clauses` that still contradicts itself together with `given`, as ascending places.
 *
 * Later clauses are left out first. Each test is a search of its own; its proof may cut many at once.
 * @throws RangeError when they do not contradict each other
 */
export function minimalCore(clauses: readonly (readonly Literal[])[], given: readonly Literal[]): number[] {
  let core = contradiction(clauses, given, [...clauses.keys()])
  if (!core) throw new RangeError('nothing to shrink: the clauses can all be true')
  for (let size = Infinity; core.length < size; ) {
    size = core.length
    core = contradiction(clauses, given, core) ?? core
  }
  let tests = 0
  for (let place = core.length - 1; place >= 0 && tests < MOST_TESTS; tests++) {
    const left: readonly number[] = core.toSpliced(place, 1)
    core = contradiction(clauses, given, left) ?? core
    place = Math.min(place - 1, core.length - 1)
  }
  return core
}

/** Which of `among` the proof uses; `undefined` when they can all be true. */
function contradiction(
  clauses: readonly (readonly Literal[])[],
  given: readonly Literal[],
  among: readonly number[],
): number[] | undefined {
  const variables = new Map<number, number>()
  const search = openSearch({ expand: () => undefined, together: () => -1 })
  const root = search.variable()
  const local = (literal: Literal): Literal => {
    const variable = variables.get(literal >> 1) ?? search.variable()
    variables.set(literal >> 1, variable)
    return variable * 2 + (literal % 2)
  }
  search.clause([root * 2], -1)
  for (const literal of given) search.require(root, 0, [local(literal)], -1)
  for (const place of among) search.require(root, 0, (clauses[place] as readonly Literal[]).map(local), place)
  const outcome = search.solve([], NO_BOUNDS)
  return outcome.status === 'refused' ? [...outcome.facts] : undefined
}
