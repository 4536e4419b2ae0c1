/** Which requirements of a search were seen to hold: one looks on from there, and a step back restores it. */
import type { Literal, Tier } from './search.ts'

/** What one variable requires, by tier: lists of literals of which one must be true. */
export type Required = readonly [(readonly Literal[])[], (readonly Literal[])[], (readonly Literal[])[]]

export const ALL_TIERS: readonly Tier[] = [0, 1, 2]

export class Agenda {
  // By tier: the place on the trail whose requirements are looked at, and which of them is next.
  readonly #positions = [0, 0, 0]
  readonly #places = [0, 0, 0]
  /** Both when each level was opened, level after level. */
  readonly #saved: number[] = []

  openLevel(): void {
    const [first = 0, second = 0, third = 0] = this.#positions
    const [one = 0, two = 0, three = 0] = this.#places
    this.#saved.push(first, one, second, two, third, three)
  }

  /** As it was when `level`, counted from 0, was opened. */
  backtrack(level: number): void {
    const saved = level * 2 * ALL_TIERS.length
    for (const tier of ALL_TIERS) {
      this.#positions[tier] = this.#saved[saved + 2 * tier] as number
      this.#places[tier] = this.#saved[saved + 2 * tier + 1] as number
    }
    this.#saved.length = saved
  }

  /** Nothing was looked at. */
  restart(): void {
    this.#positions.fill(0)
    this.#places.fill(0)
  }

  /**
   * Go on, in the order of the trail, to the first requirement for which `look` finds something.
   *
   * @param required by variable
   * @returns what it finds, or `nothing`
   */
  advance(
    tier: Tier,
    trail: readonly Literal[],
    required: readonly Required[],
    look: (literals: readonly Literal[]) => number,
    nothing: number,
  ): number {
    let position = this.#positions[tier] as number
    let place = this.#places[tier] as number
    let found = nothing
    for (; position < trail.length; position++, place = 0) {
      const literal = trail[position] as Literal
      if ((literal & 1) === 1) continue
      const lists = (required[literal >> 1] as Required)[tier]
      while (place < lists.length && (found = look(lists[place] as readonly Literal[])) === nothing) place++
      if (found !== nothing) break
    }
    this.#positions[tier] = position
    this.#places[tier] = place
    return found
  }
}
