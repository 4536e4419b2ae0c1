/** A real cluster of etcd on loopback, whose members can be killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Cluster extends AsyncDisposable {
  readonly endpoints: readonly string[]
  /** `etcd://…` for --engine. */
  readonly address: string
  /** Index of the member that leads now. */
  leader(): Promise<number>
  kill(member: number): Promise<void>
  pause(member: number): void
  resume(member: number): void
  /** Starts a killed member again with its data. */
  start(member: number): Promise<void>
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

export async function startCluster(size: number): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), 'fe-etcd-'))
  const members = await Promise.all(
    Array.from({ length: size }, async (_, at) => ({
      name: `m${at}`,
      client: `http://127.0.0.1:${await freePort()}`,
      peer: `http://127.0.0.1:${await freePort()}`,
    })),
  )
  const running = new Map<number, ChildProcess>()
  const spawnMember = (at: number): void => {
    const { name, client, peer } = members[at] as (typeof members)[0]
    const words = {
      name,
      'data-dir': join(directory, name),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': members.map((one) => `${one.name}=${one.peer}`).join(','),
      'initial-cluster-state': 'new',
      'heartbeat-interval': '200',
      'election-timeout': '1500',
      'log-level': 'panic',
    }
    const argv = Object.entries(words).flatMap(([word, value]) => [`--${word}`, value])
    running.set(at, spawn('etcd', argv, { stdio: 'ignore', env: { PATH: process.env['PATH'] } }))
  }
  const status = async (at: number): Promise<{ member: string; leader: string } | undefined> => {
    try {
      const answer = await fetch(`${members[at]?.client}/v3/maintenance/status`, {
        method: 'POST',
        body: '{}',
        signal: AbortSignal.timeout(2000),
      })
      const body = (await answer.json()) as { header: { member_id: string }; leader?: string }
      return { member: body.header.member_id, leader: body.leader ?? '0' }
    } catch {
      return undefined
    }
  }
  const leader = async (): Promise<number> => {
    for (;;) {
      for (const at of running.keys()) {
        const said = await status(at)
        if (said && said.member === said.leader) return at
      }
      await sleep(100)
    }
  }
  const kill = async (at: number): Promise<void> => {
    const child = running.get(at)
    if (!child) return
    running.delete(at)
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  for (const at of members.keys()) spawnMember(at)
  const cluster: Cluster = {
    endpoints: members.map(({ client }) => client),
    address: `etcd://${members.map(({ client }) => client.slice('http://'.length)).join(',')}`,
    leader,
    kill,
    pause: (at) => void running.get(at)?.kill('SIGSTOP'),
    resume: (at) => void running.get(at)?.kill('SIGCONT'),
    start: async (at) => {
      spawnMember(at)
      while (!(await status(at))) await sleep(100)
    },
    [Symbol.asyncDispose]: async () => {
      for (const at of [...running.keys()]) await kill(at)
      rmSync(directory, { recursive: true, force: true })
    },
  }
  await leader()
  return cluster
}
