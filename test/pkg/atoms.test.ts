import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { isStage5Error } from '../../src/base/errors.ts'
import { parseAtom, printAtom } from '../../src/pkg/atom.ts'
import { parseDebRelations, parseProvides } from '../../src/pkg/deb-depends.ts'
import { itemsOf, printExpr, reduceExpr } from '../../src/pkg/dep-expr.ts'
import { matches, mismatch, provides, satisfies } from '../../src/pkg/match.ts'
import type { Atom, DepExpr, Package, UseTest } from '../../src/pkg/package.ts'
import { parseUseTest, parseUseTests, passesUseTest, printFlags, printUseTest } from '../../src/pkg/use.ts'
import { build } from '../helpers/universe.ts'

const table = JSON.parse(readFileSync(new URL('../conformance/depends.json', import.meta.url), 'utf8')) as {
  needs: [string, string[]][]
  invalid: string[]
}

function plain(atom: Atom): string {
  const name = atom.name + (atom.arch === undefined ? '' : `:${atom.arch}`)
  if (atom.version === undefined) return name
  return 'range' in atom.version
    ? `${name} ${atom.version.range}`
    : `${name} ${atom.version.op} ${atom.version.version}`
}

function written(expr: DepExpr): string {
  if ('need' in expr) return plain(expr.need)
  if ('any' in expr) return expr.any.map(written).join(' | ')
  return 'block' in expr ? `!${plain(expr.block)}` : 'group'
}

const isSyntax = (error: unknown): boolean => isStage5Error(error, 'S5_ATOM_SYNTAX')

test('Debian relations read as Policy 7.1 writes them', () => {
  for (const [text, wanted] of table.needs)
    assert.deepEqual(itemsOf(parseDebRelations(text, 'need', 'amd64')).map(written), wanted, text)
  for (const text of table.invalid) assert.throws(() => parseDebRelations(text, 'need'), isSyntax, text)
})

test('Conflicts become strong blocks, one for each relation', () => {
  assert.deepEqual(itemsOf(parseDebRelations('a, b (<< 2)', 'block')), [
    { block: { name: 'a', text: 'a' }, strong: true },
    { block: { name: 'b', text: 'b (<< 2)', version: { op: '<', version: '2' } }, strong: true },
  ])
})

test('Provides keep a version only when it is exact', () => {
  assert.deepEqual(parseProvides('awk, libx (= 1.2), y:any'), [
    { name: 'awk' },
    { name: 'libx', version: '1.2' },
    { name: 'y' },
  ])
})

test('Debian atoms of a profile', () => {
  const same = { name: 'libc6', version: { op: '>=', version: '2.36' } }
  for (const text of ['libc6 (>= 2.36)', 'libc6>=2.36', 'libc6 >= 2.36', 'deb:libc6 (>= 2.36)'])
    assert.deepEqual(parseAtom(text, 'deb'), { ...same, text })
  assert.deepEqual(parseAtom('deb:libssl3', 'semver'), { name: 'libssl3', text: 'deb:libssl3' })
  assert.deepEqual(parseAtom('x=1', 'deb').version, { op: '=', version: '1' })
  assert.deepEqual(parseAtom('x>1', 'deb').version, { op: '>', version: '1' })
  assert.deepEqual(parseAtom('x<<1', 'deb').version, { op: '<', version: '1' })
  assert.equal(parseAtom('python3:any', 'deb').arch, 'any')
  for (const text of ['', 'a b', 'a>=', 'app/shop', 'a (~ 1)'])
    assert.throws(() => parseAtom(text, 'deb'), isSyntax, text)
})

test('native atoms of a profile', () => {
  const range = { range: '^2.1' }
  for (const text of ['app/shop ^2.1', 'app/shop: ^2.1', 'app/shop:^2.1'])
    assert.deepEqual(parseAtom(text, 'semver'), { name: 'app/shop', text, version: range })
  assert.deepEqual(parseAtom('app/shop ^2.1 [ssl,-ldap] #3', 'semver'), {
    name: 'app/shop',
    text: 'app/shop ^2.1 [ssl,-ldap] #3',
    version: range,
    use: [
      { flag: 'ssl', state: 'on' },
      { flag: 'ldap', state: 'off' },
    ],
    buildId: 3,
  })
  assert.deepEqual(parseAtom('app/shop#3[ssl]', 'semver').buildId, 3)
  assert.deepEqual(parseAtom('app/shop >=1 <3', 'semver').version, { range: '>=1 <3' })
  for (const text of ['shop', 'app/', 'app/shop ^^2', 'app/shop [!]', 'app/shop #1 #2', 'app/shop [a] x'])
    assert.throws(() => parseAtom(text, 'semver'), isSyntax, text)
})

const flag = fc.stringMatching(/^[a-z][a-z0-9_+-]{0,4}$/)
const useTest: fc.Arbitrary<UseTest> = fc.record(
  {
    flag,
    state: fc.constantFrom<UseTest['state']>(
      'on',
      'off',
      'same',
      'opposite',
      'if-parent-on',
      'if-parent-off',
    ),
    otherwise: fc.boolean(),
  },
  { requiredKeys: ['flag', 'state'], noNullPrototype: true },
)

test('printing an atom and parsing it gives its parts back', () => {
  const parts = fc.record(
    {
      name: fc.constantFrom('app/shop', 'net/a+b', 'a/b/c'),
      version: fc.constantFrom('^2.1', '1.x', '>=1.0.0 <2').map((range) => ({ range })),
      use: fc.array(useTest, { minLength: 1, maxLength: 3 }),
      buildId: fc.nat(9),
    },
    { requiredKeys: ['name'], noNullPrototype: true },
  )
  fc.assert(
    fc.property(parts, (native) => {
      const { text, ...atom } = parseAtom(printAtom({ ...native, text: '' }), 'semver')
      assert.ok(text !== '')
      assert.deepEqual(atom, { ...native })
    }),
  )
  const debian = fc.record(
    {
      name: fc.constantFrom('libc6', 'g++', 'x.y'),
      version: fc.record(
        {
          op: fc.constantFrom('<', '<=', '=', '>=', '>'),
          version: fc.constantFrom('1', '2:1.0-1~x'),
        },
        { noNullPrototype: true },
      ),
      arch: fc.constantFrom('any', 'amd64'),
    },
    { requiredKeys: ['name'], noNullPrototype: true },
  )
  fc.assert(
    fc.property(debian, (parts) => {
      const { text, ...atom } = parseAtom(printAtom({ ...parts, text: '' } as Atom), 'deb')
      assert.ok(text !== '')
      assert.deepEqual(atom, { ...parts })
    }),
  )
})

test('USE tests print as they parse', () => {
  fc.assert(fc.property(useTest, (one) => assert.deepEqual(parseUseTest(printUseTest(one)), one)))
  assert.deepEqual(
    parseUseTests('a, -b(+) ,!c?').map(({ state }) => state),
    ['on', 'off', 'if-parent-off'],
  )
  for (const text of ['', '--a', '-a?', 'a b', 'a(x)', '-a='])
    assert.throws(() => parseUseTest(text), isSyntax, text)
})

test('USE tests hold as PMS 8.3.4 says', () => {
  const built = { use: ['on'], iuse: ['off', 'on'] }
  const holds = (text: string, parent?: string[]): boolean =>
    passesUseTest(parseUseTest(text), built, parent && { use: parent, iuse: parent })
  assert.deepEqual(
    ['on', '-on', 'off', '-off'].map((text) => holds(text)),
    [true, false, false, true],
  )
  assert.deepEqual(
    ['unknown', '-unknown', 'unknown(+)', 'unknown(-)', '-unknown(+)', '-unknown(-)'].map((text) =>
      holds(text),
    ),
    [false, false, true, false, false, true],
  )
  assert.deepEqual(
    ['on=', '!on=', 'on?', '!on?'].map((text) => [holds(text, []), holds(text, ['on'])]),
    [
      [false, true],
      [true, false],
      [true, true],
      [false, true],
    ],
  )
  assert.deepEqual(
    ['off=', '!off=', 'off?', '!off?'].map((text) => [holds(text, []), holds(text, ['off'])]),
    [
      [true, false],
      [false, true],
      [true, false],
      [true, true],
    ],
  )
  assert.equal(printFlags(built), 'on -off')
})

test('an atom matches by name, version, slot, flags, build, repository', () => {
  const pkg = build('a/x 1.2.0', {
    slot: '2',
    subslot: '5',
    use: ['f'],
    iuse: ['f'],
    buildId: 3,
    repo: 'r',
    scheme: 'semver',
  })
  const atom = { name: 'a/x', text: '' }
  assert.ok(matches(atom, pkg))
  for (const [part, word] of [
    [{ name: 'a/y' }, 'name'],
    [{ version: { range: '^2' } }, 'version'],
    [{ slot: '1' }, 'slot'],
    [{ slot: '2', subslot: '4' }, 'slot'],
    [{ use: [{ flag: 'f', state: 'off' }] }, 'use'],
    [{ repo: 'other' }, 'repo'],
    [{ buildId: 2 }, 'build'],
    [{ arch: 'arm64' }, 'arch'],
  ] as [Partial<Atom>, string][])
    assert.equal(mismatch({ ...atom, ...part }, pkg), word)
  assert.ok(
    matches({ ...atom, slot: '2', subslot: '5', buildId: 3, repo: 'r', version: { range: '1' } }, pkg),
  )
})

test('an unversioned provide never satisfies a versioned relation', () => {
  const pkg = build('mawk 1.3', { provides: [{ name: 'awk' }, { name: 'libx', version: '2.0' }] })
  const asks = (text: string): boolean => provides(parseAtom(text, 'deb'), pkg)
  assert.deepEqual(['awk', 'awk (>= 1)', 'libx', 'libx (>= 2)', 'libx (>> 2.0)', 'mawk'].map(asks), [
    true,
    false,
    true,
    true,
    false,
    false,
  ])
  assert.ok(satisfies(parseAtom('mawk', 'deb'), pkg))
})

test('the qualifier any is for packages that allow it', () => {
  const asks = (multiArch: Package['multiArch'], text: string): boolean =>
    matches(parseAtom(text, 'deb'), build('p 1', { multiArch, arch: 'amd64' }))
  assert.deepEqual(
    (['no', 'same', 'foreign', 'allowed'] as const).map((kind) => asks(kind, 'p:any')),
    [false, false, true, true],
  )
  assert.ok(asks('no', 'p:amd64') && asks('no', 'p:native') && !asks('no', 'p:arm64'))
})

test('conditionals reduce by flags; an any that became empty is false', () => {
  const need = (name: string): DepExpr => ({ need: { name, text: name } })
  const when = (flag: string, on: boolean, then: DepExpr): DepExpr => ({ flag, on, then })
  assert.deepEqual(reduceExpr({ all: [when('f', true, need('a')), need('b')] }, []), need('b'))
  assert.deepEqual(reduceExpr({ any: [when('f', true, need('a')), need('b')] }, []), need('b'))
  assert.deepEqual(reduceExpr({ any: [when('f', true, need('a'))] }, []), { any: [] })
  assert.deepEqual(reduceExpr(when('f', false, need('a')), []), need('a'))
  assert.equal(reduceExpr(when('f', false, need('a')), ['f']), undefined)
  assert.equal(reduceExpr({ all: [] }, []), undefined)
  assert.equal(
    printExpr({ any: [need('a'), { all: [need('b'), when('f', false, need('c'))] }] }),
    'a | ( b, !f? ( c ) )',
  )
})
