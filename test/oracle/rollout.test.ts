/** A thousand simulated guests on the real engine, under controllers that are killed. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { budgetOf } from '../../src/fleet/waves.ts'
import { differences, faultOf, fleet, POINTS, simulate } from '../helpers/fr-simulation.ts'

test('1,000 guests in 20 groups, 5 % of them faulty, and a controller that is killed 50 times', async () => {
  const groups = fleet(20, 50)
  const fates = Array.from({ length: 52 }, (_, at) => ({
    point: POINTS[at % POINTS.length] as (typeof POINTS)[number],
    nth: 1 + (at % 2),
  }))
  const done = await simulate({ groups, faultOf, fates, crew: 2, fenced: true, limitMs: 400_000 })
  assert.ok(done.isOver, `it did not end: ${JSON.stringify(done.rollout)}`)
  assert.equal(done.rollout.state, 'completed', done.rollout.reason)
  assert.ok(done.killed >= 50, `only ${done.killed} were killed`)
  assert.deepEqual(done.findings.problems, [])
  assert.equal(done.guests.size, 1000)
  assert.deepEqual(differences(done), [])
  for (const one of groups) {
    const down = done.truth.mostDown()[one.name] ?? 0
    assert.ok(down <= budgetOf(one), `${one.name}: ${down} were down, ${budgetOf(one)} may`)
  }
  const boots = done.truth.boots.map(({ guest, token }) => `${guest} ${token}`)
  assert.equal(new Set(boots).size, boots.length, 'nobody is started twice for one grant')
  const switched = done.truth.boots.filter(({ kind }) => kind === 'switch').map(({ guest }) => guest)
  assert.equal(new Set(switched).size, switched.length, 'nobody is switched twice')
  for (const [name, { good, outcome, why }] of done.guests)
    assert.ok(
      good === 'g2-new' ? outcome === 'done' : why !== '' && outcome !== '',
      `${name}: ${outcome} ${why}`,
    )
})
