/** A real cluster of etcd loses its leader, its majority and its patience. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error } from '../../src/base/errors.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { openEtcdEngine } from '../../src/engine/etcd.ts'
import { openEngine } from '../../src/engine/open.ts'
import { type Cluster, startCluster } from '../helpers/fe-etcd.ts'
import { followHolders, until200 } from '../helpers/fe-guests.ts'
import { startReplica, writeGroup } from '../helpers/fe-replicas.ts'

const skip = spawnSync('etcd', ['--version']).status === 0 ? false : 'needs etcd'
const never = new AbortController().signal

/** Every put that a watch saw, in its order, until the key `/w/end`. */
async function watched(engine: Engine, revision: bigint): Promise<[key: string, at: bigint][]> {
  const seen: [string, bigint][] = []
  for await (const { revision: at, changes } of engine.watch('/w/', revision, never)) {
    for (const { key } of changes) seen.push([key, at])
    if (changes.some(({ key }) => key === '/w/end')) break
  }
  return seen
}

/** Writes keys one after the other; after an unknown outcome it looks, as callers must. */
async function write(
  engine: Engine,
  name: string,
  isOver: () => boolean,
): Promise<{ acknowledged: [string, bigint][]; unknown: number }> {
  const acknowledged: [string, bigint][] = []
  let unknown = 0
  for (let at = 0; !isOver(); at++) {
    const key = `/w/${name}/${at}`
    for (;;)
      try {
        const { ok, revision } = await engine.transact(
          [{ key, target: 'create', equal: 0n }],
          [{ kind: 'put', key, value: '' }],
        )
        if (ok) acknowledged.push([key, revision])
        break
      } catch (error) {
        if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE')) throw error
        unknown++
      }
  }
  return { acknowledged, unknown }
}

async function untilDone<T>(act: () => Promise<T>): Promise<T> {
  for (;;)
    try {
      return await act()
    } catch (error) {
      if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE')) throw error
      await sleep(100)
    }
}

it('loses no acknowledged write and no watched change when the leader is killed in the middle', {
  skip,
}, async () => {
  await using cluster: Cluster = await startCluster(3)
  const engines = await Promise.all(
    // Each begins with another member, so that some hang on the leader that dies.
    cluster.endpoints.map((_, at) =>
      openEtcdEngine({ endpoints: [...cluster.endpoints.slice(at), ...cluster.endpoints.slice(0, at)] }),
    ),
  )
  const { revision } = await (engines[0] as Engine).list('/w/')
  const watches = engines.map((engine) => watched(engine, revision))
  let isOver = false
  const writers = engines.flatMap((engine, at) =>
    ['a', 'b', 'c'].map((name) => write(engine, `${at}${name}`, () => isOver)),
  )
  await sleep(1000)
  const old = await cluster.leader()
  await cluster.kill(old)
  const next = await cluster.leader()
  assert.notEqual(next, old)
  await sleep(1000)
  await cluster.start(old)
  await sleep(500)
  isOver = true
  const written = await Promise.all(writers)
  await untilDone(() => (engines[1] as Engine).transact([], [{ kind: 'put', key: '/w/end', value: '' }]))
  const { values } = await (engines[2] as Engine).list('/w/')
  const kept = new Map(values.map(({ key, modRevision }) => [key, modRevision]))
  for (const { acknowledged } of written)
    for (const [key, at] of acknowledged) assert.equal(kept.get(key), at, key)
  const all = [...kept].toSorted(([, one], [, other]) => Number(one - other))
  for (const seen of await Promise.all(watches)) assert.deepEqual(seen, all)
  assert.ok(
    written.some(({ unknown }) => unknown > 0),
    'nobody noticed',
  )
  assert.ok(all.length > 100)
  await Promise.all(engines.map((engine) => engine[Symbol.asyncDispose]()))
})

it('does nothing without a majority and goes on by itself with one; a watch leaves a member that is silent', {
  skip,
}, async () => {
  await using cluster: Cluster = await startCluster(3)
  await using engine = await openEtcdEngine({
    endpoints: cluster.endpoints,
    deadlineMs: 2000,
    patienceMs: 2000,
  })
  const { revision } = await engine.transact([], [{ kind: 'put', key: '/w/one', value: '1' }])
  const watching = watched(engine, revision)
  const last = cluster.endpoints.length - 1
  await Promise.all([cluster.kill(last), cluster.kill(last - 1)])
  const put = { kind: 'put', key: '/w/two', value: '2' } as const
  const unavailable = { code: 'S5_ENGINE_UNAVAILABLE' }
  await assert.rejects(engine.transact([{ key: '/w/two', target: 'create', equal: 0n }], [put]), unavailable)
  await assert.rejects(engine.list('/w/'), unavailable)
  await Promise.all([cluster.start(last), cluster.start(last - 1)])
  await untilDone(() => engine.transact([{ key: '/w/two', target: 'create', equal: 0n }], [put]))
  cluster.pause(0)
  await untilDone(() => engine.transact([], [{ kind: 'put', key: '/w/end', value: '' }]))
  assert.deepEqual(new Set((await watching).map(([key]) => key)), new Set(['/w/two', '/w/end']))
  cluster.resume(0)
})

it('gives 1,000 guests 50 slots through two replicas, of which one dies, and so does the leader', {
  skip,
}, async () => {
  const project = mkdtempSync(join(tmpdir(), 'fe-fleetlock-'))
  await using cluster: Cluster = await startCluster(3)
  writeGroup(project, 1000, 50)
  const replicas = [
    await startReplica(project, cluster.address),
    await startReplica(project, cluster.address),
  ]
  const addresses = replicas.map(({ address }) => address)
  await using engine = await openEngine(cluster.address)
  const { revision } = await engine.list('/s5/')
  const history = followHolders(engine, 'web', revision, (given, held) => given.size === 1000 && held === 0)
  let back = 0
  const guests = Array.from({ length: 1000 }, async (_, at) => {
    const id = `g-${at + 1}`
    await until200(addresses, 'pre-reboot', id, 'web')
    await sleep(100)
    await until200(addresses, 'steady-state', id, 'web')
    back++
  })
  while (back < 150) await sleep(20)
  await replicas[0]?.kill()
  while (back < 350) await sleep(20)
  await cluster.kill(await cluster.leader())
  await Promise.all(guests)
  const { most, given } = await history
  assert.equal(most, 50)
  assert.equal(given.size, 1000)
  assert.deepEqual(new Set(given.values()), new Set([1]))
  await replicas[1]?.kill()
  rmSync(project, { recursive: true, force: true })
})

it('passes on what etcd refuses, and logs in again when its token is forgotten', { skip }, async () => {
  await using cluster: Cluster = await startCluster(1)
  const [endpoint = ''] = cluster.endpoints
  const admin = async (path: string, body: object): Promise<void> => {
    const answer = await fetch(`${endpoint}/v3/auth/${path}`, { method: 'POST', body: JSON.stringify(body) })
    assert.equal(answer.status, 200, await answer.text())
  }
  await admin('user/add', { name: 'root', password: 'right' })
  await admin('user/grant', { user: 'root', role: 'root' })
  await admin('enable', {})
  const open = (password?: string) =>
    openEtcdEngine({ endpoints: [endpoint], user: password === undefined ? undefined : 'root', password })
  await assert.rejects(open('wrong'), { code: 'S5_ENGINE_REFUSED' })
  await assert.rejects(open(), { code: 'S5_ENGINE_REFUSED' })
  await using engine = await open('right')
  const put = () => engine.transact([], [{ kind: 'put', key: '/a', value: '1' }])
  assert.equal((await put()).ok, true)
  // Simple tokens live in the memory of a member.
  await cluster.kill(0)
  await cluster.start(0)
  assert.equal((await untilDone(put)).ok, true)
})
