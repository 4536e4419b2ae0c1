/**
 * HTTP. A transport GETs: proxies of the environment, bounded redirects, credentials never shown, failures sorted by hope.
 * A caller POSTs to a service of our own: no proxy, no redirect, each request once.
 */
import { Buffer } from 'node:buffer'
import { Stage5Error } from '../base/errors.ts'
import type { Dispatcher, EnvHttpProxyAgent } from 'undici'

export interface Answer {
  readonly status: number
  /** Names in lower case; the first value where a name repeats. */
  readonly headers: { readonly [name: string]: string | undefined }
  /** Bytes as they were on the wire. Leaving the loop early closes the connection. */
  readonly body: AsyncIterable<Uint8Array>
  /** Throws the body away; keeps the connection when little is left. */
  discard(): Promise<void>
}

export interface Transport {
  /** @throws S5_FETCH_FAILED for what no further attempt can mend; other errors are those of the network */
  get(url: string, headers: { readonly [name: string]: string }, signal: AbortSignal): Promise<Answer>
  close(): Promise<void>
}

const MAX_REDIRECTS = 8

/** An address fit for messages: user, password and the values of a query are not shown. */
export function redactUrl(address: string): string {
  if (!/^https?:/i.test(address)) return address
  let url: URL
  try {
    url = new URL(address)
  } catch {
    return address.replace(/\/\/[^/@]*@/g, '//***@').replace(/\?.*$/s, '?***')
  }
  const user = url.username !== '' || url.password !== '' ? '***@' : ''
  return `${url.protocol}//${user}${url.host}${url.pathname}${url.search === '' ? '' : '?***'}`
}

/** Seconds that `Retry-After` asks for (RFC 9110 10.2.3: seconds or a date), or undefined. */
export function retryAfterSeconds(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined
  if (/^\s*\d{1,9}\s*$/.test(value)) return Number(value)
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - nowMs) / 1000))
}

/** The code of a network error, looked for along its causes: `ECONNRESET`, `UND_ERR_SOCKET`, `CERT_HAS_EXPIRED`. */
export function networkCode(error: unknown): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const code = (at as { code?: unknown }).code
    if (typeof code === 'string') return code
    if (at instanceof AggregateError && at.errors.length > 0) return networkCode(at.errors[0])
  }
  return error instanceof Error ? error.name : 'unknown'
}

/** What to catch of a request. @throws S5_FETCH_FAILED with `what` and the code; the reason of `signal`; a Stage5Error as it is */
export function requestFailed(what: string, signal: AbortSignal): (cause: unknown) => never {
  return (cause) => {
    signal.throwIfAborted()
    if (cause instanceof Stage5Error) throw cause
    throw new Stage5Error('S5_FETCH_FAILED', `${what}: ${networkCode(cause)}`, { cause })
  }
}

/** Where an answer sends its client on to, if it does. */
export function locationOf(status: number, headers: Answer['headers']): string | undefined {
  return [301, 302, 303, 307, 308].includes(status) ? headers['location'] : undefined
}

/** Certificates and malformed requests do not get better by asking again. */
export function isHopeless(code: string): boolean {
  return /^(CERT_|ERR_TLS_CERT|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|UND_ERR_INVALID_ARG|UND_ERR_HEADERS_OVERFLOW)/.test(
    code,
  )
}

/**
 * Through the proxies of the environment. Opens nothing until the first request: loading undici takes about 0.1 s, which
 * offline runs do not pay.
 */
function proxied(idleTimeoutMs: number, options: EnvHttpProxyAgent.Options = {}) {
  let opened: Promise<{ undici: typeof import('undici'); dispatcher: Dispatcher }> | undefined
  const idle = { headersTimeout: idleTimeoutMs, bodyTimeout: idleTimeoutMs }
  return {
    open: () =>
      (opened ??= import('undici').then((undici) => ({
        undici,
        dispatcher: new undici.EnvHttpProxyAgent({ ...options, ...idle, allowH2: false }),
      }))),
    close: async () => {
      if (opened) await (await opened).dispatcher.close()
    },
  }
}

export function openTransport(options: { connections: number; idleTimeoutMs: number }): Transport {
  const { connections, idleTimeoutMs } = options
  const { open, close } = proxied(idleTimeoutMs, { connections, connect: { timeout: idleTimeoutMs } })
  return {
    async get(url, headers, signal) {
      const { undici, dispatcher } = await open()
      let at = parsedUrl(url)
      const authority = at.origin
      const secret = authorization(at)
      for (let hops = 0; ; hops++) {
        const bare = new URL(at)
        bare.username = ''
        bare.password = ''
        const response = await undici.request(bare, {
          dispatcher,
          signal,
          headers: {
            'user-agent': 'stage5',
            'accept-encoding': 'identity',
            ...(secret !== undefined && at.origin === authority ? { authorization: secret } : {}),
            ...headers,
          },
        })
        const { statusCode: status, body } = response
        const plain = firstValues(response.headers)
        const location = locationOf(status, plain)
        // An abort before the body is read would otherwise be an error that nobody listens to.
        body.on('error', () => {})
        const discard = async () => {
          try {
            await body.dump({ limit: 65_536, signal })
          } catch {
            body.destroy()
          }
        }
        if (location === undefined) return { status, headers: plain, body, discard }
        await discard()
        if (hops >= MAX_REDIRECTS) throw failed(url, `more than ${MAX_REDIRECTS} redirects`)
        at = redirectTarget(at, location)
      }
    },
    close,
  }
}

interface CallerOptions {
  readonly connectTimeoutMs: number
  /** Most requests at once to one origin; streams do not count. */
  readonly connections: number
  /** PEM: certificates to trust, and those of this client. */
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

export interface Caller {
  /** One request, sent at most once, answered whole. @throws errors of the network; the reason of `signal` */
  post(
    url: string,
    headers: { readonly [name: string]: string },
    body: string,
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly text: string }>
  /** The same on a connection of its own, answered bit by bit. @throws also when nothing came for `silenceMs` */
  stream(
    url: string,
    headers: { readonly [name: string]: string },
    body: string,
    silenceMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly body: AsyncIterable<Uint8Array> }>
  close(): Promise<void>
}

export function openCaller(options: CallerOptions): Caller {
  const { connectTimeoutMs, connections, ca, cert, key } = options
  let opened: Promise<{ undici: typeof import('undici'); calls: Dispatcher; streams: Dispatcher }> | undefined
  const open = () =>
    (opened ??= import('undici').then((undici) => {
      const connect = {
        timeout: connectTimeoutMs,
        ...(ca !== undefined && { ca }),
        ...(cert !== undefined && { cert }),
        ...(key !== undefined && { key }),
      }
      const common = { connect, allowH2: false, headersTimeout: 0 }
      return {
        undici,
        calls: new undici.Agent({ ...common, connections, bodyTimeout: 0 }),
        streams: new undici.Agent(common),
      }
    }))
  return {
    async post(url, headers, body, signal) {
      const { undici, calls } = await open()
      const sent = { method: 'POST', dispatcher: calls, signal, headers, body } as const
      const response = await undici.request(url, sent)
      return { status: response.statusCode, text: await response.body.text() }
    },
    async stream(url, headers, body, silenceMs, signal) {
      const { undici, streams } = await open()
      const sent = { method: 'POST', dispatcher: streams, signal, headers, body } as const
      const response = await undici.request(url, {
        ...sent,
        headersTimeout: silenceMs,
        bodyTimeout: silenceMs,
      })
      response.body.on('error', () => {})
      return { status: response.statusCode, body: response.body }
    },
    async close() {
      if (!opened) return
      const { calls, streams } = await opened
      await Promise.all([calls.destroy(), streams.destroy()])
    },
  }
}

export interface Sender {
  /** One request through the proxies of the environment, sent once, answered whole (at most 4 MiB). No redirect is followed. */
  send(
    method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE',
    url: string,
    headers: { readonly [name: string]: string },
    body: Uint8Array | AsyncIterable<Uint8Array> | undefined,
    signal: AbortSignal,
  ): Promise<{
    readonly status: number
    readonly headers: { readonly [name: string]: string | undefined }
    readonly body: Uint8Array
  }>
  close(): Promise<void>
}

const MAX_ANSWER = 4 * 2 ** 20

/** For services that take files: user and password of an address are sent to its origin, and never shown. */
export function openSender(options: { idleTimeoutMs: number }): Sender {
  const { open, close } = proxied(options.idleTimeoutMs)
  return {
    async send(method, url, headers, body, signal) {
      const { undici, dispatcher } = await open()
      const at = parsedUrl(url)
      const secret = authorization(at)
      at.username = ''
      at.password = ''
      const response = await undici.request(at, {
        ...{ method, dispatcher, signal },
        headers: {
          'user-agent': 'stage5',
          ...(secret !== undefined && { authorization: secret }),
          ...headers,
        },
        ...(body !== undefined && { body: body as never }),
      })
      const parts: Buffer[] = []
      let size = 0
      for await (const part of response.body as AsyncIterable<Buffer>) {
        size += part.length
        if (size > MAX_ANSWER) throw failed(url, `its answer is longer than ${MAX_ANSWER} bytes`)
        parts.push(part)
      }
      const plain = firstValues(response.headers)
      return { status: response.statusCode, headers: plain, body: Buffer.concat(parts) }
    },
    close,
  }
}

/** Codes of failures that come before the first byte of a request is sent. */
export function isUnsent(code: string): boolean {
  return (
    isHopeless(code) ||
    /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/.test(code)
  )
}

function failed(url: string, why: string): Stage5Error {
  return new Stage5Error('S5_FETCH_FAILED', `${redactUrl(url)}: ${why}`, { data: { url: redactUrl(url) } })
}

function parsedUrl(address: string): URL {
  try {
    return new URL(address)
  } catch {
    throw failed(address, 'not an address')
  }
}

/** Where a redirect leads. @throws S5_FETCH_FAILED for what is not http(s), and for leaving https for http */
export function redirectTarget(from: URL, location: string): URL {
  let next: URL
  try {
    next = new URL(location, from)
  } catch {
    throw failed(from.href, 'redirected to something that is not an address')
  }
  if (!/^https?:$/.test(next.protocol)) throw failed(from.href, `redirected to ${next.protocol}`)
  if (from.protocol === 'https:' && next.protocol === 'http:')
    throw failed(from.href, 'redirected from https to http')
  return next
}

/** RFC 7617: user and password of the address as a header; they are for the origin that was asked, not for others. */
function authorization(url: URL): string | undefined {
  if (url.username === '' && url.password === '') return undefined
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  return `Basic ${Buffer.from(pair, 'utf8').toString('base64')}`
}

function firstValues(headers: { readonly [name: string]: string | string[] | undefined }): {
  [name: string]: string | undefined
} {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
  )
}
