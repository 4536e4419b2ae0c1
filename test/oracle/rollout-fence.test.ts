/** Leaders that stand still past their lease, and what happens without the fence. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { differences, faultOf, fleet, simulate } from '../helpers/fr-simulation.ts'

/** Every controller stops between reading and writing for longer than its lease, and then writes what it had decided. */
const PAUSES = Array.from({ length: 8 }, () => ({ point: 'before-transact' as const, nth: 4, pauseMs: 2500 }))

test('controllers that were paused past their lease write nothing', async () => {
  const done = await simulate({
    groups: fleet(4, 10),
    faultOf,
    fates: PAUSES,
    crew: 2,
    fenced: true,
    limitMs: 200_000,
  })
  assert.ok(done.isOver)
  assert.ok(done.findings.leaders >= 2, 'nobody took over: the pauses were too short to prove anything')
  assert.deepEqual(done.findings.problems, [])
  assert.deepEqual(differences(done), [])
})

test('the same without compares goes wrong, and the checker sees it', async () => {
  const done = await simulate({
    groups: fleet(4, 10),
    faultOf,
    fates: PAUSES,
    crew: 2,
    fenced: false,
    limitMs: 25_000,
  })
  assert.ok(
    done.findings.problems.some((problem) => problem.includes('got past the fence')),
    `no stale write was seen: ${done.findings.problems.join('\n')}`,
  )
})
