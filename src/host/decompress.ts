/**
 * Decompression as a pipe from chunks to chunks: bounded, whole or refused, and nothing left running when it ends.
 *
 * gzip and zstd are built into Node; xz, lzma, bzip2, lz4, lzip and lzop go through their programs.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fstatSync, openSync, readSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable, Transform, Writable } from 'node:stream'
import { constants, createGunzip, createZstdDecompress } from 'node:zlib'
import { type Refusal, refuse, Stage5Error } from '../base/errors.ts'
import { findTool } from './run.ts'
import { uniqueName } from './temp.ts'
import { installHint } from './tools.ts'
import { zstdReader } from './zstd-frames.ts'

export type Compression = 'none' | 'gz' | 'xz' | 'lzma' | 'bz2' | 'zst' | 'lz4' | 'lz' | 'lzo'

interface DecompressLimits {
  /** Names the input in errors. */
  readonly file: string
  /** Bytes that may come out; more is `too-big`. Only this stops a bomb: 64 GiB of zeros fit into 2 MB. */
  readonly bytes: number
  /** Bytes of memory that a zstd frame may ask for. Default 2^27. */
  readonly window?: number
  /** Bytes of memory that xz may use: a header may ask for 4 GiB. Default 512 MiB. */
  readonly memory?: number
  /**
   * A folder for an unnamed file that a tool may write to: its output is read when it has ended. A pipe wakes the reader
   * for every 8 KiB, which costs as much processor time as half the decompression.
   */
  readonly scratch?: string
}

const CHUNK = 2 ** 18
const KEPT_STDERR = 4096

/** What the first bytes of a file say; nine are enough. `none` when they say nothing. */
export function compressionOf(magic: Uint8Array): Compression {
  const hex = Buffer.from(magic.subarray(0, 9)).toString('hex')
  if (hex.startsWith('1f8b08')) return 'gz'
  if (hex.startsWith('fd377a585a00')) return 'xz'
  if (/^425a68(3[1-9])/.test(hex)) return 'bz2'
  if (/^28b52ffd|^5.2a4d18/.test(hex)) return 'zst'
  if (hex.startsWith('5d0000')) return 'lzma'
  if (hex.startsWith('04224d18') || hex.startsWith('02214c18')) return 'lz4'
  if (hex.startsWith('4c5a4950')) return 'lz'
  if (hex === '894c5a4f000d0a1a0a') return 'lzo'
  return 'none'
}

/**
 * The decompressed bytes of `input`, in chunks that belong to the caller. Leaving the loop early ends everything.
 * @throws S5_ARCHIVE_REFUSED `truncated`, `decompress`, `trailing-data`, `too-big`; S5_TOOL_MISSING, S5_TOOL_FAILED; what
 *   `input` throws; the reason of `signal`
 */
export async function* decompress(
  input: AsyncIterable<Uint8Array>,
  kind: Compression,
  limits: DecompressLimits,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  let total = 0
  for await (const chunk of decoded(input, kind, limits, signal)) {
    signal.throwIfAborted()
    total += chunk.length
    if (total > limits.bytes)
      throw refuse('too-big', limits.file, `more than ${limits.bytes} bytes come out of it`, {
        expected: limits.bytes,
      })
    yield chunk
  }
}

function decoded(
  input: AsyncIterable<Uint8Array>,
  kind: Compression,
  limits: DecompressLimits,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  switch (kind) {
    case 'none':
      return input
    case 'gz':
      return throughDecoder(createGunzip({ chunkSize: CHUNK }), input, limits.file, signal)
    case 'zst':
      return zstd(input, limits, signal)
    case 'xz':
    case 'lzma': {
      const memory = Math.floor(limits.memory ?? 2 ** 29)
      return throughTool(
        ['xz', `--format=${kind}`, '--decompress', '--stdout', `--memlimit-decompress=${memory}`],
        input,
        limits,
        signal,
      )
    }
    case 'bz2':
      return throughTool(['bzip2', '--decompress', '--stdout'], input, limits, signal)
    case 'lz4':
      return throughTool(['lz4', '--decompress', '--stdout'], input, limits, signal)
    case 'lz':
      return throughTool(['lzip', '--decompress', '--stdout'], input, limits, signal)
    case 'lzo':
      return throughTool(['lzop', '--decompress', '--stdout'], input, limits, signal)
  }
}

/** Node's decoder stops after one frame without a word, so it is given one at a time. */
async function* zstd(
  input: AsyncIterable<Uint8Array>,
  limits: DecompressLimits,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const pieces = framePieces(input, limits)
  try {
    for (let piece = await pieces.next(); !piece.done; piece = await pieces.next()) {
      const decoder = createZstdDecompress({
        chunkSize: CHUNK,
        params: { [constants.ZSTD_d_windowLogMax]: Math.ceil(Math.log2(limits.window ?? 2 ** 27)) },
      })
      yield* throughDecoder(decoder, oneFrame(piece.value, pieces), limits.file, signal)
    }
  } finally {
    await pieces.return()
  }
}

/** The bytes of all frames; `null` stands at the end of each. */
async function* framePieces(
  input: AsyncIterable<Uint8Array>,
  limits: DecompressLimits,
): AsyncGenerator<Uint8Array | null, void, undefined> {
  let found: (Uint8Array | null)[] = []
  const reader = zstdReader(
    limits.file,
    { data: (bytes) => void found.push(bytes), close: () => void found.push(null) },
    limits.window,
  )
  for await (const chunk of input) {
    const fault = faultOf(() => reader.push(chunk))
    const pieces = found
    found = []
    yield* pieces
    if (fault) throw fault.error
  }
  reader.end()
}

/** What `work` throws, to be thrown after what came before it was passed on. */
function faultOf(work: () => void): { readonly error: unknown } | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    return { error }
  }
}

async function* oneFrame(
  first: Uint8Array | null,
  pieces: AsyncGenerator<Uint8Array | null, void, undefined>,
): AsyncGenerator<Uint8Array> {
  for (let piece = first; piece !== null; ) {
    yield piece
    const next = await pieces.next()
    if (next.done) return
    piece = next.value
  }
}

async function* throughDecoder(
  decoder: Transform & { readonly bytesWritten: number },
  input: AsyncIterable<Uint8Array>,
  file: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const fed = { bytes: 0, done: false, failure: undefined as unknown }
  const onAbort = (): void => void decoder.destroy(signal.reason as Error)
  signal.throwIfAborted()
  signal.addEventListener('abort', onAbort, { once: true })
  const feeding = feed(decoder, input, fed).catch((cause: unknown) => {
    fed.failure = { cause }
    decoder.destroy(cause as Error)
  })
  try {
    for await (const chunk of decoder) yield chunk as Uint8Array
    if (!fed.done || decoder.bytesWritten < fed.bytes)
      throw refuse('trailing-data', file, `bytes follow the end of the compressed data`)
  } catch (cause) {
    signal.throwIfAborted()
    if (fed.failure !== undefined) throw (fed.failure as { cause: unknown }).cause
    if (cause instanceof Stage5Error) throw cause
    const code = (cause as { code?: unknown }).code
    if (typeof code !== 'string' || !/^(?:Z_|ZSTD_|ERR_)/.test(code)) throw cause
    throw code === 'Z_BUF_ERROR'
      ? refuse('truncated', file, 'the compressed data ends too early')
      : refuse('decompress', file, `the compressed data is damaged (${code})`)
  } finally {
    signal.removeEventListener('abort', onAbort)
    decoder.destroy()
    await feeding
  }
}

/** Writes everything with back pressure; stops quietly when the taker has closed. */
async function feed(
  sink: Writable,
  input: AsyncIterable<Uint8Array>,
  fed: { bytes: number; done: boolean },
): Promise<void> {
  for await (const chunk of input) {
    if (sink.destroyed || sink.writableEnded || !sink.writable) return
    fed.bytes += chunk.length
    if (!sink.write(chunk)) await drained(sink)
  }
  fed.done = true
  if (!sink.destroyed) sink.end()
}

function drained(sink: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      sink.off('drain', done)
      sink.off('close', done)
      resolve()
    }
    sink.on('drain', done)
    sink.on('close', done)
    if (sink.destroyed) done()
  })
}

async function* throughTool(
  argv: readonly [tool: string, ...rest: string[]],
  input: AsyncIterable<Uint8Array>,
  { file, bytes, scratch }: DecompressLimits,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const [tool, ...rest] = argv
  const program = findTool(tool)
  if (program === undefined)
    throw new Stage5Error('S5_TOOL_MISSING', `${tool} is not installed`, {
      hint: installHint(tool),
      data: { tool },
    })
  signal.throwIfAborted()
  // An environment of its own: XZ_OPT, XZ_DEFAULTS and BZIP2 would add options.
  using taken = scratch === undefined ? undefined : openUnnamed(scratch)
  const child = spawn(program, rest, {
    argv0: tool,
    env: { LC_ALL: 'C' },
    stdio: ['pipe', taken?.fd ?? 'pipe', 'pipe'],
  })
  const closed = once(child, 'close') as Promise<[number | null, string | null]>
  if (child.pid === undefined) {
    const cause: unknown = await closed.catch((error: unknown) => error)
    throw new Stage5Error('S5_TOOL_FAILED', `${tool} could not be started`, {
      cause,
      data: { argv: [...argv] },
    })
  }
  closed.catch(() => {})
  let stderr = ''
  const [stdin, stdout, complaints] = child.stdio as unknown as [Writable, Readable | null, Readable]
  complaints.on('data', (text: Buffer) => {
    stderr = (stderr + text.toString('latin1')).slice(-KEPT_STDERR)
  })
  // A tool that stops reading says why by its exit code.
  stdin.on('error', () => {})
  const onAbort = (): void => void child.kill('SIGKILL')
  signal.addEventListener('abort', onAbort, { once: true })
  const fed = { bytes: 0, done: false, failure: undefined as unknown }
  const feeding = feed(stdin, input, fed).catch((cause: unknown) => {
    fed.failure = { cause }
    child.kill('SIGKILL')
  })
  try {
    if (stdout) for await (const chunk of stdout) yield chunk as Uint8Array
    if (taken) {
      await taken.watched(bytes, () => child.kill('SIGKILL'), closed)
      yield* taken.chunks(bytes)
    }
    const [code, killer] = await closed
    signal.throwIfAborted()
    if (fed.failure !== undefined) throw (fed.failure as { cause: unknown }).cause
    if (code === null)
      throw new Stage5Error('S5_TOOL_FAILED', `${tool} was ended by ${killer}`, { data: { argv: [...argv] } })
    if (fed.bytes === 0) throw refuse('truncated', file, 'there is no compressed data')
    // bzip2 only warns about bytes behind the end, and exits with 0.
    if (code !== 0 || stderr !== '' || !fed.done) throw refused(file, tool, stderr)
  } finally {
    signal.removeEventListener('abort', onAbort)
    child.kill('SIGKILL')
    stdin.destroy()
    await feeding
    await closed.catch(() => {})
  }
}

interface Unnamed extends Disposable {
  readonly fd: number
  /** Waits for `end`, and looks now and then whether more than `bytes` were written. */
  watched(bytes: number, tooMany: () => void, end: Promise<unknown>): Promise<void>
  /** Everything, or a little more than `bytes`. */
  chunks(bytes: number): Generator<Uint8Array>
}

const WATCH_MS = 100

/** A file without a name in `folder`: gone with its last descriptor, whoever dies. */
function openUnnamed(folder: string): Unnamed {
  const path = join(folder, uniqueName())
  const fd = openSync(path, 'wx+', 0o600)
  unlinkSync(path)
  return {
    fd,
    watched: async (bytes, tooMany, end) => {
      const timer = setInterval(() => {
        if (fstatSync(fd).size > bytes) tooMany()
      }, WATCH_MS)
      try {
        await end
      } finally {
        clearInterval(timer)
      }
    },
    chunks: function* (bytes) {
      for (let at = 0; at <= bytes; ) {
        const chunk = Buffer.allocUnsafeSlow(CHUNK)
        const read = readSync(fd, chunk, 0, CHUNK, at)
        if (read === 0) return
        at += read
        yield chunk.subarray(0, read)
      }
    },
    [Symbol.dispose]: () => closeSync(fd),
  }
}

/** The word for what a decompressor complained about in the C locale. */
function refused(file: string, tool: string, stderr: string): Stage5Error {
  const said = stderr.trim().split('\n')[0] ?? ''
  const words: readonly (readonly [RegExp, Refusal])[] = [
    [/unexpected end|ends unexpectedly|unfinished stream/i, 'truncated'],
    [/memory usage limit/i, 'too-big'],
    [/trailing garbage/i, 'trailing-data'],
  ]
  const reason = words.find(([pattern]) => pattern.test(said))?.[1] ?? 'decompress'
  return refuse(reason, file, said === '' ? `${tool} did not read it to its end` : said)
}
