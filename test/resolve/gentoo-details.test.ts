/** What the requirements of resolving Gentoo packages say beside the main rules: one question each. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { universeOf } from '../../src/resolve/universe.ts'
import { whyNot } from '../../src/resolve/why.ts'
import { ask, stanzas, type Stanzas, told, universeJson } from '../helpers/ask.ts'

const bare = {}

function asked(
  atoms: string,
  binhosts: readonly { readonly [key: string]: unknown }[],
  config: { readonly [key: string]: unknown } = {},
) {
  return told({ ...universeJson(atoms, {}, config), binhosts })
}

test('CHOST and REPO of the header hold for entries that have none of their own', () => {
  const packages = stanzas({ 'a/x-2': bare, 'a/x-1': { CHOST: 'x86_64-pc-linux-gnu', REPO: 'gentoo' } }).map(
    ({ CPV = '', ...rest }) => ({ CPV, EAPI: '8', ...rest }),
  )
  const musl = [{ name: 'main', header: { CHOST: 'x86_64-pc-linux-musl', REPO: 'house' }, packages }]
  assert.deepEqual(asked('a/x', musl, { chost: 'x86_64-pc-linux-gnu' }).chosen, ['a/x-1'])
  assert.deepEqual(asked('a/x', musl, { chost: 'x86_64-pc-linux-musl' }).chosen, ['a/x-2'])
  assert.deepEqual(asked('a/x::gentoo', musl).chosen, ['a/x-1'])
  assert.deepEqual(asked('a/x::house', musl).chosen, ['a/x-2'])
})

test('one build that is listed twice under two paths is one build', () => {
  const twice = stanzas({ 'a/x-1#1': { BUILD_TIME: '5', SIZE: '7' } }).flatMap((stanza) => [
    { ...stanza, PATH: 'a/x/x-1-1.gpkg.tar' },
    { ...stanza, PATH: 'a/x-1.gpkg.tar' },
  ])
  const told = ask('a/x', twice)
  assert.deepEqual(told.order, ['a/x-1#1'])
  assert.match(
    ask('a/x a/y', [...twice, ...stanzas({ 'a/y-1': { RDEPEND: '!a/x' } })]).message,
    /a\/y-1 excludes a\/x: that is a\/x-1#1$/m,
  )
})

test('flags that a build knows without naming them: by EAPI, header, and how it was built', () => {
  const knows = (flag: string, b: { readonly [key: string]: string }, header = {}): boolean =>
    asked('a/x', [
      { name: 'main', header, packages: stanzas({ 'a/x-1': { RDEPEND: `l/b[-${flag}]` }, 'l/b-1': b }) },
    ]).ok
  for (const flag of ['build', 'bootstrap', 'sparc', 'arm64']) {
    assert.equal(knows(flag, { EAPI: '4' }), true, flag)
    assert.equal(knows(flag, { EAPI: '5' }), false, flag)
  }
  assert.equal(knows('prefix', {}, { IUSE_IMPLICIT: 'prefix' }), true)
  assert.equal(knows('prefix', { EAPI: '4' }, { IUSE_IMPLICIT: 'prefix' }), false)
  const unprefixed = {
    USE_EXPAND_IMPLICIT: 'ARCH',
    USE_EXPAND_UNPREFIXED: 'ARCH',
    USE_EXPAND_VALUES_ARCH: 'amd64 mips',
  }
  assert.equal(knows('mips', {}, unprefixed), true)
  assert.equal(knows('arch_mips', {}, unprefixed), false)
  assert.equal(knows('mips', {}, { ...unprefixed, USE_EXPAND_UNPREFIXED: '' }), false)
  const built: Stanzas = { 'a/x-1': { RDEPEND: 'l/b[abi_x86_64]' }, 'l/b-1': { USE: 'abi_x86_64' } }
  assert.equal(ask('a/x', built).ok, true, 'a flag that it was built with is known')
  assert.equal(ask('a/x', { ...built, 'l/b-1': bare }).ok, false)
})

test('virtuals have versions, slots, flags and masks like any package', () => {
  const packages: Stanzas = {
    'a/x-1': { RDEPEND: 'virtual/jpeg:0' },
    'virtual/jpeg-3': { SLOT: '1', RDEPEND: 'l/three' },
    'virtual/jpeg-2': { IUSE: 'f', USE: 'f', RDEPEND: '|| ( l/two l/other )' },
    'virtual/jpeg-1': { IUSE: 'f', RDEPEND: 'l/one' },
    'l/one-1': bare,
    'l/two-1': bare,
    'l/three-1': bare,
    'l/other-1': bare,
  }
  const chosen = (config: { readonly [key: string]: unknown } = {}, more = ''): string =>
    ask(`a/x ${more}`, packages, config)
      .chosen.filter((title) => !title.startsWith('a/'))
      .join(' ')
  assert.equal(chosen(), 'l/two-1 virtual/jpeg-2')
  assert.equal(chosen({ packageMask: ['>=virtual/jpeg-2:0'] }), 'l/one-1 virtual/jpeg-1')
  assert.equal(
    chosen({ respectUse: 'listed', packageUse: [{ atom: 'virtual/jpeg', use: ['-f'] }] }),
    'l/one-1 virtual/jpeg-1',
  )
  assert.equal(chosen({}, 'l/other'), 'l/other-1 virtual/jpeg-2')
})

test('one package serves two groups that overlap', () => {
  const packages: Stanzas = {
    'a/x-1': { RDEPEND: '|| ( l/b l/c ) || ( l/c l/d )' },
    'l/b-1': bare,
    'l/c-1': bare,
    'l/d-1': bare,
  }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1', 'l/c-1'])
})

test('the version ranks before the time of the build, the time before the binhost', () => {
  const packages: Stanzas = { 'a/x-2#1': { BUILD_TIME: '1' }, 'a/x-1#9': { BUILD_TIME: '9' } }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-2#1'])
  const host = (name: string, priority: number, title: string, time: string) => ({
    ...{ name, priority, packages: stanzas({ [title]: { BUILD_TIME: time } }) },
  })
  assert.deepEqual(asked('a/x', [host('low', 1, 'a/x-2#1', '1'), host('high', 9, 'a/x-1#1', '9')]).chosen, [
    'a/x-2#1',
  ])
  const first = { rank: 'priority-first' }
  assert.deepEqual(
    asked('a/x', [host('low', 1, 'a/x-2#1', '1'), host('high', 9, 'a/x-1#1', '9')], first).chosen,
    ['a/x-1#1'],
  )
})

test('PROPERTIES and RESTRICT mask nothing', () => {
  const packages: Stanzas = { 'a/x-1': { PROPERTIES: 'interactive live', RESTRICT: 'fetch mirror bindist' } }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1'])
})

test('a live build, which has no keywords, is taken with ** only', () => {
  const packages: Stanzas = { 'a/x-9999': { KEYWORDS: '' }, 'a/x-1': { KEYWORDS: 'amd64' } }
  assert.deepEqual(ask('a/x', packages, { acceptKeywords: ['~amd64', '~*', '*'] }).chosen, ['a/x-1'])
  const accepted = { packageAcceptKeywords: [{ atom: 'a/x', keywords: ['**'] }] }
  assert.deepEqual(ask('a/x', packages, accepted).chosen, ['a/x-9999'])
})

test('the policy listed compares a flag that is named even where it is implicit', () => {
  const packages: Stanzas = {
    'a/x-1#2': { BUILD_TIME: '2', USE: 'static' },
    'a/x-1#1': { BUILD_TIME: '1' },
  }
  const chosen = (use: string): readonly string[] =>
    asked('a/x', [{ name: 'main', header: { IUSE_IMPLICIT: 'static' }, packages: stanzas(packages) }], {
      respectUse: 'listed',
      packageUse: [{ atom: 'a/x', use: [use] }],
    }).chosen
  assert.deepEqual(chosen('-static'), ['a/x-1#1'])
  assert.deepEqual(chosen('static'), ['a/x-1#2'])
})

test('what a cycle needs comes before it, what needs it comes after, and the cycle itself has one order', () => {
  const packages: Stanzas = {
    'a/first-1': { RDEPEND: 's/two' },
    's/one-1': { RDEPEND: 's/two z/below' },
    's/two-1': { RDEPEND: 's/one' },
    'z/below-1': bare,
  }
  const order = ['z/below-1', 's/one-1', 's/two-1', 'a/first-1']
  const { order: found } = ask('a/first', packages)
  assert.equal(found[0], order[0])
  assert.equal(found.at(-1), order.at(-1))
  assert.deepEqual(found.toSorted(), order.toSorted())
  const turned = Object.fromEntries(Object.entries(packages).reverse())
  assert.deepEqual(ask('a/first', turned).order, found)
})

test('a refusal names what is in the way and nothing else', () => {
  const packages: Stanzas = {
    'a/x-1': { RDEPEND: 'l/b:0/1= l/other' },
    'a/y-1': { RDEPEND: 'l/b:0/2= l/other' },
    'a/z-1': { RDEPEND: '|| ( l/other l/more )' },
    'l/b-1': { SLOT: '0/1' },
    'l/b-2': { SLOT: '0/2' },
    'l/other-1': bare,
    'l/more-1': bare,
  }
  const { message, kind } = ask('a/z a/x a/y', packages)
  assert.equal(kind, 'unsatisfiable')
  for (const name of ['a/x-1', 'a/y-1', 'l/b-1', 'l/b-2']) assert.ok(message.includes(name), name)
  for (const name of ['a/z', 'l/other', 'l/more']) assert.ok(!message.includes(name), message)
  for (const left of ['a/z a/x', 'a/z a/y']) assert.ok(ask(left, packages).ok, left)
})

test('requests come before what they need: first the first request, at its newest', () => {
  const packages: Stanzas = {
    'a/x-2': { RDEPEND: '<l/b-2' },
    'a/x-1': bare,
    'a/y-2': { RDEPEND: '>=l/b-2' },
    'a/y-1': bare,
    'l/b-2': bare,
    'l/b-1': bare,
  }
  assert.deepEqual(ask('a/x a/y', packages).chosen, ['a/x-2', 'a/y-1', 'l/b-1'])
  assert.deepEqual(ask('a/y a/x', packages).chosen, ['a/x-1', 'a/y-2', 'l/b-2'])
  assert.equal(ask('a/y a/x', packages).data['optimal'], true)
})

test('of dependencies the fewest versions are given up', () => {
  const packages: Stanzas = {
    'a/x-1': { RDEPEND: 'l/b l/c l/d' },
    'l/b-2': { RDEPEND: '!>=l/c-2 !>=l/d-2' },
    'l/b-1': bare,
    'l/c-2': bare,
    'l/c-1': bare,
    'l/d-2': bare,
    'l/d-1': bare,
  }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1', 'l/b-1', 'l/c-2', 'l/d-2'])
})

test('requests that nothing can meet are told all at once, each with the command that builds it', () => {
  const packages: Stanzas = {
    'dev-lang/php-8#1': { IUSE: 'fpm' },
    'app/tool-2': { IUSE: 'x', USE: 'x' },
    'a/x-1': bare,
  }
  const atoms = [{ atom: 'dev-lang/php', use: ['fpm'] }, 'a/x', { atom: 'app/tool', use: ['-x'] }]
  const question = universeJson('', packages, { respectUse: 'listed' }, { atoms })
  const { kind, builds, message } = told(question)
  assert.equal(kind, 'no-match')
  assert.deepEqual(builds, [
    'USE="fpm" emerge --buildpkgonly =dev-lang/php-8',
    'USE="-x" emerge --buildpkgonly =app/tool-2',
  ])
  assert.ok(!message.includes('a/x'))
})

test('no build is proposed that would be refused again: flags against the profile, numbered builds', () => {
  const packages: Stanzas = { 'dev-lang/php-8#1': { IUSE: 'apache2 fpm', USE: 'fpm' } }
  const config = { respectUse: 'listed', packageUse: [{ atom: 'dev-lang/php', use: ['-apache2'] }] }
  const parent: Stanzas = { ...packages, 'a/x-1': { RDEPEND: 'dev-lang/php[apache2]' } }
  for (const { message, builds } of [
    ask('dev-lang/php[apache2]', packages, config),
    ask('a/x', parent, config),
  ]) {
    assert.match(message, /USE=apache2 of dev-lang\/php is against the profile, which wants USE=-apache2/)
    assert.deepEqual(builds, [])
  }
  const other: Stanzas = { 'dev-lang/php-8#1': { IUSE: 'apache2 fpm' } }
  const built = ask('dev-lang/php[apache2]', other)
  assert.deepEqual(built.builds, ['USE="apache2" emerge --buildpkgonly =dev-lang/php-8'])
  const fpm = { respectUse: 'listed', packageUse: [{ atom: 'dev-lang/php', use: ['fpm'] }] }
  assert.deepEqual(ask('=dev-lang/php-8-1', other, fpm).builds, [])
})

test('a flag that no build knows is told, with the one it may be meant for', () => {
  const packages: Stanzas = {
    'dev-lang/php-8#1': { IUSE: 'apache2 fpm' },
    'dev-lang/php-8#2': { IUSE: 'fpm' },
  }
  const told = (use: string): string => ask(`dev-lang/php[${use}]`, packages).message
  assert.match(told('fmp'), /USE=fmp \(2 builds: .*\); none knows fmp, perhaps fpm\n/)
  assert.match(told('-fmp'), /none knows fmp, perhaps fpm\n/)
  assert.match(told('unheard'), /none knows unheard\n/)
  assert.doesNotMatch(told('fpm'), /none knows/)
})

test('why-not has a reason of its own for version, flag, slot, sub-slot, keyword, mask, licence and blocker', () => {
  const lib = { KEYWORDS: 'amd64', SLOT: '0/2' }
  const reasons = (
    atoms: string,
    packages: Stanzas,
    name: string,
    config: { readonly [key: string]: unknown } = {},
  ): string[] => {
    const { input, indexes } = universeOf(universeJson(atoms, packages, config), () => assert.fail())
    return whyNot(input, indexes, name).map(
      ({ pkg, kind, because }) => `${pkg} ${kind}: ${because.join('; ')}`,
    )
  }
  const two: Stanzas = { 'l/b-2': lib, 'l/b-1': { SLOT: '0/1' } }
  const first = (...question: Parameters<typeof reasons>): string => reasons(...question)[0] ?? ''
  assert.match(first('<l/b-2', two, 'l/b'), /^l\/b-2 request: .*asks for <l\/b-2 .*this is version 2$/)
  assert.match(first('l/b:0/1', two, 'l/b'), /^l\/b-2 request: .*this is slot 0\/2$/)
  assert.match(
    first('a/x', { ...two, 'a/x-1': { RDEPEND: 'l/b:0/1=' } }, 'l/b'),
    /^l\/b-2 conflict: .*a\/x-1 needs l\/b:0\/1=: l\/b-1, not l\/b-2 \(slot 0\/2\); only one build of l\/b/,
  )
  assert.match(
    first('l/c:1', { 'l/c-2': bare, 'l/c-1': { SLOT: '1' } }, 'l/c'),
    /^l\/c-2 request: .*this is slot 0$/,
  )
  const flags: Stanzas = { 'l/b-2': { IUSE: 'f' } }
  const wants = { respectUse: 'listed', packageUse: [{ atom: 'l/b', use: ['f'] }] }
  assert.equal(first('l/b', flags, 'l/b', wants), 'l/b-2 use: lacks USE=f')
  assert.match(
    first('l/b', { 'l/b-2': { KEYWORDS: '~amd64' } }, 'l/b'),
    /^l\/b-2 keyword: keyword ~amd64, acc/,
  )
  assert.match(
    first('l/b', two, 'l/b', { packageMask: ['>=l/b-2'] }),
    /^l\/b-2 mask: masked by >=l\/b-2 \(packageMask:1:1\)$/,
  )
  assert.equal(
    first('l/b', { 'l/b-2': { LICENSE: 'X' } }, 'l/b', { acceptLicense: ['MIT'] }),
    'l/b-2 license: licence X is not accepted',
  )
  assert.match(
    first('a/x', { 'a/x-1': { RDEPEND: '!l/b' }, 'l/b-2': bare }, 'l/b'),
    /^l\/b-2 conflict: .*a\/x-1 excludes l\/b: that is l\/b-2$/,
  )
  assert.deepEqual(reasons('l/b', { 'l/b-2#1': { BUILD_TIME: '1' }, 'l/b-2#2': { BUILD_TIME: '2' } }, 'b'), [
    'l/b-2#2 chosen: it is chosen',
    'l/b-2#1 outranked: l/b-2#2 is preferred: built later',
  ])
})
