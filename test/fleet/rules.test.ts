/** Each rule of a rollout by name, on a small fleet. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type GuestDocument, KEYS, NEW_GUEST } from '../../src/fleet/documents.ts'
import { reconcile } from '../../src/fleet/reconcile.ts'
import { statusOf } from '../../src/fleet/status.ts'
import { rankOf } from '../../src/fleet/waves.ts'
import { printStatus } from '../../src/fleet/status-text.ts'
import { group, rollout } from '../helpers/fr-fleet.ts'
import { findings, scene } from '../helpers/fr-scene.ts'

const ONE = { waves: [{ percent: 100 }], maxUnavailable: { count: 1 } }

test('a bad generation reaches one guest of the fleet, and that one goes back', () => {
  const { until, toy, truth } = scene([group('a', 20), group('b', 20)], (_, generation) =>
    generation === 'g2-new' ? 'sick' : 'none',
  )
  until('rolled-back')
  const switched = truth.boots.filter(({ kind }) => kind === 'switch')
  assert.equal(switched.length, 1)
  const name = switched[0]?.guest as string
  assert.equal(truth.running(name).runs, 'g1-old')
  assert.deepEqual(toy.guestNow(name)?.bad, ['g2-new'])
  assert.match(toy.rolloutNow().reason, /^no guest of canary-0 came up; .*HTTP 500$/)
  assert.deepEqual(findings(toy).problems, [])
})

test('a generation that fell back on a guest is not offered to it again, the others take it', () => {
  const { until, toy, truth } = scene(
    [group('a', 4, { ...ONE, allowedFailures: { count: 1 } })],
    () => 'none',
  )
  const stale: GuestDocument = { ...NEW_GUEST, group: 'a', good: 'g1-old', bad: ['g2-new'] }
  toy.put(KEYS.guest('a-2'), stale)
  until('completed')
  assert.deepEqual(new Set(truth.boots.map(({ guest }) => guest)), new Set(['a-1', 'a-3', 'a-4']))
  const [status] = statusOf(toy.view()).groups
  assert.equal(status?.guests.find(({ name }) => name === 'a-2')?.standing, 'skipped')
  assert.equal(status?.guests.find(({ name }) => name === 'a-2')?.why, 'g2-new fell back here before')
})

test('failures are forgiven up to the allowance of the group, and one more turns everything back', () => {
  const faulty = (count: number) => (guest: string, generation: string) =>
    generation === 'g2-new' && Number(guest.split('-')[1]) <= count
      ? ('falls-back' as const)
      : ('none' as const)
  const change = { ...ONE, waves: [{ count: 5 }, { percent: 100 }], allowedFailures: { count: 2 } }
  const fine = scene([group('a', 10, change)], faulty(2))
  fine.until('completed')
  assert.equal(fine.toy.rolloutNow().reason, '8 updated, 2 not')
  const one = { ...change, waves: [{ percent: 100 }] }
  const worse = scene([group('a', 10, one)], faulty(3))
  worse.until('rolled-back')
  assert.match(worse.toy.rolloutNow().reason, /^a: 3 failed in all, 2 forgiven; a-/)
  for (const { name } of group('a', 10).guests) assert.equal(worse.truth.running(name).good, 'g1-old')
})

test('guests that were updated go back to what each of them ran before', () => {
  const { until, toy, truth, pass } = scene([group('a', 3, ONE)], () => 'none')
  until('completed')
  toy.put(KEYS.rollout('r1'), { ...toy.rolloutNow(), state: 'rolling-back', reason: 'asked', epoch: '' })
  until('rolled-back')
  pass()
  for (const name of ['a-1', 'a-2', 'a-3']) {
    assert.equal(truth.running(name).runs, 'g1-old')
    assert.equal(toy.guestNow(name)?.outcome, 'returned')
    assert.deepEqual(toy.guestNow(name)?.bad, [])
  }
  assert.deepEqual(findings(toy).problems, [])
})

test('nothing is offered or restarted while an operator pauses, and resume goes on', () => {
  const { until, toy, truth, pass } = scene(
    [group('a', 6, { ...ONE, waves: [{ count: 2 }, { percent: 100 }] })],
    () => 'none',
  )
  until('soak')
  toy.put(KEYS.rollout('r1'), {
    ...toy.rolloutNow(),
    state: 'paused',
    resume: 'soak',
    pausedBy: 'operator',
    reason: 'lunch',
    epoch: '',
  })
  const before = truth.boots.length
  for (let left = 100; left > 0; left--) pass()
  assert.equal(truth.boots.length, before)
  assert.equal(toy.rolloutNow().state, 'paused')
  const waits = statusOf(toy.view()).groups[0]?.guests.filter(({ why }) => why === 'paused: lunch')
  assert.equal(waits?.length, 4)
  toy.put(KEYS.rollout('r1'), {
    ...toy.rolloutNow(),
    state: 'soak',
    resume: '',
    pausedBy: '',
    reason: '',
    epoch: '',
  })
  until('completed')
})

test('a write that was decided before a pause is refused after it', () => {
  const { until, toy } = scene([group('a', 6, ONE)], () => 'none')
  until('wave')
  const view = toy.view()
  const grants = reconcile(view).batches.filter(({ moves }) =>
    moves.some(({ next }) => next.state === 'granted'),
  )
  assert.equal(grants.length, 1)
  toy.put(KEYS.rollout('r1'), {
    ...toy.rolloutNow(),
    state: 'paused',
    resume: 'wave',
    pausedBy: 'operator',
    epoch: '',
  })
  for (const batch of grants) assert.equal(toy.batch(view, batch), false)
})

test('abort leaves guests where they are: those on the way end it, nobody else begins', () => {
  const { until, toy, truth, pass } = scene([group('a', 6, ONE)], () => 'none')
  until('wave')
  pass()
  pass()
  assert.equal(Object.keys(toy.groupNow('a')?.holders ?? {}).length, 1)
  toy.put(KEYS.rollout('r1'), { ...toy.rolloutNow(), state: 'aborted', epoch: '' })
  for (let left = 60; left > 0; left--) pass()
  assert.equal(truth.boots.length, 1)
  assert.deepEqual(toy.groupNow('a')?.holders, {})
  assert.deepEqual(findings(toy).problems, [])
})

test('a newer rollout takes over while the older one is broken', () => {
  const { until, toy, truth, clock } = scene([group('a', 6, ONE)], (_, generation) =>
    generation === 'g2-new' ? 'hangs' : 'none',
  )
  until('wave')
  toy.put(KEYS.rollout('r1'), { ...toy.rolloutNow(), state: 'superseded', epoch: '' })
  toy.put(KEYS.rollout('r2'), rollout(['a'], { id: 'r2', number: 2, to: 'g3-newer' }))
  until('completed', undefined, 500, 'r2')
  assert.ok(clock.ms > 0)
  for (const { name } of group('a', 6).guests) assert.equal(truth.running(name).runs, 'g3-newer')
  assert.deepEqual(findings(toy).problems, [])
})

test('a rollout that cannot end by itself waits for somebody: guests that are lost fill the group', () => {
  const { until, toy, groups, pass } = scene(
    [group('a', 4, { ...ONE, allowedFailures: { count: 3 } })],
    (guest, generation) => (generation === 'g2-new' && guest === rankFirst ? 'lost' : 'none'),
  )
  until('paused')
  assert.match(toy.rolloutNow().reason, /^a: lost a-\d: repair or retire$/)
  assert.equal(toy.rolloutNow().pausedBy, 'controller')
  const lost = Object.keys(toy.groupNow('a')?.holders ?? {})
  assert.equal(lost.length, 1)
  const rest = groups.get('a')?.guests.filter(({ name }) => name !== lost[0]) ?? []
  groups.set('a', { ...group('a', 4, { ...ONE, allowedFailures: { count: 3 } }), guests: rest })
  pass()
  assert.equal(toy.guestNow(lost[0] as string), undefined)
  until('completed')
  assert.deepEqual(findings(toy).problems, [])
})
const rankFirst = 'a-1'

test('shrinking a budget gives nothing until the smaller one has room', () => {
  const wide = { ...ONE, maxUnavailable: { count: 3 }, soakSeconds: 3 }
  const { until, toy, groups, pass } = scene([group('a', 9, wide)], () => 'none')
  until('wave')
  for (let left = 6; left > 0; left--) pass()
  assert.equal(Object.keys(toy.groupNow('a')?.holders ?? {}).length, 3)
  groups.set('a', group('a', 9, { ...wide, maxUnavailable: { count: 1 } }))
  let before = 3
  for (let left = 400; left > 0 && toy.rolloutNow().state !== 'completed'; left--) {
    pass()
    const held = Object.keys(toy.groupNow('a')?.holders ?? {}).length
    assert.ok(held <= Math.max(1, before), `${before} to ${held}`)
    before = held
  }
  assert.equal(toy.rolloutNow().state, 'completed')
})

test('guests that are down already go first, and while others are down nobody healthy is restarted', () => {
  const sick = new Set(['a-3', 'a-5'])
  const { until, toy, truth, clock } = scene(
    [group('a', 6, { ...ONE, maxUnavailable: { count: 2 } })],
    () => 'none',
  )
  // Two guests are unhealthy on what they run now: the new generation heals them.
  const observed = () =>
    new Map(
      group('a', 6).guests.map(({ name }) => {
        const seen = truth.status(name)
        return [
          name,
          sick.has(name) && seen.digest === 'sha256:g1-old' ? { ...seen, health: 'fail' as const } : seen,
        ]
      }),
    )
  const most = 300
  for (let left = most; left > 0 && truth.boots.length < 2; left--) {
    const view = toy.view({ observed: observed() })
    for (const action of toy.applied(view, reconcile(view))) toy.done(truth, action)
    clock.ms += 250
    toy.expire()
  }
  assert.deepEqual(new Set(truth.boots.map(({ guest }) => guest)), sick)
  until('completed')
})

test('a group whose window is closed waits, and says until when', () => {
  const windows = [{ days: [1], fromMinute: 120, toMinute: 240 }]
  const { until, toy, truth, pass } = scene([group('a', 3, { ...ONE, windows })], () => 'none')
  const closed = { moment: { day: 1, minute: 60 } }
  until('paused', closed)
  assert.equal(toy.rolloutNow().reason, 'a: window closed until Mon 02:00 UTC')
  assert.equal(truth.boots.length, 0)
  pass({ moment: { day: 1, minute: 125 } })
  until('completed', { moment: { day: 1, minute: 125 } })
})

test('only what booted: a group that requires it waits for the record', () => {
  const { until, toy, truth } = scene([group('a', 2, { ...ONE, require: 'booted' })], () => 'none')
  until('paused', { bootedGate: (name) => `${name} has no signed boot record` })
  assert.equal(toy.rolloutNow().reason, 'g2-new has no signed boot record')
  assert.equal(truth.boots.length, 0)
  until('completed')
})

test('a wave past the first waits for a valid approval of somebody whom the group names', () => {
  const change = { ...ONE, waves: [{ count: 1 }, { percent: 100 }], approvers: ['alice', 'bob'] }
  const { until, toy, truth } = scene([group('a', 3, change)], () => 'none')
  const isApproved: Parameters<typeof toy.view>[0] = { isApproved: (_, { sig }) => sig === 'good' }
  until('paused', isApproved)
  assert.equal(toy.rolloutNow().reason, 'all waits for the approval of alice or bob')
  for (const approval of [
    { wave: 1, by: 'alice', keyid: '', sig: 'forged' },
    { wave: 1, by: 'mallory', keyid: '', sig: 'good' },
    { wave: 0, by: 'bob', keyid: '', sig: 'good' },
  ]) {
    toy.put(KEYS.rollout('r1'), {
      ...toy.rolloutNow(),
      approvals: [...toy.rolloutNow().approvals, approval],
      epoch: '',
    })
    assert.throws(() => until('completed', isApproved, 40))
    assert.equal(truth.boots.length, 1)
  }
  const approval = { wave: 1, by: 'bob', keyid: '', sig: 'good' }
  toy.put(KEYS.rollout('r1'), { ...toy.rolloutNow(), approvals: [approval], epoch: '' })
  until('completed', isApproved)
})

test('health that nobody can see is neither yes nor no: the rollout pauses and goes on when it is known', () => {
  const { until, toy, truth } = scene(
    [group('a', 4, { ...ONE, waves: [{ count: 1 }, { percent: 100 }] })],
    () => 'none',
  )
  until('soak')
  const blind = new Map(
    group('a', 4).guests.map(({ name }) => [
      name,
      { ...truth.status(name), health: 'inconclusive' as const },
    ]),
  )
  until('paused', { observed: blind })
  assert.match(toy.rolloutNow().reason, /^health of a-\d is not known$/)
  until('completed')
})

test('a guest whose old generation is unhealthy, too, is degraded, frees its slot, and takes the next one', () => {
  const { until, toy, truth, clock, pass } = scene(
    [group('a', 1, { ...ONE, allowedFailures: { count: 0 } })],
    (_, generation) => (generation === 'g2-new' ? 'falls-back' : 'none'),
  )
  const broken = () => new Map([['a-1', { ...truth.status('a-1'), health: 'fail' as const }]])
  for (let left = 100; left > 0 && toy.guestNow('a-1')?.state !== 'degraded'; left--) {
    const view = toy.view({ observed: broken() })
    for (const action of toy.applied(view, reconcile(view))) toy.done(truth, action)
    clock.ms += 250
    toy.expire()
  }
  assert.equal(toy.guestNow('a-1')?.state, 'degraded')
  assert.deepEqual(toy.groupNow('a')?.holders, {})
  until('rolled-back')
  toy.put(KEYS.rollout('r2'), rollout(['a'], { id: 'r2', number: 2, to: 'g3-newer' }))
  pass({ observed: broken() })
  until('completed', undefined, 200, 'r2')
  assert.equal(toy.guestNow('a-1')?.good, 'g3-newer')
})

test('status tells each waiting guest why', () => {
  const { until, toy, pass } = scene(
    [group('a', 5, { ...ONE, waves: [{ count: 3 }, { percent: 100 }] })],
    () => 'none',
  )
  until('wave')
  for (let left = 3; left > 0; left--) pass()
  const text = printStatus(statusOf(toy.view()))
  assert.match(text, /wave-1 +3 /)
  assert.match(text, /waits for a slot: a-\d is away, 1 may/)
  assert.match(text, /a-\d, a-\d: waits for all, now wave-1/)
})

test('a guest is not led away from what it runs before that is known', () => {
  const { until, toy, truth, pass } = scene(
    [group('a', 2, { ...ONE, allowedFailures: { count: 2 } })],
    (_, generation) => (generation === 'g2-new' ? 'falls-back' : 'none'),
  )
  for (let left = 20; left > 0; left--) pass({ observed: new Map() })
  assert.equal(toy.guestNow('a-1'), undefined)
  const silent = new Map(
    ['a-1', 'a-2'].map((name) => [
      name,
      { ...truth.status(name), power: 'unknown' as const, digest: '', bootId: '' },
    ]),
  )
  for (let left = 20; left > 0; left--) pass({ observed: silent })
  assert.equal(truth.boots.length, 0)
  until('rolled-back')
  for (const name of ['a-1', 'a-2']) {
    assert.equal(toy.guestNow(name)?.good, 'g1-old')
    assert.equal(truth.running(name).runs, 'g1-old')
  }
})

test('while as many are down as may be away, nobody healthy is restarted', () => {
  const web = group('a', 6, { waves: [{ count: 2 }, { percent: 100 }], maxUnavailable: { count: 2 } })
  const { until, toy, truth, pass } = scene([web], () => 'none')
  const down = new Set(rankOf('r1', web).slice(4))
  const observed = new Map(
    web.guests.map(({ name }) => [
      name,
      down.has(name) ? { ...truth.status(name), health: 'fail' as const } : truth.status(name),
    ]),
  )
  until('wave', { observed })
  for (let left = 40; left > 0; left--) pass({ observed })
  assert.equal(truth.boots.length, 0)
  assert.equal(toy.rolloutNow().state, 'wave')
  until('completed')
})

test('what claims to run the new generation without having been started again is not believed', () => {
  const { until, toy, truth, pass } = scene([group('a', 1, { ...ONE, bootSeconds: 2 })], () => 'none')
  const before = truth.status('a-1').bootId
  until('wave')
  const claims = () =>
    new Map([
      [
        'a-1',
        {
          ...truth.status('a-1'),
          power: 'on' as const,
          bootId: before,
          digest: 'sha256:g2-new',
          health: 'pass' as const,
        },
      ],
    ])
  pass()
  for (let left = 5; left > 0; left--) pass({ observed: claims() })
  assert.match(toy.guestNow('a-1')?.state ?? '', /^(granted|switching)$/)
  for (let left = 6; left > 0; left--) pass({ observed: claims() })
  assert.equal(toy.guestNow('a-1')?.state, 'recovering')
})

test('a guest that has the order but was not stopped yet has not gone back', () => {
  const { until, toy, truth, pass } = scene([group('a', 1, { ...ONE, bootSeconds: 20 })], () => 'none')
  until('wave')
  const before = truth.status('a-1')
  pass()
  const token = toy.guestNow('a-1')?.token ?? 0
  assert.ok(token > before.token)
  const between = new Map([['a-1', { ...before, token }]])
  for (let left = 3; left > 0; left--) pass({ observed: between })
  assert.match(toy.guestNow('a-1')?.state ?? '', /^(granted|switching)$/)
})
