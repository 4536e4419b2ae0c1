/**
 * `node test/bench/fleetlock.ts sqlite|etcd|etcd-faults`: 1,000 guests restart over 50 slots, 0.4 s each; 8 s is ideal.
 *
 * sqlite has one replica, etcd three members and two replicas; with faults a replica and the leader are killed.
 * Prints `{seconds, writes, most}` as JSON: time from the first request on, transactions of the group, most holders.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openEngine } from '../../src/engine/open.ts'
import { startCluster } from '../helpers/fe-etcd.ts'
import { followHolders, until200 } from '../helpers/fe-guests.ts'
import { startReplica, writeGroup } from '../helpers/fe-replicas.ts'

const [GUESTS, SLOTS, RESTART_MS] = [1000, 50, 400]
const mode = process.argv[2] ?? 'etcd-faults'
const project = mkdtempSync(join(tmpdir(), 'fe-bench-'))
const cluster = mode === 'sqlite' ? undefined : await startCluster(3)
const address = cluster?.address ?? `sqlite:${project}/fleet.db`
try {
  writeGroup(project, GUESTS, SLOTS)
  const replicas = [await startReplica(project, address)]
  if (cluster) replicas.push(await startReplica(project, address))
  const addresses = replicas.map((replica) => replica.address)
  await using engine = await openEngine(address)
  const { revision } = await engine.list('/s5/')
  const history = followHolders(engine, 'web', revision, (given, held) => given.size === GUESTS && held === 0)
  let back = 0
  const start = performance.now()
  const guests = Array.from({ length: GUESTS }, async (_, at) => {
    await until200(addresses, 'pre-reboot', `g-${at + 1}`, 'web')
    await sleep(RESTART_MS)
    await until200(addresses, 'steady-state', `g-${at + 1}`, 'web')
    back++
  })
  if (mode === 'etcd-faults' && cluster) {
    while (back < GUESTS / 4) await sleep(10)
    await replicas[0]?.kill()
    while (back < GUESTS / 2) await sleep(10)
    await cluster.kill(await cluster.leader())
  }
  await Promise.all(guests)
  const seconds = (performance.now() - start) / 1000
  const { most, given, revisions } = await history
  if (most > SLOTS || [...given.values()].some((times) => times !== 1)) process.exitCode = 1
  console.log(JSON.stringify({ seconds, writes: revisions, most }))
  for (const replica of replicas.slice(mode === 'etcd-faults' ? 1 : 0)) await replica.kill()
} finally {
  await cluster?.[Symbol.asyncDispose]()
  rmSync(project, { recursive: true, force: true })
}
process.exit()
