/** What bash writes with `printf %q` and reads as assignments and arrays is what our readers make of it. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseArray, parseAssignments } from '../../src/format/assignments.ts'
import { parseSysusers } from '../../src/stage/sysusers.ts'

const COUNT = 400

/** Texts with every character that quoting is about; no NUL and no newline. */
function texts(seed: number): string[] {
  const letter = fc.constantFrom(...' \t\\\'"$`;&|<>(){}[]*?#!~%^=+,./-:aZ09é€'.split(''))
  const text = fc.array(letter, { minLength: 1, maxLength: 12 }).map((letters) => letters.join(''))
  return fc.sample(text, { seed, numRuns: COUNT })
}

function bash(script: string, words: readonly string[]): string {
  return execFileSync('bash', ['-c', script, 'bash', ...words], { encoding: 'latin1', env: { LC_ALL: 'C' } })
}

const bytesOf = (text: string): string => Buffer.from(text).toString('latin1')

test('the names that acct-user packages write with printf %q are read back', () => {
  const all = texts(1).filter((text) => !/[:\n]/.test(text) && text !== '-')
  const lines = bash(String.raw`printf 'u\tx\t1:x\t%q\t/home\t/bin/sh\n' "$@"`, all)
    .replace(/\n$/, '')
    .split('\n')
  assert.equal(lines.length, all.length)
  for (const [at, line] of lines.entries()) {
    const [user] = parseSysusers(line).users
    assert.equal(user?.gecos, bytesOf(all[at] as string).replaceAll('%%', '%'), line)
    assert.equal(user.home, '/home', line)
  }
})

test('assignments in either quoting are read as bash reads them', () => {
  const all = texts(2).filter((text) => !/[$`]/.test(text))
  const doubled = all
    .filter((text) => !text.includes('!'))
    .map((text) => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`)
  const single = all.map((text) => `'${text.replaceAll("'", String.raw`'\''`)}'`)
  for (const written of [...doubled, ...single]) {
    const found = parseAssignments(`export X=${bytesOf(written)}\nY=1\n`)
    assert.equal(found?.get('Y'), '1', written)
  }
  const script = [...doubled, ...single].map((written) => `X=${written}; printf '%s\\n' "$X"`).join('\n')
  const theirs = bash(script, []).replace(/\n$/, '').split('\n')
  const ours = [...doubled, ...single].map((written) => parseAssignments(`X=${bytesOf(written)}\n`)?.get('X'))
  assert.deepEqual(ours, theirs)
})

test('arrays are read as bash reads them, or not at all', () => {
  const words = texts(3)
    .filter((text, at) => at % 50 === 0 || !/[$`*?{}[\]]/.test(text))
    .map((text) => `'${text.replaceAll("'", String.raw`'\''`)}'`)
  let read = 0
  for (let at = 0; at + 4 <= words.length; at += 4) {
    const text = `X=( ${words.slice(at, at + 2).join(' ')} # comment\n\t${words[at + 2]}\n)\nX+=( ${words[at + 3]} )\n`
    const found = parseArray(bytesOf(text), 'X')
    if (!found) continue
    read++
    const theirs = bash(`${text}printf '%s\\n' "\${X[@]}"`, []).replace(/\n$/, '').split('\n')
    assert.deepEqual(found, theirs, text)
  }
  assert.ok(read > 10, `${read} were read`)
})
