/** Rollouts as a function of documents and observations: properties under faults, and each rule by name. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { reconcile } from '../../src/fleet/reconcile.ts'
import type { Action } from '../../src/fleet/view.ts'
import { budgetOf } from '../../src/fleet/waves.ts'
import { act, apply, group } from '../helpers/fr-fleet.ts'
import { findings, scene } from '../helpers/fr-scene.ts'
import type { Fault } from '../helpers/fr-truth.ts'

const FAULTS: readonly Fault[] = [
  'none',
  'hangs',
  'wrong',
  'sick',
  'sick-later',
  'stage-fails',
  'stage-flaky',
  'slow',
  'falls-back',
]

test('every rollout ends under faults, and its history has nothing that must not be', () => {
  const moment = fc.record({
    /** What happens to this pass: it is lost before its writes, between writes and calls, or its calls come late. */
    kind: fc.constantFrom('lives', 'lives', 'lives', 'lives', 'dies-before', 'dies-after', 'half', 'late'),
    cut: fc.nat(),
  })
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }),
      fc.array(
        fc.constantFrom<Fault>(...FAULTS, 'none', 'none', 'none', 'none', 'none', 'none', 'none', 'none'),
        { minLength: 27, maxLength: 27 },
      ),
      fc.array(moment, { minLength: 5, maxLength: 40 }),
      fc.integer({ min: 1, max: 4 }),
      (sizes, faults, moments, most) => {
        const groups = sizes.map((size, at) =>
          group(`g${at}`, size, { maxUnavailable: { count: most }, allowedFailures: { count: 2 } }),
        )
        const order = groups.flatMap(({ guests }) => guests.map(({ name }) => name))
        const { toy, truth, clock } = scene(groups, (name, generation) =>
          generation === 'g2-new' ? (faults[order.indexOf(name)] as Fault) : 'none',
        )
        const late: Action[] = []
        let step = 0
        for (; !['completed', 'rolled-back'].includes(toy.rolloutNow().state); step++) {
          assert.ok(step < 3000, `still ${JSON.stringify(toy.rolloutNow())}`)
          const { kind, cut } = moments[step % moments.length] as { kind: string; cut: number }
          const isCalm = step > 400
          const view = toy.view()
          const decision = reconcile(view)
          if (kind === 'dies-before' && !isCalm) toy.newLeader()
          const written =
            kind === 'half' && !isCalm
              ? {
                  ...decision,
                  batches: decision.batches.slice(0, cut % (decision.batches.length + 1)),
                  rolloutMoves: [],
                  actions: [],
                }
              : decision
          const actions = apply(toy, view, written)
          if (kind === 'dies-after' && !isCalm) {
            toy.newLeader()
            toy.prepared.clear()
          } else if (kind === 'late' && !isCalm) late.push(...actions)
          else for (const action of actions) act(truth, toy, action)
          // A controller that was paused goes on with its calls, long after others took over.
          if (step % 7 === 0) for (const action of late.splice(0, cut % 5)) act(truth, toy, action)
          clock.ms += 250
          toy.expire()
        }
        for (const action of late) act(truth, toy, action)
        // Guests that were granted under a rollout that ended come to their end, too.
        for (let left = 100; left > 0; left--) {
          const view = toy.view()
          for (const action of apply(toy, view, reconcile(view))) act(truth, toy, action)
          clock.ms += 500
          toy.expire()
        }
        assert.deepEqual(findings(toy).problems, [])
        for (const one of groups) {
          const down = truth.mostDown()[one.name] ?? 0
          assert.ok(down <= budgetOf(one), `${one.name}: ${down} down, ${budgetOf(one)} may`)
        }
        for (const name of order) {
          const document = toy.guestNow(name)
          const { good, runs, isUp } = truth.running(name)
          assert.ok(isUp, `${name} is down`)
          assert.equal(runs, good)
          if (document) assert.equal(document.good, good, name)
        }
        const keys = truth.boots.map(({ guest, token }) => `${guest} ${token}`)
        assert.equal(new Set(keys).size, keys.length, 'a guest obeyed one token twice')
      },
    ),
    { numRuns: 150 },
  )
})
