/** Every row of test/requirements*.txt names tests that are there; an M has at least one. */
import { existsSync, globSync, readFileSync } from 'node:fs'

const sources = new Map<string, string>()
const sourceOf = (file: string): string => {
  const text = sources.get(file) ?? (existsSync(file) ? readFileSync(file, 'utf8') : '')
  sources.set(file, text)
  return text
}
const problems: string[] = []
let row = ''
let proofs = 0
const count = { M: 0, S: 0, C: 0, tests: 0 }

function endRow(): void {
  if (row !== '' && proofs === 0) problems.push(`${row}: no test`)
}

function read(line: string, place: string): void {
  const [, level] = /^[F\d][\d.]* ([MSC]) \S/.exec(line) ?? []
  const [, file = '', name = ''] = /^ {2}(test\/\S+\.ts): (.+)$/.exec(line) ?? []
  if (level !== undefined) {
    endRow()
    row = `${place}: ${line}`
    proofs = 0
    count[level as 'M']++
  } else if (file !== '') {
    proofs++
    count.tests++
    const written = [name, name.replaceAll("'", String.raw`\'`)]
    const source = sourceOf(file)
    if (
      !written.some((text) => [`'${text}'`, `"${text}"`, `\`${text}\``].some((one) => source.includes(one)))
    )
      problems.push(`${place}: ${file} has no test called ${JSON.stringify(name)}`)
  } else if (/^ {2}not held: \S/.test(line) && !/ M /.test(row)) proofs++
  else if (line !== '' && !line.startsWith('#'))
    problems.push(`${place}: expected a row or a test, found ${line}`)
}
for (const file of globSync('test/requirements*.txt').sort()) {
  for (const [at, line] of readFileSync(file, 'utf8').split('\n').entries()) read(line, `${file}:${at + 1}`)
  endRow()
  row = ''
}

for (const problem of problems) console.error(problem)
console.log(
  `requirements: ${count.M} must, ${count.S} should, ${count.C} could; ${count.tests} tests named, ${problems.length} problems`,
)
process.exitCode = problems.length > 0 || count.M === 0 ? 1 : 0
