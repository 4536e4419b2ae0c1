import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isStage5Error } from '../../src/base/errors.ts'
import { rawIndexOf, universeOf } from '../../src/resolve/universe.ts'
import { whyNot } from '../../src/resolve/why.ts'
import { ask, stanzas, type Stanzas, told, universeJson } from '../helpers/ask.ts'

const bare = {}

test('run-time dependencies are chosen, build-time ones do not matter', () => {
  const x = { RDEPEND: 'l/r', PDEPEND: 'l/p', DEPEND: 'l/d', BDEPEND: 'l/b', IDEPEND: 'l/i' }
  const packages: Stanzas = { 'a/x-1': x, 'l/r-1': bare, 'l/p-1': bare, 'l/i-1': bare }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1', 'l/p-1', 'l/r-1'])
  const all = { depTypes: ['RDEPEND', 'PDEPEND', 'IDEPEND'] }
  assert.deepEqual(ask('a/x', packages, {}, all).chosen, ['a/x-1', 'l/i-1', 'l/p-1', 'l/r-1'])
  assert.deepEqual(ask('a/x', packages, {}, { depTypes: ['RDEPEND'] }).chosen, ['a/x-1', 'l/r-1'])
})

test('IDEPEND exists from EAPI 8 on', () => {
  const packages: Stanzas = { 'a/x-1': { EAPI: '7', IDEPEND: 'l/i' }, 'l/i-1': bare }
  assert.deepEqual(ask('a/x', packages, {}, { depTypes: ['RDEPEND', 'IDEPEND'] }).chosen, ['a/x-1'])
})

test('PDEPEND has the force of RDEPEND and adds no order', () => {
  assert.equal(ask('a/x', { 'a/x-1': { PDEPEND: 'l/p' } }).ok, false)
  const packages: Stanzas = { 'a/x-1': { PDEPEND: 'z/p' }, 'z/p-1': { RDEPEND: 'a/x' } }
  assert.deepEqual(ask('a/x', packages).order, ['a/x-1', 'z/p-1'])
  const other: Stanzas = { 'z/x-1': { PDEPEND: 'a/p' }, 'a/p-1': { RDEPEND: 'z/x' } }
  assert.deepEqual(ask('z/x', other).order, ['z/x-1', 'a/p-1'])
})

test('a sub-slot recorded at build time is a hard constraint, and the refusal says so', () => {
  const told = ask('a/x', { 'a/x-1': { RDEPEND: 'l/b:0/1=' }, 'l/b-1': { SLOT: '0/2' } })
  assert.equal(told.kind, 'unsatisfiable')
  assert.match(told.message, /a\/x-1 needs l\/b:0\/1=, but not l\/b-1 \(slot 0\/2\)/)
  assert.deepEqual(told.builds, ['emerge --buildpkgonly =a/x-1'])
})

test('an older build that is bound to the sub-slot that exists is taken', () => {
  const packages: Stanzas = {
    'a/x-1#1': { BUILD_TIME: '1', RDEPEND: 'l/b:0/2=' },
    'a/x-1#2': { BUILD_TIME: '2', RDEPEND: 'l/b:0/1=' },
    'l/b-1': { SLOT: '0/2' },
  }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1#1', 'l/b-1'])
})

test('an older version that is not bound to a sub-slot is taken', () => {
  const packages: Stanzas = {
    'a/x-2': { RDEPEND: 'l/b:0/1=' },
    'a/x-1': { RDEPEND: 'l/b:=' },
    'l/b-1': { SLOT: '0/2' },
  }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1', 'l/b-1'])
})

test('two packages bound to different sub-slots of one slot are refused, naming both', () => {
  const told = ask('a/x a/y', {
    'a/x-1': { RDEPEND: 'l/b:0/1=' },
    'a/y-1': { RDEPEND: 'l/b:0/2=' },
    'l/b-1': { SLOT: '0/1' },
    'l/b-2': { SLOT: '0/2' },
  })
  assert.equal(told.ok, false)
  assert.match(told.message, /a\/x-1 needs l\/b:0\/1=/)
  assert.match(told.message, /a\/y-1 needs l\/b:0\/2=/)
  assert.match(told.message, /only one build of l\/b/)
})

test('two slots of one package stand side by side where both are needed', () => {
  const b: Stanzas = { 'l/b-1': { SLOT: '1' }, 'l/b-2': { SLOT: '2' } }
  const both: Stanzas = { 'a/x-1': { RDEPEND: 'l/b:1 l/b:2' }, ...b }
  assert.deepEqual(ask('a/x', both).chosen, ['a/x-1', 'l/b-1', 'l/b-2'])
  const one: Stanzas = { 'a/x-1': { RDEPEND: 'l/b:1 l/b l/b:*' }, ...b }
  assert.deepEqual(ask('a/x', one).chosen, ['a/x-1', 'l/b-1'])
})

test('an any-of takes the branch that is needed anyway, wherever that need stands', () => {
  const x = { RDEPEND: '|| ( l/b l/c )' }
  const packages: Stanzas = {
    'a/x-1': x,
    'a/y-1': { RDEPEND: 'l/deep' },
    'l/deep-1': { RDEPEND: 'l/c' },
    'l/b-1': bare,
    'l/c-1': bare,
  }
  assert.deepEqual(ask('a/x l/c', packages).chosen, ['a/x-1', 'l/c-1'])
  assert.deepEqual(ask('l/c a/x', packages).chosen, ['a/x-1', 'l/c-1'])
  assert.deepEqual(ask('a/x a/y', packages).chosen, ['a/x-1', 'a/y-1', 'l/c-1', 'l/deep-1'])
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1', 'l/b-1'])
})

test('an any-of passes over a left branch that fails below itself or is masked', () => {
  const packages: Stanzas = {
    'a/x-1': { RDEPEND: '|| ( l/b l/c )' },
    'l/b-1': { RDEPEND: 'l/absent' },
    'l/c-1': bare,
  }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1', 'l/c-1'])
  const sound: Stanzas = { ...packages, 'l/b-1': bare }
  assert.deepEqual(ask('a/x', sound, { packageMask: ['l/b'] }).chosen, ['a/x-1', 'l/c-1'])
})

test('an any-of over slots of one package takes the newest', () => {
  const slots: Stanzas = {
    'a/x-1': { RDEPEND: '|| ( l/b:1 l/b:2 )' },
    'l/b-1': { SLOT: '1' },
    'l/b-2': { SLOT: '2' },
  }
  assert.deepEqual(ask('a/x', slots).chosen, ['a/x-1', 'l/b-2'])
  assert.deepEqual(ask('a/x l/b:1', slots).chosen, ['a/x-1', 'l/b-1'])
})

test('a blocker in an any-of is true when nothing matches it', () => {
  const packages: Stanzas = { 'a/x-1': { RDEPEND: '|| ( !l/b l/c )' }, 'l/c-1': bare, 'l/b-1': bare }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1'])
  assert.deepEqual(ask('a/x l/b', packages).chosen, ['a/x-1', 'l/b-1', 'l/c-1'])
})

test('an any-of that reduction empties is true up to EAPI 6 and false from 7 on', () => {
  const x = { RDEPEND: '|| ( f? ( l/b ) )', IUSE: 'f' }
  assert.equal(ask('a/x', { 'a/x-1': { ...x, EAPI: '6' } }).ok, true)
  assert.equal(ask('a/x', { 'a/x-1': { ...x, EAPI: '7' } }).ok, false)
})

test('virtuals are ordinary packages', () => {
  const packages: Stanzas = {
    'a/x-1': { RDEPEND: 'virtual/awk' },
    'virtual/awk-1': { RDEPEND: '|| ( sys/gawk sys/mawk )' },
    'sys/mawk-1': bare,
  }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1', 'sys/mawk-1', 'virtual/awk-1'])
})

test('weak blocks on the own slot do not count, strong ones and those on other slots do', () => {
  assert.equal(ask('a/x', { 'a/x-2': { RDEPEND: '!<a/x-3' } }).ok, true)
  assert.equal(ask('a/x', { 'a/x-2': { RDEPEND: '!!<a/x-3' } }).ok, false)
  const slots: Stanzas = { 'a/x-2': { SLOT: '2', RDEPEND: '!<a/x-2' }, 'a/x-1': { SLOT: '1' } }
  assert.equal(ask('a/x:2 a/x:1', slots).ok, false)
  assert.equal(ask('a/x:2', slots).ok, true)
})

test('a blocker with a USE dependency excludes only builds with the flag, and never pulls', () => {
  const x = { RDEPEND: '!l/b[f]' }
  const off: Stanzas = { 'a/x-1': x, 'l/b-1': { IUSE: 'f' } }
  assert.deepEqual(ask('a/x l/b', off).chosen, ['a/x-1', 'l/b-1'])
  assert.deepEqual(ask('a/x', off).chosen, ['a/x-1'])
  assert.equal(ask('a/x l/b', { 'a/x-1': x, 'l/b-1': { IUSE: 'f', USE: 'f' } }).ok, false)
})

test('a blocker makes an older version the answer', () => {
  const packages: Stanzas = { 'a/x-2': { RDEPEND: '!a/y' }, 'a/x-1': bare, 'a/y-1': bare }
  const told = ask('a/x a/y', packages)
  assert.deepEqual(told.chosen, ['a/x-1', 'a/y-1'])
  assert.deepEqual(ask('a/y a/x', packages).chosen, ['a/x-1', 'a/y-1'])
})

test('a USE dependency that no build meets makes an older version the answer', () => {
  const packages: Stanzas = {
    'a/x-2': { RDEPEND: 'l/b[f]' },
    'a/x-1': { RDEPEND: 'l/b' },
    'l/b-1': { IUSE: 'f' },
  }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1', 'l/b-1'])
})

test('an unknown flag without a default never matches, not even when it must be off', () => {
  const ok = (use: string, b: { [key: string]: string } = {}): boolean =>
    ask('a/x', { 'a/x-1': { RDEPEND: `l/b[${use}]` }, 'l/b-1': b }).ok
  assert.deepEqual(
    [ok('f'), ok('-f'), ok('f(+)'), ok('f(-)'), ok('-f(-)'), ok('-f(+)')],
    [false, false, true, false, true, false],
  )
  assert.equal(ok('-f', { IUSE: 'f' }), true)
  assert.equal(ok('f', { IUSE: 'f', USE: 'f' }), true)
  assert.equal(ok('elibc_glibc', { EAPI: '4' }), false)
})

test('flags are known through the headers of all binhosts, and to old EAPIs by prefix', () => {
  const with_ = (header: { [key: string]: string }, eapi: string): boolean => {
    const packages = stanzas({ 'a/x-1': { RDEPEND: 'l/b[-elibc_musl]' }, 'l/b-1': { EAPI: eapi } })
    const question = universeJson('a/x', packages)
    const binhosts = [
      { name: 'main', packages },
      { name: 'other', header },
    ]
    return told({ ...question, binhosts }).ok
  }
  const expand = {
    USE_EXPAND: 'ELIBC',
    USE_EXPAND_IMPLICIT: 'ELIBC',
    USE_EXPAND_VALUES_ELIBC: 'glibc musl',
  }
  assert.equal(with_(expand, '8'), true)
  assert.equal(with_({}, '8'), false)
  const question = universeJson('a/x', { 'a/x-1': { RDEPEND: 'l/b[-elibc_musl]' }, 'l/b-1': { EAPI: '4' } })
  const hidden = { ...question, config: { makeDefaults: { USE_EXPAND_HIDDEN: 'ELIBC' } } }
  assert.equal(told(hidden).ok, true)
})

test('conditional USE dependencies look at the flags of the parent', () => {
  const ok = (use: string, parent: string, child: string): boolean =>
    ask('a/x', {
      'a/x-1': { IUSE: 'f', USE: parent, RDEPEND: `l/b[${use}]` },
      'l/b-1': { IUSE: 'f', USE: child },
    }).ok
  assert.deepEqual([ok('f?', 'f', ''), ok('f?', '', ''), ok('f?', 'f', 'f')], [false, true, true])
  assert.deepEqual([ok('!f?', '', 'f'), ok('!f?', 'f', 'f'), ok('!f?', '', '')], [false, true, true])
  assert.deepEqual([ok('f=', 'f', 'f'), ok('f=', '', 'f'), ok('!f=', '', 'f')], [true, false, true])
})

test('the newest BUILD_TIME ranks first, not the highest BUILD_ID', () => {
  const packages: Stanzas = { 'a/x-1#1': { BUILD_TIME: '20' }, 'a/x-1#2': { BUILD_TIME: '10' } }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-1#1'])
  const tied: Stanzas = { 'a/x-1#1': { BUILD_TIME: '10' }, 'a/x-1#2': { BUILD_TIME: '10' } }
  assert.deepEqual(ask('a/x', tied).chosen, ['a/x-1#2'])
})

test('the binhost of higher priority decides between equal builds only', () => {
  const binhosts = (old: string, fresh: string): string => {
    const question = universeJson('a/x', {})
    const [low, high] = [
      stanzas({ 'a/x-1#1': { BUILD_TIME: old } }),
      stanzas({ 'a/x-1#1': { BUILD_TIME: fresh } }),
    ]
    const answer = told({
      ...question,
      binhosts: [
        { name: 'low', priority: 1, packages: low },
        { name: 'high', priority: 9, packages: high },
      ],
    })
    return (answer.data['packages'] as { binhost: string }[])[0]?.binhost ?? ''
  }
  assert.equal(binhosts('5', '5'), 'high')
  assert.equal(binhosts('6', '5'), 'low')
})

test('a build id may be asked for', () => {
  const packages: Stanzas = { 'a/x-1-r1#3': { BUILD_TIME: '1' }, 'a/x-1-r1#4': { BUILD_TIME: '9' } }
  assert.deepEqual(ask('=a/x-1-r1-3', packages).chosen, ['a/x-1-r1#3'])
  assert.equal(ask('=a/x-1-r1-5', packages).kind, 'no-match')
})

test('keywords decide what may be chosen', () => {
  const packages: Stanzas = {
    'a/x-3': { KEYWORDS: '' },
    'a/x-2': { KEYWORDS: '~amd64' },
    'a/x-1': { KEYWORDS: 'amd64 ~arm64' },
    'a/x-4': { KEYWORDS: '-*' },
  }
  const chosen = (config: { readonly [key: string]: unknown }): string =>
    ask('a/x', packages, config).chosen.join()
  assert.equal(chosen({}), 'a/x-1')
  assert.equal(chosen({ acceptKeywords: ['~amd64'] }), 'a/x-2')
  assert.equal(chosen({ acceptKeywords: ['~*'] }), 'a/x-2')
  assert.equal(chosen({ acceptKeywords: ['**'] }), 'a/x-4')
  assert.equal(chosen({ acceptKeywords: ['arm64'] }), '')
  assert.equal(chosen({ acceptKeywords: ['arm64', '*'] }), 'a/x-1')
  assert.equal(chosen({ packageAcceptKeywords: [{ atom: 'a/x', keywords: [] }] }), 'a/x-2')
  assert.equal(chosen({ packageAcceptKeywords: [{ atom: '=a/x-3', keywords: ['**'] }] }), 'a/x-3')
  assert.match(ask('=a/x-2', packages).message, /keyword ~amd64, accepted: amd64/)
})

test('licences are accepted by name, group and package', () => {
  const packages: Stanzas = {
    'a/x-2': { LICENSE: 'MIT || ( X Y ) f? ( Z )', IUSE: 'f' },
    'a/x-1': { LICENSE: 'MIT' },
  }
  const groups = { licenseGroups: { EULA: ['X', '@MORE'], MORE: ['Y', '@EULA'] } }
  const chosen = (config: { readonly [key: string]: unknown }): string =>
    ask('a/x', packages, { ...groups, ...config }).chosen.join()
  assert.equal(chosen({}), 'a/x-2')
  assert.equal(chosen({ acceptLicense: ['*', '-@EULA'] }), 'a/x-1')
  assert.equal(chosen({ acceptLicense: ['-*', 'MIT', 'Y'] }), 'a/x-2')
  assert.equal(
    chosen({ acceptLicense: ['MIT'], packageLicense: [{ atom: 'a/x', licenses: ['X'] }] }),
    'a/x-2',
  )
  assert.equal(chosen({ acceptLicense: ['W'] }), '')
  assert.equal(ask('a/x', packages, { acceptLicense: ['@NONE'] }).kind, 'invalid')
})

test('masks hide, unmasks show again, and wildcards work', () => {
  const packages: Stanzas = { 'a/x-2': { SLOT: '1' }, 'a/x-1': bare, 'b/y-9999': bare, 'b/y-1': bare }
  const chosen = (atoms: string, config: { readonly [key: string]: unknown }): string =>
    ask(atoms, packages, config).chosen.join()
  assert.equal(chosen('a/x', { packageMask: ['>=a/x-2'] }), 'a/x-1')
  assert.equal(chosen('a/x', { packageMask: ['>=a/x-2'], packageUnmask: ['=a/x-2'] }), 'a/x-2')
  assert.equal(chosen('a/x', { packageMask: ['a/*:1'] }), 'a/x-1')
  assert.equal(chosen('b/y', { packageMask: ['=*/*-*9999*'] }), 'b/y-1')
  assert.equal(chosen('b/y', { packageMask: ['*/y::gentoo'] }), '')
  assert.match(ask('a/x', packages, { packageMask: ['a/x'] }).message, /masked by a\/x/)
})

test('CHOST and EAPI decide what may be chosen', () => {
  const packages: Stanzas = {
    'a/x-3': { EAPI: '99' },
    'a/x-2': { CHOST: 'x86_64-pc-linux-musl' },
    'a/x-1': { CHOST: 'x86_64-pc-linux-gnu' },
  }
  assert.deepEqual(ask('a/x', packages, { chost: 'x86_64-pc-linux-gnu' }).chosen, ['a/x-1'])
  assert.deepEqual(ask('a/x', packages, { acceptChosts: ['x86_64-.*'] }).chosen, ['a/x-2'])
  assert.match(ask('=a/x-3', packages).message, /unknown EAPI 99/)
})

test('an entry that cannot be read is never chosen and stops nothing', () => {
  const packages: Stanzas = {
    'a/x-2': { RDEPEND: '|| ( l/b' },
    'a/x-1': bare,
    broken: bare,
    'b/y-1': { SLOT: '/' },
  }
  const told = ask('a/x', packages)
  assert.deepEqual(told.chosen, ['a/x-1'])
  assert.equal((told.data['ignored'] as string[]).length, 2)
  assert.match(ask('=a/x-2', packages).message, /a\/x-2 cannot be read: .*\( without \)/)
})

test('the policy any ignores built flags', () => {
  const packages: Stanzas = { 'a/x-1': { IUSE: '+f' } }
  assert.equal(ask('a/x', packages, { use: ['f'], packageUse: [{ atom: 'a/x', use: ['f'] }] }).ok, true)
})

test('the policy exact compares every flag of IUSE with its configuration', () => {
  const packages: Stanzas = { 'a/x-2': { IUSE: '+f g' }, 'a/x-1': { IUSE: '+f g', USE: 'f' } }
  const chosen = (config: { readonly [key: string]: unknown }): string =>
    ask('a/x', packages, { respectUse: 'y', ...config }).chosen.join()
  assert.equal(chosen({}), 'a/x-1')
  assert.equal(chosen({ use: ['-f'] }), 'a/x-2')
  assert.equal(chosen({ use: ['g'] }), '')
  assert.equal(chosen({ use: ['-f'], packageUse: [{ atom: 'a/x', use: ['f'] }] }), 'a/x-1')
  const specific = [
    { atom: '=a/x-2', use: ['-f'] },
    { atom: 'a/x', use: ['f'] },
  ]
  assert.equal(chosen({ packageUse: specific }), 'a/x-2')
  assert.equal(chosen({ use: ['-f'], useForce: ['f'] }), 'a/x-1')
  assert.equal(chosen({ use: ['f'], packageUseMask: [{ atom: '>=a/x-2', use: ['f'] }] }), 'a/x-2')
  assert.equal(chosen({ profileUse: ['-f'] }), 'a/x-2')
  assert.equal(chosen({ packageProfileUse: [{ atom: 'a/x', use: ['-f'] }] }), 'a/x-2')
  assert.equal(chosen({ packageProfileUse: [{ atom: 'a/y', use: ['-f'] }] }), 'a/x-1')
  assert.equal(chosen({ profileUse: ['-f'], use: ['f'] }), 'a/x-1')
})

test('the policy listed binds the flags that are named, and the nearest build of a version wins', () => {
  const packages: Stanzas = {
    'a/x-1#1': { IUSE: '+f g h', USE: 'f', BUILD_TIME: '1' },
    'a/x-1#2': { IUSE: '+f g h', USE: 'g h', BUILD_TIME: '2' },
    'a/x-1#3': { IUSE: '+f g h', USE: 'f h', BUILD_TIME: '3' },
  }
  const chosen = (config: { readonly [key: string]: unknown }): string =>
    ask('a/x', packages, { respectUse: 'listed', ...config }).chosen.join()
  assert.equal(chosen({}), 'a/x-1#1')
  assert.equal(chosen({ use: ['h'] }), 'a/x-1#3')
  assert.equal(chosen({ use: ['g', 'unknown'] }), 'a/x-1#2')
  assert.equal(chosen({ packageUse: [{ atom: 'a/*', use: ['-f'] }] }), 'a/x-1#2')
  assert.equal(chosen({ use: ['g', '-h'] }), '')
})

test('a flag that no build has is refused with the command that would build it', () => {
  const packages: Stanzas = {
    'dev-lang/php-8.3.9#1': { IUSE: 'apache2 fpm', USE: 'apache2' },
    'dev-lang/php-8.3.9#2': { IUSE: 'apache2 fpm' },
  }
  const config = { respectUse: 'listed', packageUse: [{ atom: 'dev-lang/php', use: ['fpm', '-apache2'] }] }
  const told = ask('dev-lang/php', packages, config)
  assert.equal(told.kind, 'no-match')
  assert.match(told.message, /no build of dev-lang\/php has USE=.*fpm/)
  assert.deepEqual(told.builds, ['USE="fpm -apache2" emerge --buildpkgonly =dev-lang/php-8.3.9'])
  const parent = ask('a/x', { ...packages, 'a/x-1': { RDEPEND: '>=dev-lang/php-8[fpm]' } })
  assert.deepEqual(parent.builds, ['USE="fpm" emerge --buildpkgonly =dev-lang/php-8.3.9'])
  assert.match(
    parent.message,
    /2 builds: -apache2 -fpm and apache2 -fpm|2 builds: apache2 -fpm and -apache2 -fpm/,
  )
  const absent = ask('a/x', { 'a/x-1': { RDEPEND: '>=l/b-2:0=[f]' } })
  assert.deepEqual(absent.builds, [`USE="f" emerge --buildpkgonly '>=l/b-2:0'`])
})

test('package.provided meets any slot, sub-slot and flag by version alone', () => {
  const packages: Stanzas = { 'a/x-1': { RDEPEND: '>=l/b-2:0/2=[f]' } }
  assert.deepEqual(ask('a/x', packages, { packageProvided: ['l/b-3'] }).chosen, ['a/x-1'])
  assert.equal(ask('a/x', packages, { packageProvided: ['l/b-1'] }).ok, false)
  assert.deepEqual(ask('l/b a/x', packages, { packageProvided: ['l/b-3'] }).chosen, ['a/x-1'])
  assert.deepEqual(ask('l/b', {}, { packageProvided: ['l/b-3'] }).chosen, [])
})

test('sets are opened, nested ones and cycles too; an unknown one is refused', () => {
  const packages: Stanzas = { 'a/x-1': bare, 'a/y-1': bare, 'a/z-1': bare }
  const config = {
    system: ['a/x'],
    world: ['a/y', '@more'],
    sets: { more: ['a/z', '@again'], again: ['@more'] },
  }
  assert.deepEqual(ask('@system', packages, config).chosen, ['a/x-1'])
  assert.deepEqual(ask('@world', packages, config).chosen, ['a/x-1', 'a/y-1', 'a/z-1'])
  assert.equal(ask('@none', packages, config).kind, 'invalid')
  assert.equal(ask('@world', { 'a/x-1': bare }, { ...config, system: ['a/gone'] }).kind, 'no-match')
})

test('run-time cycles are legal', () => {
  const packages: Stanzas = { 's/ncurses-1': { RDEPEND: 's/gpm:=' }, 's/gpm-1': { RDEPEND: 's/ncurses:=' } }
  assert.deepEqual(ask('s/ncurses', packages).chosen, ['s/gpm-1', 's/ncurses-1'])
})

test('groups come before users before what needs them', () => {
  const packages: Stanzas = {
    'app/server-1': { RDEPEND: 'acct-user/www' },
    'acct-user/www-1': { RDEPEND: 'acct-group/www' },
    'acct-group/www-1': bare,
  }
  assert.deepEqual(ask('app/server', packages).order, ['acct-group/www-1', 'acct-user/www-1', 'app/server-1'])
})

test('a library that nothing brings is reported with who would bring it, per ABI', () => {
  const packages: Stanzas = {
    's/coreutils-1': {
      REQUIRES: 'x86_64: libc.so.6 libacl.so.1 x86_32: libc.so.6',
      PROVIDES: 'x86_64: libacl.so.1',
    },
    's/glibc-2': { PROVIDES: 'x86_64: libc.so.6' },
    's/glibc-1': { PROVIDES: 'x86_64: libc.so.6' },
  }
  const told = ask('s/coreutils', packages)
  assert.deepEqual(told.data['sonameMissing'], [
    { abi: 'x86_32', soname: 'libc.so.6', neededBy: ['s/coreutils-1'], providers: [] },
    {
      abi: 'x86_64',
      soname: 'libc.so.6',
      neededBy: ['s/coreutils-1'],
      providers: ['s/glibc-2', 's/glibc-1'],
    },
  ])
  const excused = ask('s/coreutils', packages, { sonameProvided: ['x86_32 libc.so.6', 'x86_64 libc.so.6'] })
  assert.deepEqual(excused.data['sonameMissing'], [])
})

test('libraries become dependencies where that is asked for', () => {
  const packages: Stanzas = {
    's/coreutils-1': { REQUIRES: 'x86_64: libc.so.6' },
    's/glibc-2': { PROVIDES: 'x86_64: libc.so.6' },
  }
  assert.deepEqual(ask('s/coreutils', packages, {}, { sonameDeps: true }).chosen, [
    's/coreutils-1',
    's/glibc-2',
  ])
  const alone: Stanzas = { 's/coreutils-1': { REQUIRES: 'x86_64: libc.so.6' } }
  assert.match(
    ask('s/coreutils', alone, {}, { sonameDeps: true }).message,
    /no package that brings x86_64: libc\.so\.6/,
  )
  const provided = { sonameProvided: ['x86_64 libc.so.6'] }
  assert.equal(ask('s/coreutils', alone, provided, { sonameDeps: true }).ok, true)
})

test('a held-back package is said with its reason, and strict makes it a refusal', () => {
  const packages: Stanzas = { 'a/x-2': { RDEPEND: '!a/y' }, 'a/x-1': bare, 'a/y-1': bare }
  const [held] = ask('a/y a/x', packages).data['heldBack'] as {
    best: string
    chosen: string
    because: string[]
  }[]
  assert.equal(held?.chosen, 'a/x-1')
  assert.equal(held?.best, 'a/x-2')
  assert.match(held?.because.join() ?? '', /a\/x-2 excludes a\/y/)
  const strict = ask('a/y a/x', packages, { strict: true })
  assert.equal(strict.kind, 'unsatisfiable')
  assert.match(strict.message, /a\/x-2 is demanded by strict: true/)
})

test('prefer: minimal gives up new versions of what was not asked for, never of what was', () => {
  const packages: Stanzas = {
    'a/x-2': { RDEPEND: 'l/b' },
    'a/x-1': bare,
    'l/b-2': { RDEPEND: 'l/c l/d' },
    'l/b-1': bare,
    'l/c-1': bare,
    'l/d-1': bare,
  }
  assert.deepEqual(ask('a/x', packages).chosen, ['a/x-2', 'l/b-2', 'l/c-1', 'l/d-1'])
  assert.deepEqual(ask('a/x', packages, { prefer: 'minimal' }).chosen, ['a/x-2', 'l/b-1'])
})

test('a malformed question says where', () => {
  const message = (question: unknown): string => {
    const { kind, message: text } = told(question)
    assert.equal(kind, 'invalid')
    return text
  }
  assert.match(message([]), /the universe: expected an object/)
  assert.throws(
    () => universeOf([], () => rawIndexOf(new Map(), [])),
    (error) => isStage5Error(error, 'S5_UNIVERSE_INVALID'),
  )
  assert.match(message({ format: 'other/1' }), /expected format stage5-universe\/1/)
  assert.match(
    message(universeJson('a/x', [{ CPV: 3 } as never, { CPV: 'a/x-1', RDEPEND: [] } as never])),
    /binhosts\[0\]\.packages\[1\]\.RDEPEND/,
  )
  assert.match(message(universeJson('a/x-1', {})), /a\/x-1/)
  assert.match(message(universeJson('a/x', {}, { packageMask: ['a'] })), /"a"/)
  assert.match(message(universeJson('a/x', {}, { respectUse: 'maybe' })), /respectUse/)
  assert.match(message(universeJson('a/x', {}, { acceptChosts: ['('] })), /acceptChosts/)
  assert.match(message(universeJson('a/x', {}, { packageProvided: ['a/x'] })), /packageProvided/)
})

/** Small universes in the interchange format: versions, builds, slots, sub-slots, flags, blockers, any-of, cycles. */
const question: fc.Arbitrary<{ readonly list: { [key: string]: string }[]; readonly atoms: string }> =
  (() => {
    const name = fc.constantFrom('a/x', 'a/y', 'l/b', 'l/c', 'l/gone')
    const atom = fc
      .tuple(
        fc.constantFrom('', '', '>=', '<', '~', '='),
        name,
        fc.constantFrom('', ':0', ':1', ':0/1=', ':*', ':='),
        fc.constantFrom('', '', '[f]', '[-f]', '[g(+)]'),
      )
      .map(([op, one, slot, use]) => `${op}${one}${op === '' ? '' : '-2'}${slot}${use}`)
    const item = fc.oneof(
      { weight: 5, arbitrary: atom },
      { weight: 1, arbitrary: atom.map((one) => `!${one}`) },
      { weight: 1, arbitrary: fc.tuple(atom, atom).map(([one, two]) => `|| ( ${one} ${two} )`) },
      {
        weight: 1,
        arbitrary: fc.tuple(atom, atom, atom).map(([one, two, three]) => `|| ( ( ${one} ${two} ) ${three} )`),
      },
      { weight: 1, arbitrary: atom.map((one) => `f? ( ${one} )`) },
    )
    const stanza = fc
      .record({
        name: fc.constantFrom('a/x', 'a/y', 'l/b', 'l/c'),
        version: fc.constantFrom('1', '2', '2-r1', '3'),
        build: fc.integer({ min: 1, max: 2 }),
        time: fc.integer({ min: 1, max: 3 }),
        slot: fc.constantFrom('0', '0/1', '1'),
        use: fc.constantFrom('', 'f'),
        needs: fc.array(item, { maxLength: 2 }),
        later: fc.array(item, { maxLength: 1 }),
        keywords: fc.constantFrom('amd64', 'amd64', 'amd64', '~amd64'),
      })
      .map(({ name: one, version, build, time, slot, use, needs, later, keywords }) => ({
        CPV: `${one}-${version}`,
        BUILD_ID: String(build),
        BUILD_TIME: String(time),
        SLOT: slot,
        IUSE: '+f',
        USE: use,
        RDEPEND: needs.join(' '),
        PDEPEND: later.join(' '),
        KEYWORDS: keywords,
      }))
    return fc.record({
      list: fc.uniqueArray(stanza, {
        minLength: 1,
        maxLength: 10,
        selector: (one) => `${one.CPV} ${one.BUILD_ID}`,
      }),
      atoms: fc
        .uniqueArray(fc.constantFrom('a/x', 'a/y'), { minLength: 1, maxLength: 2 })
        .map((atoms) => atoms.join(' ')),
    })
  })()

test('an answer is the same byte for byte under any order of the stanzas, and under every policy', () => {
  const seen = { solved: 0, refused: 0 }
  fc.assert(
    fc.property(
      question.chain((one) =>
        fc.tuple(fc.constant(one), fc.shuffledSubarray(one.list, { minLength: one.list.length })),
      ),
      fc.constantFrom('n', 'y', 'listed'),
      ([{ list, atoms }, shuffled], respectUse) => {
        const first = ask(atoms, list, { respectUse })
        assert.equal(JSON.stringify(ask(atoms, shuffled, { respectUse }).data), JSON.stringify(first.data))
        seen[first.ok ? 'solved' : 'refused']++
      },
    ),
    { numRuns: 400 },
  )
  assert.ok(seen.solved > 40 && seen.refused > 40, JSON.stringify(seen))
})

test('what only the wider policy finds, the narrower one never contradicts', () => {
  fc.assert(
    fc.property(question, ({ list, atoms }) => {
      const exact = ask(atoms, list, { respectUse: 'y' })
      if (exact.ok) assert.ok(ask(atoms, list, { respectUse: 'listed' }).ok)
      if (ask(atoms, list, { respectUse: 'listed' }).ok) assert.ok(ask(atoms, list, { respectUse: 'n' }).ok)
    }),
    { numRuns: 200 },
  )
})

test('an answer is still one when the universe holds nothing else', () => {
  fc.assert(
    fc.property(question, ({ list, atoms }) => {
      const first = ask(atoms, list)
      if (!first.ok) return
      const kept = list.filter(({ CPV, BUILD_ID }) => first.chosen.includes(`${CPV}#${BUILD_ID}`))
      assert.deepEqual(ask(atoms, kept).chosen, first.chosen)
    }),
    { numRuns: 300 },
  )
})

test('why-not names who asked for a flag, what the builds have, and the command for the one that is missing', () => {
  const php = { IUSE: 'cgi fpm', USE: 'cgi' }
  const question = universeJson('app/web dev-lang/php', {
    'app/web-1': { RDEPEND: 'dev-lang/php[fpm]' },
    'dev-lang/php-8.3.9#1': php,
    'dev-lang/php-8.3.9#2': { ...php, USE: '' },
  })
  const { input, indexes } = universeOf(question, () => assert.fail('no index file'))
  const found = whyNot(input, indexes, 'dev-lang/php')
  assert.equal(found.length, 2)
  for (const { kind, because } of found) {
    assert.equal(kind, 'conflict')
    const text = because.join('\n')
    assert.match(text, /app\/web-1 needs dev-lang\/php\[fpm\], but no build of dev-lang\/php has USE=fpm/)
    assert.match(text, /2 builds: /)
    assert.match(text, /a build is missing: USE="fpm" emerge --buildpkgonly =dev-lang\/php-8\.3\.9/)
  }
})
