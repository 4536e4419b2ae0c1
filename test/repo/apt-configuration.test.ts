import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { readAptConfiguration } from '../../src/repo/apt-configuration.ts'
import { keyringsOf } from '../../src/repo/keyrings-of.ts'

const signal = new AbortController().signal
const FINGERPRINT = '0123456789ABCDEF0123456789ABCDEF01234567'
const NONE = { files: [], blocks: [], fingerprints: [] }

function rootOf(t: TestContext, files: { readonly [path: string]: string }): string {
  const root = mkdtempSync(join(tmpdir(), 's5apt-'))
  t.after(() => rmSync(root, { recursive: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

test('files in the order of apt, and only those that apt reads', async (t) => {
  const line = (name: string): string => `deb http://${name}.invalid x main\n`
  const root = rootOf(t, {
    'etc/apt/sources.list': line('first'),
    'etc/apt/sources.list.d/b.list': line('b'),
    'etc/apt/sources.list.d/a.sources': 'Types: deb\nURIs: http://a.invalid\nSuites: x\nComponents: main\n',
    'etc/apt/sources.list.d/c.list.bak': line('backup'),
    'etc/apt/sources.list.d/d e.list': line('blank'),
  })
  const { archives, problems } = await readAptConfiguration(signal, root)
  assert.deepEqual(
    archives.map(({ uri }) => uri),
    ['http://first.invalid', 'http://a.invalid', 'http://b.invalid'],
  )
  assert.deepEqual(problems, [])
})

test('without Signed-By every trusted key counts; fingerprints choose among them', async (t) => {
  const root = rootOf(t, {
    'etc/apt/sources.list': `deb http://a.invalid x main\ndeb [signed-by=${FINGERPRINT}] http://b.invalid x main\ndeb [signed-by=/usr/k.gpg] http://c.invalid x main\n`,
    'etc/apt/trusted.gpg': '',
    'etc/apt/trusted.gpg.d/two.asc': '',
    'etc/apt/trusted.gpg.d/one.gpg': '',
    'etc/apt/trusted.gpg.d/three.txt': '',
  })
  const { archives } = await readAptConfiguration(signal, root)
  const trusted = ['trusted.gpg', 'trusted.gpg.d/one.gpg', 'trusted.gpg.d/two.asc'].map((name) =>
    join(root, 'etc/apt', name),
  )
  assert.deepEqual(
    archives.map(({ keyrings }) => keyrings),
    [
      { files: trusted, blocks: [], fingerprints: [] },
      { files: trusted, blocks: [], fingerprints: [FINGERPRINT] },
      { files: [join(root, 'usr/k.gpg')], blocks: [], fingerprints: [] },
    ],
  )
})

test('Signed-By: files, fingerprints and blocks', () => {
  const block = '-----BEGIN PGP PUBLIC KEY BLOCK-----\n…'
  assert.deepEqual(keyringsOf([block], NONE), { files: [], blocks: [block], fingerprints: [] })
  assert.deepEqual(keyringsOf(['/a.gpg', `${FINGERPRINT}!`], NONE), {
    files: ['/a.gpg'],
    blocks: [],
    fingerprints: [`${FINGERPRINT}!`],
  })
})

test('no configuration at all is no sources', async (t) => {
  assert.deepEqual(await readAptConfiguration(signal, rootOf(t, {})), { archives: [], problems: [] })
})

test('of this machine the same addresses are found as apt finds', async (t) => {
  const asked = spawnSync('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI) $(RELEASE) $(COMPONENT)',
    'Created-By: Packages',
  ])
  if (asked.status !== 0) return t.skip('needs apt-get')
  const expected = [...new Set(asked.stdout.toString().trim().split('\n'))].sort()
  const { archives } = await readAptConfiguration(signal)
  const found = archives.flatMap(({ uri, suites, components }) =>
    suites.flatMap((suite) =>
      components.map((component) => `${uri.replace(/\/*$/, '/')} ${suite} ${component}`),
    ),
  )
  assert.deepEqual([...new Set(found)].sort(), expected)
})
