/** Did you mean: the nearest known word, for error messages. */

/** Edits (insert, delete, replace, swap of neighbours) between two words; stops counting at `limit`. */
function distance(left: string, right: string, limit: number): number {
  if (Math.abs(left.length - right.length) > limit) return limit + 1
  let before: number[] = []
  let above = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const line = [row]
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1]
      let cost = Math.min(
        (above[column] as number) + 1,
        (line[column - 1] as number) + 1,
        (above[column - 1] as number) + (same ? 0 : 1),
      )
      if (row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1])
        cost = Math.min(cost, (before[column - 2] as number) + 1)
      line.push(cost)
    }
    before = above
    above = line
  }
  return above[right.length] as number
}

/**
 * The known words nearest to `word`, best first: at most a third of its letters (at least 2) may differ, or one
 * contains the other.
 */
export function nearest(word: string, known: Iterable<string>, count = 3): string[] {
  const limit = Math.max(2, Math.floor(word.length / 3))
  const scored: { name: string; score: number }[] = []
  for (const name of known) {
    const edits = distance(word, name, limit)
    if (edits <= limit) scored.push({ name, score: edits })
    else if (word.length >= 3 && name.includes(word)) scored.push({ name, score: limit + name.length })
  }
  scored.sort((a, b) => a.score - b.score || (a.name < b.name ? -1 : 1))
  return scored.slice(0, count).map(({ name }) => name)
}
