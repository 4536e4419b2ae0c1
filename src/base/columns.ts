/** Rows of words under each other. */

/** @param align `end`: numbers stand at the end of their column, but for the first */
export function columns(rows: readonly (readonly string[])[], align: 'start' | 'end' = 'start'): string {
  const widths: number[] = []
  for (const row of rows)
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length)
  const isNumber = (cell: string, at: number): boolean => align === 'end' && at > 0 && /^\d*$/.test(cell)
  const shown = (cell: string, at: number): string =>
    isNumber(cell, at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)
  return rows.map((row) => `${row.map(shown).join('  ').trimEnd()}\n`).join('')
}
