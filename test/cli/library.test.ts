/** The resolver as others use it: functions of src/index.ts over plain data. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import {
  checkRequiredUse,
  compareDebianVersions,
  compareEbuildVersions,
  matchAtom,
  parseAtom,
  parsePackagesIndex,
  reduceDependencies,
  resolve,
  Stage5Error,
} from '../../src/index.ts'

const TEXT = [
  'VERSION: 0\nTIMESTAMP: 1\nARCH: amd64\nREPO: gentoo\n',
  'CPV: dev-lang/php-8.3.9\nBUILD_ID: 1\nSLOT: 8.3\nKEYWORDS: amd64\nEAPI: 8\nIUSE: fpm apache2\nUSE: apache2\n',
  'CPV: dev-lang/php-8.3.9\nBUILD_ID: 2\nSLOT: 8.3\nKEYWORDS: amd64\nEAPI: 8\nIUSE: fpm apache2\nUSE: fpm\nRDEPEND: dev-libs/ssl:0/3=\n',
  'CPV: dev-libs/ssl-3\nSLOT: 0/3\nKEYWORDS: amd64\nEAPI: 8\n',
  'CPV: dev-libs/ssl-4\nSLOT: 0/4\nKEYWORDS: ~amd64\n',
].join('\n')

test('an index in bytes is read whatever it is compressed by, and damaged bytes are refused', () => {
  const parsed = parsePackagesIndex(Buffer.from(TEXT))
  const xz = execFileSync('xz', ['-c'], { input: TEXT })
  for (const bytes of [gzipSync(TEXT), zstdCompressSync(TEXT), xz])
    assert.deepEqual(parsePackagesIndex(bytes), parsed)
  for (const bytes of [gzipSync(TEXT), zstdCompressSync(TEXT), xz])
    assert.throws(
      () => parsePackagesIndex(bytes.subarray(0, bytes.length - 12)),
      (error) => error instanceof Stage5Error && error.code === 'S5_INDEX_REFUSED',
    )
})

test('the same index as text, as a file and compressed gives the same answer', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'stage5-library-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const file = (name: string, bytes: Uint8Array): string => {
    writeFileSync(join(folder, name), bytes)
    return join(folder, name)
  }
  const parsed = parsePackagesIndex(Buffer.from(TEXT))
  assert.equal(parsed.header['ARCH'], 'amd64')
  assert.equal(parsed.packages.length, 4)
  const forms = [
    parsed,
    file('Packages', Buffer.from(TEXT)),
    file('Packages.gz', gzipSync(TEXT)),
    file('Packages.zst', zstdCompressSync(TEXT)),
    file('Packages.xz', execFileSync('xz', ['-c'], { input: TEXT })),
  ]
  const torn = file('torn.xz', execFileSync('xz', ['-c'], { input: TEXT }).subarray(0, 60))
  const refused = resolve({ indexes: [torn], atoms: ['dev-lang/php'] })
  assert.match(refused.ok ? '' : refused.message, /torn\.xz cannot be read: damaged/)
  const use = [{ atom: 'dev-lang/php', use: ['fpm', '-apache2'] }]
  const answers = forms.map((index) =>
    resolve({ indexes: [index], atoms: ['dev-lang/php'], packageUse: use }),
  )
  for (const answer of answers) assert.deepEqual(answer, answers[0])
  assert.deepEqual(answers[0], {
    ok: true,
    packages: [
      {
        cpv: 'dev-libs/ssl-3',
        buildId: null,
        slot: '0/3',
        repo: 'gentoo',
        index: 0,
        use: [],
        why: [{ by: 'dev-lang/php:8.3', dep: 'dev-libs/ssl:0/3=' }],
      },
      {
        cpv: 'dev-lang/php-8.3.9',
        buildId: 2,
        slot: '8.3',
        repo: 'gentoo',
        index: 0,
        use: ['fpm'],
        why: [{ by: 'request', dep: 'dev-lang/php' }],
      },
    ],
    heldBack: [],
    sonameMissing: [],
    optimal: true,
  })
  const testing = resolve({
    indexes: [file('one', Buffer.from(TEXT))],
    atoms: ['@web'],
    sets: { web: ['dev-libs/ssl'] },
    acceptKeywords: ['~amd64'],
    packageMask: ['dev-lang/*'],
  })
  assert.ok(testing.ok)
  assert.deepEqual(
    testing.packages.map(({ cpv }) => cpv),
    ['dev-libs/ssl-4'],
  )
})

test('a refusal names facts and the command that would help', () => {
  const answer = resolve({
    indexes: [parsePackagesIndex(Buffer.from(TEXT))],
    atoms: ['dev-lang/php[fpm,apache2]'],
  })
  assert.ok(!answer.ok)
  assert.deepEqual(answer.builds, ['USE="apache2 fpm" emerge --buildpkgonly =dev-lang/php-8.3.9'])
  assert.equal(answer.kind, 'no-match')
  assert.equal(answer.steps[0]?.rejected.length, 2)
  const bad = resolve({ indexes: [], atoms: ['php'] })
  assert.ok(!bad.ok)
  assert.equal(bad.kind, 'invalid')
  const lost = resolve({ indexes: ['/nonexistent/Packages'], atoms: ['a/b'] })
  assert.ok(!lost.ok && lost.message.includes('/nonexistent/Packages cannot be read'))
})

test('the language of dependencies', () => {
  assert.ok(compareEbuildVersions('1.0_rc1', '1.0') < 0)
  assert.ok(compareDebianVersions('1.0~rc1', '1.0') < 0)
  assert.equal(parseAtom('>=dev-lang/php-8.3:8.3=[fpm]').slot, '8.3')
  const php = { cpv: 'dev-lang/php-8.3.9', slot: '8.3/8', use: ['fpm'], iuse: ['apache2'], buildId: 2 }
  const rows: readonly (readonly [string, boolean])[] = [
    ['dev-lang/php', true],
    ['dev-lang/php:8.3/8', true],
    ['dev-lang/php:8.3/9', false],
    ['dev-lang/php[fpm,-apache2]', true],
    ['dev-lang/php[-lost]', false],
    ['dev-lang/php[-lost(-)]', true],
    ['=dev-lang/php-8.3*', true],
    ['=dev-lang/php-8.3.9-2', true],
    ['=dev-lang/php-8.3.9-3', false],
    ['dev-lang/perl', false],
  ]
  for (const [atom, expected] of rows) assert.equal(matchAtom(atom, php), expected, atom)
  assert.equal(
    matchAtom(parseAtom('dev-lang/php[fpm?]'), { cpv: php.cpv, iuse: ['fpm'] }, { use: ['fpm'] }),
    false,
  )
  assert.throws(() => matchAtom('dev-lang/php', { cpv: 'dev-lang/php' }), Stage5Error)
  assert.deepEqual(reduceDependencies('ssl? ( a/c ) !ssl? ( a/d )', { use: [], iuse: ['ssl'], eapi: 8 }), {
    need: { name: 'a/d', text: 'a/d' },
  })
  assert.equal(checkRequiredUse('^^ ( a b )', ['a', 'b'], ['a', 'b']), false)
})
