/**
 * Runs the console blocks of README.md: lines that begin with `$ ` are commands, the lines below are what they print,
 * where `…` stands for any text. Blocks run in order in one copy of the fixtures, offline.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const text = readFileSync('README.md', 'utf8')
const blocks = [...text.matchAll(/^```console\n([\s\S]*?)^```/gm)].map((match) => match[1] as string)
const directory = mkdtempSync(join(tmpdir(), 'stage5-readme-'))
const project = join(directory, 'project')
const bin = join(directory, 'bin')
let passed = 0
let failed = 0

try {
  cpSync('test/fixtures/project', project, { recursive: true })
  mkdirSync(bin)
  writeFileSync(
    join(bin, 'stage5'),
    `#!/bin/sh\nexec '${process.execPath}' '${resolve('src/main.js')}' "$@"\n`,
    { mode: 0o755 },
  )
  for (const block of blocks)
    for (const part of block.split(/^\$ /m).slice(1)) {
      const [command = '', ...expected] = part.trimEnd().split('\n')
      check(command, expected.join('\n').trimEnd())
    }
} finally {
  rmSync(directory, { recursive: true, force: true })
}

function check(command: string, expected: string): void {
  const env = {
    ...process.env,
    STAGE5_STORE: join(directory, '.store'),
    NO_COLOR: '1',
    PATH: `${bin}:${process.env['PATH']}`,
  }
  const { stdout, stderr } = spawnSync('sh', ['-c', command], { cwd: project, env, encoding: 'utf8' })
  const found = stdout + stderr
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
