/** Brings files from addresses: bounded, retried, resumed, checked while they arrive, and not at all when offline. */
import { createReadStream } from 'node:fs'
import { mkdir, stat } from 'node:fs/promises'
import { dirname, isAbsolute } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pLimit from 'p-limit'
import { Stage5Error } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import { onceMap } from '../base/limit.ts'
import {
  isHopeless,
  networkCode,
  openTransport,
  redactUrl,
  retryAfterSeconds,
  type Answer,
  type Transport,
} from './http.ts'
import {
  codeOf,
  fileLanding,
  isRight,
  memoryLanding,
  type FileLanding,
  type Landing,
  type Sums,
} from './landing.ts'

/** What a server said about a version of a file, to ask later whether it is still that one (RFC 9110 8.8). */
export interface Validators {
  readonly etag?: string
  readonly lastModified?: string
}

export interface FetchFileOptions {
  /** How messages and progress call it. */
  readonly name: string
  /** Exact size in bytes, where it is known. */
  readonly size?: number
  readonly sums?: Sums
  /** Bytes after which the transfer is stopped, where the size is not known. */
  readonly maxSize: number
  /** With a target of unknown sums: ask only for something newer than what is there. */
  readonly ifNewer?: boolean
  readonly signal: AbortSignal
}

interface FetchBytesOptions {
  readonly name: string
  readonly maxSize: number
  /** Of the copy that the caller has. */
  readonly unless?: Validators
  readonly signal: AbortSignal
}

export interface Fetcher {
  readonly offline: boolean
  /**
   * Puts the file of `url` (http, https, `file:` or an absolute path) at `target` and returns `target`.
   *
   * A target that has the size and sums already costs no request. An interrupted transfer is resumed, also by a later
   * process where sums are known. `target` appears whole or not at all.
   * @throws S5_FETCH_FAILED (with `data.status` where a server answered), S5_FETCH_TOO_LARGE, S5_DIGEST_MISMATCH,
   *   S5_OFFLINE, S5_DISK_FULL
   */
  fetchFile(url: string, target: string, options: FetchFileOptions): Promise<string>
  /**
   * The bytes of `url`, or `unchanged` when they are those of `unless`.
   * @throws S5_FETCH_FAILED, S5_FETCH_TOO_LARGE, S5_OFFLINE
   */
  fetchBytes(
    url: string,
    options: FetchBytesOptions,
  ): Promise<{ readonly bytes: Uint8Array; readonly validators: Validators } | 'unchanged'>
  close(): Promise<void>
}

export interface FetcherOptions {
  readonly offline: boolean
  readonly report: Report
  /** Transfers at once; 6 when not given. */
  readonly concurrency?: number
  /** Attempts in a row that bring nothing new; 5 when not given. */
  readonly attempts?: number
  /** Wait before the second attempt, doubled for each further one; 300 when not given. */
  readonly retryDelayMs?: number
  /** Silence after which a connection counts as broken; 30,000 when not given. */
  readonly idleTimeoutMs?: number
}

/** A `Retry-After` beyond this fails at once: nobody waits for an hour in front of a command. */
const MAX_RETRY_AFTER_SECONDS = 60
/** An attempt that brought at least this much starts the count of attempts anew. */
const PROGRESS_BYTES = 65_536
const PROGRESS_EVERY_MS = 100

/** An answer that may be another one next time. */
class Transient extends Error {
  readonly status: number
  readonly waitSeconds: number | undefined
  constructor(status: number, waitSeconds: number | undefined, what: string) {
    super(what)
    this.status = status
    this.waitSeconds = waitSeconds
  }
}

interface Job {
  readonly url: string
  readonly name: string
  readonly size: number | undefined
  /** Bytes. */
  readonly limit: number
  readonly condition: { readonly [header: string]: string }
  readonly signal: AbortSignal
}

type Outcome = { readonly unchanged: boolean; readonly validators: Validators; readonly mtime: number }

export function openFetcher(options: FetcherOptions): Fetcher {
  const concurrency = options.concurrency ?? 6
  const transport = openTransport({
    connections: concurrency,
    idleTimeoutMs: options.idleTimeoutMs ?? 30_000,
  })
  const limit = pLimit(concurrency)
  const once = onceMap<string, string>()
  const download = (job: Job, landing: Landing): Promise<Outcome> =>
    localPath(job.url) === undefined
      ? downloadHttp(transport, options, job, landing)
      : copyLocal(localPath(job.url) as string, options.report, job, landing)

  async function fetchFile(url: string, target: string, file: FetchFileOptions): Promise<string> {
    const { name, size, signal, ifNewer = false } = file
    signal.throwIfAborted()
    const expected = { name, size, sums: file.sums ?? {} }
    if (await isRight(target, expected)) return target
    const there = Object.keys(expected.sums).length === 0 && (await stat(target).catch(() => undefined))
    if (options.offline && localPath(url) === undefined) {
      if (there) return target
      throw offline(name, url)
    }
    await mkdir(dirname(target), { recursive: true })
    const condition: Record<string, string> =
      there && ifNewer ? { 'if-modified-since': there.mtime.toUTCString() } : {}
    const job: Job = { url, name, size, limit: size ?? file.maxSize, condition, signal }
    if (size !== undefined && size > file.maxSize) throw tooLarge(job, size, file.maxSize)
    await land(await fileLanding(target, expected), job)
    return target
  }

  async function land(landing: FileLanding, job: Job): Promise<void> {
    const resumed = landing.received > 0
    try {
      if (landing.received !== job.size) {
        const outcome = await download(job, landing)
        if (outcome.unchanged) return await landing.discard()
        await landing.commit(outcome.mtime)
      } else await landing.commit(0)
    } catch (error) {
      if (resumed && isMismatch(error)) {
        await landing.restart()
        return land(landing, job)
      }
      if (job.signal.aborted || isCode(error, 'S5_FETCH_FAILED')) await landing.leave()
      else await landing.discard()
      throw error
    }
  }

  return {
    offline: options.offline,
    fetchFile: (url, target, file) => once(target, () => limit(() => fetchFile(url, target, file))),
    fetchBytes: (url, { name, maxSize, unless, signal }) =>
      limit(async () => {
        signal.throwIfAborted()
        if (options.offline && localPath(url) === undefined) throw offline(name, url)
        const landing = memoryLanding()
        const job: Job = {
          url,
          name,
          size: undefined,
          limit: maxSize,
          condition: conditionOf(unless),
          signal,
        }
        const { unchanged, validators } = await download(job, landing)
        return unchanged ? 'unchanged' : { bytes: landing.bytes(), validators }
      }),
    close: () => transport.close(),
  }
}

/** The path that an address means on this machine, or undefined for one of a network. */
export function localPath(url: string): string | undefined {
  if (isAbsolute(url)) return url
  return /^file:/i.test(url) ? fileURLToPath(new URL(url)) : undefined
}

async function downloadHttp(
  transport: Transport,
  options: FetcherOptions,
  job: Job,
  landing: Landing,
): Promise<Outcome> {
  const attempts = options.attempts ?? 5
  let failures = 0
  let furthest = landing.received
  let seen: Validators = {}
  for (;;) {
    try {
      return await attemptHttp(transport, options.report, job, landing, seen, (now) => (seen = now))
    } catch (error) {
      job.signal.throwIfAborted()
      if (error instanceof Stage5Error) throw error
      if (error instanceof WriteFailed) throw error.cause
      if (landing.received >= furthest + PROGRESS_BYTES) {
        failures = 0
        furthest = landing.received
      }
      failures++
      const code = error instanceof Transient ? error.message : networkCode(error)
      const wait = error instanceof Transient ? (error.waitSeconds ?? 0) : 0
      if (failures >= attempts || isHopeless(code) || wait > MAX_RETRY_AFTER_SECONDS)
        throw new Stage5Error(
          'S5_FETCH_FAILED',
          `${job.name}: ${redactUrl(job.url)}: ${code}${failures > 1 ? ` after ${failures} attempts` : ''}`,
          {
            cause: error,
            data: {
              url: redactUrl(job.url),
              attempts: failures,
              ...(error instanceof Transient && error.status >= 400 ? { status: error.status } : {}),
            },
          },
        )
      const backoff = (options.retryDelayMs ?? 300) * 2 ** (failures - 1) * (1 + Math.random() / 4)
      await sleep(Math.max(wait * 1000, backoff), undefined, { signal: job.signal }).catch(() =>
        job.signal.throwIfAborted(),
      )
    }
  }
}

/** Keeps a failure of the disk apart from those of the network: it is not retried. */
class WriteFailed extends Error {}

async function attemptHttp(
  transport: Transport,
  report: Report,
  job: Job,
  landing: Landing,
  before: Validators,
  saw: (validators: Validators) => void,
): Promise<Outcome> {
  const offset = landing.received
  const headers: Record<string, string> = { ...job.condition }
  if (offset > 0) {
    headers['range'] = `bytes=${offset}-`
    const validator =
      before.etag !== undefined && !before.etag.startsWith('W/') ? before.etag : before.lastModified
    if (validator !== undefined) headers['if-range'] = validator
  }
  const answer = await transport.get(job.url, headers, job.signal)
  const validators = validatorsOf(answer)
  const mtime = mtimeOf(answer)
  if (answer.status === 304) {
    await answer.discard()
    return { unchanged: true, validators, mtime }
  }
  if (answer.status !== 200 && answer.status !== 206) await refuseStatus(job, landing, answer)
  const range = answer.status === 206 ? contentRange(answer.headers['content-range']) : undefined
  if (answer.status === 206 && (range?.start !== offset || offset === 0)) {
    await answer.discard()
    await landing.restart()
    throw new Transient(0, undefined, 'the server sent another part than asked for')
  }
  if (answer.status === 200 && offset > 0) await landing.restart()
  saw(validators)
  const length = answer.headers['content-length']
  const announced = range?.total ?? (length === undefined ? undefined : landing.received + Number(length))
  if (announced !== undefined) {
    const wrong = announcedWrong(job, announced)
    if (wrong) {
      await answer.discard()
      throw wrong
    }
  }
  await pour(answer.body, report, job, landing, announced ?? 0)
  if (announced !== undefined && landing.received < announced)
    throw new Transient(0, undefined, `ended after ${landing.received} of ${announced} bytes`)
  return { unchanged: false, validators, mtime }
}

async function pour(
  body: AsyncIterable<Uint8Array>,
  report: Report,
  job: Job,
  landing: Landing,
  announced: number,
): Promise<void> {
  const total = job.size ?? announced
  let next = 0
  for await (const chunk of body) {
    job.signal.throwIfAborted()
    if (landing.received + chunk.length > job.limit)
      throw tooLarge(job, landing.received + chunk.length, job.limit)
    try {
      await landing.write(chunk)
    } catch (cause) {
      throw new WriteFailed('write', { cause })
    }
    const now = performance.now()
    if (now < next) continue
    next = now + PROGRESS_EVERY_MS
    report({ kind: 'download.progress', name: job.name, received: landing.received, total })
  }
  report({ kind: 'download.progress', name: job.name, received: landing.received, total })
}

async function refuseStatus(job: Job, landing: Landing, answer: Answer): Promise<never> {
  await answer.discard()
  const { status } = answer
  if (status === 416 && landing.received > 0) {
    await landing.restart()
    throw new Transient(status, undefined, 'status 416')
  }
  if (status === 408 || status === 425 || status === 429 || status >= 500)
    throw new Transient(
      status,
      retryAfterSeconds(answer.headers['retry-after'], Date.now()),
      `status ${status}`,
    )
  throw new Stage5Error('S5_FETCH_FAILED', `${job.name}: ${redactUrl(job.url)}: status ${status}`, {
    data: { url: redactUrl(job.url), status },
  })
}

/** What the length that a server announces tells before a byte of it arrives. */
function announcedWrong(job: Job, announced: number): Stage5Error | undefined {
  if (job.size !== undefined && announced !== job.size)
    return new Stage5Error(
      'S5_DIGEST_MISMATCH',
      `${job.name}: size: expected ${job.size} bytes, the server has ${announced}`,
      { data: { reason: 'size', file: job.name, expected: job.size, actual: announced } },
    )
  return announced > job.limit ? tooLarge(job, announced, job.limit) : undefined
}

async function copyLocal(path: string, report: Report, job: Job, landing: Landing): Promise<Outcome> {
  let found
  try {
    found = await stat(path)
    if (!found.isFile()) throw Object.assign(new Error('not a file'), { code: 'EISDIR' })
  } catch (error) {
    const missing = codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR'
    throw new Stage5Error(
      'S5_FETCH_FAILED',
      `${job.name}: ${path}: ${missing ? 'no such file' : codeOf(error)}`,
      {
        cause: error,
        data: { url: path, ...(missing ? { status: 404 } : {}) },
      },
    )
  }
  const lastModified = found.mtime.toUTCString()
  const validators = { etag: `"${found.ino}-${found.size}-${found.mtimeMs}"`, lastModified }
  if (job.condition['if-none-match'] === validators.etag) return { unchanged: true, validators, mtime: 0 }
  const wrong = announcedWrong(job, found.size)
  if (wrong) throw wrong
  await landing.restart()
  try {
    await pour(createReadStream(path, { highWaterMark: 1 << 18 }), report, job, landing, found.size)
  } catch (error) {
    throw error instanceof WriteFailed ? error.cause : error
  }
  return { unchanged: false, validators, mtime: Math.floor(found.mtimeMs / 1000) }
}

function conditionOf(validators: Validators | undefined): Record<string, string> {
  return {
    ...(validators?.etag === undefined ? {} : { 'if-none-match': validators.etag }),
    ...(validators?.lastModified === undefined ? {} : { 'if-modified-since': validators.lastModified }),
  }
}

function validatorsOf(answer: Answer): Validators {
  const etag = answer.headers['etag']
  const lastModified = answer.headers['last-modified']
  return { ...(etag === undefined ? {} : { etag }), ...(lastModified === undefined ? {} : { lastModified }) }
}

/** Seconds; 0 where the server does not say, so that a later `ifNewer` is always answered with the file. */
function mtimeOf(answer: Answer): number {
  const date = Date.parse(answer.headers['last-modified'] ?? '')
  return Number.isNaN(date) ? 0 : Math.floor(date / 1000)
}

function contentRange(value: string | undefined): { start: number; total: number | undefined } | undefined {
  const parts = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(value ?? '')
  return parts
    ? { start: Number(parts[1]), total: parts[2] === '*' ? undefined : Number(parts[2]) }
    : undefined
}

function tooLarge(job: { name: string; url: string }, found: number, limit: number): Stage5Error {
  return new Stage5Error(
    'S5_FETCH_TOO_LARGE',
    `${job.name}: ${redactUrl(job.url)}: expected at most ${limit} bytes, found ${found}`,
    { data: { reason: 'too-big', file: job.name, expected: limit, actual: found } },
  )
}

function offline(name: string, url: string): Stage5Error {
  return new Stage5Error('S5_OFFLINE', `${name}: not fetched yet: ${redactUrl(url)}`, {
    hint: 'run the same command once without --offline',
    data: { file: name },
  })
}

function isMismatch(error: unknown): boolean {
  return isCode(error, 'S5_DIGEST_MISMATCH')
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Stage5Error && error.code === code
}
