/**
 * Runs the `@example` blocks of docstrings: a line `expression // => value` must give that value.
 *
 * The names that a block uses are imported from the file that holds it.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { compileFunction } from 'node:vm'

const EXAMPLE = /@example\n((?: +\* .*\n)+)/g
let passed = 0
let failed = 0

for (const path of globSync('src/**/*.ts').sort()) {
  const text = readFileSync(path, 'utf8')
  for (const match of text.matchAll(EXAMPLE)) {
    const line = text.slice(0, match.index).split('\n').length
    for (const example of (match[1] as string).split('\n')) {
      const found = /^ +\* (.+?) \/\/ => (.+)$/.exec(example)
      if (found) await run(path, line, found[1] as string, found[2] as string)
    }
  }
}

async function run(path: string, line: number, expression: string, expected: string): Promise<void> {
  const module = (await import(resolve(path))) as Record<string, unknown>
  const names = Object.keys(module)
  const evaluate = (source: string): unknown =>
    (compileFunction(`return (${source})`, names) as (...values: unknown[]) => unknown)(
      ...names.map((name) => module[name]),
    )
  try {
    assert.deepEqual(await evaluate(expression), evaluate(expected))
    passed++
  } catch (error) {
    failed++
    console.error(`${path}:${line}: ${expression}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

console.log(`doctest: ${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
