import assert from 'node:assert/strict'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { errnoOf } from '../../src/host/disk.ts'
import { reflinkProblem } from '../../src/host/reflink.ts'
import { run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'

test('files share blocks where cp finds that they can, and nothing is left of the question', async () => {
  using place = temporaryDirectory()
  const problem = reflinkProblem(place.path)
  assert.deepEqual(readdirSync(place.path), [])
  const [one, other] = [join(place.path, 'one'), join(place.path, 'other')]
  writeFileSync(one, 'x')
  const { code } = await run(['cp', '--reflink=always', '--', one, other], { accept: 'any' })
  assert.equal(problem === undefined, code === 0, String(problem))
})

test('what stands in the way is said', () => {
  assert.equal(errnoOf(reflinkProblem('/nowhere/at/all')), 'ENOENT')
})
