/** An HTTP server on loopback for tests: serves files with ranges and validators, and misbehaves when told to. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Seen {
  readonly path: string
  readonly headers: IncomingMessage['headers']
}

export type Behaviour = (
  request: IncomingMessage,
  response: ServerResponse,
  body: Uint8Array | undefined,
) => void

export interface Site extends AsyncDisposable {
  readonly url: string
  /** By path as it is on the wire. */
  readonly files: Map<string, Uint8Array>
  readonly requests: Seen[]
  /** What the next requests for a path get, one each; then it is served as usual again. */
  next(path: string, ...behaviours: Behaviour[]): void
  /** What every request for a path gets. */
  always(path: string, behaviour: Behaviour): void
}

export async function openSite(): Promise<Site> {
  const files = new Map<string, Uint8Array>()
  const requests: Seen[] = []
  const queues = new Map<string, Behaviour[]>()
  const fixed = new Map<string, Behaviour>()
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    requests.push({ path, headers: request.headers })
    const behaviour = queues.get(path)?.shift() ?? fixed.get(path) ?? serve
    behaviour(request, response, files.get(path))
  })
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files,
    requests,
    next: (path, ...behaviours) => void queues.set(path, [...(queues.get(path) ?? []), ...behaviours]),
    always: (path, behaviour) => void fixed.set(path, behaviour),
    [Symbol.asyncDispose]: () =>
      new Promise((closed) => {
        server.closeAllConnections()
        server.close(() => closed())
      }),
  }
}

export const LAST_MODIFIED = 'Sat, 11 Jul 2026 10:16:37 GMT'

export const serve: Behaviour = (request, response, body) => {
  if (body === undefined) return status(404)(request, response, body)
  const etag = `"${createHash('sha1').update(body).digest('hex')}"`
  response.setHeader('etag', etag)
  response.setHeader('last-modified', LAST_MODIFIED)
  const { range } = request.headers
  if (request.headers['if-none-match'] === etag) return void response.writeHead(304).end()
  if (
    request.headers['if-none-match'] === undefined &&
    request.headers['if-modified-since'] === LAST_MODIFIED
  )
    return void response.writeHead(304).end()
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? -1)
  const fits = [undefined, etag, LAST_MODIFIED].includes(request.headers['if-range'] as string | undefined)
  if (from < 0 || !fits) return void response.writeHead(200, { 'content-length': body.length }).end(body)
  if (from >= body.length) return void response.writeHead(416).end()
  response
    .writeHead(206, {
      'content-range': `bytes ${from}-${body.length - 1}/${body.length}`,
      'content-length': body.length - from,
    })
    .end(body.subarray(from))
}

export function status(code: number, headers: Record<string, string> = {}): Behaviour {
  return (_request, response) => void response.writeHead(code, headers).end(`status ${code}`)
}

/** What a client has not read when the connection breaks is lost to it; so it gets time to read. */
const GRACE_MS = 60

/** Announces all, sends `bytes` from where was asked, and breaks the connection. */
export function cutAfter(bytes: number): Behaviour {
  return (request, response, body = new Uint8Array()) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    const range = { 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` }
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': body.length - from,
      ...(from > 0 ? range : {}),
    })
    response.write(body.subarray(from, from + bytes), () => setTimeout(() => response.destroy(), GRACE_MS))
  }
}

/** Sends other bytes than the file, chunked, so that no length is announced. */
export function chunked(bytes: Uint8Array): Behaviour {
  return (_request, response) => {
    response.writeHead(200)
    for (let at = 0; at < bytes.length; at += 10_000) response.write(bytes.subarray(at, at + 10_000))
    response.end()
  }
}

/** Ignores ranges and conditions. */
export const plain: Behaviour = (_request, response, body = new Uint8Array()) =>
  void response.writeHead(200, { 'content-length': body.length }).end(body)

/** Sends a little, then nothing. */
export const hang: Behaviour = (_request, response, body = new Uint8Array()) => {
  response.writeHead(200, { 'content-length': body.length })
  response.write(body.subarray(0, 10))
}
