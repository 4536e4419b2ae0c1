/** Our order of image versions against that of systemd. */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import { findTool, run } from '../../src/host/run.ts'
import { compareUapiVersions } from '../../src/pkg/uapi-version.ts'

const PARTS = ['1', '2', '10', '010', '0', 'a', 'B', 'rc', '.', '-', '~', '^', '+', '_', '20261121', '']

/** What it ends with: the first is older, equal, newer. */
const CODES = ['12', '0', '11']

test('versions are older and newer as systemd-analyze compare-versions says', async (t) => {
  if (!findTool('systemd-analyze')) return t.skip('needs systemd-analyze')
  const draw = (...words: readonly unknown[]): number =>
    Number.parseInt(hash('sha256', words.join(' ')).slice(0, 8), 16)
  const version = (seed: number, which: string): string =>
    Array.from(
      { length: 1 + (draw(seed, which) % 6) },
      (_, at) => PARTS[draw(seed, which, at) % PARTS.length],
    ).join('')
  const pairs = Array.from({ length: 300 }, (_, seed): [string, string] => {
    const [a, b] = [version(seed, 'a'), version(seed, 'b')]
    // Half of them begin alike.
    return seed % 2 === 0 ? [a, b] : [`7${a}`, `7${a}${b}`]
  })
  const script =
    'while [ $# -gt 0 ]; do systemd-analyze compare-versions -- "$1" "$2" >/dev/null; echo $?; shift 2; done'
  const { stdout } = await run(['sh', '-c', script, 'sh', ...pairs.flat()], { accept: 'any' })
  const lines = stdout.toString().trimEnd().split('\n')
  assert.equal(lines.length, pairs.length)
  const seen = new Set<number>()
  for (const [at, [a, b]] of pairs.entries()) {
    const order = compareUapiVersions(a, b)
    assert.equal(lines[at], CODES[order + 1], `${a} and ${b}`)
    assert.equal(compareUapiVersions(b, a) + order, 0, `${b} and ${a}`)
    seen.add(order)
  }
  assert.deepEqual(seen, new Set([-1, 0, 1]))
})
