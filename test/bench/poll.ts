/**
 * `node test/bench/poll.ts`: 100,000 polls of guests that follow static files, against the server of `stage5 serve`.
 *
 * Prints `{polls, seconds, perSecond, bytesFull, bytesUnchanged, bytesNew, requestsQuiet, requestsNew}` as JSON: a quiet poll
 * is the timestamp (whole, or 304 for clients that keep its ETag) and the question for a next root; a new one is everything
 * of the metadata with its documents, without images. Bytes are those on the wire, both ways.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDue } from '../../src/fleet/channel.ts'
import { targetPath } from '../../src/fleet/metadata-client.ts'
import { openFileServer } from '../../src/host/file-server.ts'
import { addGeneration, newWeb, pointTo } from '../helpers/fp-guest.ts'

const [POLLS, CONNECTIONS, GUESTS] = [100_000, 50, 100_000]
const folder = mkdtempSync(join(tmpdir(), 'fp-bench-'))

/** Sends requests one after the other over one connection. @returns bytes both ways, and the last answer's head */
async function polls(port: number, count: number, request: string): Promise<{ bytes: number; head: string }> {
  const socket = connect({ port, host: '127.0.0.1' })
  let [bytes, left, head, pending] = [0, count, '', '']
  return await new Promise((done, failed) => {
    const ask = (): void => {
      if (left-- === 0) {
        socket.destroy()
        done({ bytes, head })
        return
      }
      bytes += request.length
      socket.write(request)
    }
    socket.setEncoding('latin1').on('error', failed).on('connect', ask)
    socket.on('data', (text: string) => {
      bytes += text.length
      pending += text
      const end = pending.indexOf('\r\n\r\n')
      if (end === -1) return
      const length = Number(/content-length: (\d+)/i.exec(pending.slice(0, end))?.[1] ?? 0)
      if (pending.length < end + 4 + length) return
      head = pending.slice(0, end)
      pending = ''
      ask()
    })
  })
}

const requestOf = (path: string, more = ''): string =>
  `GET /${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Wget\r\n${more}\r\n`

try {
  const web = newWeb(join(folder, 'site'))
  const head = addGeneration(web, 1, 'an image')
  const channel = pointTo(web, head, { waves: [{ ppm: 10_000, after: 0 }] })
  await using server = await openFileServer({ directory: web.folder, host: '127.0.0.1', port: 0 })
  const port = Number(new URL(server.address).port)
  const path = 'metadata/timestamp.json'
  const whole = await polls(port, 1, requestOf(path))
  const etag = /etag: (\S+)/i.exec(whole.head)?.[1] ?? ''
  const unchanged = await polls(port, 1, requestOf(path, `If-None-Match: ${etag}\r\n`))
  const noRoot = await polls(port, 1, requestOf('metadata/2.root.json'))
  const { targets, channels, snapshot } = web.site.trusted
  const others = [
    `metadata/${snapshot?.version}.snapshot.json`,
    `metadata/${targets?.version}.targets.json`,
    `metadata/${channels?.version}.channels.json`,
    ...Object.entries({ ...targets?.targets, ...channels?.targets }).map(([name, target]) =>
      targetPath(name, target),
    ),
  ]
  const sizes = await Promise.all(others.map((one) => polls(port, 1, requestOf(one))))
  const start = performance.now()
  const request = requestOf(path, `If-None-Match: ${etag}\r\n`)
  const done = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => polls(port, POLLS / CONNECTIONS, request)),
  )
  const seconds = (performance.now() - start) / 1000
  if (done.some((one) => !one.head.startsWith('HTTP/1.1 304'))) process.exitCode = 1
  const chosen = Array.from({ length: GUESTS }, (_, at) => isDue(channel, `guest-${at}`, web.now)).filter(
    Boolean,
  ).length
  const quiet = whole.bytes + noRoot.bytes
  console.log(
    JSON.stringify({
      ...{ polls: POLLS, seconds: Number(seconds.toFixed(2)), perSecond: Math.round(POLLS / seconds) },
      ...{ bytesFull: quiet, bytesUnchanged: unchanged.bytes },
      bytesNew: quiet + sizes.reduce((sum, { bytes }) => sum + bytes, 0),
      ...{ requestsQuiet: 2, requestsNew: 2 + others.length, guestsOf1Percent: chosen },
    }),
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
