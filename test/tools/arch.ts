/** Checks every import of src/ against the tables of ARCHITECTURE.md, and pure layers for hidden effects. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

const PURE_BUILTINS = new Set(
  ['crypto', 'zlib', 'util', 'buffer', 'assert/strict', 'module'].map((name) => `node:${name}`),
)
const HIDDEN_EFFECTS =
  /\b(?:Date\.now|new Date\(\)|Math\.random|process\.|console\.\w+\(|setTimeout|setInterval|fetch\(|localeCompare|toLocale\w+)/
const IMPORT =
  /^(?:import|export)\b.* from '([^']+)'|^\} from '([^']+)'|^import '([^']+)'|\b(?:import|require)\('([^']+)'\)/

/** Rows of the table whose header begins with `first`. */
function table(text: string, first: string): string[][] {
  const lines = text.split('\n')
  const start = lines.findIndex((line) => line.startsWith(`| ${first} |`))
  const end = lines.findIndex((line, at) => at > start && !line.startsWith('|'))
  return lines.slice(start + 2, end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

const text = readFileSync('ARCHITECTURE.md', 'utf8')
const layers = new Map(
  table(text, 'layer').map(([name = '', allowed = '', effects = '']) => [
    name,
    { allowed: new Set(allowed.split(' ')), effects: effects === 'yes' },
  ]),
)
const importers = new Map(table(text, 'package').map(([name = '', files = '']) => [name, files.split(' ')]))
const problems: string[] = []

for (const path of globSync('src/**/*.ts').sort()) {
  const file = path.slice('src/'.length)
  if (!file.includes('/')) continue
  const layer = layers.get(file.split('/')[0] as string)
  const lines = readFileSync(path, 'utf8').split('\n')
  if (!layer) problems.push(`${path}:1: this folder is not in the layer table of ARCHITECTURE.md`)
  else
    for (const [at, line] of lines.entries())
      problems.push(...lineProblems(file, layer, line).map((what) => `${path}:${at + 1}: ${what}`))
}

function lineProblems(
  file: string,
  layer: { allowed: Set<string>; effects: boolean },
  line: string,
): string[] {
  const own = file.split('/')[0] as string
  const code = line.replace(/^\s*(?:\*|\/\/|\/\*\*).*/, '')
  const found = IMPORT.exec(code)
    ?.slice(1)
    .find((name) => name !== undefined)
  if (!layer.effects && HIDDEN_EFFECTS.test(code))
    return [`${own} is pure; found ${HIDDEN_EFFECTS.exec(code)?.[0]}: take it as an argument`]
  if (found === undefined) return []
  if (found.startsWith('.')) {
    const target = normalize(join(dirname(file), found)).split('/')[0] as string
    return target === own || layer.allowed.has(target)
      ? []
      : [`${own} may not import ${target}; move the shared part down or pass it in`]
  }
  if (found.startsWith('node:'))
    return layer.effects || PURE_BUILTINS.has(found) ? [] : [`${own} is pure and may not import ${found}`]
  const allowed = importers.get(/^(?:@[^/]+\/)?[^/]+/.exec(found)?.[0] ?? found)
  if (!allowed) return [`${found} is not in the package table of ARCHITECTURE.md`]
  return allowed.some((where) => file === where || file.startsWith(`${where}/`))
    ? []
    : [`${found} is imported by ${allowed.join(', ')} only`]
}

for (const problem of problems) console.error(problem)
console.log(`arch: ${layers.size} layers, ${problems.length} forbidden imports`)
process.exitCode = problems.length > 0 ? 1 : 0
