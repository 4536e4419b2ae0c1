/**
 * A FleetLock server without state: any number of replicas over one engine, each may die at any moment.
 *
 * `POST /v1/pre-reboot` takes a slot of the group, `POST /v1/steady-state` gives it back; 200 is yes, all else is
 * `{kind, value}`. A slot is given back on evidence (R1): the health checks of the group pass, or the group says
 * `trustSteadyState`. While a rollout is at work for the group, only guests of its open waves get one.
 * @see https://coreos.github.io/zincati/development/fleetlock/protocol/
 */
import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { isIP } from 'node:net'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import type { Engine } from '../engine/engine.ts'
import { KEYS } from '../fleet/documents.ts'
import { isOpen, type Moment, nextOpening } from '../fleet/windows.ts'
import type { Group } from '../resolve/group.ts'
import { driverGuest } from '../resolve/template.ts'
import { checkHealth } from './health.ts'
import { type FaultPoint, type LockQueue, openLockQueue, type QueueOutcome } from './lock-queue.ts'

export interface FleetLockOptions {
  readonly engine: Engine
  /** As the configuration says now; asked at every evaluation. */
  readonly groups: () => Promise<ReadonlyMap<string, Group>>
  /** UTC now: only for maintenance windows. */
  readonly moment: () => Moment
  readonly listen: ListenAddress
  /** How long a request waits for a slot of a full group. */
  readonly holdMs: number
  /** Told of requests that failed for a reason of ours. */
  readonly failed: (error: unknown) => void
  readonly fault?: (point: FaultPoint) => Promise<void>
  readonly signal: AbortSignal
}

type ListenAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

export interface FleetLock extends AsyncDisposable {
  /** Where it listens, with the port that the system chose for 0. */
  readonly address: string
}

/** A client that has seen one store refuses answers of another, and is refused by it (R7). */
const STORE_HEADER = 'stage5-store-id'

const PROTOCOL_HEADER = 'fleet-lock-protocol'
const GROUP_NAME = /^[a-zA-Z0-9.-]+$/
const MAX_BODY = 65_536
const EVIDENCE_MS = 10_000
const PATHS = { '/v1/pre-reboot': 'acquire', '/v1/steady-state': 'release' } as const

interface Reply {
  readonly status: number
  /** Absent: yes. */
  readonly error?: { readonly kind: string; readonly value: string }
}

const YES: Reply = { status: 200 }

function no(status: number, kind: string, value: string): Reply {
  return { status, error: { kind, value } }
}

/** @throws S5_USAGE when it cannot listen there */
export async function openFleetLock(options: FleetLockOptions): Promise<FleetLock> {
  const { engine, groups, failed } = options
  const ending = new AbortController()
  const signal = AbortSignal.any([options.signal, ending.signal])
  const queues = new Map<string, LockQueue>()

  function queueOf(name: string): LockQueue {
    const queue =
      queues.get(name) ?? openLockQueue({ engine, name, groups, failed, signal, fault: options.fault })
    queues.set(name, queue)
    return queue
  }

  /** Slots that come free through other replicas wake those who wait here. */
  async function follow(): Promise<void> {
    while (!signal.aborted)
      try {
        const { revision } = await engine.list(KEYS.store)
        for (const queue of queues.values()) queue.wake()
        for await (const { changes } of engine.watch(KEYS.groups, revision, signal))
          for (const { key } of changes) queues.get(key.slice(KEYS.groups.length))?.wake()
      } catch (error) {
        if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE', 'S5_ENGINE_COMPACTED')) throw error
      }
  }

  async function handle(request: IncomingMessage, gone: AbortSignal): Promise<Reply> {
    const kind = PATHS[request.url as keyof typeof PATHS]
    if (kind === undefined) return no(404, 'not_found', `expected ${Object.keys(PATHS).join(' or ')}`)
    if (request.method !== 'POST') return no(405, 'bad_request', `expected POST, found ${request.method}`)
    if (request.headers[PROTOCOL_HEADER] !== 'true')
      return no(400, 'bad_request', `expected the header ${PROTOCOL_HEADER}: true`)
    const seen = request.headers[STORE_HEADER]
    if (seen !== undefined && seen !== engine.storeId)
      return no(
        409,
        'store_mismatch',
        `store id mismatch: expected ${String(seen)}, this is ${engine.storeId}`,
      )
    const params = parseParams(await bodyOf(request))
    if ('status' in params) return params
    const group = (await groups()).get(params.group)
    if (!group) return no(404, 'unknown_group', `there is no group ${params.group}`)
    if (!group.guests.some(({ name }) => name === params.id))
      return no(404, 'unknown_guest', `group ${params.group} has no guest ${params.id}`)
    return kind === 'acquire' ? await acquire(group, params.id, gone) : await release(group, params.id, gone)
  }

  async function acquire(group: Group, guest: string, gone: AbortSignal): Promise<Reply> {
    const moment = options.moment()
    const holdMs = isOpen(group.windows, moment) ? options.holdMs : undefined
    if (holdMs === undefined && !(await holds(group, guest)))
      return no(
        409,
        'window_closed',
        `the next window of ${group.name} opens ${nextOpening(group.windows, moment)}`,
      )
    return replyOf(group, await queueOf(group.name).ask({ kind: 'acquire', guest }, holdMs ?? 0, gone))
  }

  /** Who has a slot already keeps it when the window closes. */
  async function holds(group: Group, guest: string): Promise<boolean> {
    const key = KEYS.group(group.name)
    const stored = (await engine.list(key)).values.find((one) => one.key === key)
    const holders = stored ? (JSON.parse(stored.value) as { holders: Record<string, unknown> }).holders : {}
    return Object.hasOwn(holders, guest)
  }

  async function release(group: Group, guest: string, gone: AbortSignal): Promise<Reply> {
    if (!group.trustSteadyState && (await holds(group, guest))) {
      const why = await whyUnproven(group, guest, gone)
      if (why !== '') return no(503, 'not_verified', why)
    }
    return replyOf(group, await queueOf(group.name).ask({ kind: 'release', guest }, 0, gone))
  }

  return await listen(options, engine.storeId, handle, signal, {
    begun: () => void follow().catch((error: unknown) => signal.aborted || failed(error)),
    ended: () => ending.abort(new Error('the server ends')),
  })
}

/** '' when the guest is seen to be well: what a rollout would ask of it too. */
async function whyUnproven(group: Group, name: string, gone: AbortSignal): Promise<string> {
  const guest = group.guests.find((one) => one.name === name)
  if (!guest || group.health.length === 0)
    return `group ${group.name} has no health checks to verify ${name} by, and does not say trustSteadyState`
  const signal = AbortSignal.any([gone, AbortSignal.timeout(EVIDENCE_MS)])
  const { health, detail } = await checkHealth(group.health, driverGuest(group, guest).values, {}, signal)
  return health === 'pass' ? '' : detail || `${name} is ${health}`
}

function replyOf(group: Group, outcome: QueueOutcome): Reply {
  if (typeof outcome === 'object') return no(409, outcome.kind, outcome.value)
  switch (outcome) {
    case 'held':
    case 'free':
      return YES
    case 'full':
      return no(409, 'failed_lock_semaphore_full', `every slot of ${group.name} is taken`)
    case 'foreign':
      return no(503, 'not_verified', 'a rollout gave this slot and frees it when it has seen the guest well')
    case 'gone':
      return no(404, 'unknown_group', `there is no group ${group.name}`)
    case 'unavailable':
      return no(503, 'failed_lock', 'the store of the fleet does not answer')
  }
}

function parseParams(body: string | undefined): { readonly id: string; readonly group: string } | Reply {
  let parsed: unknown
  try {
    parsed = JSON.parse(body ?? '')
  } catch {
    return no(400, 'bad_request', `expected JSON of at most ${MAX_BODY} bytes`)
  }
  const { client_params: params } = (parsed ?? {}) as { client_params?: { id?: unknown; group?: unknown } }
  const { id, group } = params ?? {}
  if (typeof id !== 'string' || id === '' || typeof group !== 'string')
    return no(400, 'bad_request', 'expected {"client_params": {"id": "…", "group": "…"}}')
  if (!GROUP_NAME.test(group)) return no(400, 'bad_group', `expected a group of ${GROUP_NAME.source}`)
  return { id, group }
}

/** @returns undefined when it is too long */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of request as AsyncIterable<Uint8Array>) {
    size += part.byteLength
    if (size > MAX_BODY) return undefined
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

async function listen(
  { listen: where, failed }: FleetLockOptions,
  storeId: string,
  handle: (request: IncomingMessage, gone: AbortSignal) => Promise<Reply>,
  signal: AbortSignal,
  life: { begun(): void; ended(): void },
): Promise<FleetLock> {
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const left = new AbortController()
    response.on('close', () => left.abort(new Error('the client has gone')))
    let reply: Reply
    try {
      reply = await handle(request, AbortSignal.any([left.signal, signal]))
    } catch (error) {
      if (left.signal.aborted) return
      reply = no(503, 'failed_lock', isStage5Error(error) ? error.message : 'internal error')
      if (!signal.aborted) failed(error)
    }
    const body = reply.error ? `${JSON.stringify(reply.error)}\n` : ''
    response.writeHead(reply.status, {
      [STORE_HEADER]: storeId,
      'content-length': Buffer.byteLength(body),
      ...(body !== '' && { 'content-type': 'application/json' }),
    })
    response.end(body)
  }
  const server = createServer((request, response) => void answer(request, response))
  server.listen(where.kind === 'unix' ? { path: where.path } : { host: where.host, port: where.port })
  try {
    await once(server, 'listening')
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause)
    throw new Stage5Error('S5_USAGE', `cannot listen: ${said}`, { cause })
  }
  life.begun()
  const bound = server.address()
  return {
    address:
      bound !== null && typeof bound === 'object'
        ? `http://${isIP(bound.address) === 6 ? `[${bound.address}]` : bound.address}:${bound.port}`
        : `unix:${bound}`,
    [Symbol.asyncDispose]: async () => {
      life.ended()
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

/**
 * `HOST:PORT`, `[IPv6]:PORT` or `unix:PATH`.
 * @throws S5_USAGE
 */
export function parseListen(text: string): ListenAddress {
  if (/^unix:./.test(text)) return { kind: 'unix', path: text.slice('unix:'.length) }
  const { host, port } =
    /^(?<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(?<port>\d{1,5})$/.exec(text)?.groups ?? {}
  if (host === undefined || Number(port) > 65_535)
    throw new Stage5Error(
      'S5_USAGE',
      `--listen expects HOST:PORT or unix:PATH, found ${JSON.stringify(text)}`,
    )
  return { kind: 'tcp', host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
}

/** Whether only this machine can reach it. */
export function isLocal(address: ListenAddress): boolean {
  return address.kind === 'unix' || /^(?:127\.[0-9.]+|::1|localhost)$/.test(address.host)
}
