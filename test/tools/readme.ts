/**
 * Runs the console blocks of README.md: lines that begin with `$ ` are commands, the lines below are what they print,
 * where `…` stands for any text. Blocks run in order in one copy of the fixtures, offline.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const text = readFileSync('README.md', 'utf8')
const blocks = [...text.matchAll(/^```console\n([\s\S]*?)^```/gm)].map((match) => match[1] as string)
const directory = mkdtempSync(join(tmpdir(), 'stage5-readme-'))
let passed = 0
let failed = 0

try {
  cpSync('test/fixtures/project', directory, { recursive: true })
  for (const block of blocks)
    for (const part of block.split(/^\$ /m).slice(1)) {
      const [command = '', ...expected] = part.trimEnd().split('\n')
      check(command, expected.join('\n').trimEnd())
    }
} finally {
  rmSync(directory, { recursive: true, force: true })
}

function check(command: string, expected: string): void {
  const env = { ...process.env, STAGE5_STORE: join(directory, '.store'), NO_COLOR: '1' }
  const words = command.split(' ').filter((word) => word !== '')
  if (words.shift() !== 'stage5')
    throw new Error(`README.md: only stage5 commands are run, found: ${command}`)
  let found: string
  try {
    found = execFileSync(process.execPath, [resolve('src/main.js'), ...words], {
      cwd: directory,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    found = stdout + stderr
  }
  const pattern = expected
    .split('…')
    .map((piece) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('[\\s\\S]*?')
  if (new RegExp(`^${pattern}$`).test(found.trimEnd())) passed++
  else {
    failed++
    console.error(`README.md: $ ${command}\nexpected:\n${expected}\nfound:\n${found}`)
  }
}

console.log(`readme: ${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
