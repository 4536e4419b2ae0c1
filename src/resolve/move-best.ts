/** The first step of a selection sort. */

/** Bring the item of highest rank among those from `place` on to `place`; the first of equals. */
export function moveBest(items: number[], place: number, rank: (item: number) => number): void {
  let best = place
  for (let index = place + 1; index < items.length; index++)
    if (rank(items[index] as number) > rank(items[best] as number)) best = index
  if (best === place || best >= items.length) return
  const item = items[best] as number
  items[best] = items[place] as number
  items[place] = item
}
