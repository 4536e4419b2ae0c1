/** Started by a Node that is too old, the program runs under the one of the checkout, as if nothing stood between. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { test } from 'node:test'
import { temporaryDirectory } from '../../src/host/temp.ts'

const MAIN = resolve(import.meta.dirname, '../../src/main.js')

function oldNode(): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((folder) => join(folder, 'node'))
    .find((node) => existsSync(node) && Number(/\d+/.exec(versionOf(node))?.[0]) < 24)
}

function versionOf(node: string): string {
  return execFileSync(node, ['--version'], { encoding: 'utf8' })
}

test('a signal for it reaches the program, and its end is seen', async (t) => {
  const node = oldNode()
  if (node === undefined) return t.skip('needs a Node older than 24 in PATH')
  using folder = temporaryDirectory()
  const child = spawn(node, [MAIN, 'serve', folder.path, '--listen', '127.0.0.1:0'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  child.stderr.setEncoding('utf8')
  const [said] = (await once(child.stderr, 'data')) as [string]
  const address = /http:\S+/.exec(said)?.[0] as string
  assert.equal((await fetch(address)).status, 404)
  child.kill('SIGTERM')
  await once(child, 'exit')
  await assert.rejects(fetch(address), 'nobody listens any more')
})

test('its exit status is passed on', async (t) => {
  const node = oldNode()
  if (node === undefined) return t.skip('needs a Node older than 24 in PATH')
  const child = spawn(node, [MAIN, 'frobnicate'], { stdio: 'ignore' })
  assert.deepEqual(await once(child, 'exit'), [2, null])
})
