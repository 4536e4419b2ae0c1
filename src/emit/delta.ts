/** Layouts of images, made while they are written or read off them later; deltas written and applied as streams. */
import { digester } from '../base/digest.ts'
import { refuse, Stage5Error } from '../base/errors.ts'
import {
  type Delta,
  DELTA_FIRST_LINE,
  diffLayouts,
  type ImageSum,
  type Layout,
  parseDelta,
  parseFirstLine,
  printDelta,
  type Run,
  runDigest,
  type RunKind,
} from '../format/delta.ts'
import { layoutOf, readSquashfs } from '../format/squashfs/read.ts'
import type { ReadAt } from '../format/squashfs/regions.ts'
import type { Sink } from './emitter.ts'

/** An image or a delta to read from. */
export interface ReadableImage {
  /** For messages. */
  readonly name: string
  readonly size: number
  readonly read: ReadAt
}

/** Bytes read or written at once. */
const PIECE = 2 ** 20

/** One run. @param digest `runDigest(bytes)`, where it is known */
export function runOf(
  kind: RunKind,
  owner: string,
  offset: number,
  bytes: Uint8Array,
  digest: Uint8Array = runDigest(bytes),
): Run {
  return { kind, owner, offset, length: bytes.length, digest: Buffer.from(digest).toString('hex') }
}

/**
 * The layout of an image that has none beside it: all of its bytes are read.
 * @throws S5_ARCHIVE_REFUSED
 */
export async function layoutOfSquashfs({ name, size, read }: ReadableImage): Promise<Layout> {
  const image = await readSquashfs(read, name)
  const whole = digester()
  const runs: Run[] = []
  let end = 0
  for (const { kind, offset, length } of layoutOf(image)) {
    const bytes = kind === 'padding' ? Math.min(length, Math.max(0, size - offset)) : length
    if (offset !== end || offset + bytes > size)
      throw refuse('layout', name, `expected a run of ${bytes} bytes at ${end}, found it at ${offset}`)
    if (bytes === 0) continue
    const stored = await exactly({ name, size, read }, offset, bytes)
    whole.update(stored)
    runs.push(runOf(kind === 'padding' ? 'metadata' : kind, '', offset, stored))
    end += bytes
  }
  if (end !== size) throw refuse('trailing-data', name, `expected ${end} bytes, found ${size}`)
  return { name, size, digest: whole.digest(), runs }
}

export interface WrittenDelta {
  /** Bytes copied from the old image. */
  readonly copied: number
  /** Bytes of blocks that the old image does not have. */
  readonly blocks: number
  /** Bytes of the head and the tables. */
  readonly tables: number
  /** Size of the delta. */
  readonly size: number
}

/**
 * The delta from one layout to another: of the images only those bytes of `image` are read that go into it.
 * @throws S5_DIGEST_MISMATCH when `image` is not what `fresh` says
 */
export async function writeDelta(
  old: Layout,
  fresh: Layout,
  image: ReadableImage,
  sink: Pick<Sink, 'write'>,
  signal: AbortSignal,
): Promise<WrittenDelta> {
  const operations = diffLayouts(old, fresh)
  const head = printDelta({ old: sumOf(old), new: sumOf(fresh), operations })
  await sink.write(head)
  const isNew = newRanges(operations)
  const written = { copied: 0, blocks: 0, tables: 0 }
  for (const run of fresh.runs) {
    signal.throwIfAborted()
    if (!isNew(run.offset)) {
      written.copied += run.length
      continue
    }
    const bytes = await exactly(image, run.offset, run.length)
    if (runOf(run.kind, run.owner, run.offset, bytes).digest !== run.digest)
      throw new Stage5Error(
        'S5_DIGEST_MISMATCH',
        `${image.name}: the ${run.length} bytes at ${run.offset} are not those of its layout`,
      )
    await sink.write(bytes)
    written[run.kind === 'block' || run.kind === 'fragment' ? 'blocks' : 'tables'] += run.length
  }
  return { ...written, size: head.length + written.blocks + written.tables }
}

/** Whether the byte at an offset of the new image comes from the delta; asked in ascending order. */
function newRanges(operations: Delta['operations']): (offset: number) => boolean {
  let index = 0
  let end = 0
  let isNew = false
  return (offset) => {
    while (offset >= end) {
      const operation = operations[index++]
      if (!operation) throw new RangeError(`no operation makes the byte at ${offset}`)
      end += operation.length
      isNew = operation.offset === undefined
    }
    return isNew
  }
}

function sumOf({ size, digest }: ImageSum): ImageSum {
  return { size, digest }
}

/** @throws S5_ARCHIVE_REFUSED */
async function readDelta(delta: ReadableImage): Promise<{ readonly delta: Delta; readonly start: number }> {
  const length = parseFirstLine(await delta.read(0, DELTA_FIRST_LINE), delta.name)
  const header = await exactly(delta, DELTA_FIRST_LINE, length)
  const parsed = parseDelta(header, delta.name)
  const start = DELTA_FIRST_LINE + length
  const brought = parsed.operations.reduce((sum, one) => sum + (one.offset === undefined ? one.length : 0), 0)
  if (start + brought !== delta.size)
    throw refuse(
      delta.size < start + brought ? 'truncated' : 'trailing-data',
      delta.name,
      `expected ${start + brought} bytes, found ${delta.size}`,
    )
  return { delta: parsed, start }
}

/**
 * Writes the new image. The old one is proved to be the right one before the first byte is written, and the new one
 * when the last has been.
 * @throws S5_DELTA_BASE, S5_DIGEST_MISMATCH, S5_ARCHIVE_REFUSED
 */
export async function applyDelta(
  old: ReadableImage,
  file: ReadableImage,
  sink: Pick<Sink, 'write'>,
  signal: AbortSignal,
): Promise<ImageSum> {
  const { delta, start } = await readDelta(file)
  await mustBe(old, delta.old, file.name, signal)
  const sum = digester()
  let next = start
  for (const { offset, length } of delta.operations) {
    const from = offset === undefined ? file : old
    for await (const bytes of pieces(from, offset ?? next, length, signal)) {
      sum.update(bytes)
      await sink.write(bytes)
    }
    if (offset === undefined) next += length
  }
  const digest = sum.digest()
  if (digest !== delta.new.digest)
    throw new Stage5Error(
      'S5_DIGEST_MISMATCH',
      `${file.name}: expected an image of ${delta.new.digest}, made ${digest}`,
      { data: { expected: delta.new.digest, actual: digest } },
    )
  return delta.new
}

async function mustBe(
  old: ReadableImage,
  expected: ImageSum,
  delta: string,
  signal: AbortSignal,
): Promise<void> {
  const sum = digester()
  if (old.size === expected.size)
    for await (const bytes of pieces(old, 0, old.size, signal)) sum.update(bytes)
  const actual = sum.digest()
  if (old.size === expected.size && actual === expected.digest) return
  const found = old.size === expected.size ? actual : `${old.size} bytes`
  const wanted = old.size === expected.size ? expected.digest : `${expected.size} bytes`
  throw new Stage5Error(
    'S5_DELTA_BASE',
    `${delta} does not begin at ${old.name}: expected ${wanted}, found ${found}`,
    { data: { delta, base: old.name, expected: expected.digest, size: expected.size } },
  )
}

async function* pieces(
  image: ReadableImage,
  offset: number,
  length: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < length; at += PIECE) {
    signal.throwIfAborted()
    yield await exactly(image, offset + at, Math.min(PIECE, length - at))
  }
}

async function exactly({ name, read }: ReadableImage, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await read(offset, length)
  if (bytes.length !== length)
    throw refuse('truncated', name, `expected ${length} bytes at ${offset}, found ${bytes.length}`)
  return bytes
}
