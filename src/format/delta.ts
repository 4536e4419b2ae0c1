/**
 * What lies where in an image, as text beside it, and deltas that are read off two such texts.
 *
 * A layout lists every byte of an image in runs that a client can fetch by range and check by digest:
 *
 *     stage5 layout 1
 *     image <name> <bytes> <sha256 of the image>
 *     owner <label>                              the package that brought what follows; empty for what is nobody's
 *     <offset> <length> <digest> <kind>          ascending, without gaps
 *
 * `digest` is the first half of the SHA-256 of the bytes as they are stored; `kind` is head, block, fragment or metadata.
 * A client that has one image and both layouts copies the runs whose digest and length it has, fetches the others, and
 * checks the SHA-256 of the whole.
 */
import { hash } from 'node:crypto'
import type { Digest } from '../base/digest.ts'
import { refuse } from '../base/errors.ts'

const RUN_KINDS = ['head', 'block', 'fragment', 'metadata'] as const
export type RunKind = (typeof RUN_KINDS)[number]

export interface Run {
  readonly kind: RunKind
  readonly owner: string
  readonly offset: number
  readonly length: number
  /** 32 hex digits. */
  readonly digest: string
}

export interface ImageSum {
  readonly size: number
  readonly digest: Digest
}

export interface Layout extends ImageSum {
  /** File name of the image. */
  readonly name: string
  readonly runs: readonly Run[]
}

/** How the next bytes of the new image come about: copied from `offset` of the old one, or the next of the delta. */
interface Operation {
  readonly offset?: number
  readonly length: number
}

export interface Delta {
  readonly old: ImageSum
  readonly new: ImageSum
  readonly operations: readonly Operation[]
}

const LAYOUT_MAGIC = 'stage5 layout 1'
const DELTA_MAGIC = 'stage5 delta 1'
/** Bytes of the first line of a delta: the magic, a blank, 10 digits and the newline. */
export const DELTA_FIRST_LINE: number = DELTA_MAGIC.length + 12
const MAX_HEADER = 2 ** 28

/** Bytes of the digest of a run: the first half of a SHA-256. */
export const RUN_DIGEST = 16

/** The digest of a run of these bytes. */
export function runDigest(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer').subarray(0, RUN_DIGEST)
}

export function printLayout({ name, size, digest, runs }: Layout): string {
  const lines = [LAYOUT_MAGIC, `image ${name} ${size} ${digest}`]
  let owner: string | undefined
  for (const run of runs) {
    if (run.owner !== owner) lines.push(`owner ${run.owner}`)
    owner = run.owner
    lines.push(`${run.offset} ${run.length} ${run.digest} ${run.kind}`)
  }
  return `${lines.join('\n')}\n`
}

/**
 * @param file the name of the layout in messages
 * @throws S5_ARCHIVE_REFUSED
 */
export function parseLayout(text: string, file: string): Layout {
  const lines = text.split('\n')
  if (lines[0] !== LAYOUT_MAGIC) throw refuse('magic', file, 'this is not a layout of stage5')
  const image = /^image (.+) (\d{1,15}) (sha256:[0-9a-f]{64})$/.exec(lines[1] ?? '')
  if (!image || lines.at(-1) !== '')
    throw refuse('layout', file, 'line 2 or the last line is not as expected')
  const size = Number(image[2])
  const runs: Run[] = []
  let owner = ''
  let end = 0
  for (const [at, line] of lines.slice(2, -1).entries()) {
    if (line.startsWith('owner ')) {
      owner = line.slice(6)
      continue
    }
    const run = /^(\d{1,15}) (\d{1,15}) ([0-9a-f]{32}) (\w+)$/.exec(line)
    const kind = RUN_KINDS.find((known) => known === run?.[4])
    const [offset, length] = [Number(run?.[1]), Number(run?.[2])]
    if (!run || !kind || offset !== end || length === 0)
      throw refuse('layout', file, `line ${at + 3} is no run that begins at ${end}`)
    end += length
    runs.push({ kind, owner, offset, length, digest: run[3] as string })
  }
  if (end !== size) throw refuse('layout', file, `expected runs of ${size} bytes, found ${end}`)
  return { name: image[1] as string, size, digest: image[3] as Digest, runs }
}

/** Takes time proportional to the number of runs. Runs of equal bytes that follow each other are one operation. */
export function diffLayouts(old: Layout, fresh: Layout): readonly Operation[] {
  const nameOf = ({ digest, length }: Run): string => `${digest} ${length}`
  const offsets = new Map<string, number>()
  const names = new Map<number, string>()
  for (const run of old.runs) {
    const name = nameOf(run)
    if (!offsets.has(name)) offsets.set(name, run.offset)
    names.set(run.offset, name)
  }
  const operations: { offset?: number; length: number }[] = []
  for (const run of fresh.runs) {
    const name = nameOf(run)
    const last = operations.at(-1)
    const next = last?.offset === undefined ? undefined : last.offset + last.length
    const offset = next !== undefined && names.get(next) === name ? next : offsets.get(name)
    if (last && last.offset === undefined && offset === undefined) last.length += run.length
    else if (last && offset !== undefined && offset === next) last.length += run.length
    else operations.push(offset === undefined ? { length: run.length } : { offset, length: run.length })
  }
  return operations
}

/** What stands in a delta before its bytes. */
export function printDelta({ old, new: fresh, operations }: Delta): Buffer {
  const list = operations.map(({ offset, length }) => (offset === undefined ? [length] : [offset, length]))
  const header = Buffer.from(`${JSON.stringify({ old, new: fresh, operations: list })}\n`)
  return Buffer.concat([Buffer.from(`${DELTA_MAGIC} ${String(header.length).padStart(10, '0')}\n`), header])
}

/**
 * @param line the first `DELTA_FIRST_LINE` bytes
 * @returns bytes of the header that follows
 * @throws S5_ARCHIVE_REFUSED
 */
export function parseFirstLine(line: Uint8Array, file: string): number {
  const text = Buffer.from(line).toString('latin1')
  const found = /^stage5 delta 1 (\d{10})\n$/.exec(text)
  if (!found) throw refuse('magic', file, 'this is not a delta of stage5')
  const length = Number(found[1])
  if (length > MAX_HEADER) throw refuse('too-big', file, `a header of ${length} bytes`)
  return length
}

/** @throws S5_ARCHIVE_REFUSED unless the operations stay inside the old image and make as many bytes as the new one has */
export function parseDelta(header: Uint8Array, file: string): Delta {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(header).toString())
  } catch {
    throw refuse('layout', file, 'the header is not JSON')
  }
  const { old, new: fresh, operations } = (value ?? {}) as { [key: string]: unknown }
  if (!isSum(old) || !isSum(fresh) || !Array.isArray(operations))
    throw refuse('layout', file, 'the header does not name two images and the way between them')
  let made = 0
  const list = operations.map((operation: unknown): Operation => {
    const numbers = Array.isArray(operation) ? (operation as unknown[]) : []
    if (numbers.length < 1 || numbers.length > 2 || !numbers.every(isSize))
      throw refuse('layout', file, 'an operation is not one or two sizes')
    const [first, second] = numbers
    made += second ?? (first as number)
    if (second === undefined) return { length: first as number }
    const end = (first as number) + second
    if (end > old.size) throw refuse('layout', file, `an operation ends at ${end} of ${old.size} bytes`)
    return { offset: first as number, length: second }
  })
  if (made !== fresh.size) throw refuse('layout', file, `operations make ${made} of ${fresh.size} bytes`)
  return { old, new: fresh, operations: list }
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isSum(value: unknown): value is ImageSum {
  const { size, digest } = (value ?? {}) as { [key: string]: unknown }
  return isSize(size) && typeof digest === 'string' && /^sha256:[0-9a-f]{64}$/.test(digest)
}
