import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CODES, isStage5Error, printable, refuse, Stage5Error } from '../../src/base/errors.ts'
import { stableJson } from '../../src/base/json.ts'
import { onceMap } from '../../src/base/limit.ts'
import { nearest } from '../../src/base/near.ts'

test('codes are in order, well formed, and each says what it means and what to do', () => {
  const names = Object.keys(CODES)
  assert.deepEqual(names, [...names].sort())
  for (const [name, { summary, help }] of Object.entries(CODES)) {
    assert.match(name, /^S5_[A-Z0-9]+(_[A-Z0-9]+)*$/)
    assert.match(summary, /^[A-Z].*\.$/, name)
    assert.ok(help.length > 30, name)
  }
})

test('names from outside are shown escaped', () => {
  assert.equal(printable('caf\xc3\xa9'), 'café')
  assert.equal(printable('caf\xe9'), 'caf\\xe9')
  assert.equal(printable('a\x1b[31mb\n'), 'a\\x1b[31mb\\x0a')
  assert.equal(printable('a\xe2\x80\xaeb'), 'a\\u202eb')
})

test('a refusal carries its reason as one word', () => {
  const error = refuse('traversal', 'x_1.deb', 'a name with ..', { entry: '../x' })
  assert.equal(error.message, 'x_1.deb: traversal: a name with ..: ../x')
  assert.deepEqual(error.data, { reason: 'traversal', file: 'x_1.deb', entry: '../x' })
  assert.ok(isStage5Error(error, 'S5_ARCHIVE_REFUSED'))
  assert.ok(!isStage5Error(error, 'S5_COLLISION'))
  assert.ok(!isStage5Error(new Error('x')))
})

test('the cause of an error is kept', () => {
  const cause = new Error('why')
  assert.equal(new Stage5Error('S5_USAGE', 'what', { cause }).cause, cause)
  assert.ok(!('cause' in new Stage5Error('S5_USAGE', 'what')))
})

test('stable JSON has one spelling', () => {
  assert.equal(
    stableJson({ b: 1, a: [true, null, { d: 'x', c: undefined }] }),
    '{"a":[true,null,{"d":"x"}],"b":1}',
  )
})

test('the nearest word comes first, and far words do not come at all', () => {
  assert.deepEqual(nearest('packges', ['packages', 'package', 'images']), ['packages', 'package'])
  assert.equal(nearest('ngnix', ['unix', 'apache2', 'nginx'])[0], 'nginx')
  assert.deepEqual(nearest('xyzzy', ['nginx', 'apache2']), [])
  assert.deepEqual(nearest('openssl', ['libopenssl3', 'apache2']), ['libopenssl3'])
})

test('work for one key in flight runs once, and again when it is done', async () => {
  const once = onceMap<string, number>()
  let runs = 0
  const make = async (): Promise<number> => ++runs
  assert.deepEqual(await Promise.all([once('a', make), once('a', make), once('b', make)]), [1, 1, 2])
  assert.equal(await once('a', make), 3)
})
