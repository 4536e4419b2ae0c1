/** Every error code is raised somewhere in src/ and met by a test: names the ones that are not. */
import { globSync, readFileSync } from 'node:fs'
import { CODES } from '../../src/base/codes.ts'

const read = (pattern: string): string =>
  globSync(pattern)
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n')
const source = globSync('src/**/*.ts')
  .filter((path) => path !== 'src/base/codes.ts')
  .map((path) => readFileSync(path, 'utf8'))
  .join('\n')
const tests = read('test/**/*.test.ts') + read('test/golden/**/*.txt')
const word = (code: string): RegExp => new RegExp(`\\b${code}\\b`)
const problems = Object.keys(CODES).flatMap((code) => [
  ...(word(code).test(source) ? [] : [`${code} is raised nowhere in src/`]),
  ...(word(code).test(tests) ? [] : [`${code} is met by no test`]),
])

for (const problem of problems) console.error(`src/base/codes.ts: ${problem}`)
console.log(`codes: ${Object.keys(CODES).length} codes, ${problems.length} problems`)
process.exitCode = problems.length > 0 ? 1 : 0
