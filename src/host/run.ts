/** Child processes: an argument vector and no shell, bounded output, ended with their caller. */
import { spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { installHint } from './tools.ts'

export { TOOLS, type Tool } from './tools.ts'

interface RunOptions {
  readonly input?: Uint8Array | string | AsyncIterable<Uint8Array>
  readonly signal?: AbortSignal
  readonly cwd?: string
  /** Added to our own environment; `LC_ALL=C` unless given here. */
  readonly env?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
  /** Bytes of standard output that are kept; more is an error. Default 64 MiB. */
  readonly stdoutLimit?: number
  /** Standard output is for people too: it is joined to `stderr`, of which the end is kept. */
  readonly isTalk?: boolean
  /** Exit codes that are answers and not failures. Default `[0]`. */
  readonly accept?: readonly number[] | 'any'
}

interface RunResult {
  readonly code: number
  readonly stdout: Buffer
  /** The last 64 KiB. */
  readonly stderr: string
}

const KEPT_STDERR = 65_536
const GRACE_MS = 1_000

/**
 * Run a program to its end.
 * @param argv program and arguments; the program is looked up in PATH and then in the sbin folders, which users lack
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED; the reason of `signal` when that ended it
 */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [tool, ...rest] = argv
  if (tool === undefined) throw new RangeError('run needs a program')
  options.signal?.throwIfAborted()
  const env = { ...process.env, LC_ALL: 'C', ...options.env }
  const program = findTool(tool, env)
  if (program === undefined) return Promise.reject(missing(tool))
  if (options.cwd !== undefined && !statSync(options.cwd, { throwIfNoEntry: false })?.isDirectory())
    return Promise.reject(
      new Stage5Error('S5_FILE_MISSING', `there is no directory ${options.cwd} to run ${tool} in`),
    )
  const limit = options.stdoutLimit ?? 64 * 1024 * 1024
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      cwd: options.cwd,
      env,
      argv0: tool,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const stdout: Buffer[] = []
    let kept = 0
    let stderr = Buffer.alloc(0)
    let ended: unknown
    let killer: NodeJS.Timeout | undefined
    let hasExited = false
    // What it started may hold the pipes for as long as it likes.
    const letGo = (): void => {
      child.stdout.destroy()
      child.stderr.destroy()
    }
    const end = (why: unknown): void => {
      if (ended !== undefined) return
      ended = why
      if (hasExited) letGo()
      child.kill('SIGTERM')
      killer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS)
    }
    const onAbort = (): void => end(options.signal?.reason ?? new DOMException('aborted', 'AbortError'))
    options.signal?.addEventListener('abort', onAbort, { once: true })
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => end(failed(argv, `did not end within ${options.timeoutMs} ms`, tail(stderr))),
            options.timeoutMs,
          )
    const finish = (): void => {
      clearTimeout(timer)
      clearTimeout(killer)
      options.signal?.removeEventListener('abort', onAbort)
    }
    const talk = (chunk: Buffer): void => {
      stderr = Buffer.concat([stderr, chunk])
      if (stderr.length > 2 * KEPT_STDERR) stderr = Buffer.from(stderr.subarray(-KEPT_STDERR))
    }
    child.stdout.on('data', (chunk: Buffer) => {
      if (options.isTalk) return talk(chunk)
      kept += chunk.length
      if (kept > limit) end(failed(argv, `wrote more than ${limit} bytes`, tail(stderr)))
      else stdout.push(chunk)
    })
    child.stderr.on('data', talk)
    child.on('error', (cause) => {
      finish()
      reject(failed(argv, `could not be started: ${cause.message}`, '', cause))
    })
    child.on('exit', () => {
      hasExited = true
      if (ended !== undefined) letGo()
    })
    child.on('close', (code, signal) => {
      finish()
      const text = tail(stderr)
      if (ended !== undefined) reject(ended)
      else if (code === null) reject(failed(argv, `was ended by ${signal}`, text))
      else if (options.accept !== 'any' && !(options.accept ?? [0]).includes(code))
        reject(failed(argv, `ended with exit code ${code}`, text))
      else resolve({ code, stdout: Buffer.concat(stdout), stderr: text })
    })
    // A child that closes its input early says so by its exit code; EPIPE here adds nothing.
    child.stdin.on('error', () => {})
    feed(child.stdin, options.input).catch((cause: unknown) => end(cause))
  })
}

async function feed(stdin: NodeJS.WritableStream, input: RunOptions['input']): Promise<void> {
  if (input === undefined || typeof input === 'string' || input instanceof Uint8Array) {
    if (input === undefined) stdin.end()
    else stdin.end(input)
    return
  }
  for await (const chunk of input) {
    if (!stdin.writable) break
    if (!stdin.write(chunk)) await new Promise<void>((resume) => drained(stdin, resume))
  }
  stdin.end()
}

function drained(stdin: NodeJS.WritableStream, resume: () => void): void {
  const done = (): void => {
    stdin.removeListener('drain', done)
    stdin.removeListener('close', done)
    resume()
  }
  stdin.on('drain', done)
  stdin.on('close', done)
}

/** Where a program is, or undefined. A name with a slash is taken as it is. */
export function findTool(
  name: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  const folders = name.includes('/')
    ? ['']
    : [...(env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']
  for (const folder of folders) {
    const path = folder === '' ? name : join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      if (statSync(path).isFile()) return path
    } catch {
      // Not here: the next folder may have it.
    }
  }
  return undefined
}

function missing(tool: string): Stage5Error {
  const hint = installHint(tool)
  return new Stage5Error('S5_TOOL_MISSING', `${tool} is not installed`, { hint, data: { tool } })
}

function failed(argv: readonly string[], what: string, stderr: string, cause?: unknown): Stage5Error {
  const last = stderr.trimEnd().split('\n').slice(-5).join('\n  ')
  const said = last === '' ? '' : `; it said:\n  ${last}`
  return new Stage5Error('S5_TOOL_FAILED', `${argv[0]} ${what}${said}`, {
    cause,
    data: { argv: [...argv], stderr },
  })
}

function tail(stderr: Buffer): string {
  return stderr.subarray(-KEPT_STDERR).toString('utf8')
}
