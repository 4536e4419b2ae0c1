/** Guests that speak FleetLock as its protocol says, and what a history of their slots must be. */
import assert from 'node:assert/strict'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Engine } from '../../src/engine/engine.ts'

const agent = new Agent({ keepAlive: true, maxSockets: 2000 })

export interface Said {
  /** 0: no answer. */
  readonly status: number
  readonly kind: string
  readonly value: string
  readonly store: string
}

/** One request, word by word as the protocol has it. */
export function ask(
  address: string,
  path: 'pre-reboot' | 'steady-state',
  id: string,
  group: string,
  headers: Record<string, string> = {},
): Promise<Said> {
  return new Promise((done) => {
    const lost = (): void => done({ status: 0, kind: '', value: '', store: '' })
    const asked = request(
      `${address}/v1/${path}`,
      { method: 'POST', agent, headers: { 'fleet-lock-protocol': 'true', ...headers }, timeout: 25_000 },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (part: string) => (text += part))
        answer.on('error', lost).on('end', () => {
          const { kind = '', value = '' } =
            text === '' ? {} : (JSON.parse(text) as { kind: string; value: string })
          const store = String(answer.headers['stage5-store-id'] ?? '')
          done({ status: answer.statusCode ?? 0, kind, value, store })
        })
      },
    )
    asked.on('error', lost).on('timeout', () => asked.destroy())
    asked.end(JSON.stringify({ client_params: { id, group } }))
  })
}

/** Asks replicas in turn until one says yes. */
export async function until200(
  addresses: readonly string[],
  path: 'pre-reboot' | 'steady-state',
  id: string,
  group: string,
): Promise<void> {
  for (let at = Math.floor(Math.random() * addresses.length); ; at++) {
    const { status, kind } = await ask(addresses[at % addresses.length] as string, path, id, group)
    if (status === 200) return
    assert.ok(status === 0 || status === 409 || status === 503, `${status} ${kind}`)
    await sleep(status === 0 ? 100 : 20)
  }
}

/** Follows a group from `revision` on: how many hold at each revision, and how often each guest got a slot. */
export async function followHolders(
  engine: Engine,
  group: string,
  revision: bigint,
  isOver: (given: ReadonlyMap<string, number>, held: number) => boolean,
): Promise<{
  readonly most: number
  readonly given: ReadonlyMap<string, number>
  readonly revisions: number
}> {
  const given = new Map<string, number>()
  let [most, revisions, before] = [0, 0, new Set<string>()]
  for await (const { changes } of engine.watch(
    `/s5/v1/grp/${group}`,
    revision,
    new AbortController().signal,
  )) {
    revisions++
    const { holders } = JSON.parse(changes[0]?.value ?? '{"holders":{}}') as { holders: object }
    const held = new Set(Object.keys(holders))
    for (const guest of held) if (!before.has(guest)) given.set(guest, (given.get(guest) ?? 0) + 1)
    most = Math.max(most, held.size)
    before = held
    if (isOver(given, held.size)) break
  }
  return { most, given, revisions }
}
