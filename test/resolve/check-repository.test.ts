import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkRepository } from '../../src/resolve/check-repository.ts'
import { rawIndexOf, universeOf } from '../../src/resolve/universe.ts'
import { type Stanzas, universeJson } from '../helpers/ask.ts'

function check(packages: Stanzas): ReturnType<typeof checkRepository> {
  const { indexes } = universeOf(universeJson('', packages), () => rawIndexOf(new Map(), []))
  const [index] = indexes
  assert.ok(index)
  return checkRepository(index, 'amd64')
}

test('a whole binhost: what can be installed, what is missing, and the command that builds it', () => {
  const found = check({
    'a/good-1': { RDEPEND: 'l/b', KEYWORDS: '' },
    'a/bad-1#2': { RDEPEND: 'a/worse' },
    'a/worse-1': { RDEPEND: '>=l/gone-2[f]' },
    'a/torn-1': { RDEPEND: 'l/b:0/1= l/c' },
    'l/b-1': { SLOT: '0/1', REQUIRES: 'x86_64: libc.so.6' },
    'l/b-2': { SLOT: '0/2' },
    'l/c-1': { RDEPEND: 'l/b:0/2=' },
  })
  assert.equal(found.builds, 7)
  assert.equal(found.installable, 4)
  assert.deepEqual(
    found.broken.map(({ pkg }) => pkg),
    ['a/bad-1#2', 'a/torn-1', 'a/worse-1'],
  )
  assert.deepEqual(found.missing, [
    {
      demand: '>=l/gone-2[f]',
      breaks: ['a/bad-1#2', 'a/worse-1'],
      builds: [`USE="f" emerge --buildpkgonly '>=l/gone-2'`],
    },
  ])
  assert.match(found.broken[1]?.because.join() ?? '', /only one build of l\/b/)
  assert.deepEqual(found.sonames, [
    { abi: 'x86_64', soname: 'libc.so.6', neededBy: ['l/b-1'], providers: [] },
  ])
})

test('packages that exclude each other can each be installed', () => {
  const found = check({ 'a/x-1': { RDEPEND: '!a/y' }, 'a/y-1': {}, 'a/y-2': { RDEPEND: '!!a/x' } })
  assert.equal(found.installable, 3)
})
