import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type FleetLock,
  type FleetLockOptions,
  isLocal,
  openFleetLock,
  parseListen,
} from '../../src/deploy/fleetlock.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { openSqliteEngine } from '../../src/engine/sqlite.ts'
import { KEYS, type RolloutDocument } from '../../src/fleet/documents.ts'
import type { Group } from '../../src/resolve/group.ts'
import { group as groupOf } from '../helpers/fd-group.ts'
import { ask, followHolders, type Said, until200 } from '../helpers/fe-guests.ts'

const directory = mkdtempSync(join(tmpdir(), 'fe-lock-'))
after(() => rmSync(directory, { recursive: true, force: true }))
const names = (count: number): string[] => Array.from({ length: count }, (_, at) => `g-${at}`)
let files = 0

function group(count: number, slots: number, more: Partial<Group> = {}): Group {
  return groupOf(
    { kind: 'exec', options: {} },
    {
      name: 'web',
      guests: names(count).map((name) => ({ name, canary: false, values: {} })),
      maxUnavailable: { count: slots },
      trustSteadyState: true,
      ...more,
    },
  )
}

interface Site extends AsyncDisposable {
  readonly engine: Engine
  readonly address: string
  set(group: Group): void
  replica(more?: Partial<FleetLockOptions>): Promise<FleetLock>
  holders(): Promise<string[]>
  readonly failures: unknown[]
}

async function site(first: Group, more: Partial<FleetLockOptions> = {}): Promise<Site> {
  const engine = await openSqliteEngine(join(directory, `${++files}.db`))
  const failures: unknown[] = []
  const opened: FleetLock[] = []
  let configured = first
  const replica = async (options: Partial<FleetLockOptions> = {}): Promise<FleetLock> => {
    const server = await openFleetLock({
      engine,
      groups: async () => new Map([[configured.name, configured]]),
      moment: () => ({ day: 1, minute: 600 }),
      listen: { kind: 'tcp', host: '127.0.0.1', port: 0 },
      holdMs: 0,
      failed: (error) => failures.push(error),
      signal: new AbortController().signal,
      ...more,
      ...options,
    })
    opened.push(server)
    return server
  }
  const { address } = await replica()
  return {
    engine,
    address,
    failures,
    replica,
    set: (next) => {
      configured = next
    },
    holders: async () => {
      const stored = (await engine.list('/s5/v1/grp/web')).values[0]
      return Object.keys(
        (JSON.parse(stored?.value ?? '{"holders":{}}') as { holders: object }).holders,
      ).sort()
    },
    [Symbol.asyncDispose]: async () => {
      for (const server of opened) await server[Symbol.asyncDispose]()
      await engine[Symbol.asyncDispose]()
    },
  }
}

it('gives slots up to the budget, is idempotent for each holder, and takes them back', async () => {
  await using web = await site(group(4, 2))
  for (const id of ['g-0', 'g-1', 'g-0', 'g-1'])
    assert.deepEqual(await ask(web.address, 'pre-reboot', id, 'web'), {
      status: 200,
      kind: '',
      value: '',
      store: web.engine.storeId,
    })
  const full = await ask(web.address, 'pre-reboot', 'g-2', 'web')
  assert.deepEqual([full.status, full.kind], [409, 'failed_lock_semaphore_full'])
  assert.deepEqual(await web.holders(), ['g-0', 'g-1'])
  for (const id of ['g-0', 'g-0', 'g-3'])
    assert.equal((await ask(web.address, 'steady-state', id, 'web')).status, 200)
  assert.equal((await ask(web.address, 'pre-reboot', 'g-2', 'web')).status, 200)
  assert.deepEqual(await web.holders(), ['g-1', 'g-2'])
})

it('answers what is no request of the protocol with what it expected', async () => {
  await using web = await site(group(1, 1))
  const post = async (path: string, init: RequestInit): Promise<(number | string)[]> => {
    const answer = await fetch(web.address + path, { method: 'POST', ...init })
    const { kind, value } = (await answer.json()) as { kind: string; value: string }
    assert.notEqual(value, '')
    return [answer.status, kind]
  }
  const headers = { 'fleet-lock-protocol': 'true' }
  const body = (id: unknown, name: unknown): string => JSON.stringify({ client_params: { id, group: name } })
  const good = body('g-0', 'web')
  assert.deepEqual(await post('/v1/pre-reboot', { body: good }), [400, 'bad_request'])
  assert.deepEqual(await post('/v1/reboot', { headers, body: good }), [404, 'not_found'])
  assert.deepEqual(await post('/v1/pre-reboot', { headers, body: good, method: 'PUT' }), [405, 'bad_request'])
  for (const bad of [
    '',
    '{',
    'null',
    '[]',
    '{"client_params":1}',
    body('', 'web'),
    body(1, 'web'),
    body('g-0', 2),
  ])
    assert.deepEqual(await post('/v1/pre-reboot', { headers, body: bad }), [400, 'bad_request'], bad)
  assert.deepEqual(await post('/v1/pre-reboot', { headers, body: `"${'x'.repeat(100_000)}"` }), [
    400,
    'bad_request',
  ])
  assert.deepEqual(await post('/v1/pre-reboot', { headers, body: body('g-0', 'a/b') }), [400, 'bad_group'])
  assert.deepEqual(await post('/v1/pre-reboot', { headers, body: body('g-0', 'db') }), [404, 'unknown_group'])
  assert.deepEqual(await post('/v1/pre-reboot', { headers, body: body('g-9', 'web') }), [
    404,
    'unknown_guest',
  ])
  assert.deepEqual(await web.holders(), [])
  assert.deepEqual(web.failures, [])
})

it('refuses a client that has seen another store', async () => {
  await using web = await site(group(1, 1))
  const other = { 'stage5-store-id': '0b8d5a9e-0000-4000-8000-000000000000' }
  const said = await ask(web.address, 'pre-reboot', 'g-0', 'web', other)
  assert.deepEqual([said.status, said.kind], [409, 'store_mismatch'])
  assert.match(said.value, /store id mismatch/)
  const mine = { 'stage5-store-id': web.engine.storeId }
  assert.equal((await ask(web.address, 'pre-reboot', 'g-0', 'web', mine)).status, 200)
})

it('reads the budget at each evaluation: 1, then 3, then 1 again', async () => {
  await using web = await site(group(6, 1))
  const yes = async (): Promise<number> => {
    const all = await Promise.all(names(6).map((id) => ask(web.address, 'pre-reboot', id, 'web')))
    return all.filter(({ status }) => status === 200).length
  }
  assert.equal(await yes(), 1)
  web.set(group(6, 3))
  assert.equal(await yes(), 3)
  web.set(group(6, 1))
  assert.equal(await yes(), 3)
  for (const id of (await web.holders()).slice(0, 2)) await ask(web.address, 'steady-state', id, 'web')
  assert.equal(await yes(), 1)
})

it('hands a slot that comes free to who waits, whichever replica they asked', async () => {
  await using web = await site(group(3, 1), { holdMs: 60_000 })
  const second = await web.replica()
  await until200([web.address], 'pre-reboot', 'g-0', 'web')
  const waiting = [
    ask(web.address, 'pre-reboot', 'g-1', 'web'),
    ask(second.address, 'pre-reboot', 'g-2', 'web'),
  ]
  await sleep(100)
  assert.deepEqual(await web.holders(), ['g-0'])
  await ask(second.address, 'steady-state', 'g-0', 'web')
  assert.equal((await Promise.race(waiting)).status, 200)
  const [holder = ''] = await web.holders()
  await ask(web.address, 'steady-state', holder, 'web')
  assert.deepEqual(
    (await Promise.all(waiting)).map(({ status }) => status),
    [200, 200],
  )
})

it('gives who waits the slot of a budget that grew', async () => {
  await using web = await site(group(3, 1), { holdMs: 60_000 })
  await until200([web.address], 'pre-reboot', 'g-0', 'web')
  const waiting = ask(web.address, 'pre-reboot', 'g-1', 'web')
  await sleep(100)
  assert.deepEqual(await web.holders(), ['g-0'])
  web.set(group(3, 2))
  assert.equal((await waiting).status, 200)
  assert.deepEqual(await web.holders(), ['g-0', 'g-1'])
})

it('gives no slot to a client that has gone', async () => {
  await using web = await site(group(3, 1), { holdMs: 60_000 })
  await until200([web.address], 'pre-reboot', 'g-0', 'web')
  const gone = new AbortController()
  const asked = fetch(`${web.address}/v1/pre-reboot`, {
    method: 'POST',
    headers: { 'fleet-lock-protocol': 'true' },
    body: '{"client_params":{"id":"g-1","group":"web"}}',
    signal: gone.signal,
  })
  await sleep(200)
  gone.abort()
  await assert.rejects(asked)
  await sleep(200)
  await until200([web.address], 'steady-state', 'g-0', 'web')
  await until200([web.address], 'pre-reboot', 'g-2', 'web')
  assert.deepEqual(await web.holders(), ['g-2'])
})

it('gives nothing outside of the windows, but lets a holder ask again', async () => {
  await using web = await site(group(2, 2))
  await until200([web.address], 'pre-reboot', 'g-0', 'web')
  web.set(group(2, 2, { windows: [{ days: [2], fromMinute: 60, toMinute: 120 }] }))
  const closed = await ask(web.address, 'pre-reboot', 'g-1', 'web')
  assert.deepEqual([closed.status, closed.kind], [409, 'window_closed'])
  assert.match(closed.value, /Tue 01:00 UTC/)
  assert.equal((await ask(web.address, 'pre-reboot', 'g-0', 'web')).status, 200)
  assert.equal((await ask(web.address, 'steady-state', 'g-0', 'web')).status, 200)
})

it('gives slots by the waves of a rollout that is at work, and none while it is paused', async () => {
  await using web = await site(group(10, 10, { waves: [{ count: 2 }, { percent: 50 }] }))
  const write = async (more: Partial<RolloutDocument>): Promise<void> => {
    const document = { id: 'r1', number: 1, groups: ['web'], state: 'wave', wave: 0, reason: '', ...more }
    const put = { kind: 'put', key: KEYS.rollout('r1'), value: JSON.stringify(document) } as const
    assert.equal((await web.engine.transact([], [put])).ok, true)
  }
  const askAll = async (): Promise<readonly Said[]> =>
    await Promise.all(names(10).map((id) => ask(web.address, 'pre-reboot', id, 'web')))
  const kinds = (said: readonly Said[]): string[] => [...new Set(said.map(({ kind }) => kind))].sort()

  await write({ state: 'prefetch' })
  assert.deepEqual(kinds(await askAll()), ['not_your_wave'])
  await write({})
  const first = await askAll()
  const canaries = names(10).filter((_, at) => first[at]?.status === 200)
  assert.equal(canaries.length, 2)
  assert.deepEqual(kinds(first), ['', 'not_your_wave'])
  const refused = first.find(({ status }) => status === 409)
  assert.match(refused?.value ?? '', /^g-\d is in (wave-2|all) of r1, which is at wave-1$/)
  assert.deepEqual(await web.holders(), canaries)

  await write({ state: 'paused', reason: 'lunch' })
  const paused = await askAll()
  assert.deepEqual(
    names(10).filter((_, at) => paused[at]?.status === 200),
    canaries,
    'who has a slot keeps it',
  )
  assert.equal(paused.find(({ kind }) => kind === 'paused')?.value, 'r1 is paused: lunch')
  await write({ wave: 1 })
  assert.equal((await askAll()).filter(({ status }) => status === 200).length, 5)
  await write({ state: 'rolling-back' })
  assert.equal((await askAll()).filter(({ status }) => status === 200).length, 10)
})

it('gives no slot when the rollout is paused between the read and the write', async () => {
  await using web = await site(group(2, 1))
  const write = async (state: string): Promise<void> => {
    const document = { id: 'r1', number: 1, groups: ['web'], state, wave: 9, reason: '' }
    const put = { kind: 'put', key: KEYS.rollout('r1'), value: JSON.stringify(document) } as const
    await web.engine.transact([], [put])
  }
  await write('wave')
  let times = 0
  const fault = async (point: string): Promise<void> => {
    if (point === 'after-read' && ++times === 1) await write('paused')
  }
  const replica = await web.replica({ fault })
  assert.equal((await ask(replica.address, 'pre-reboot', 'g-0', 'web')).kind, 'paused')
  assert.deepEqual(await web.holders(), [])
})

it('frees a slot only when the guest is seen to be well, unless its group trusts it', async () => {
  let status = 500
  const guest = createServer((_request, response) => {
    response.statusCode = status
    response.end('hello')
  }).listen(0, '127.0.0.1')
  await new Promise((done) => guest.once('listening', done))
  const { port } = guest.address() as { port: number }
  const url = `http://127.0.0.1:${port}/{name}`
  const health = [{ kind: 'http', url, status: 200, contains: '', timeoutMs: 5000 }] as const
  await using web = await site(group(2, 1, { trustSteadyState: false, health }))
  await until200([web.address], 'pre-reboot', 'g-0', 'web')
  const ill = await ask(web.address, 'steady-state', 'g-0', 'web')
  assert.deepEqual([ill.status, ill.kind], [503, 'not_verified'])
  assert.deepEqual(await web.holders(), ['g-0'])
  status = 200
  assert.equal((await ask(web.address, 'steady-state', 'g-0', 'web')).status, 200)
  assert.deepEqual(await web.holders(), [])
  web.set(group(2, 1, { trustSteadyState: false }))
  await until200([web.address], 'pre-reboot', 'g-0', 'web')
  assert.equal((await ask(web.address, 'steady-state', 'g-0', 'web')).kind, 'not_verified')
  guest.close()
})

it('serves many guests through two replicas: never more holders than slots, each once, few writes', async () => {
  await using web = await site(group(120, 6), { holdMs: 20_000 })
  const second = await web.replica()
  const addresses = [web.address, second.address]
  const { revision } = await web.engine.list('')
  const history = followHolders(
    web.engine,
    'web',
    revision,
    (given, held) => given.size === 120 && held === 0,
  )
  await Promise.all(
    names(120).map(async (id) => {
      await until200(addresses, 'pre-reboot', id, 'web')
      await sleep(5)
      await until200(addresses, 'steady-state', id, 'web')
    }),
  )
  const { most, given, revisions } = await history
  assert.equal(most, 6)
  assert.deepEqual([...given.values()], Array<number>(120).fill(1))
  assert.ok(revisions <= 240, `${revisions} writes`)
  assert.deepEqual(web.failures, [])
})

it('gives a slot once although the replica stops between its read and its write', async () => {
  let release = (): void => {}
  const stopped = new Promise<void>((done) => {
    release = done
  })
  let isStopped = (): void => {}
  const reached = new Promise<void>((done) => {
    isStopped = done
  })
  let times = 0
  const fault = async (point: string): Promise<void> => {
    if (point !== 'after-read' || ++times > 1) return
    isStopped()
    await stopped
  }
  await using web = await site(group(2, 1))
  const slow = await web.replica({ fault })
  const late = ask(slow.address, 'pre-reboot', 'g-0', 'web')
  await reached
  await until200([web.address], 'pre-reboot', 'g-1', 'web')
  release()
  assert.equal((await late).kind, 'failed_lock_semaphore_full')
  assert.deepEqual(await web.holders(), ['g-1'])
})

it('reads where to listen', () => {
  assert.deepEqual(parseListen('127.0.0.1:80'), { kind: 'tcp', host: '127.0.0.1', port: 80 })
  assert.deepEqual(parseListen('[::1]:0'), { kind: 'tcp', host: '::1', port: 0 })
  assert.deepEqual(parseListen('unix:/run/x'), { kind: 'unix', path: '/run/x' })
  for (const bad of ['', '80', ':80', 'a:99999', 'unix:', 'a:b', '::1:80'])
    assert.throws(() => parseListen(bad), { code: 'S5_USAGE' }, bad)
  const local = ['127.0.0.1:1', '127.1.2.3:1', 'localhost:1', '[::1]:1', 'unix:/x']
  for (const text of local) assert.equal(isLocal(parseListen(text)), true, text)
  for (const text of ['0.0.0.0:1', '[::]:1', '10.0.0.1:1', '127.example:1'])
    assert.equal(isLocal(parseListen(text)), false, text)
})
