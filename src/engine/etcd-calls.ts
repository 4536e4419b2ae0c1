/**
 * Calls to a cluster of etcd: each with a deadline of its own, to one member at a time, the next one after a failure.
 *
 * A call that changes something is sent once: when no answer comes its outcome is unknown, and that is what is thrown.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import { monotonicMs } from '../host/clock.ts'
import { type Caller, isHopeless, isUnsent, networkCode, openCaller } from '../host/http.ts'
import { decodeError, GRPC, type WireHeader } from './etcd-wire.ts'

export interface EtcdOptions {
  /** `http://host:2379` or `https://…`, of one cluster. */
  readonly endpoints: readonly string[]
  /** Before each key, so that fleets and others can share a cluster; '' or such as '/team-a'. */
  readonly prefix?: string | undefined
  readonly user?: string | undefined
  readonly password?: string | undefined
  /** PEM */
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  /** The id that the store must have. */
  readonly storeId?: string | undefined
  /** How long one member has for one answer. */
  readonly deadlineMs?: number | undefined
  /** How long reads and renewals are tried again; an election takes some 2 s. */
  readonly patienceMs?: number | undefined
}

/** An answer that is a no: etcd has seen the request and did nothing. */
export class EtcdRefusal extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

export interface Calls {
  /** `cluster`, for messages. */
  readonly name: string
  /** Sent to one member, once. @throws EtcdRefusal, S5_ENGINE_UNAVAILABLE, S5_ENGINE_OTHER */
  readonly once: <T>(path: string, body: string) => Promise<T>
  /** Tried again while there is hope: only for what may be done twice. */
  readonly patiently: <T>(path: string, body: string) => Promise<T>
  /** Lines of JSON as they come, from one member. @throws also when it is silent for some seconds */
  readonly lines: <T>(path: string, body: string, signal: AbortSignal) => AsyncIterable<T>
  /** Aborted by `close`. */
  readonly closed: AbortSignal
  readonly close: () => Promise<void>
}

const DEADLINE_MS = 3000
const PATIENCE_MS = 15_000
const CONNECTIONS = 64
/** A watch that hears nothing for so long asks another member; nothing is missed, it goes on from its revision. */
const SILENCE_MS = 10_000
/** The server drops what it cannot answer with a leader, instead of holding it (etcd `WithRequireLeader`). */
const HEADERS = { 'content-type': 'application/json', 'grpc-metadata-hasleader': 'true' }

interface Member {
  readonly endpoint: string
  readonly body: string
  readonly path: string
}

export function openCalls(options: EtcdOptions): Calls {
  const { endpoints, user, password, deadlineMs = DEADLINE_MS, patienceMs = PATIENCE_MS } = options
  const { ca, cert, key } = options
  const caller: Caller = openCaller({ connectTimeoutMs: deadlineMs, connections: CONNECTIONS, ca, cert, key })
  const name = `etcd ${endpoints.join(',')}`
  const closing = new AbortController()
  let current = 0
  let token: Promise<string> | undefined
  let cluster: string | undefined

  /** Away from a member that failed, unless somebody else has left it already. */
  function leave(member: number): void {
    if (member === current) current = (current + 1) % endpoints.length
  }

  function unavailable(endpoint: string, why: string, unsent: boolean, cause?: unknown): Stage5Error {
    const what = unsent ? 'nothing was sent' : 'the request was sent, its outcome is unknown'
    return new Stage5Error('S5_ENGINE_UNAVAILABLE', `${endpoint}: ${why} (${what})`, {
      cause,
      data: { endpoint, unsent },
    })
  }

  function networkFailure(endpoint: string, error: unknown): Stage5Error {
    const code = networkCode(error)
    if (isHopeless(code))
      return new Stage5Error('S5_ENGINE_REFUSED', `${endpoint}: ${code}`, {
        cause: error,
        data: { endpoint, code },
      })
    return unavailable(endpoint, code, isUnsent(code), error)
  }

  async function post({ endpoint, path, body }: Member, headers: Record<string, string>): Promise<string> {
    const deadline = new AbortController()
    const timer = setTimeout(() => {
      deadline.abort(new DeadlineError(`no answer within ${deadlineMs} ms`))
    }, deadlineMs)
    const stop = (): void => deadline.abort(closing.signal.reason)
    closing.signal.addEventListener('abort', stop)
    let answer: { readonly status: number; readonly text: string }
    try {
      closing.signal.throwIfAborted()
      answer = await caller.post(endpoint + path, headers, body, deadline.signal)
    } catch (error) {
      closing.signal.throwIfAborted()
      if (error instanceof DeadlineError) throw unavailable(endpoint, error.message, false)
      throw networkFailure(endpoint, error)
    } finally {
      clearTimeout(timer)
      closing.signal.removeEventListener('abort', stop)
    }
    if (answer.status !== 200) throw refusal(endpoint, answer.status, answer.text)
    return answer.text
  }

  function refusal(endpoint: string, status: number, text: string): Error {
    const { code, message } = decodeError(status, text)
    const isPassing = code === GRPC.unavailable || code === GRPC.deadlineExceeded || status >= 502
    return isPassing ? unavailable(endpoint, message, false) : new EtcdRefusal(code, message)
  }

  async function authorized(endpoint: string): Promise<Record<string, string>> {
    if (user === undefined) return HEADERS
    token ??= post(
      {
        endpoint,
        path: '/v3/auth/authenticate',
        body: JSON.stringify({ name: user, password: password ?? '' }),
      },
      HEADERS,
    ).then((text) => (JSON.parse(text) as { token?: string }).token ?? '')
    const asked = token
    try {
      return { ...HEADERS, authorization: await asked }
    } catch (error) {
      if (token === asked) token = undefined
      throw error
    }
  }

  /** Whether it was refused for an old token; etcd did nothing then. */
  const isStaleToken = (error: unknown): boolean =>
    error instanceof EtcdRefusal &&
    user !== undefined &&
    (error.code === GRPC.unauthenticated || /auth token|revision in header is old/.test(error.message))

  async function withToken<T>(
    endpoint: string,
    ask: (headers: Record<string, string>) => Promise<T>,
  ): Promise<T> {
    try {
      return await ask(await authorized(endpoint))
    } catch (error) {
      if (!isStaleToken(error)) throw error
      token = undefined
      return await ask(await authorized(endpoint))
    }
  }

  /** Another cluster behind an address that we know is another store. */
  function checkCluster(endpoint: string, header: WireHeader | undefined): void {
    const found = header?.cluster_id
    if (found === undefined || found === (cluster ??= found)) return
    throw new Stage5Error('S5_ENGINE_OTHER', `${endpoint}: expected cluster ${cluster}, found ${found}`, {
      data: { endpoint, expected: cluster, actual: found },
    })
  }

  async function ask<T>(member: number, path: string, body: string): Promise<T> {
    const endpoint = endpoints[member] as string
    try {
      return await withToken(endpoint, async (headers) => {
        const text = await post({ endpoint, path, body }, headers)
        const parsed = JSON.parse(text) as T & { header?: WireHeader }
        checkCluster(endpoint, parsed.header)
        return parsed
      })
    } catch (error) {
      if (isStage5Error(error)) leave(member)
      throw error
    }
  }

  async function once<T>(path: string, body: string): Promise<T> {
    for (let left = endpoints.length; ; ) {
      try {
        return await ask<T>(current, path, body)
      } catch (error) {
        const isUnsentOne = isStage5Error(error, 'S5_ENGINE_UNAVAILABLE') && error.data['unsent'] === true
        if (!isUnsentOne || --left === 0) throw error
      }
    }
  }

  async function patiently<T>(path: string, body: string): Promise<T> {
    const until = monotonicMs() + patienceMs
    for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 800)) {
      try {
        return await once<T>(path, body)
      } catch (error) {
        if (!isStage5Error(error, 'S5_ENGINE_UNAVAILABLE') || monotonicMs() >= until) throw error
      }
      await sleep(pauseMs * (0.5 + Math.random()), undefined, { signal: closing.signal })
    }
  }

  async function* lines<T>(path: string, body: string, signal: AbortSignal): AsyncGenerator<T> {
    const member = current
    const endpoint = endpoints[member] as string
    try {
      const { status, body: answer } = await withToken(endpoint, (headers) =>
        caller.stream(endpoint + path, headers, body, SILENCE_MS, signal).catch((error: unknown) => {
          throw networkFailure(endpoint, error)
        }),
      )
      const decoder = new TextDecoder()
      let rest = ''
      for await (const bytes of answer) {
        rest += decoder.decode(bytes, { stream: true })
        const whole = rest.split('\n')
        rest = whole.pop() as string
        for (const line of whole) yield parseLine<T>(endpoint, status, line)
      }
      if (rest !== '') yield parseLine<T>(endpoint, status, rest)
    } catch (error) {
      leave(member)
      if (isStaleToken(error)) token = undefined
      if (isStage5Error(error) || error instanceof EtcdRefusal || signal.aborted) throw error
      throw networkFailure(endpoint, error)
    }
  }

  function parseLine<T>(endpoint: string, status: number, line: string): T {
    const parsed = JSON.parse(line) as { result?: T & { header?: WireHeader } }
    if (parsed.result === undefined) throw refusal(endpoint, status, line)
    checkCluster(endpoint, parsed.result.header)
    return parsed.result
  }

  return {
    name,
    once,
    patiently,
    lines,
    closed: closing.signal,
    close: async () => {
      closing.abort(new Error(`${name}: the engine was closed`))
      await caller.close()
    },
  }
}

class DeadlineError extends Error {}
