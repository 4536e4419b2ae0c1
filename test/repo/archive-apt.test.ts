/** The archives of this machine, read as apt reads them: apt is the oracle. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { parseDeb822, stanzasOf } from '../../src/format/deb822.ts'
import { parseReleaseDate } from '../../src/format/release.ts'
import { now } from '../../src/host/clock.ts'
import { openFetcher } from '../../src/host/fetch.ts'
import type { Index } from '../../src/pkg/package.ts'
import { openArchive } from '../../src/repo/archive.ts'
import type { RepositorySpec } from '../../src/resolve/profile.ts'

const LISTS = '/var/lib/apt/lists'
const HELPER = '/usr/lib/apt/apt-helper'
const signal = new AbortController().signal

test('the indexes of this machine are those that apt has', async (t) => {
  const arch = spawnSync('dpkg', ['--print-architecture']).stdout?.toString().trim()
  const files = arch ? readdirSync(LISTS) : []
  const packages = files.filter((name) => name.includes(`_binary-${arch}_Packages`))
  if (packages.length === 0) return t.skip('needs apt with fetched lists')
  const folder = mkdtempSync(join(tmpdir(), 's5r-'))
  const fetcher = openFetcher({ offline: false, report: () => {}, attempts: 2 })
  t.after(async () => {
    await fetcher.close()
    rmSync(folder, { recursive: true })
  })
  const spec: RepositorySpec = {
    name: 'machine',
    kind: 'debian',
    from: 'apt',
    sources: [],
    suites: [],
    components: [],
    checkValidUntil: false,
    url: '',
    file: join(folder, 'x.yaml'),
  }
  const open = () => openArchive(spec, { fetcher, directory: join(folder, 'cache'), now })
  let index: Index
  try {
    index = await open().index(arch as string, signal)
  } catch (error) {
    if (isStage5Error(error, 'S5_FETCH_FAILED')) return t.skip('needs the network')
    throw error
  }
  const releases = files.filter((name) => name.endsWith('InRelease'))
  const dates = releases.map((name) => {
    const lines = readFileSync(join(LISTS, name), 'utf8').split('\n')
    return parseReleaseDate(lines.find((line) => line.startsWith('Date: '))?.slice(6) ?? '', name)
  })
  if (Math.max(...dates) !== index.date)
    return t.skip('needs apt lists that are of the same day: apt-get update')

  const expected = new Map<string, Set<string>>()
  for (const name of packages) {
    const text = spawnSync(HELPER, ['cat-file', join(LISTS, name)], { maxBuffer: 1 << 30 }).stdout
    for (const stanza of stanzasOf(text)) {
      const key = ['Package', 'Version', 'Architecture'].map((field) => stanza.get(field)).join(' ')
      const value = ['SHA256', 'Size', 'Filename'].map((field) => stanza.get(field)).join(' ')
      expected.set(key, (expected.get(key) ?? new Set()).add(value))
    }
  }
  const found = new Map(
    index.packages.map(({ name, version, arch: own, file }) => [
      `${name} ${version} ${own}`,
      `${file.sums.sha256} ${file.size} ${file.path}`,
    ]),
  )
  assert.equal(found.size, index.packages.length)
  assert.equal(found.size, expected.size)
  for (const [key, value] of found) assert.ok(expected.get(key)?.has(value), `${key}: ${value}`)

  const available = parseDeb822(spawnSync('apt-cache', ['dumpavail'], { maxBuffer: 1 << 30 }).stdout)
  const fromArchives = available
    .filter((stanza) => stanza.has('Filename'))
    .map((stanza) => stanza.get('Package'))
  const names = new Set(index.packages.map(({ name }) => name))
  // What is installed from elsewhere stands there without a Filename.
  assert.deepEqual(
    fromArchives.filter((name) => !names.has(name as string)),
    [],
  )
  const known = new Set(available.map((stanza) => stanza.get('Package')))
  assert.deepEqual(
    [...names].filter((name) => !known.has(name)),
    [],
  )

  const start = performance.now()
  const again = await open().index(arch as string, signal)
  t.diagnostic(
    `second run: ${Math.round(performance.now() - start)} ms for ${again.packages.length} packages`,
  )
  assert.equal(again.snapshot, index.snapshot)
  assert.equal(again.packages.length, index.packages.length)
  return undefined
})
