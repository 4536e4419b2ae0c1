/** Controllers over a real cluster of etcd: the leader of the cluster dies in the middle, and so do leaders of the rollout. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { startCluster } from '../helpers/fe-etcd.ts'
import { differences, faultOf, fleet, POINTS, simulate } from '../helpers/fr-simulation.ts'

const skip = spawnSync('etcd', ['--version']).status === 0 ? false : 'needs etcd'

test('200 guests on three members of etcd, with their leader and five controllers killed', {
  skip,
}, async () => {
  await using cluster = await startCluster(3)
  let revisions = 0
  let killed: Promise<void> | undefined
  const groups = fleet(8, 25).map((one) => ({ ...one, maxUnavailable: { percent: 40 }, bootSeconds: 12 }))
  const done = await simulate({
    groups,
    faultOf,
    fates: POINTS.map((point, at) => ({ point, nth: 2 + (at % 2) })),
    crew: 2,
    fenced: true,
    limitMs: 400_000,
    engine: cluster.address,
    onRevision: () => {
      if (++revisions === 40) killed = cluster.leader().then((leader) => cluster.kill(leader))
    },
  })
  await killed
  assert.ok(killed !== undefined, 'the leader of the cluster was never killed')
  assert.ok(done.isOver, `it did not end: ${JSON.stringify(done.rollout)}`)
  assert.equal(done.rollout.state, 'completed', done.rollout.reason)
  assert.equal(done.killed, POINTS.length)
  assert.deepEqual(done.findings.problems, [])
  assert.equal(done.guests.size, 200)
  assert.deepEqual(differences(done), [])
  const boots = done.truth.boots.map(({ guest, token }) => `${guest} ${token}`)
  assert.equal(new Set(boots).size, boots.length, 'nobody is started twice for one grant')
})
