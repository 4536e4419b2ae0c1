/** Copies of guests' data: taken before what the old generation could not read, put back on every way back (rollout.md S12). */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import { barrierOf, type DataSchemas, snapshotFor, whyNoWayBack } from '../../src/fleet/data-schema.ts'
import { KEYS, NEW_GUEST } from '../../src/fleet/documents.ts'
import { progressOf } from '../../src/fleet/progress.ts'
import type { Group } from '../../src/resolve/group.ts'
import { act, group } from '../helpers/fr-fleet.ts'
import { findings, type Scene, scene } from '../helpers/fr-scene.ts'
import type { Fault } from '../helpers/fr-truth.ts'

const MIGRATION: DataSchemas = new Map([
  ['g1-old', { reads: [3, 5], writes: 5 }],
  ['g2-new', { reads: [5, 6], writes: 6 }],
  ['g3-newer', { reads: [5, 7], writes: 6 }],
])
const DIR = { driver: { kind: 'dir', options: {} } } as const
const groupOf = (name: string, size: number, change: Partial<Group> = {}): Group =>
  group(name, size, {
    ...DIR,
    waves: [{ count: 1 }, { percent: 100 }],
    maxUnavailable: { count: 1 },
    ...change,
  })

const namesOf = ({ groups }: Scene): string[] =>
  [...groups.values()].flatMap(({ guests }) => guests.map(({ name }) => name))

/** What is written of a guest's data is what it has, and whoever runs the old generation has what that left. */
function assertKept(run: Scene, label = ''): void {
  const { toy, truth } = run
  assert.deepEqual(truth.unreadable, [], label)
  for (const name of namesOf(run)) {
    const { good } = truth.running(name)
    const { schema, writers } = truth.dataOf(name)
    assert.equal(schema, good === 'g1-old' ? 5 : 6, `${label} ${name}`)
    if (good === 'g1-old') assert.deepEqual(new Set(writers), new Set(['g1-old']), `${label} ${name}`)
    const document = toy.guestNow(name)
    if (document) assert.ok(document.dataSchema === 0 || document.dataSchema === schema, `${label} ${name}`)
  }
}

test('a copy is asked for where the way back needs one, and only of drivers that can make one', () => {
  const old = { ...NEW_GUEST, good: 'g1-old' }
  const rollout = { id: 'r7', to: 'g2-new' }
  const dir = groupOf('a', 1)
  const exec = group('a', 1)
  assert.deepEqual(snapshotFor(old, rollout, dir, MIGRATION), { tag: 'r7-g2-new', dataSchema: 5 })
  assert.equal(barrierOf(old, rollout, dir, MIGRATION), undefined)
  assert.equal(snapshotFor(old, rollout, exec, MIGRATION), undefined)
  assert.equal(barrierOf(old, rollout, exec, MIGRATION)?.isWayBack, true)
  const forced = { ...rollout, irreversible: true as const }
  assert.equal(snapshotFor(old, forced, dir, MIGRATION), undefined)
  assert.equal(barrierOf(old, forced, exec, MIGRATION), undefined)
  const both: DataSchemas = new Map([...MIGRATION, ['g1-old', { reads: [3, 6], writes: 5 }]])
  assert.equal(snapshotFor(old, rollout, dir, both), undefined)
  // What it has already cannot be read there: no copy helps.
  assert.equal(barrierOf({ ...old, good: 'g2-new' }, { to: 'g1-old' }, dir, MIGRATION)?.isWayBack, false)
})

test('a migration that fails on its canary leaves every guest with the data that it had', () => {
  const run = scene([groupOf('a', 3)], (_, generation) => (generation === 'g2-new' ? 'sick' : 'none'), {
    dataSchemas: MIGRATION,
  })
  run.until('rolled-back')
  assert.equal(run.truth.boots.length, 2)
  assertKept(run)
  assert.deepEqual(findings(run.toy).problems, [])
})

test('who serves on the new generation is not led back by itself: that would lose what it wrote', () => {
  let first = ''
  const run = scene(
    [groupOf('a', 4)],
    (guest, generation) => {
      if (generation !== 'g2-new') return 'none'
      first ||= guest
      return guest === first ? 'none' : 'sick'
    },
    { dataSchemas: MIGRATION },
  )
  run.until('paused')
  assert.match(
    run.toy.rolloutNow().reason,
    /no way back: a-\d: its data has schema 6, g1-old reads 3 to 5; a copy from before the switch is kept/,
  )
  for (let left = 100; left > 0; left--) run.pass()
  assert.equal(run.truth.running(first).good, 'g2-new')
  assertKept(run)
  // Somebody says that this may be lost.
  run.toy.put(KEYS.rollout('r1'), {
    ...run.toy.rolloutNow(),
    ...{ state: 'rolling-back', resume: '', pausedBy: '', reason: 'asked', epoch: '' },
  })
  run.until('rolled-back')
  assert.equal(run.truth.running(first).good, 'g1-old')
  assertKept(run)
  assert.equal(run.toy.guestNow(first)?.snapshot, undefined)
  assert.deepEqual(findings(run.toy).problems, [])
})

test('copies go with the end of a rollout: then there is no way back', () => {
  const run = scene([groupOf('a', 2)], () => 'none', { dataSchemas: MIGRATION })
  const why = (isGivenUp: boolean): string => {
    const view = run.toy.view()
    return whyNoWayBack(progressOf(run.toy.rolloutNow(), view), MIGRATION, isGivenUp)
  }
  run.until('soak')
  assert.match(why(false), /a-\d: its data has schema 6, .*; a copy from before the switch is kept/)
  assert.equal(why(true), '')
  run.until('completed')
  assert.match(why(true), /^a-\d: its data has schema 6, g1-old reads 3 to 5$/)
  assertKept(run)
})

test('a way back that fails finds what the guest wrote on the new generation', () => {
  let isOver = false
  const run = scene(
    [groupOf('a', 2)],
    (_, generation) => (isOver && generation === 'g1-old' ? 'sick' : 'none'),
    {
      dataSchemas: MIGRATION,
    },
  )
  // The second wave waits, so that the copies are there.
  run.until('soak')
  const [name = ''] = namesOf(run).filter((one) => run.truth.running(one).good === 'g2-new')
  isOver = true
  const before = run.truth.dataOf(name)
  run.toy.put(KEYS.rollout('r1'), {
    ...run.toy.rolloutNow(),
    state: 'rolling-back',
    reason: 'asked',
    epoch: '',
  })
  run.until('rolled-back')
  assert.equal(run.toy.guestNow(name)?.outcome, 'stuck')
  assert.equal(run.truth.running(name).good, 'g2-new')
  assert.deepEqual(run.truth.dataOf(name).writers, [...before.writers, 'g2-new'])
  assertKept(run)
  assert.deepEqual(findings(run.toy).problems, [])
})

const FAULTS: readonly Fault[] = [
  'none',
  'none',
  'none',
  'hangs',
  'sick',
  'sick-later',
  'slow',
  'falls-back',
  'stage-flaky',
]

/** A rollout in which anything happens to guests, leaders and actions; all of it follows from the seed. */
function random(seed: number, obey: typeof act): Scene {
  let drawn = 0
  const draw = (most: number): number =>
    Number.parseInt(hash('sha256', `${seed} ${drawn++}`).slice(0, 8), 16) % most
  const faults = new Map<string, Fault>()
  const forgiving = { allowedFailures: { percent: 50 }, maxUnavailable: { count: 2 } }
  const run = scene(
    [groupOf('a', 4, seed % 2 === 0 ? forgiving : {}), groupOf('b', 3)],
    (guest, generation) => {
      if (generation === 'g1-old') return 'none'
      const known = faults.get(guest) ?? (FAULTS[draw(FAULTS.length)] as Fault)
      faults.set(guest, known)
      return known
    },
    {
      dataSchemas: MIGRATION,
      obey: (truth, toy, action) => {
        // Lost, done, or done twice.
        for (let times = draw(3); times > 0; times--) obey(truth, toy, action)
      },
    },
  )
  for (let left = 1500; left > 0; left--) {
    const now = run.toy.rolloutNow()
    if (['completed', 'rolled-back'].includes(now.state)) break
    if (draw(40) === 0) run.toy.newLeader()
    const isAsked = now.state !== 'rolling-back' && (now.state === 'paused' || draw(120) === 0)
    if (isAsked)
      run.toy.put(KEYS.rollout('r1'), {
        ...now,
        state: 'rolling-back',
        resume: '',
        pausedBy: '',
        reason: 'asked',
        epoch: '',
      })
    run.pass()
  }
  return run
}

test('whatever fails, is lost or said twice: no generation ever starts on data that it cannot read', () => {
  const ends: Record<string, number> = {}
  for (let seed = 1; seed <= 120; seed++) {
    const run = random(seed, act)
    const { state } = run.toy.rolloutNow()
    ends[state] = (ends[state] ?? 0) + 1
    assertKept(run, `seed ${seed}`)
    assert.deepEqual(findings(run.toy).problems, [], `seed ${seed}`)
  }
  assert.deepEqual(Object.keys(ends).sort(), ['completed', 'rolled-back'], JSON.stringify(ends))
})

test('a driver that ignores the copies is found out', () => {
  const ignoring: typeof act = (truth, toy, action) => {
    const { guest, generation, token } = action
    if (action.kind === 'switch') truth.switchTo(guest, generation, token)
    else act(truth, toy, action)
  }
  const bad = Array.from({ length: 20 }, (_, at) => random(at + 1, ignoring).truth.unreadable.length)
  assert.ok(bad.some((count) => count > 0))
})
