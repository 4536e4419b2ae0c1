/** Controllers that are away for longer than a guest's deadline: their absence is not held against a guest. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KEYS } from '../../src/fleet/documents.ts'
import { reconcile } from '../../src/fleet/reconcile.ts'
import { printStatus } from '../../src/fleet/status-text.ts'
import { statusOf } from '../../src/fleet/status.ts'
import { group } from '../helpers/fr-fleet.ts'
import { findings, type Scene, scene } from '../helpers/fr-scene.ts'

const ONE = { waves: [{ percent: 100 }], maxUnavailable: { count: 1 } }

/** A pass whose calls to drivers are never made. */
function mutePass({ toy, clock }: Scene): void {
  const view = toy.view()
  toy.applied(view, reconcile(view))
  clock.ms += 250
  toy.expire()
}

test('who was never told to start something has not failed on it, and is told once more', () => {
  const all = scene([group('a', 1, ONE)], () => 'none')
  const { toy, truth } = all
  all.until('wave')
  while (toy.guestNow('a-1')?.state !== 'granted') mutePass(all)
  while (toy.view().deadlines.has('a-1')) mutePass(all)
  mutePass(all)
  assert.equal(toy.guestNow('a-1')?.state, 'granted')
  assert.match(toy.guestNow('a-1')?.why ?? '', /was not told in time/)
  assert.equal(truth.boots.length, 0)
  all.until('completed')
  assert.deepEqual(toy.guestNow('a-1')?.bad, [])
  assert.equal(truth.boots.length, 1)
  assert.deepEqual(findings(toy).problems, [])
})

test('who noted the order of a controller that was killed, and was not started, is asked again', () => {
  const all = scene([group('a', 1, ONE)], () => 'none')
  const { toy, truth } = all
  all.until('wave')
  const before = truth.status('a-1')
  while (toy.guestNow('a-1')?.state !== 'granted') mutePass(all)
  const token = toy.guestNow('a-1')?.token ?? 0
  const asked = [1, 2, 3].map(() => {
    const view = toy.view({ observed: new Map([['a-1', { ...before, token }]]) })
    return toy.applied(view, reconcile(view)).map(({ kind, token: of }) => `${kind} ${of}`)
  })
  assert.equal(toy.guestNow('a-1')?.state, 'switching')
  assert.deepEqual(asked.slice(1), [[`switch ${token}`], [`switch ${token}`]])
  all.until('completed')
  assert.equal(truth.boots.length, 1)
  assert.deepEqual(findings(toy).problems, [])
})

test('a driver that never does it is not waited for without end', () => {
  const all = scene([group('a', 1, { ...ONE, allowedFailures: { count: 0 } })], () => 'none')
  const { toy } = all
  all.until('wave')
  for (let left = 200; left > 0 && toy.guestNow('a-1')?.state !== 'recovering'; left--) mutePass(all)
  assert.equal(toy.guestNow('a-1')?.state, 'recovering')
  assert.match(toy.guestNow('a-1')?.why ?? '', /not healthy on g2-new in 4 s/)
})

test('a lost guest that was never asked to go back is asked until it does; one that was is left alone', () => {
  const all = scene([group('a', 2, { ...ONE, allowedFailures: { count: 2 } })], (_, generation) =>
    generation === 'g2-new' ? 'hangs' : 'none',
  )
  const { toy, truth } = all
  const nameOf = (state: string): string | undefined =>
    ['a-1', 'a-2'].find((name) => toy.guestNow(name)?.state === state)
  while (nameOf('switching') === undefined) all.pass()
  const name = nameOf('switching') as string
  while (nameOf('lost') === undefined) mutePass(all)
  assert.equal(truth.boots.filter(({ kind }) => kind === 'rollback').length, 0)
  for (let left = 20; left > 0 && toy.guestNow(name)?.state === 'lost'; left--) all.pass()
  assert.equal(toy.guestNow(name)?.outcome, 'fell-back')
  assert.equal(truth.running(name).runs, 'g1-old')
  assert.deepEqual(findings(toy, false).problems, [])
})

test('a lost guest that obeyed is not restarted again', () => {
  const all = scene([group('a', 1, { ...ONE, allowedFailures: { count: 1 } })], (_, generation) =>
    generation === 'g2-new' ? 'lost' : 'none',
  )
  const { toy, truth } = all
  while (toy.guestNow('a-1')?.state !== 'lost') all.pass()
  const view = toy.view()
  assert.deepEqual(reconcile(view).actions, [])
  assert.equal(truth.boots.filter(({ kind }) => kind === 'rollback').length, 1)
})

test('a guest that restarts with a slot of FleetLock while its wave soaks is waited for, not held against it', () => {
  const all = scene(
    [group('a', 2, { waves: [{ count: 1 }, { percent: 100 }], allowedFailures: { count: 0 } })],
    () => 'none',
  )
  const { toy, truth } = all
  all.until('soak')
  const name = truth.boots[0]?.guest as string
  const { seq } = toy.groupNow('a') as { seq: number }
  toy.put(KEYS.group('a'), { seq: seq + 1, holders: { [name]: { token: seq + 1, epoch: 'fleetlock' } } })
  const observed = new Map(
    ['a-1', 'a-2'].map((one) => [
      one,
      one === name
        ? { ...truth.status(one), power: 'off' as const, health: 'fail' as const }
        : truth.status(one),
    ]),
  )
  all.until('paused', { observed })
  assert.equal(toy.rolloutNow().reason, `health of ${name} is not known`)
  toy.put(KEYS.group('a'), { seq: seq + 1, holders: {} })
  all.until('completed')
})

test('a guest that was prepared and that nobody can see waits, and the status says for what', () => {
  const { until, toy, truth, pass } = scene([group('a', 1, ONE)], () => 'none')
  const unseen = {
    ...truth.status('a-1'),
    power: 'unknown' as const,
    bootId: '',
    digest: '',
    health: 'inconclusive' as const,
    detail: 'ssh: no route to host',
  }
  for (let left = 20; left > 0; left--) pass({ observed: new Map([['a-1', unseen]]) })
  assert.equal(truth.boots.length, 0)
  const why = 'what it runs is not known: ssh: no route to host'
  assert.equal(statusOf(toy.view()).groups[0]?.guests[0]?.why, why)
  const writes = toy.history.length
  pass({ observed: new Map([['a-1', unseen]]) })
  assert.equal(toy.history.length, writes, 'what is told already is not written again')
  until('completed')
  assert.deepEqual(findings(toy).problems, [])
})

test('a fleet without a rollout says what to type', () => {
  const { toy } = scene([group('a', 1, ONE)], () => 'none')
  const view = { ...toy.view(), rollouts: new Map() }
  assert.match(printStatus(statusOf(view)), /no rollout yet: stage5 rollout plan a shows/)
  assert.match(printStatus(statusOf({ ...view, groups: new Map() })), /no groups: write groups\/NAME\.yaml/)
})
