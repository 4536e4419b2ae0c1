/** What would make a refused question solvable: single changes, each of them tried. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rawIndexOf, universeOf } from '../../src/resolve/universe.ts'
import { answerUniverse } from '../../src/resolve/universe-answer.ts'
import { type Stanzas, universeJson } from '../helpers/ask.ts'

function helpsFor(
  atoms: string,
  packages: Stanzas,
  config: { readonly [key: string]: unknown } = {},
): string[] {
  const universe = universeOf(universeJson(atoms, packages, config), () => rawIndexOf(new Map(), []))
  const { ok, data } = answerUniverse(universe, true)
  assert.equal(ok, false)
  const error = data['error'] as { readonly relaxations?: readonly { readonly text: string }[] }
  return (error.relaxations ?? []).map(({ text }) => text)
}

test('a keyword, a mask or a licence in the way is named with the build that it keeps out', () => {
  const x = { 'a/x-1': { RDEPEND: 'l/b' } }
  assert.deepEqual(helpsFor('a/x', { ...x, 'l/b-1': { KEYWORDS: '~amd64' } }), [
    'with the keyword ~amd64 accepted for =l/b-1',
  ])
  assert.deepEqual(helpsFor('a/x', { ...x, 'l/b-9999': { KEYWORDS: '' } }), [
    'with the keyword ** accepted for =l/b-9999',
  ])
  assert.deepEqual(helpsFor('a/x', { ...x, 'l/b-1': {}, 'l/b-2': {} }, { packageMask: ['l/b'] }), [
    'with =l/b-2 under unmask',
    'with =l/b-1 under unmask',
  ])
  assert.deepEqual(
    helpsFor('a/x', { ...x, 'l/b-1': { LICENSE: 'EULA' } }, { acceptLicense: ['MIT', '-EULA'] }),
    ['with the licence EULA accepted for =l/b-1'],
  )
  assert.deepEqual(
    helpsFor(
      'a/x',
      { ...x, 'l/b-1': { IUSE: 'f' } },
      { respectUse: 'listed', packageUse: [{ atom: 'l/b', use: ['f'] }] },
    ),
    ['without USE=f for l/b'],
  )
})

test('of requests that exclude each other either may be given up', () => {
  const packages = { 'a/x-1': { RDEPEND: '!!a/y' }, 'a/y-1': {}, 'a/z-1': {} }
  assert.deepEqual(helpsFor('a/x a/y a/z', packages), ['without asking for a/x', 'without asking for a/y'])
})

test('a change that does not suffice is not proposed', () => {
  const packages = { 'a/x-1': { RDEPEND: 'l/b' }, 'l/b-1': { KEYWORDS: '~amd64', RDEPEND: 'l/gone' } }
  assert.deepEqual(helpsFor('a/x', packages), [])
})
