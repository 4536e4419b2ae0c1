/** One second of mutations; `npm run fuzz` does more. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzz } from '../tools/fuzz.ts'

test('mutated archives are read or refused, in bounded time and memory', async () => {
  const { runs, accepted } = await fuzz(1, 20_260_101, false)
  assert.ok(runs > 50)
  assert.ok(accepted > 0 && accepted < runs)
})
