/** The commands of package.json that set a checkout up themselves go on under the Node that this brought along. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { filesFor } from '../helpers/files.ts'

const TOP = resolve(import.meta.dirname, '../..')

/** A program that stands for a Node: it says its name and what it is to run; as set-up it puts a newer one before itself. */
function node(name: string): string {
  const bring = 'mkdir -p node_modules/.bin && cp newer node_modules/.bin/node'
  return `#!/bin/sh\necho "${name} $1"\ncase $1 in src/setup.js) ${bring};; esac\n`
}

for (const name of ['demo', 'bench'])
  test(`${name}: what follows the set-up runs under the newer Node`, (t) => {
    const { scripts } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    const top = filesFor(t, { 'old/node': node('old'), newer: node('new') })
    for (const program of ['old/node', 'newer']) chmodSync(join(top, program), 0o755)
    const PATH = [join(top, 'node_modules/.bin'), join(top, 'old'), process.env['PATH']].join(':')
    const said = execFileSync('/bin/sh', ['-c', scripts[name] as string], {
      cwd: top,
      env: { PATH },
      encoding: 'utf8',
    })
    const [setUp, ...rest] = said.trimEnd().split('\n')
    assert.equal(setUp, 'old src/setup.js')
    assert.ok(rest.length > 0 && rest.every((line) => line.startsWith('new ')), said)
  })
