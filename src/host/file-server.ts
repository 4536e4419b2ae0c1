/**
 * Static files over HTTP, for loopback and small sites: GET and HEAD of plain files below one folder, with ranges
 * (RFC 9110, 14) and validators (8.8.3). Names with a dot in front, links out of the folder and listings are not there.
 */
import { once } from 'node:events'
import type { Stats } from 'node:fs'
import { open, realpath, stat } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Stage5Error } from '../base/errors.ts'

export interface FileServer extends AsyncDisposable {
  /** `http://HOST:PORT`, with the port that the system chose for 0. */
  readonly address: string
}

interface FileServerOptions {
  readonly directory: string
  readonly host: string
  readonly port: number
  /** Told of what a guest says about itself; without it nothing can be sent here. */
  readonly report?: (guest: string, text: string) => Promise<void>
}

const TYPES: Readonly<Record<string, string>> = { json: 'application/json', txt: 'text/plain; charset=utf-8' }
const REPORT = /^\/reports\/([A-Za-z0-9][A-Za-z0-9.-]{0,127})$/
/** Bytes of one report. */
const MAX_REPORT = 8_192

/** @throws S5_USAGE when it cannot listen there, S5_FILE_MISSING when there is no such folder */
export async function openFileServer({
  directory,
  host,
  port,
  report,
}: FileServerOptions): Promise<FileServer> {
  const root = await realpath(directory).catch((cause: unknown) => {
    throw new Stage5Error('S5_FILE_MISSING', `there is no folder ${directory}`, { cause })
  })
  const server = createServer((request, response) => {
    const work = request.method === 'POST' ? take(request, response) : send(root, request, response)
    // The client went away, or the disk failed in the middle: what was not sent cannot be sent any more.
    work.catch(() => (response.headersSent ? response.destroy() : end(response, 500)))
  })
  server.keepAliveTimeout = 60_000

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, guest] = REPORT.exec(request.url ?? '') ?? []
    if (report === undefined || guest === undefined) return end(response, report ? 404 : 405)
    const parts: Buffer[] = []
    let size = 0
    for await (const part of request as AsyncIterable<Buffer>) {
      size += part.length
      if (size > MAX_REPORT) return end(response, 413)
      parts.push(part)
    }
    await report(guest, Buffer.concat(parts).toString('utf8'))
    end(response, 204)
  }

  const listening = once(server, 'listening')
  server.listen(port, host)
  try {
    await listening
  } catch (cause) {
    throw new Stage5Error('S5_USAGE', `cannot listen on ${host}:${port}: ${(cause as Error).message}`, {
      cause,
    })
  }
  const { port: chosen } = server.address() as { port: number }
  return {
    address: `http://${host.includes(':') ? `[${host}]` : host}:${chosen}`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function send(root: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    return end(response, 405)
  }
  const path = await plainPath(root, request.url ?? '')
  // Most polls end here, without a file being opened.
  const known = request.headers['if-none-match']
  const seen = path !== undefined && known !== undefined ? await stat(path).catch(() => undefined) : undefined
  if (seen?.isFile() && matchesEtag(known, etagOf(seen))) {
    response.setHeader('etag', etagOf(seen))
    return end(response, 304)
  }
  const file = path === undefined ? undefined : await open(path, 'r').catch(() => undefined)
  if (path === undefined || file === undefined) return end(response, 404)
  try {
    const found = await file.stat()
    if (!found.isFile()) return end(response, 404)
    const { size } = found
    const etag = etagOf(found)
    const isMutable = path.endsWith(`${sep}timestamp.json`)
    response.setHeader('etag', etag)
    response.setHeader('accept-ranges', 'bytes')
    response.setHeader('cache-control', isMutable ? 'no-cache' : 'public, max-age=60')
    const condition = request.headers['if-range']
    const range =
      condition === undefined || condition === etag ? rangeOf(request.headers.range, size) : undefined
    if (range === 'none') {
      response.setHeader('content-range', `bytes */${size}`)
      return end(response, 416)
    }
    const [start, stop] = range ?? [0, size]
    if (range) response.setHeader('content-range', `bytes ${start}-${stop - 1}/${size}`)
    response.setHeader(
      'content-type',
      TYPES[path.slice(path.lastIndexOf('.') + 1)] ?? 'application/octet-stream',
    )
    response.setHeader('content-length', stop - start)
    response.writeHead(range ? 206 : 200)
    if (request.method === 'HEAD' || stop === start) return void response.end()
    const stream = file.createReadStream({ start, end: stop - 1, autoClose: false, highWaterMark: 262_144 })
    await pipeline(stream, response)
  } finally {
    await file.close()
  }
}

/** A file is replaced by a rename, so inode, size and time tell one content from another. */
function etagOf({ ino, size, mtimeMs }: Stats): string {
  return `"${ino.toString(36)}-${size.toString(36)}-${Math.round(mtimeMs * 1000).toString(36)}"`
}

function end(response: ServerResponse, status: number): void {
  response.writeHead(status, status === 304 || status === 204 ? {} : { 'content-length': 0 }).end()
}

/** A path below the folder, with all links followed; undefined for everything else. */
async function plainPath(root: string, url: string): Promise<string | undefined> {
  let path: string
  try {
    path = decodeURIComponent(url.replace(/[?#].*$/s, ''))
  } catch {
    return undefined
  }
  const parts = path.split('/').slice(1)
  if (path.includes('\0') || parts.length === 0) return undefined
  if (parts.some((part) => part === '' || part.startsWith('.') || part.includes(sep))) return undefined
  const real = await realpath(join(root, ...parts)).catch(() => undefined)
  return real?.startsWith(`${root}${sep}`) ? real : undefined
}

function matchesEtag(header: string | undefined, etag: string): boolean {
  return (
    header !== undefined &&
    (header.trim() === '*' || header.split(',').some((one) => one.trim().replace(/^W\//, '') === etag))
  )
}

/**
 * The one range that was asked for, as [from, to); undefined: all of it, also where several were asked for (14.2 lets a
 * server ignore them); `none`: nothing of it is there.
 */
function rangeOf(header: string | undefined, size: number): readonly [number, number] | 'none' | undefined {
  const found = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '')
  if (!found || (found[1] === '' && found[2] === '')) return undefined
  const [, first = '', last = ''] = found
  if (first === '') {
    const length = Math.min(Number(last), size)
    return length === 0 ? 'none' : [size - length, size]
  }
  if (last !== '' && Number(last) < Number(first)) return undefined
  if (Number(first) >= size) return 'none'
  return [Number(first), last === '' ? size : Math.min(size, Number(last) + 1)]
}
