/** Accepts the `Packages` index of one binhost: whole, of this time, and not older than the one accepted before. */
import { basename, join } from 'node:path'
import { digestOf, hexOf, type Digest } from '../base/digest.ts'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import { parseGentooIndex, type GentooIndex } from '../format/gentoo-index.ts'
import { refused } from '../format/release.ts'
import { localPath, type Fetcher, type Validators } from '../host/fetch.ts'
import { archOfGentoo } from '../pkg/ebuild-package.ts'
import { gentooHeaderOf, type GentooHeader } from '../pkg/gentoo-header.ts'
import type { BinhostSource } from './binhost-sources.ts'
import { keepOnly, keepWhole, readIfThere } from './cache-files.ts'
import { indexTableOf, parseIndexTable, printIndexTable, type IndexTable } from './index-table.ts'

export interface AcceptedIndex {
  readonly source: BinhostSource
  readonly header: GentooHeader
  readonly index: GentooIndex & Pick<IndexTable, 'names'>
  /** Of the decompressed index. */
  readonly digest: Digest
  /** Of the decompressed index. */
  readonly bytes: number
  /** Name of the file it came from. */
  readonly file: string
  readonly fromCache: boolean
  /** Makes it the last accepted one. */
  readonly keep: () => Promise<void>
}

export interface IndexContext {
  readonly fetcher: Fetcher
  /** Cache of the repository. */
  readonly directory: string
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly checkTimestamp: boolean
  /** A folder without an index has no packages yet: a builder makes them. */
  readonly mayBeEmpty: boolean
  readonly signal: AbortSignal
}

/** What was accepted last; its text stands in a file of its own beside it. */
interface State {
  readonly format: 1
  readonly uri: string
  readonly file: string
  readonly validators: Validators
  /** Seconds since 1970. */
  readonly fetched: number
  readonly timestamp: number
  readonly ttl: number
  readonly digest: Digest
  /** Bytes of the text. */
  readonly size: number
  /** `URI` of the header; '' without one. */
  readonly base: string
}

interface Kept extends State {
  readonly bytes: Uint8Array
  /** A cache; made again when it is missing. */
  readonly table: IndexTable | undefined
}

/** Bytes; formats.md 3.1. */
const MAX_INDEX = 512 * 2 ** 20
/** A guess: builders and clients differ by seconds, a wrong clock by hours. */
const CLOCK_TOLERANCE_SECONDS = 300
/** An index cannot keep itself from being looked at for longer. */
const MAX_TTL_SECONDS = 86_400
const NO_PACKAGES = Buffer.from('VERSION: 0\nTIMESTAMP: 0\nPACKAGES: 0\n')

/**
 * `Packages.gz`, where it is missing `Packages`; asked for conditionally, and not at all while the TTL of its header runs.
 * @throws S5_INDEX_REFUSED with `magic`, `version`, `truncated`, `stale`, `rollback`, `mismatch`…; S5_FETCH_FAILED, S5_OFFLINE
 */
export async function acceptIndex(
  source: BinhostSource,
  arch: string,
  context: IndexContext,
): Promise<AcceptedIndex> {
  const { fetcher, directory } = context
  const kept = await keptIn(directory, source)
  const now = Math.floor(context.now() / 1000)
  const isLocal = localPath(source.uri) !== undefined
  const isOffline = fetcher.offline && !isLocal
  const isFresh = !isLocal && kept !== undefined && now >= kept.fetched && now < kept.fetched + kept.ttl
  const isKept = kept !== undefined && (isOffline || source.frozen || isFresh)
  const fetched = isKept ? 'unchanged' : await fetchIndex(source, kept, context)
  const fromCache = fetched === 'unchanged'
  const { file, validators } = fromCache ? (kept as Kept) : fetched
  const bytes = fromCache ? (kept as Kept).bytes : fetched.bytes
  const known = fromCache ? (kept as Kept).table : undefined
  const index = parseGentooIndex(`${source.label} ${file}`, bytes, known?.blocks)
  const header = gentooHeaderOf(index.header)
  checkHeader(source, header, arch)
  const isEmpty = bytes === NO_PACKAGES
  if (context.checkTimestamp && !isEmpty) checkTimes(source, index.timestamp, isKept ? undefined : kept, now)
  const digest = fromCache ? (kept as Kept).digest : digestOf(bytes)
  const ttl = Number(index.header.get('TTL') ?? 0)
  const state: State = {
    format: 1,
    uri: source.uri,
    file,
    validators,
    fetched: now,
    timestamp: index.timestamp,
    ttl: Number.isFinite(ttl) && ttl > 0 ? Math.min(ttl, MAX_TTL_SECONDS) : 0,
    digest,
    size: bytes.length,
    base: index.header.get('URI') ?? '',
  }
  const table = known ?? indexTableOf(index)
  return {
    source,
    header,
    index: { ...index, names: table.names },
    digest,
    bytes: bytes.length,
    file,
    fromCache,
    keep: async () => {
      if (!known && !isEmpty) await keepWhole(tableFile(directory, source, digest), printIndexTable(table))
      // A folder is looked at each time: when that was, nobody asks.
      if (isKept || isEmpty || (isLocal && fromCache)) return
      if (!fromCache) await keepWhole(textFile(directory, source, digest), bytes)
      await keepWhole(stateFile(directory, source), JSON.stringify(state))
      const names = [textFile, tableFile].map((file) => basename(file(directory, source, digest)))
      await keepOnly(
        join(directory, 'indexes'),
        (other) => names.includes(other) || !other.startsWith(`${source.id}-`),
      )
    },
  }
}

/** Base addresses of package files: what the header of the last accepted index says, and the binhost's own. */
export async function packageBases(
  source: BinhostSource,
  directory: string,
): Promise<readonly string[] | undefined> {
  const state = await stateIn(directory, source)
  return state && basesOf(source, state.base)
}

/** A folder's own files come before what it says of another place; a web server's index is asked where they are. */
function basesOf(source: BinhostSource, base: string): readonly string[] {
  const isLocal = localPath(source.uri) !== undefined
  const given = base.replace(/\/+$/, '')
  const isAddress = /^https?:\/\/[^\s/]+/i.test(given)
  const isFolder = isLocal && localPath(given) !== undefined
  if (given === source.uri || !(isAddress || isFolder)) return [source.uri]
  return isLocal ? [source.uri, given] : [given, source.uri]
}

async function fetchIndex(
  source: BinhostSource,
  kept: Kept | undefined,
  context: IndexContext,
): Promise<{ file: string; bytes: Uint8Array; validators: Validators } | 'unchanged'> {
  const { fetcher, signal } = context
  for (const [at, file] of source.indexes.entries())
    try {
      const answer = await fetcher.fetchBytes(`${source.uri}/${file}`, {
        name: `${source.label} ${file}`,
        maxSize: MAX_INDEX,
        signal,
        ...(kept?.file === file ? { unless: kept.validators } : {}),
      })
      if (answer === 'unchanged') return answer
      const bytes = await decompressed(answer.bytes, `${source.label} ${file}`, signal)
      return { file, bytes, validators: answer.validators }
    } catch (error) {
      const isAbsent = isStage5Error(error, 'S5_FETCH_FAILED') && error.data['status'] === 404
      if (!isAbsent) throw error
      if (at < source.indexes.length - 1) continue
      if (localPath(source.uri) === undefined) throw error
      if (context.mayBeEmpty) return { file, bytes: NO_PACKAGES, validators: {} }
      throw new Stage5Error('S5_FETCH_FAILED', error.message, {
        hint: `stage5 index ${source.uri} writes the index of a PKGDIR, as emaint binhost --fix does`,
        cause: error,
        data: error.data,
      })
    }
  throw new RangeError('no index to try')
}

/** By its first bytes: servers that label a file as encoded have it decoded already. */
async function decompressed(bytes: Uint8Array, name: string, signal: AbortSignal): Promise<Uint8Array> {
  const { compressionOf, decompress } = await import('../host/decompress.ts')
  const kind = compressionOf(bytes)
  if (kind === 'none') return bytes
  const chunks: Uint8Array[] = []
  async function* whole(): AsyncGenerator<Uint8Array> {
    yield bytes
  }
  try {
    for await (const chunk of decompress(whole(), kind, { file: name, bytes: MAX_INDEX }, signal))
      chunks.push(chunk)
  } catch (error) {
    const { asIndexError } = await import('./accepted-release.ts')
    throw asIndexError(name, error)
  }
  return Buffer.concat(chunks)
}

function checkHeader({ label }: BinhostSource, { arch: own }: GentooHeader, arch: string): void {
  if (own !== '' && archOfGentoo(own) !== arch)
    throw refused(label, 'mismatch', `expected packages for ${arch}, found ${own}`)
}

function checkTimes({ label }: BinhostSource, timestamp: number, kept: State | undefined, now: number): void {
  if (timestamp > now + CLOCK_TOLERANCE_SECONDS)
    throw refused(
      label,
      'stale',
      `dated ${shown(timestamp)}, which is in the future (here it is ${shown(now)})`,
    )
  if (kept && timestamp < kept.timestamp)
    throw refused(
      label,
      'rollback',
      `the index is of ${shown(timestamp)}, but one of ${shown(kept.timestamp)} was accepted before`,
    )
}

function stateFile(directory: string, { id }: BinhostSource): string {
  return join(directory, 'indexes', `${id}.json`)
}

function textFile(directory: string, { id }: BinhostSource, digest: Digest): string {
  return join(directory, 'indexes', `${id}-${hexOf(digest).slice(0, 32)}.packages`)
}

function tableFile(directory: string, source: BinhostSource, digest: Digest): string {
  return textFile(directory, source, digest).replace(/packages$/, 'table')
}

async function stateIn(directory: string, source: BinhostSource): Promise<State | undefined> {
  const bytes = await readIfThere(stateFile(directory, source))
  if (bytes === undefined) return undefined
  try {
    const state = JSON.parse(bytes.toString('utf8')) as State
    return state.format === 1 && state.uri === source.uri ? state : undefined
  } catch {
    return undefined
  }
}

/** The state with its text: both appear whole or not at all, and the name of the text is its digest. */
async function keptIn(directory: string, source: BinhostSource): Promise<Kept | undefined> {
  const state = await stateIn(directory, source)
  const bytes = state && (await readIfThere(textFile(directory, source, state.digest)))
  if (bytes === undefined || bytes.length !== state?.size) return undefined
  const table = await readIfThere(tableFile(directory, source, state.digest))
  return { ...state, bytes, table: table && parseIndexTable(table) }
}

function shown(seconds: number): string {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? String(seconds) : `${date.toISOString().slice(0, 19)}Z`
}
