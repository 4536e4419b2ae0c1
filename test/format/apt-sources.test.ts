import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseAptConfig, parseSourcesList, parseSourcesStanzas } from '../../src/format/apt-sources.ts'
import { parseDeb822 } from '../../src/format/deb822.ts'

const FINGERPRINT = '0123456789ABCDEF0123456789ABCDEF01234567'

test('the one-line format', () => {
  const { sources, problems } = parseSourcesList(`
# a comment
deb http://a.invalid/debian bookworm main contrib  # another
deb-src http://a.invalid/debian bookworm main
deb [ arch=amd64,arm64 signed-by=/k/a.gpg,${FINGERPRINT} trusted=yes ] file:/srv/b stable main
deb [signed-by=/k/c.asc] https://c.invalid ./
`)
  assert.deepEqual(problems, [])
  assert.deepEqual(sources, [
    {
      uri: 'http://a.invalid/debian',
      suites: ['bookworm'],
      components: ['main', 'contrib'],
      architectures: [],
      signedBy: [],
    },
    {
      uri: 'file:/srv/b',
      suites: ['stable'],
      components: ['main'],
      architectures: ['amd64', 'arm64'],
      signedBy: ['/k/a.gpg', FINGERPRINT],
    },
    {
      uri: 'https://c.invalid',
      suites: ['./'],
      components: [],
      architectures: [],
      signedBy: ['/k/c.asc'],
    },
  ])
})

test('the deb822 format: several addresses and suites, inline keys, entries that are off', () => {
  const { sources, problems } = parseSourcesStanzas(
    parseDeb822(`# a comment
Types: deb deb-src
URIs: http://a.invalid/debian https://b.invalid
Suites: bookworm
 bookworm-updates
Components: main contrib
Architectures: amd64
Signed-By: /k/a.gpg ${FINGERPRINT}!

Enabled: no
Types: deb
URIs: http://off.invalid
Suites: x
Components: main

Types: deb-src
URIs: http://source.invalid
Suites: x
Components: main

Types: deb
URIs: http://c.invalid
Suites: x
Components: main
Trusted: yes
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 =abcd
 -----END PGP PUBLIC KEY BLOCK-----
`),
  )
  assert.deepEqual(problems, [])
  assert.deepEqual(
    sources.map(({ uri, suites }) => [uri, suites]),
    [
      ['http://a.invalid/debian', ['bookworm', 'bookworm-updates']],
      ['https://b.invalid', ['bookworm', 'bookworm-updates']],
      ['http://c.invalid', ['x']],
    ],
  )
  assert.deepEqual(sources[0]?.signedBy, ['/k/a.gpg', `${FINGERPRINT}!`])
  assert.deepEqual(sources[0]?.architectures, ['amd64'])
  assert.equal(
    sources[2]?.signedBy[0]?.trim(),
    '-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQINBF\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----',
  )
})

test('what cannot be used is told with its place', () => {
  const lines = parseSourcesList(
    [
      'deb cdrom:[Debian]/ x main',
      'deb http://a.invalid',
      'nonsense',
      'deb http://a.invalid x',
      'deb http://a.invalid x/ main',
    ].join('\n'),
  )
  assert.deepEqual(lines.sources, [])
  assert.deepEqual(
    lines.problems.map((problem) => problem.slice(0, 7)),
    ['line 1:', 'line 2:', 'line 3:', 'line 4:', 'line 5:'],
  )
  const stanzas = parseSourcesStanzas(
    parseDeb822('Types: deb\nURIs: mirror+file:/x\nSuites: a\nComponents: main\n'),
  )
  assert.deepEqual(stanzas, {
    sources: [],
    problems: ['stanza 1: mirror+file:/x: only http, https and file are known'],
  })
})

test('what apt-config prints', () => {
  const config = parseAptConfig(
    'Dir "/";\nDir::Etc "etc/apt";\nAPT::Architectures "";\nAPT::Architectures:: "amd64";\nDir "/x";\nrubbish\n',
  )
  assert.equal(config.get('dir'), '/x')
  assert.equal(config.get('dir::etc'), 'etc/apt')
  assert.equal(config.get('apt::architectures::'), 'amd64')
})
