/** Accepts the signed release of one suite: by a trusted key, for this suite, fresh, and not older than before. */
import { join } from 'node:path'
import { digestOf, type Digest } from '../base/digest.ts'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import { parseDeb822 } from '../format/deb822.ts'
import { parseRelease, refused, type Release } from '../format/release.ts'
import { localPath, type Fetcher, type Validators } from '../host/fetch.ts'
import { suiteAddress, type ArchiveAddress } from './archive-sources.ts'
import { keepWhole, readIfThere } from './cache-files.ts'
import { verifyDetached, verifyInRelease, type Verified } from './keyring.ts'

export interface AcceptedRelease {
  readonly address: ArchiveAddress
  readonly release: Release
  /** Of the signed text. */
  readonly digest: Digest
  readonly bytes: number
  readonly fromCache: boolean
}

interface ReleaseContext {
  readonly fetcher: Fetcher
  /** Cache of the repository. */
  readonly directory: string
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly checkValidUntil: boolean
  readonly report: Report
  readonly signal: AbortSignal
}

/** What was accepted last; byte strings. `signature` is '' for a clear-signed one. */
interface Kept {
  readonly format: 1
  readonly signed: string
  readonly signature: string
  readonly date: number
  readonly validators: Validators
}

const MAX_RELEASE = 16 * 2 ** 20
const CLOCK_TOLERANCE_SECONDS = 10

/**
 * InRelease, or Release with Release.gpg where the archive has no InRelease; asked for conditionally.
 *
 * Offline, the last accepted one is verified again; that it may have expired meanwhile is a warning, because nobody
 * could have served a newer one.
 * @throws S5_SIGNATURE_BAD, S5_INDEX_REFUSED with `stale`, `rollback`, `mismatch`, `weak-digest`, `bad-metadata`;
 *   S5_FETCH_FAILED, S5_OFFLINE
 */
export async function acceptRelease(
  address: ArchiveAddress,
  context: ReleaseContext,
): Promise<AcceptedRelease> {
  const file = join(context.directory, 'archives', `${address.id}.json`)
  const kept = await keptIn(file)
  const isOffline = context.fetcher.offline && localPath(address.uri) === undefined
  const fetched = isOffline && kept ? undefined : await fetchRelease(address, kept, context)
  const current = fetched ?? (kept as Kept)
  const verified = await verify(address, current, context.signal)
  const release = readRelease(verified, address)
  checkSuite(release, address)
  if (isOffline) warnExpired(release, address, context)
  else checkTimes(release, verified, address, context)
  if (kept && release.date < kept.date)
    throw refused(
      address.label,
      'rollback',
      `the release is of ${shown(release.date)}, but one of ${shown(kept.date)} was accepted before`,
    )
  if (fetched) await keepWhole(file, JSON.stringify({ ...fetched, date: release.date } satisfies Kept))
  return {
    address,
    release,
    digest: digestOf(verified.text),
    bytes: current.signed.length,
    fromCache: fetched === undefined,
  }
}

/** @returns undefined when the server still has what was kept */
async function fetchRelease(
  address: ArchiveAddress,
  kept: Kept | undefined,
  { fetcher, signal }: ReleaseContext,
): Promise<Kept | undefined> {
  const base = suiteAddress(address)
  const ask = (file: string, unless?: Validators) =>
    fetcher.fetchBytes(`${base}/${file}`, {
      name: `${address.label} ${file}`,
      maxSize: MAX_RELEASE,
      signal,
      ...(unless ? { unless } : {}),
    })
  const inline = kept?.signature === '' ? kept.validators : undefined
  try {
    const answer = await ask('InRelease', inline)
    return answer === 'unchanged' ? undefined : keptOf(answer.bytes, '', answer.validators)
  } catch (error) {
    if (!isStage5Error(error, 'S5_FETCH_FAILED') || error.data['status'] !== 404) throw error
    try {
      const answer = await ask('Release')
      const signature = await ask('Release.gpg')
      if (answer === 'unchanged' || signature === 'unchanged') throw error
      return keptOf(answer.bytes, byteString(signature.bytes), answer.validators)
    } catch (second) {
      throw isStage5Error(second, 'S5_FETCH_FAILED') ? error : second
    }
  }
}

async function verify(address: ArchiveAddress, kept: Kept, signal: AbortSignal): Promise<Verified> {
  const signed = Buffer.from(kept.signed, 'latin1')
  if (kept.signature === '')
    return verifyInRelease(signed, address.keyrings, signal, `${address.label} InRelease`)
  const signature = Buffer.from(kept.signature, 'latin1')
  return verifyDetached(signed, signature, address.keyrings, signal, `${address.label} Release`)
}

function readRelease(verified: Verified, address: ArchiveAddress): Release {
  const stanzas = asIndexErrors(address.label, () => parseDeb822(verified.text, address.label))
  const [stanza, ...more] = stanzas
  if (stanza === undefined || more.length > 0)
    throw refused(address.label, 'bad-metadata', `expected one paragraph, found ${stanzas.length}`)
  return parseRelease(stanza, address.label)
}

/** Says S5_INDEX_REFUSED with the same reason where a reader of archives says S5_ARCHIVE_REFUSED. */
export function asIndexErrors<T>(name: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw asIndexError(name, error)
  }
}

export function asIndexError(name: string, error: unknown): unknown {
  if (!isStage5Error(error, 'S5_ARCHIVE_REFUSED')) return error
  return new Stage5Error(
    'S5_INDEX_REFUSED',
    error.message.includes(name) ? error.message : `${name}: ${error.message}`,
    {
      data: { ...error.data, file: name },
      cause: error,
    },
  )
}

/** A mirror must not pass off another suite that the same key has signed. Archives that name no suite are taken. */
function checkSuite(release: Release, { suite, label }: ArchiveAddress): void {
  const names = [release.suite, release.codename].filter((name) => name !== '')
  if (suite.endsWith('/') || names.length === 0) return
  if (names.some((name) => suite === name || suite.startsWith(`${name}/`))) return
  throw refused(label, 'mismatch', `expected the suite ${suite}, found ${names.join(' or ')}`)
}

function checkTimes(
  release: Release,
  verified: Verified,
  { label }: ArchiveAddress,
  context: ReleaseContext,
): void {
  if (!context.checkValidUntil) return
  const now = Math.floor(context.now() / 1000)
  const latest = Math.max(release.date, verified.timestamp)
  if (latest > now + CLOCK_TOLERANCE_SECONDS)
    throw refused(label, 'stale', `dated ${shown(latest)}, which is in the future (here it is ${shown(now)})`)
  if (release.validUntil !== undefined && release.validUntil < now)
    throw refused(label, 'stale', `valid until ${shown(release.validUntil)}, and it is ${shown(now)}`)
}

function warnExpired(release: Release, { label }: ArchiveAddress, context: ReleaseContext): void {
  const until = release.validUntil
  if (!context.checkValidUntil || until === undefined || until >= Math.floor(context.now() / 1000)) return
  context.report({
    kind: 'warning',
    code: 'S5_INDEX_REFUSED',
    message: `${label}: used offline although it was valid until ${shown(until)}`,
  })
}

function keptOf(signed: Uint8Array, signature: string, validators: Validators): Kept {
  return { format: 1, signed: byteString(signed), signature, date: 0, validators }
}

function byteString(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

async function keptIn(file: string): Promise<Kept | undefined> {
  const bytes = await readIfThere(file)
  if (bytes === undefined) return undefined
  try {
    const kept = JSON.parse(bytes.toString('utf8')) as Kept
    return kept.format === 1 ? kept : undefined
  } catch {
    return undefined
  }
}

function shown(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`
}
