/** Data that a newer generation has written keeps guests from what cannot read it (rollout.md S12). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dataAfter, dataOf, dataProblem, type DataSchemas } from '../../src/fleet/data-schema.ts'
import { KEYS, NEW_GUEST } from '../../src/fleet/documents.ts'
import { group, rollout } from '../helpers/fr-fleet.ts'
import { findings, scene } from '../helpers/fr-scene.ts'

const ONE = { waves: [{ count: 1 }, { percent: 100 }], maxUnavailable: { count: 1 } }
/** The new one migrates to 6, which the old one cannot read; the newer one reads both. */
const MIGRATION: DataSchemas = new Map([
  ['g1-old', { reads: [3, 5], writes: 5 }],
  ['g2-new', { reads: [5, 6], writes: 6 }],
  ['g3-newer', { reads: [5, 7], writes: 6 }],
])

test('what a guest may be led to follows from its data, and from what it would go back to', () => {
  const on = (good: string, dataSchema = 0) => ({ ...NEW_GUEST, good, dataSchema })
  assert.equal(dataOf(on('g1-old'), MIGRATION), 5)
  assert.equal(dataOf(on('g1-old', 6), MIGRATION), 6)
  assert.equal(dataAfter(on('g1-old'), 'g2-new', MIGRATION), 6)
  assert.equal(dataAfter(on('g2-new', 6), 'g1-old', MIGRATION), 6)
  assert.deepEqual(dataProblem(on('g1-old'), 'g2-new', MIGRATION), {
    text: 'g2-new writes data of schema 6, and g1-old reads 3 to 5, where it would go back to',
    isWayBack: true,
  })
  assert.deepEqual(dataProblem(on('g2-new'), 'g1-old', MIGRATION), {
    text: 'its data has schema 6, g1-old reads 3 to 5',
    isWayBack: false,
  })
  // Nobody said anything of g0, which is not believed to read what has a number.
  assert.equal(dataProblem(on('g0'), 'g2-new', MIGRATION)?.isWayBack, true)
  assert.equal(
    dataProblem(on('g2-new'), 'g0', MIGRATION)?.text,
    'its data has schema 6, g0 does not say what it reads',
  )
  for (const [good, to, data] of [
    ['', 'g2-new', 0],
    ['g2-new', 'g3-newer', 6],
    ['g3-newer', 'g2-new', 6],
    // It fell back and has 6 already: going forward makes nothing worse.
    ['g1-old', 'g2-new', 6],
    ['g0', 'g00', 0],
  ] as const)
    assert.equal(dataProblem(on(good, data), to, MIGRATION), undefined, `${good} to ${to}`)
})

test('a rollout with no way back is held before anybody moves, until somebody says that there is none', () => {
  const { until, toy, truth, pass } = scene([group('a', 3, ONE)], () => 'none')
  until('paused', { dataSchemas: MIGRATION })
  assert.match(toy.rolloutNow().reason, /^a-\d: g2-new writes data of schema 6, and g1-old reads 3 to 5/)
  for (let left = 20; left > 0; left--) pass({ dataSchemas: MIGRATION })
  assert.deepEqual(truth.boots, [])
  toy.put(KEYS.rollout('r1'), { ...toy.rolloutNow(), irreversible: true })
  until('completed', { dataSchemas: MIGRATION })
  assert.deepEqual(
    [1, 2, 3].map((number) => toy.guestNow(`a-${number}`)?.dataSchema),
    [6, 6, 6],
  )
  assert.deepEqual(findings(toy).problems, [])

  // The same generations the other way round: refused, whatever anybody says.
  toy.put(KEYS.rollout('r2'), {
    ...rollout(['a']),
    ...{ id: 'r2', number: 2, from: 'g2-new', to: 'g1-old', irreversible: true as const },
  })
  until('paused', { dataSchemas: MIGRATION }, 2000, 'r2')
  assert.match(toy.rolloutNow('r2').reason, /^a-\d: its data has schema 6, g1-old reads 3 to 5$/)
})

test('a failure past the first wave pauses where going back would lose data, and turns back where it would not', () => {
  const sick = (guest: string, generation: string) =>
    generation === 'g2-new' && guest !== first ? ('sick' as const) : ('none' as const)
  let first = ''
  const begin = (dataSchemas: DataSchemas) => {
    first = ''
    const made = scene([group('a', 4, ONE)], (guest, generation) => {
      if (generation === 'g2-new') first ||= guest
      return sick(guest, generation)
    })
    made.toy.put(KEYS.rollout('r1'), { ...made.toy.rolloutNow(), irreversible: true })
    return { ...made, until: (state: string) => made.until(state, { dataSchemas }) }
  }
  const stays = begin(MIGRATION)
  stays.until('paused')
  const { reason, pausedBy } = stays.toy.rolloutNow()
  assert.match(
    reason,
    /^a: 2 failed in all, 1 forgiven; a-\d: .*; no way back: a-\d: its data has schema 6, g1-old reads 3 to 5$/,
  )
  assert.equal(pausedBy, 'controller')
  for (let left = 200; left > 0; left--) stays.pass({ dataSchemas: MIGRATION })
  assert.equal(stays.toy.rolloutNow().state, 'paused')
  assert.equal(stays.truth.running(first).good, 'g2-new', 'who runs the new one well keeps it')
  assert.deepEqual(findings(stays.toy, false).problems, [])

  const back = begin(new Map([...MIGRATION, ['g1-old', { reads: [3, 6], writes: 5 }]]))
  back.until('rolled-back')
  assert.equal(back.truth.running(first).good, 'g1-old')
  assert.deepEqual(findings(back.toy).problems, [])
})
