import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { isStage5Error } from '../../src/base/errors.ts'
import { parseAtom, printAtom } from '../../src/pkg/atom.ts'
import { printExpr } from '../../src/pkg/dep-expr.ts'
import { matchesPattern, parseEbuildAtom, printEbuildAtom, splitVersion } from '../../src/pkg/ebuild-atom.ts'
import { MOST_NESTED, parseDependencies, reduceDependencies } from '../../src/pkg/ebuild-depends.ts'
import { packageOfEntry } from '../../src/pkg/ebuild-package.ts'
import { gentooHeaderOf } from '../../src/pkg/gentoo-header.ts'
import { matches } from '../../src/pkg/match.ts'
import type { Package } from '../../src/pkg/package.ts'
import { checkRequiredUse, missingLicenses, unmetRequiredUse } from '../../src/pkg/required-use.ts'
import { parseSonames } from '../../src/pkg/soname.ts'

const table = JSON.parse(readFileSync(new URL('../conformance/gentoo.json', import.meta.url), 'utf8')) as {
  valid: [string, object][]
  invalid: string[]
  eapi: [string, number][]
  patterns: [string, string, boolean][]
  matches: [string, string[], string[]][]
  depends: [string, string[], number, string][]
  badDepends: string[]
  requiredUse: [string, string, number, boolean][]
  badRequiredUse: string[]
}

const isSyntax = (error: unknown): boolean => isStage5Error(error, 'S5_ATOM_SYNTAX')

function entry(fields: { readonly [key: string]: string }, header: { readonly [key: string]: string } = {}) {
  return packageOfEntry(
    new Map(Object.entries(fields)),
    gentooHeaderOf(new Map(Object.entries(header))),
    'binhost',
  )
}

function pkg(cpv: string, fields: { readonly [key: string]: string } = {}, header = {}): Package {
  const made = entry({ CPV: cpv, EAPI: '8', REPO: 'gentoo', ...fields }, header)
  assert.ok(!('problem' in made), 'problem' in made ? made.problem : '')
  return made
}

test('Gentoo atoms read as PMS 8.3 writes them, and print as they were', () => {
  for (const [text, parts] of table.valid) {
    assert.deepEqual(parseEbuildAtom(text), { ...parts, text }, text)
    assert.equal(printEbuildAtom(parseEbuildAtom(text)), text)
    assert.deepEqual(parseAtom(` ${text} `, 'ebuild'), { ...parts, text })
    assert.equal(printAtom(parseEbuildAtom(text)).replaceAll(' ', ''), text)
  }
})

test('what is no Gentoo atom is refused', () => {
  for (const text of table.invalid) assert.throws(() => parseEbuildAtom(text), isSyntax, JSON.stringify(text))
})

test('features of atoms begin with their EAPI', () => {
  for (const [text, first] of table.eapi)
    for (let eapi = 0; eapi <= 8; eapi++) {
      const parse = (): unknown => parseDependencies(text, eapi)
      if (eapi >= first) assert.doesNotThrow(parse, `${text} in EAPI ${eapi}`)
      else assert.throws(parse, isSyntax, `${text} in EAPI ${eapi}`)
    }
})

test('patterns of configuration files', () => {
  for (const [pattern, cpv, wanted] of table.patterns)
    assert.equal(
      matchesPattern(parseEbuildAtom(pattern, { kind: 'pattern' }), pkg(cpv)),
      wanted,
      `${pattern} ${cpv}`,
    )
})

test('versions match as PMS 8.3.1 says', () => {
  for (const [text, yes, no] of table.matches) {
    const atom = parseEbuildAtom(text)
    for (const version of yes) assert.ok(matches(atom, pkg(`a/b-${version}`)), `${text} ${version}`)
    for (const version of no) assert.ok(!matches(atom, pkg(`a/b-${version}`)), `${text} ${version}`)
  }
})

test('a sub-slot is the slot unless it is given', () => {
  const matched = (atom: string, slot: string): boolean =>
    matches(parseEbuildAtom(atom), pkg('a/b-1', { SLOT: slot }))
  assert.ok(matched('a/b:4.8/4.8', '4.8'))
  assert.ok(matched('a/b:4.8', '4.8/7'))
  assert.ok(!matched('a/b:4.8/4.8', '4.8/7'))
  assert.ok(matched('a/b:4.8/7=', '4.8/7'))
  assert.ok(matched('a/b:*', '9'))
  assert.ok(!matched('a/b:0', ''.padEnd(1, '1')))
})

test('dependency strings are reduced as PMS 8.2 says', () => {
  for (const [text, use, eapi, wanted] of table.depends)
    assert.equal(printExpr(reduceDependencies(text, { use, eapi })), wanted, text)
  for (const text of table.badDepends)
    assert.throws(() => reduceDependencies(text, { use: [] }), isSyntax, JSON.stringify(text))
  assert.throws(() => reduceDependencies('f? ( a/b )', { use: [], iuse: ['g'] }), isSyntax)
  assert.doesNotThrow(() => reduceDependencies('f? ( || ( g? ( a/b ) ) )', { use: [], iuse: ['f', 'g'] }))
})

test('groups may be deep, but not without end', () => {
  const nested = (depth: number): string => `${'( '.repeat(depth)}a/b${' )'.repeat(depth)}`
  assert.equal(printExpr(parseDependencies(nested(MOST_NESTED))), 'a/b')
  assert.throws(() => parseDependencies(nested(100_000)), isSyntax)
})

test('REQUIRED_USE is evaluated as PMS 8.2 says', () => {
  const flags = ['a', 'b', 'c']
  for (const [text, use, eapi, wanted] of table.requiredUse)
    assert.equal(
      checkRequiredUse(text, use.split(' '), flags, eapi),
      wanted,
      `${text} with ${use} in ${eapi}`,
    )
  for (const text of table.badRequiredUse)
    assert.throws(() => checkRequiredUse(text, [], flags), isSyntax, text)
  assert.throws(() => checkRequiredUse('?? ( a b )', [], flags, 4), isSyntax)
  assert.deepEqual(unmetRequiredUse('a b? ( c ) ^^ ( a c )', ['b'], flags), ['a', 'b? ( c )', '^^ ( a c )'])
})

test('licences that would have to be accepted', () => {
  const missing = (text: string, accepted: string, use = ''): string[] =>
    missingLicenses(text, use.split(' '), (license) => accepted.split(' ').includes(license))
  assert.deepEqual(missing('A B', 'A'), ['B'])
  assert.deepEqual(missing('|| ( A B )', 'B'), [])
  assert.deepEqual(missing('|| ( A ( B C ) )', 'B'), ['A', 'C'])
  assert.deepEqual(missing('f? ( A ) !f? ( B )', 'B'), [])
  assert.deepEqual(missing('f? ( A ) !f? ( B )', 'B', 'f'), ['A'])
  assert.deepEqual(missing('|| ( f? ( A ) )', ''), [])
})

test('an entry of an index becomes a package', () => {
  const made = pkg(
    'dev-lang/php-8.3.9-r1',
    {
      PATH: 'dev-lang/php/php-8.3.9-r1-2.gpkg.tar',
      SIZE: '12',
      MD5: 'AB',
      SHA1: 'cd',
      BUILD_ID: '2',
      BUILD_TIME: '7',
      MTIME: '8',
      SLOT: '8.3/8.3.9',
      KEYWORDS: 'amd64 ~arm64',
      LICENSE: 'PHP-3.01',
      IUSE: '+cli fpm -x',
      USE: 'cli fpm abi_x86_64',
      RDEPEND: 'a/b fpm? ( a/c ) x? ( a/d )',
      PDEPEND: 'a/p',
      DEPEND: '( broken',
      REQUIRES: 'x86_64: libc.so.6 libm.so.6',
      PROVIDES: 'x86_64: libphp.so',
      DESC: 'language',
    },
    { ARCH: 'amd64', CHOST: 'x86_64-pc-linux-gnu', IUSE_IMPLICIT: 'prefix', REPO: 'gentoo' },
  )
  const { name, version, slot, subslot, buildId, buildTime, file, arch, summary, use, iuse, repo } = made
  assert.deepEqual(
    { name, version, slot, subslot, buildId, buildTime, arch, summary, use, iuse, repo },
    {
      name: 'dev-lang/php',
      version: '8.3.9-r1',
      slot: '8.3',
      subslot: '8.3.9',
      buildId: 2,
      buildTime: 7,
      arch: 'amd64',
      summary: 'language',
      use: ['abi_x86_64', 'cli', 'fpm'],
      iuse: ['abi_x86_64', 'cli', 'fpm', 'prefix', 'x'],
      repo: 'binhost',
    },
  )
  assert.deepEqual(file, {
    path: 'dev-lang/php/php-8.3.9-r1-2.gpkg.tar',
    origin: '',
    size: 12,
    sums: { md5: 'ab', sha1: 'cd' },
  })
  assert.equal(printExpr(made.needs), 'a/b, a/c, a/p'.replace('a/b, a/c', '( a/b, a/c )'))
  assert.equal(made.after && printExpr(made.after), 'a/p')
  assert.deepEqual(made.gentoo?.ownFlags, ['cli', 'fpm', 'x'])
  assert.deepEqual(made.gentoo?.defaultFlags, ['cli'])
  assert.deepEqual(made.gentoo?.requires, ['x86_64: libc.so.6', 'x86_64: libm.so.6'])
  assert.deepEqual(made.gentoo?.sonames, ['x86_64: libphp.so'])
})

test('an entry that says little has the defaults of Portage', () => {
  const made = entry({ CPV: 'a/b-1' })
  assert.ok(!('problem' in made))
  const { slot, subslot, buildId, arch, file, gentoo } = made
  assert.deepEqual(
    [slot, subslot, buildId, arch, file.path, file.size],
    ['0', '0', 0, 'any', 'a/b-1.tbz2', -1],
  )
  assert.equal(gentoo?.eapi, '0')
})

test('an entry that cannot be read says what is wrong', () => {
  const bad: [{ [key: string]: string }, RegExp][] = [
    [{}, /CPV/],
    [{ CPV: 'a/b' }, /CPV/],
    [{ CPV: 'a/b-1-2' }, /CPV/],
    [{ CPV: 'a/b-1', SLOT: '0/' }, /SLOT/],
    [{ CPV: 'a/b-1', SIZE: '-1' }, /SIZE/],
    [{ CPV: 'a/b-1', BUILD_TIME: 'now' }, /BUILD_TIME/],
    [{ CPV: 'a/b-1', PATH: '../x.tbz2' }, /PATH/],
    [{ CPV: 'a/b-1', PATH: '/x.tbz2' }, /PATH/],
    [{ CPV: 'a/b-1', PATH: 'https://x/y.tbz2' }, /PATH/],
    [{ CPV: 'a/b-1', PATH: 'a\\..\\x' }, /PATH/],
  ]
  for (const [fields, wanted] of bad) {
    const made = entry(fields)
    assert.ok('problem' in made, JSON.stringify(fields))
    assert.match(made.problem, wanted)
  }
})

test('libraries are read by ABI', () => {
  assert.deepEqual(parseSonames('stray x86_64: a b x86_32: a'), ['x86_64: a', 'x86_64: b', 'x86_32: a'])
  assert.deepEqual(parseSonames(''), [])
})

const version = fc
  .tuple(
    fc.array(fc.stringMatching(/^[0-9]{1,3}$/), { minLength: 1, maxLength: 3 }),
    fc.constantFrom('', 'a', 'z'),
    fc.array(fc.constantFrom('_alpha', '_beta2', '_pre', '_rc1', '_p', '_p3'), { maxLength: 2 }),
    fc.constantFrom('', '-r0', '-r12'),
  )
  .map(([numbers, letter, suffixes, revision]) => numbers.join('.') + letter + suffixes.join('') + revision)

test('what an atom prints, reads as the same atom', () => {
  const slot = fc.constantFrom('', ':0', ':0/2', ':0/2=', ':=', ':*', ':1.2=')
  const name = fc.constantFrom('a/b', 'a-b/c-d', 'x/y-1a-z', 'a+b/c_d')
  const use = fc.constantFrom('', '[x]', '[-x(+),y?]', '[!z=,w(-)]')
  const head = fc.oneof(
    name,
    fc
      .tuple(fc.constantFrom('<', '<=', '=', '~', '>=', '>'), name, version)
      .map(([op, one, two]) => `${op}${one}-${two}`),
    fc.tuple(name, version).map(([one, two]) => `=${one}-${two}*`),
  )
  fc.assert(
    fc.property(head, slot, fc.constantFrom('', '::r-1'), use, (first, second, third, last) => {
      const text = first + second + third + last
      assert.equal(printEbuildAtom(parseEbuildAtom(text)), text)
    }),
  )
})

test('a name and a version come apart as they were put together', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('a/b', 'a/b-c', 'a/b-1xy', 'a/b--c'),
      version,
      fc.nat(99),
      (name, text, build) => {
        assert.deepEqual(splitVersion(`${name}-${text}`), { name, version: text })
        assert.deepEqual(splitVersion(`${name}-${text}-${build + 1}`), {
          name,
          version: text,
          buildId: build + 1,
        })
      },
    ),
  )
})

test('no text of tokens makes the reader fail in another way than by refusing', () => {
  const token = fc.constantFrom('(', ')', '||', 'f?', '!g?', 'a/b', '!a/b', '>=c/d-1:=', '[x', '::', '^^', '')
  fc.assert(
    fc.property(fc.array(token, { maxLength: 12 }), fc.nat(8), (tokens, eapi) => {
      try {
        reduceDependencies(tokens.join(' '), { use: ['f'], eapi })
      } catch (error) {
        assert.ok(isSyntax(error), String(error))
      }
    }),
  )
})
