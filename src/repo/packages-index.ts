/** Brings the Packages files that accepted releases list, checks them twice, and sorts out entries that cannot be used. */
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as breathe } from 'node:timers/promises'
import { digestOf, hexOf } from '../base/digest.ts'
import { isStage5Error, printable, type Refusal } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import { stanzasOf } from '../format/deb822.ts'
import { refused, type ReleaseEntry } from '../format/release.ts'
import { decompress, type Compression } from '../host/decompress.ts'
import type { Fetcher } from '../host/fetch.ts'
import { asIndexError, type AcceptedRelease } from './accepted-release.ts'
import { suiteAddress, type ArchiveAddress } from './archive-sources.ts'
import { firstFound } from './first-found.ts'
import { indexPathProblem, joinAddress } from './index-path.ts'
import { packageOfRow, rowOf, type IndexRow } from './index-cache.ts'

/** One Packages file of one suite. */
export interface ListedIndex {
  readonly accepted: AcceptedRelease
  /** Relative to the suite, without the ending of a compression. */
  readonly path: string
  readonly compression: Compression
  readonly listed: ReleaseEntry
  /** The decompressed file, where the release lists it too. */
  readonly plain: ReleaseEntry | undefined
}

/** Bytes; formats.md 3.1. */
const MAX_INDEX = 512 * 2 ** 20

/** In order of preference. */
const COMPRESSIONS: readonly (readonly [Compression, ending: string])[] = [
  ['xz', '.xz'],
  ['gz', '.gz'],
  ['none', ''],
]

/**
 * The Packages files that a suite has for an architecture: `binary-ARCH`, and `binary-all` where the release says that
 * it is not in each of them.
 * @throws S5_INDEX_REFUSED when the suite has the architecture but not a component
 */
export function listedIndexes(accepted: AcceptedRelease, arch: string): ListedIndex[] {
  const { address, release } = accepted
  if (address.architectures.length > 0 && !address.architectures.includes(arch)) return []
  if (address.suite.endsWith('/'))
    return [listedIndex(accepted, 'Packages')].filter((index) => index !== undefined)
  const hasArch = release.architectures.length === 0 || release.architectures.includes(arch)
  const withAll = release.architectures.includes('all') && !release.allInEachArchitecture
  return address.components.flatMap((component) => {
    const own = hasArch ? listedIndex(accepted, `${component}/binary-${arch}/Packages`) : undefined
    const all = withAll ? listedIndex(accepted, `${component}/binary-all/Packages`) : undefined
    if (hasArch && own === undefined && all === undefined)
      throw refused(
        address.label,
        'missing-member',
        `${shownBase(address)} lists no ${component}/binary-${arch}/Packages with SHA256`,
      )
    return [own, all].filter((index) => index !== undefined)
  })
}

function shownBase(address: ArchiveAddress): string {
  return `the release of ${address.suite}`
}

function listedIndex(accepted: AcceptedRelease, path: string): ListedIndex | undefined {
  const { files } = accepted.release
  for (const [compression, ending] of COMPRESSIONS) {
    const listed = files.get(path + ending)
    if (listed) return { accepted, path, compression, listed, plain: files.get(path) }
  }
  return undefined
}

/**
 * The bytes of a Packages file: by hash first, because what lies under the name may be replaced during the run.
 * Size and SHA256 are checked before and after decompression.
 * @throws S5_INDEX_REFUSED, S5_DIGEST_MISMATCH, S5_FETCH_FAILED, S5_OFFLINE
 */
export async function readIndex(
  index: ListedIndex,
  fetcher: Fetcher,
  folder: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const { accepted, listed, plain, compression } = index
  const { address, release } = accepted
  const ending = COMPRESSIONS.find(([name]) => name === compression)?.[1] ?? ''
  const name = `${address.label} ${index.path}${ending}`
  const expected = Math.max(listed.size, plain?.size ?? 0)
  if (expected > MAX_INDEX)
    throw refused(name, 'too-big', `expected at most ${MAX_INDEX} bytes, found ${expected}`)
  const base = suiteAddress(address)
  const directory = index.path.slice(0, index.path.lastIndexOf('/') + 1)
  const byName = joinAddress(base, index.path + ending)
  const addresses = release.acquireByHash
    ? [joinAddress(base, `${directory}by-hash/SHA256/${listed.sha256}`), byName]
    : [byName]
  const target = join(folder, `${listed.sha256}${ending}`)
  await firstFound(addresses, (url) =>
    fetcher.fetchFile(url, target, {
      name,
      size: listed.size,
      sums: { sha256: listed.sha256 },
      maxSize: MAX_INDEX,
      signal,
    }),
  )
  const bytes = await decompressed(target, compression, name, plain?.size, signal)
  if (plain && bytes.length !== plain.size)
    throw refused(name, 'size', `expected ${plain.size} bytes after decompression, found ${bytes.length}`)
  const actual = plain && compression !== 'none' ? hexOf(digestOf(bytes)) : plain?.sha256
  if (plain && actual !== plain.sha256)
    throw refused(name, 'digest', `expected sha256 ${plain.sha256} after decompression, found ${actual}`)
  return bytes
}

async function decompressed(
  file: string,
  compression: Compression,
  name: string,
  size: number | undefined,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  const limits = { file: name, bytes: size ?? MAX_INDEX }
  try {
    const input = createReadStream(file, { highWaterMark: 1 << 18 })
    for await (const chunk of decompress(input, compression, limits, signal)) chunks.push(chunk)
  } catch (error) {
    throw asIndexError(name, error)
  }
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)
}

/** Collects usable entries of several indexes; of one build listed twice the first counts. */
interface Collector {
  readonly rows: readonly IndexRow[]
  /** @throws S5_INDEX_REFUSED when the file is no index at all */
  add(bytes: Uint8Array, index: ListedIndex, signal: AbortSignal): Promise<void>
  /** Tells of what was refused: the first ten by name, the others by number. */
  finish(): void
}

const SHOWN_REFUSALS = 10
const STANZAS_AT_ONCE = 4096

export function collector(repo: string, arch: string, report: Report): Collector {
  const rows: IndexRow[] = []
  const seen = new Map<string, string>()
  let refusals = 0
  const warn = (message: string) => report({ kind: 'warning', code: 'S5_INDEX_REFUSED', message })
  const refuseEntry = (label: string, name: string, reason: Refusal, message: string) => {
    refusals++
    if (refusals <= SHOWN_REFUSALS) warn(`${label}: ${reason}: ${printable(name)}: ${message}`)
  }
  return {
    rows,
    async add(bytes, { accepted, path }, signal) {
      const { label, suite } = accepted.address
      let count = 0
      try {
        for (const stanza of stanzasOf(bytes, `${label} ${path}`)) {
          if (++count % STANZAS_AT_ONCE === 0) {
            await breathe()
            signal.throwIfAborted()
          }
          const entry = usable(stanza, arch, repo, suite)
          if ('reason' in entry) {
            refuseEntry(label, stanza.get('Package') ?? `line ${stanza.line}`, entry.reason, entry.message)
            continue
          }
          const { name, version, arch: own, file } = entry.package
          const key = `${name} ${version} ${own}`
          const before = seen.get(key)
          if (before === undefined) {
            seen.set(key, file.sums.sha256 as string)
            rows.push(entry)
          } else if (before !== file.sums.sha256)
            refuseEntry(label, name, 'duplicate', `${version} was listed before with another SHA256`)
        }
      } catch (error) {
        throw asIndexError(`${label} ${path}`, error)
      }
    },
    finish() {
      if (refusals > SHOWN_REFUSALS) warn(`${repo}: ${refusals - SHOWN_REFUSALS} more entries were refused`)
    },
  }
}

function usable(
  stanza: { get(field: string): string | undefined },
  arch: string,
  repo: string,
  origin: string,
): IndexRow | { readonly reason: Refusal; readonly message: string } {
  const row = rowOf(stanza)
  if (row === undefined) return { reason: 'bad-metadata', message: 'has control characters' }
  const path = (stanza.get('Filename') ?? '').replace(/^(?:\.\/)+/, '')
  const problem = indexPathProblem(path)
  if (problem !== undefined)
    return {
      reason: 'index-path',
      message: `Filename ${JSON.stringify(printable(path).slice(0, 120))} ${problem}`,
    }
  const sha256 = stanza.get('SHA256')
  if (sha256 === undefined) return { reason: 'weak-digest', message: 'has no SHA256' }
  if (!/^[0-9a-f]{64}$/.test(sha256))
    return { reason: 'bad-metadata', message: 'SHA256 is not 64 hex digits' }
  try {
    const made = packageOfRow(row, repo, origin)
    if (made.arch !== arch && made.arch !== 'all')
      return { reason: 'mismatch', message: `expected the architecture ${arch} or all, found ${made.arch}` }
    return { row, package: made }
  } catch (error) {
    if (!isStage5Error(error)) throw error
    return { reason: 'bad-metadata', message: error.message }
  }
}
