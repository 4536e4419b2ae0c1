/** Simulated guests by the thousand on the real engine, under controllers that are killed; with data that is migrated, too. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { budgetOf } from '../../src/fleet/waves.ts'
import type { DataSchemas } from '../../src/fleet/data-schema.ts'
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

const MIGRATION: DataSchemas = new Map([
  ['g1-old', { reads: [3, 5], writes: 5 }],
  ['g2-new', { reads: [5, 6], writes: 6 }],
])

test('data is copied before it is migrated and back where a guest is, whoever of 20 controllers is killed where', async () => {
  const groups = fleet(4, 25).map((group) => ({ ...group, driver: { kind: 'dir' as const, options: {} } }))
  const fates = Array.from({ length: 22 }, (_, at) => ({
    point: POINTS[at % POINTS.length] as (typeof POINTS)[number],
    nth: 1 + (at % 3),
  }))
  const often = (guest: string, generation: string) => {
    const number = Number(guest.split('-')[1])
    return generation === 'g2-new' && number % 5 === 0 ? ('falls-back' as const) : faultOf(guest, generation)
  }
  const done = await simulate({
    ...{ groups, faultOf: often, fates, crew: 2, fenced: true, limitMs: 400_000 },
    dataSchemas: MIGRATION,
  })
  assert.ok(done.isOver, `it did not end: ${JSON.stringify(done.rollout)}`)
  assert.ok(done.killed >= 20, `only ${done.killed} were killed`)
  assert.deepEqual(done.findings.problems, [])
  assert.deepEqual(differences(done), [])
  assert.deepEqual(done.truth.unreadable, [])
  const back = [...done.guests].filter(([, { good }]) => good === 'g1-old')
  assert.ok(back.length >= 20, `${back.length} went back`)
  for (const [name, { dataSchema, good }] of done.guests) {
    const { schema, writers } = done.truth.dataOf(name)
    assert.deepEqual([schema, dataSchema], good === 'g1-old' ? [5, 5] : [6, 6], name)
    if (good === 'g1-old') assert.deepEqual(new Set(writers), new Set(['g1-old']), name)
  }
})
