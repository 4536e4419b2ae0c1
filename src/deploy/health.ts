/** Health of a guest as its group defines it: every check once, each with its time limit. */
import { connect } from 'node:net'
import { isStage5Error } from '../base/errors.ts'
import { never } from '../base/never.ts'
import { networkCode } from '../host/http.ts'
import { run } from '../host/run.ts'
import type { HealthCheck } from '../resolve/group.ts'
import { filled, type Values } from '../resolve/template.ts'

export interface Health {
  /** `inconclusive`: a check could not be made at all, which says nothing about the guest. */
  readonly health: 'pass' | 'fail' | 'inconclusive'
  /** The first check that did not pass, in a line for people; '' when all did. */
  readonly detail: string
}

/** What a driver can say besides. */
export interface HealthSources {
  /** What the console has shown since the guest started; undefined when it is not kept. */
  readonly console?: () => Promise<string | undefined>
  /** What `systemctl is-system-running` says in the guest; undefined when nobody can ask it. */
  readonly systemd?: (signal: AbortSignal) => Promise<string | undefined>
}

/** Bytes of an answer that are looked at. */
const MOST_BODY = 1_048_576

/** All checks at once. @throws only the reason of `signal` */
export async function checkHealth(
  checks: readonly HealthCheck[],
  values: Values,
  sources: HealthSources,
  signal: AbortSignal,
): Promise<Health> {
  const results = await Promise.all(checks.map((check) => tryCheck(check, values, sources, signal)))
  return (
    results.find(({ health }) => health === 'fail') ??
    results.find(({ health }) => health === 'inconclusive') ?? { health: 'pass', detail: '' }
  )
}

async function tryCheck(
  check: HealthCheck,
  values: Values,
  sources: HealthSources,
  signal: AbortSignal,
): Promise<Health> {
  signal.throwIfAborted()
  const limit = AbortSignal.timeout(check.timeoutMs)
  try {
    return await oneCheck(check, values, sources, AbortSignal.any([signal, limit]))
  } catch (error) {
    signal.throwIfAborted()
    if (!limit.aborted) throw error
    return failed(`${name(check, values)}: nothing within ${check.timeoutMs / 1000} s`)
  }
}

const PASS: Health = { health: 'pass', detail: '' }

function failed(detail: string): Health {
  return { health: 'fail', detail }
}

function name(check: HealthCheck, values: Values): string {
  switch (check.kind) {
    case 'http':
      return filled(check.url, values)
    case 'tcp':
      return `tcp ${filled(check.address, values)}`
    case 'command':
      return check.command.map((word) => filled(word, values)).join(' ')
    case 'console':
      return 'console'
    case 'systemd':
      return 'systemd'
    default:
      return never(check)
  }
}

async function oneCheck(
  check: HealthCheck,
  values: Values,
  sources: HealthSources,
  signal: AbortSignal,
): Promise<Health> {
  const what = name(check, values)
  switch (check.kind) {
    case 'http':
      return await http(what, check, signal)
    case 'tcp':
      return await tcp(what, filled(check.address, values), signal)
    case 'command':
      return await command(
        what,
        check.command.map((word) => filled(word, values)),
        signal,
      )
    case 'console': {
      const shown = await sources.console?.()
      if (shown === undefined) return { health: 'inconclusive', detail: 'its console is not kept' }
      const text = filled(check.text, values)
      return shown.includes(text) ? PASS : failed(`console: no ${JSON.stringify(text)} yet`)
    }
    case 'systemd': {
      const state = await sources.systemd?.(signal)
      if (state === undefined) return { health: 'inconclusive', detail: 'systemd cannot be asked in it' }
      return check.states.includes(state) ? PASS : failed(`systemd: ${state}`)
    }
    default:
      return never(check)
  }
}

async function http(
  url: string,
  { status, contains }: { readonly status: number; readonly contains: string },
  signal: AbortSignal,
): Promise<Health> {
  let answer: Response
  try {
    answer = await fetch(url, { redirect: 'manual', signal, headers: { connection: 'close' } })
  } catch (error) {
    signal.throwIfAborted()
    return failed(`${url}: ${networkCode(error)}`)
  }
  let text = ''
  try {
    for await (const bytes of answer.body ?? []) {
      text += Buffer.from(bytes).toString('latin1')
      if (contains === '' || text.length > MOST_BODY) break
    }
  } catch (error) {
    signal.throwIfAborted()
    return failed(`${url}: ${networkCode(error)}`)
  }
  if (answer.status !== status) return failed(`${url}: expected status ${status}, found ${answer.status}`)
  const wanted = Buffer.from(contains).toString('latin1')
  return text.includes(wanted) ? PASS : failed(`${url}: no ${JSON.stringify(contains)} in the answer`)
}

async function tcp(what: string, address: string, signal: AbortSignal): Promise<Health> {
  const colon = address.lastIndexOf(':')
  const port = Number(address.slice(colon + 1))
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    return { health: 'inconclusive', detail: `${what}: expected HOST:PORT` }
  return await new Promise((answer, aborted) => {
    const socket = connect({ host: address.slice(0, colon), port, signal })
    socket.once('connect', () => {
      socket.destroy()
      answer(PASS)
    })
    socket.once('error', (error) =>
      signal.aborted ? aborted(error) : answer(failed(`${what}: ${networkCode(error)}`)),
    )
  })
}

async function command(what: string, argv: readonly string[], signal: AbortSignal): Promise<Health> {
  try {
    const { code, stderr } = await run(argv, { signal, accept: 'any' })
    if (code === 0) return PASS
    return failed(`${what}: exit code ${code}${lastLine(stderr)}`)
  } catch (error) {
    signal.throwIfAborted()
    if (isStage5Error(error, 'S5_TOOL_MISSING')) return { health: 'inconclusive', detail: error.message }
    if (isStage5Error(error, 'S5_TOOL_FAILED')) return failed(error.message)
    throw error
  }
}

function lastLine(text: string): string {
  const line = text.trimEnd().split('\n').at(-1) ?? ''
  return line === '' ? '' : `: ${line.slice(0, 200)}`
}
