/** What a running guest is asked: commands at the shell of its console, and its web server. */
import { request } from 'node:http'
import { createServer } from 'node:net'
import type { CommandCheck, HttpCheck } from '../resolve/profile.ts'
import type { Guest } from './qemu.ts'

/** `undefined`: as it should be; otherwise what was expected and what was found. */
type Verdict = string | undefined

/** Lines of a command's output that are looked at. */
const LINES = 2_000
/** What of an answer or an output is shown. */
const SHOWN = 200

/**
 * Types a command at the shell of the console. A guest without a shell there gives no answer.
 * @param nth a number that no other command of this guest has
 */
export async function checkCommand(
  guest: Guest,
  { run, expect, status }: CommandCheck,
  nth: number,
  timeoutMs: number,
): Promise<Verdict> {
  // The echo of what is typed must not look like the answer: the quotes are gone only in the answer.
  guest.write(`echo stage5-"begin"-${nth}; ${run}; echo stage5-"end"-${nth} $?\n`)
  const found = await guest.waitFor(`stage5-end-${nth} `, timeoutMs)
  if (!found.found)
    return `the console did not answer ${JSON.stringify(run)} (${found.why}); a service of kind console with a shell does`
  await guest.waitFor('\n', timeoutMs)
  const lines = guest.last(LINES)
  const end = lines.findLastIndex((line) => line.includes(`stage5-end-${nth} `))
  const begin = lines.findLastIndex((line, at) => at < end && line.endsWith(`stage5-begin-${nth}`))
  const [before = '', code = ''] = (lines[end] ?? '').split(`stage5-end-${nth} `)
  const printed = [...lines.slice(begin + 1, end), before].join('\n')
  const said = JSON.stringify(printed.trim().slice(0, SHOWN))
  if (Number.parseInt(code, 10) !== status)
    return `${JSON.stringify(run)}: expected exit status ${status}, found ${code.trim()}; it printed ${said}`
  if (!printed.includes(expect))
    return `${JSON.stringify(run)}: expected ${JSON.stringify(expect)} in the output, found ${said}`
  return undefined
}

/** Asks until the answer is as expected, since a service may come up after the ready line. */
export async function checkHttp(
  hostPort: number,
  check: HttpCheck,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Verdict> {
  const until = performance.now() + timeoutMs
  for (;;) {
    signal.throwIfAborted()
    const verdict = await askOnce(hostPort, check, Math.min(ANSWER_MS, timeoutMs), signal)
    if (verdict === undefined || performance.now() >= until) return verdict
    await new Promise((later) => setTimeout(later, 100))
  }
}

/** An answer that takes longer is asked for again. */
const ANSWER_MS = 5_000
/** More of an answer is not looked at. */
const BODY_MAX = 1 << 20

function askOnce(port: number, check: HttpCheck, timeoutMs: number, signal: AbortSignal): Promise<Verdict> {
  const { path, status, contains, port: guestPort } = check
  const what = `port ${guestPort} ${path}`
  return new Promise((done) => {
    const fail = (error: Error): void => done(`${what}: no answer (${error.message})`)
    const asked = request({ host: '127.0.0.1', port, path, timeout: timeoutMs, signal }, (answer) => {
      let body = ''
      answer.setEncoding('latin1').on('data', (text: string) => {
        if (body.length < BODY_MAX) body += text
      })
      answer.on('error', fail).on('end', () => {
        if (answer.statusCode !== status)
          return done(`${what}: expected status ${status}, found ${answer.statusCode}`)
        const shown = JSON.stringify(body.slice(0, SHOWN))
        const wanted = Buffer.from(contains).toString('latin1')
        return done(
          body.includes(wanted)
            ? undefined
            : `${what}: expected ${JSON.stringify(contains)} in the answer, found ${shown}`,
        )
      })
    })
    asked.on('timeout', () => asked.destroy(new Error('too late')))
    asked.on('error', fail).end()
  })
}

/** A port of 127.0.0.1 that nobody uses now. */
export async function unusedPort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening, failed) => {
    server.on('error', failed).listen(0, '127.0.0.1', listening)
  })
  const address = server.address()
  await new Promise((closed) => server.close(closed))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
