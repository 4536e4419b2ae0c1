/** Who goes when, and how many may be away. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { budgetOf, forgivenOf, planWaves, rankOf, shareOf } from '../../src/fleet/waves.ts'
import { isOpen, nextOpening } from '../../src/fleet/windows.ts'
import { group } from '../helpers/fr-fleet.ts'

function sizes(id: string, ...groups: Parameters<typeof planWaves>[1]): Record<string, number[]> {
  const waves = planWaves(id, groups)
  return Object.fromEntries(groups.map(({ name }) => [name, waves.map(({ upTo }) => upTo.get(name) ?? 0)]))
}

test('the default plan is one guest of one group, one of each, 10 %, 40 %, all', () => {
  const plan = sizes('r1', group('a', 50), group('b', 11), group('c', 1))
  const first = Object.values(plan).map(([count]) => count)
  assert.equal(
    first.reduce((sum, count) => (sum ?? 0) + (count ?? 0), 0),
    1,
  )
  assert.deepEqual(plan['a']?.slice(1), [1, 5, 20, 50])
  assert.deepEqual(plan['b']?.slice(1), [1, 2, 5, 11])
  assert.deepEqual(plan['c']?.slice(1), [1, 1, 1, 1])
})

test('guests that a group names as canaries go first, and their group has canary-0', () => {
  const web = group('web', 20)
  const guests = web.guests.map((one) => ({ ...one, canary: ['web-7', 'web-13'].includes(one.name) }))
  const named = { ...web, guests }
  for (const id of ['r1', 'r2', 'r3']) {
    assert.deepEqual(new Set(rankOf(id, named).slice(0, 2)), new Set(['web-7', 'web-13']))
    assert.deepEqual(sizes(id, group('a', 20), named, group('z', 20))['web']?.slice(0, 2), [1, 2])
  }
})

test('waves of its own are taken as written, and end with everyone', () => {
  const own = { waves: [{ count: 1 }, { count: 3 }] }
  assert.deepEqual(sizes('r1', group('a', 12, own)), { a: [1, 3, 12] })
  assert.deepEqual(sizes('r1', group('a', 12, { waves: [{ percent: 25 }, { percent: 100 }] })), {
    a: [3, 12],
  })
  const mixed = sizes('r1', group('a', 12, own), group('b', 10))
  assert.deepEqual(mixed['a']?.slice(1), [1, 3, 12, 12])
})

test('a wave has all of the wave before it', () => {
  const quantity = fc.oneof(
    fc.record({ count: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ percent: fc.integer({ min: 1, max: 100 }) }),
  )
  const some = fc.tuple(fc.integer({ min: 0, max: 40 }), fc.array(quantity, { maxLength: 4 }))
  fc.assert(
    fc.property(fc.array(some, { minLength: 1, maxLength: 4 }), (specs) => {
      const groups = specs.map(([size, waves], at) => group(`g${at}`, size, { waves }))
      const waves = planWaves('r', groups)
      for (const one of groups) {
        const ends = waves.map(({ upTo }) => upTo.get(one.name) ?? 0)
        assert.deepEqual(
          ends,
          ends.toSorted((a, b) => a - b),
        )
        assert.equal(ends.at(-1), one.guests.length)
      }
    }),
  )
})

test('another rollout has other canaries, and shares are what they say', () => {
  const web = group('web', 1000)
  const one = new Set(rankOf('r1', web).slice(0, 100))
  const two = rankOf('r2', web).slice(0, 100)
  const both = two.filter((name) => one.has(name)).length
  assert.ok(both < 25, `${both} of 100 are canaries twice`)
  const below = web.guests.filter(({ name }) => shareOf('r1', name) < 0.2).length
  assert.ok(below > 150 && below < 250, `${below} of 1000 are below 0.2`)
})

test('budgets round down, are at least one guest, and leave what must stay', () => {
  const budget = (size: number, change: Parameters<typeof group>[2]): number =>
    budgetOf(group('a', size, change))
  assert.equal(budget(19, { maxUnavailable: { percent: 10 } }), 1)
  assert.equal(budget(20, { maxUnavailable: { percent: 10 } }), 2)
  assert.equal(budget(3, { maxUnavailable: { percent: 10 } }), 1)
  assert.equal(budget(10, { maxUnavailable: { count: 5 }, minAvailable: { count: 8 } }), 2)
  assert.equal(budget(10, { maxUnavailable: { count: 5 }, minAvailable: { count: 10 } }), 0)
  assert.equal(budget(10, { maxUnavailable: { count: 5 }, minAvailable: { percent: 75 } }), 3)
  assert.equal(forgivenOf(group('a', 1000, { allowedFailures: { percent: 2 } })), 20)
  assert.equal(forgivenOf(group('a', 10, { allowedFailures: { percent: 2 } })), 1)
  assert.equal(forgivenOf(group('a', 10, { allowedFailures: { count: 0 } })), 0)
})

test('windows are of UTC and may reach over midnight and the end of the week', () => {
  const night = [{ days: [2, 4], fromMinute: 120, toMinute: 270 }]
  assert.equal(isOpen(night, { day: 2, minute: 119 }), false)
  assert.equal(isOpen(night, { day: 2, minute: 120 }), true)
  assert.equal(isOpen(night, { day: 2, minute: 270 }), false)
  assert.equal(isOpen(night, { day: 3, minute: 200 }), false)
  assert.equal(nextOpening(night, { day: 2, minute: 300 }), 'Thu 02:00 UTC')
  assert.equal(nextOpening(night, { day: 5, minute: 0 }), 'Tue 02:00 UTC')
  const late = [{ days: [6], fromMinute: 1380, toMinute: 1440 }]
  assert.equal(isOpen(late, { day: 6, minute: 1439 }), true)
  assert.equal(isOpen(late, { day: 0, minute: 0 }), false)
})
