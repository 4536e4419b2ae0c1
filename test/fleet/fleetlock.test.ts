import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'
import type { GroupDocument } from '../../src/fleet/documents.ts'
import { applyLocks, FLEETLOCK_EPOCH } from '../../src/fleet/fleetlock.ts'
import { group } from '../helpers/fd-group.ts'

const names = ['a', 'b', 'c', 'd', 'e']
const five = (count: number) =>
  group(
    { kind: 'exec', options: {} },
    {
      guests: names.map((name) => ({ name, canary: false, values: {} })),
      maxUnavailable: { count },
    },
  )
const holder = (epoch: string, token = 1) => ({ token, epoch })

it('frees before it gives, and first come is first served', () => {
  const before = { seq: 7, holders: { a: holder(FLEETLOCK_EPOCH) } }
  const { document, outcomes } = applyLocks(five(1), before, [
    { kind: 'acquire', guest: 'b' },
    { kind: 'acquire', guest: 'c' },
    { kind: 'release', guest: 'a' },
  ])
  assert.deepEqual(outcomes, ['held', 'full', 'free'])
  assert.deepEqual(document, { seq: 8, holders: { b: holder(FLEETLOCK_EPOCH, 8) } })
})

it('leaves the slots that a rollout gave', () => {
  const before = { seq: 7, holders: { a: holder('88') } }
  assert.deepEqual(applyLocks(five(2), before, [{ kind: 'release', guest: 'a' }]), { outcomes: ['foreign'] })
  assert.deepEqual(applyLocks(five(2), before, [{ kind: 'acquire', guest: 'a' }]), { outcomes: ['held'] })
})

it('never gives more than the budget of the moment, and twice is once', () => {
  const request = fc.record({
    kind: fc.constantFrom('acquire' as const, 'release' as const),
    guest: fc.constantFrom(...names),
  })
  const rounds = fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.array(request, { maxLength: 6 })))
  fc.assert(
    fc.property(rounds, (all) => {
      let document: GroupDocument = { seq: 0, holders: {} }
      for (const [budget, requests] of all) {
        const before = Object.keys(document.holders)
        const { document: next = document, outcomes } = applyLocks(five(budget), document, requests)
        const held = Object.keys(next.holders)
        const fresh = held.filter((name) => next.holders[name]?.token !== document.holders[name]?.token)
        assert.ok(fresh.length === 0 || held.length <= budget, `${held.length} hold, ${budget} may`)
        assert.ok(held.length <= Math.max(before.length, budget))
        const tokens = held.map((name) => next.holders[name]?.token ?? 0)
        assert.equal(new Set(tokens).size, tokens.length)
        assert.ok(next.seq >= document.seq && tokens.every((token) => token <= next.seq))
        for (const [at, { kind, guest }] of requests.entries()) {
          if (outcomes[at] === 'held') assert.ok(held.includes(guest))
          if (outcomes[at] === 'full') assert.ok(!held.includes(guest) && held.length >= budget)
          if (kind === 'release') assert.equal(outcomes[at], 'free')
        }
        const acquires = requests.filter(({ kind }) => kind === 'acquire')
        assert.equal(applyLocks(five(budget), next, acquires).document, undefined)
        document = next
      }
    }),
    { seed: 6 },
  )
})
