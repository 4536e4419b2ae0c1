/** Every file and symbol that ARCHITECTURE.md names exists. */
import { existsSync, globSync, readFileSync } from 'node:fs'

const text = readFileSync('ARCHITECTURE.md', 'utf8')
const source = globSync('src/**/*.{ts,js}')
  .map((path) => readFileSync(path, 'utf8'))
  .join('\n')
const problems: string[] = []
let checked = 0

for (const [, word = ''] of text.matchAll(/`([^`\n]+)`/g)) {
  if (/^(?:src|profiles|repos|stages|test)\/[\w./*-]+$/.test(word)) {
    checked++
    if (word.includes('*') ? globSync(word).length === 0 : !existsSync(word))
      problems.push(`there is no ${word}`)
  } else if (/^[A-Za-z]+(?:\.[a-z]+)?$/.test(word)) {
    checked++
    const name = word.split('.').at(-1) as string
    if (!new RegExp(`\\b${name}\\b`).test(source)) problems.push(`nothing in src/ is called ${word}`)
  }
}

for (const problem of problems) console.error(`ARCHITECTURE.md: ${problem}`)
console.log(`mentions: ${checked} checked, ${problems.length} wrong`)
process.exitCode = problems.length > 0 || checked === 0 ? 1 : 0
