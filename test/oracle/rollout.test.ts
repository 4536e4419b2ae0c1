/** A thousand simulated guests on the real engine, under controllers that are killed; and what happens without the fence. */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import { budgetOf } from '../../src/fleet/waves.ts'
import type { Group } from '../../src/resolve/group.ts'
import { group } from '../helpers/fr-fleet.ts'
import { POINTS, type Simulated, simulate } from '../helpers/fr-simulation.ts'
import type { Fault } from '../helpers/fr-truth.ts'

const FAULTS: readonly Fault[] = [
  'hangs',
  'wrong',
  'sick',
  'sick-later',
  'stage-fails',
  'stage-flaky',
  'slow',
  'falls-back',
]

/** 5 % of the guests, every kind alike. */
function faultOf(guest: string, generation: string): Fault {
  if (generation !== 'g2-new') return 'none'
  const share = Number.parseInt(hash('sha256', `c ${guest}`).slice(0, 8), 16)
  return share % 100 < 5 ? (FAULTS[Math.floor(share / 100) % FAULTS.length] as Fault) : 'none'
}

function fleet(groups: number, size: number): readonly Group[] {
  const change = {
    maxUnavailable: { percent: 20 },
    allowedFailures: { percent: 40 },
    waves: [{ percent: 10 }, { percent: 100 }],
    soakSeconds: 1,
    // Longer than it takes to notice that a leader is dead: a deadline does not wait for the next one.
    bootSeconds: 6,
    recoverSeconds: 6,
  }
  return Array.from({ length: groups }, (_, at) => group(`g${at}`, size, change))
}

/** What is recorded is what runs. */
function differences({ guests, truth }: Simulated): string[] {
  return [...guests].flatMap(([name, { good }]) => {
    const { good: kept, runs, isUp } = truth.running(name)
    if (good === kept && runs === kept && isUp) return []
    return [`${name}: recorded ${good}, keeps ${kept}, runs ${runs}, ${isUp ? 'up' : 'down'}`]
  })
}

test('1,000 guests in 20 groups, 5 % of them faulty, and a controller that is killed 50 times', async () => {
  const groups = fleet(20, 50)
  const fates = Array.from({ length: 50 }, (_, at) => ({
    point: POINTS[at % POINTS.length] as (typeof POINTS)[number],
    nth: 1 + ((at * 7) % 4),
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
