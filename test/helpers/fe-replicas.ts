/** A project with one large group, and replicas of `stage5 fleetlock` as processes that can be killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

const MAIN = resolve(import.meta.dirname, '../../src/main.js')

export interface Replica {
  readonly address: string
  readonly child: ChildProcess
  kill(): Promise<void>
}

export function writeGroup(project: string, guests: number, slots: number): void {
  mkdirSync(join(project, 'groups'), { recursive: true })
  writeFileSync(
    join(project, 'groups/web.yaml'),
    `stage5: 1
profile: minimal
guests: ["g-{1..${guests}}"]
driver: {kind: exec, command: ["true"]}
maxUnavailable: ${slots}
trustSteadyState: true
`,
  )
}

export async function startReplica(project: string, engine: string): Promise<Replica> {
  const words = ['-C', project, 'fleetlock', '--engine', engine, '--listen', '127.0.0.1:0', '--hold', '5s']
  const child = spawn(process.execPath, [MAIN, ...words], {
    env: { ...process.env, STAGE5_STORE: join(project, '.store') },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  for await (const line of createInterface({ input: child.stderr })) {
    said += `${line}\n`
    const address = /^fleetlock: (http:\S+),/.exec(line)?.[1]
    if (address === undefined) continue
    child.stderr.resume()
    return {
      address,
      child,
      kill: async () => {
        const gone = once(child, 'exit')
        child.kill('SIGKILL')
        await gone
      },
    }
  }
  throw new Error(`stage5 fleetlock ended: ${said}`)
}
