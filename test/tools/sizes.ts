/** Reports the size of src/ by layer and refuses files that have grown a second idea. */
import { globSync, readFileSync } from 'node:fs'

const MOST_LINES = 450
const byLayer = new Map<string, { files: number; lines: number }>()
let tooLong = 0

for (const path of globSync('src/**/*.{ts,js}').sort()) {
  const lines = readFileSync(path, 'utf8').split('\n').length - 1
  const layer = path.split('/').length > 2 ? (path.split('/')[1] as string) : 'top'
  const sum = byLayer.get(layer) ?? { files: 0, lines: 0 }
  byLayer.set(layer, { files: sum.files + 1, lines: sum.lines + lines })
  if (lines > MOST_LINES) {
    tooLong++
    console.error(`${path}: ${lines} lines, at most ${MOST_LINES}: find the seam and make two files`)
  }
}

const total = [...byLayer.values()].reduce((sum, { lines }) => sum + lines, 0)
console.log(
  `sizes: ${total} lines; ${[...byLayer].map(([name, { files, lines }]) => `${name} ${files}/${lines}`).join(', ')}`,
)
process.exitCode = tooLong > 0 ? 1 : 0
