/**
 * Signed metadata of what is published, in the roles and formats of The Update Framework (TUF 1.0): who may sign what,
 * which versions belong together, and until when they hold. Signing and checking of bytes are given by the caller.
 * @see https://theupdateframework.github.io/specification/latest/ sections 4 and 5
 */
import { digestOf, hexOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'

const ROLES = ['root', 'timestamp', 'snapshot', 'targets', 'channels'] as const
/** `targets` is the release role; `channels` is delegated by it, for `channels/*` alone. */
export type Role = (typeof ROLES)[number]
type TopRole = Exclude<Role, 'channels'>

export const SPEC_VERSION = '1.0.31'

/** Why metadata was refused: one word for programs. */
export type MetadataProblem = 'malformed' | 'unsigned' | 'rollback' | 'expired' | 'mismatch'

export interface MetadataKey {
  readonly keytype: 'ed25519'
  readonly scheme: 'ed25519'
  readonly keyval: { readonly public: string }
}

export interface RoleKeys {
  readonly keyids: readonly string[]
  readonly threshold: number
}

interface Head<T extends string> {
  readonly _type: T
  readonly spec_version: string
  readonly version: number
  /** `YYYY-MM-DDTHH:MM:SSZ` */
  readonly expires: string
}

export interface Root extends Head<'root'> {
  readonly consistent_snapshot: true
  readonly keys: Readonly<Record<string, MetadataKey>>
  readonly roles: Readonly<Record<TopRole, RoleKeys>>
}

export interface FileMeta {
  readonly version: number
  readonly length: number
  readonly hashes: { readonly sha256: string }
}

export interface Timestamp extends Head<'timestamp'> {
  readonly meta: { readonly 'snapshot.json': FileMeta }
  /** Seconds since 1970: no guest's clock is earlier than the newest of these that it believed. */
  readonly issued: number
}

export interface Snapshot extends Head<'snapshot'> {
  readonly meta: Readonly<Record<string, FileMeta>>
}

export interface TargetFile {
  readonly length: number
  readonly hashes: { readonly sha256: string }
}

export interface Targets extends Head<'targets'> {
  readonly targets: Readonly<Record<string, TargetFile>>
  readonly delegations?: {
    readonly keys: Readonly<Record<string, MetadataKey>>
    readonly roles: readonly (RoleKeys & {
      readonly name: string
      readonly terminating: boolean
      readonly paths: readonly string[]
    })[]
  }
}

export type Signed = Root | Timestamp | Snapshot | Targets

interface SignatureOf {
  readonly keyid: string
  /** 128 hex digits. */
  readonly sig: string
}

export interface Envelope<T extends Signed = Signed> {
  readonly signatures: readonly SignatureOf[]
  readonly signed: T
}

/** A private key, as it is used here. */
export interface MetadataSigner {
  /** The raw public key in hex. */
  readonly public: string
  /** @returns 128 hex digits */
  sign(bytes: Uint8Array): string
}

/** Whether `sig` (hex) is the Ed25519 signature of a raw public key (hex) over these bytes. */
export type VerifySignature = (publicKey: string, bytes: Uint8Array, sig: string) => boolean

/** @throws S5_METADATA_REFUSED always */
export function refuseMetadata(problem: MetadataProblem, file: string, message: string): Stage5Error {
  return new Stage5Error('S5_METADATA_REFUSED', `${file}: ${problem}: ${message}`, {
    hint:
      problem === 'expired'
        ? 'stage5 trust refresh signs it anew'
        : 'nothing of it was used; what is trusted stays',
    data: { file, problem },
  })
}

/**
 * OLPC's canonical JSON, as TUF signs it: keys in order, no white space, whole numbers, `"` and `\` alone escaped.
 * @example
 * canonicalJson({ b: 1, a: 'x' }) // => '{"a":"x","b":1}'
 */
export function canonicalJson(value: Json): string {
  if (typeof value === 'string') return `"${value.replace(/["\\]/g, '\\$&')}"`
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new RangeError(`canonical JSON has whole numbers, found ${value}`)
    return String(value)
  }
  if (value === null || typeof value === 'boolean') return String(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const record = value as { readonly [key: string]: Json | undefined }
  const members = Object.keys(record)
    .filter((key) => record[key] !== undefined)
    .sort()
    .map((key) => `${canonicalJson(key)}:${canonicalJson(record[key] as Json)}`)
  return `{${members.join(',')}}`
}

/** The bytes that are signed. */
export function signedBytes(signed: Signed): Uint8Array {
  return new TextEncoder().encode(canonicalJson(signed as never))
}

export function keyOf(publicKey: string): MetadataKey {
  return { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: publicKey } }
}

/** SHA-256 of the canonical form of the key. */
export function keyidOf(key: MetadataKey): string {
  return hexOf(digestOf(canonicalJson(key as never)))
}

/** One signature for each key, in the order of their ids: equal contents have equal bytes. */
export function signMetadata<T extends Signed>(signed: T, signers: readonly MetadataSigner[]): Envelope<T> {
  const bytes = signedBytes(signed)
  const byId = new Map(signers.map((signer) => [keyidOf(keyOf(signer.public)), signer]))
  const signatures = [...byId]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([keyid, signer]) => ({ keyid, sig: signer.sign(bytes) }))
  return { signatures, signed }
}

/** The file of an envelope: canonical JSON in one line, so that what was signed can be cut out of it. */
export function metadataFile(envelope: Envelope): Uint8Array {
  return new TextEncoder().encode(canonicalJson(envelope as never))
}

/** Name of a file of metadata; only the timestamp is found without knowing a version. */
export function metadataName(role: Role, version: number): string {
  return role === 'timestamp' ? 'timestamp.json' : `${version}.${role}.json`
}

export function fileMeta(version: number, bytes: Uint8Array): FileMeta {
  return { version, length: bytes.length, hashes: { sha256: hexOf(digestOf(bytes)) } }
}

/** @param seconds since 1970 */
export function expiryAt(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`
}

/** Most bytes that are read of a file of metadata whose length nothing signed says. */
const MAX_METADATA: number = 2 ** 20

/**
 * An envelope as it came, checked for form alone.
 * @throws S5_METADATA_REFUSED
 */
export function parseMetadata<R extends Role>(
  role: R,
  file: string,
  bytes: Uint8Array,
): Envelope<SignedOf<R>> {
  const wrong = (expected: string): Stage5Error => refuseMetadata('malformed', file, `expected ${expected}`)
  if (bytes.length > MAX_METADATA) throw wrong(`at most ${MAX_METADATA} bytes, found ${bytes.length}`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw wrong('JSON')
  }
  if (!isRecord(value) || !isRecord(value['signed']) || !Array.isArray(value['signatures']))
    throw wrong('signed and signatures')
  const { signed, signatures } = value
  if (signed['_type'] !== (role === 'channels' ? 'targets' : role))
    throw wrong(`metadata of the role ${role}, found ${JSON.stringify(signed['_type'])}`)
  if (!/^1\./.test(String(signed['spec_version']))) throw wrong('version 1 of the specification')
  if (!isVersion(signed['version'])) throw wrong('a version of 1 or more')
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(String(signed['expires']))) throw wrong('a date of expiry')
  for (const one of signatures)
    if (!isRecord(one) || !isHex(one['keyid'], 64) || typeof one['sig'] !== 'string')
      throw wrong('signatures with keyid and sig')
  const problem = SHAPES[role](signed)
  if (problem !== undefined) throw wrong(problem)
  return value as unknown as Envelope<SignedOf<R>>
}

export type SignedOf<R extends Role> = R extends 'root'
  ? Root
  : R extends 'timestamp'
    ? Timestamp
    : R extends 'snapshot'
      ? Snapshot
      : Targets

type Fields = { readonly [key: string]: unknown }

/** What is missing in the part that a role has of its own. */
const SHAPES: Readonly<Record<Role, (signed: Fields) => string | undefined>> = {
  root: ({ keys, roles, consistent_snapshot: consistent }) => {
    if (consistent !== true) return 'consistent_snapshot: true'
    if (!areKeys(keys)) return 'Ed25519 keys by the digest of their canonical form'
    if (!isRecord(roles)) return 'roles'
    const bad = (['root', 'timestamp', 'snapshot', 'targets'] as const).find(
      (role) => !areRoleKeys(roles[role]),
    )
    return bad && `keys and a threshold for the role ${bad}`
  },
  timestamp: ({ meta, issued }) =>
    isRecord(meta) && isFileMeta(meta['snapshot.json']) && Number.isSafeInteger(issued)
      ? undefined
      : 'snapshot.json and issued',
  snapshot: ({ meta }) =>
    isRecord(meta) && Object.values(meta).every(isFileMeta)
      ? undefined
      : 'versions, lengths and digests of files',
  targets: targetsShape,
  channels: targetsShape,
}

function targetsShape({ targets, delegations }: Fields): string | undefined {
  if (!isRecord(targets) || !Object.values(targets).every(isTarget)) return 'lengths and digests of targets'
  if (delegations === undefined) return undefined
  if (!isRecord(delegations) || !areKeys(delegations['keys'])) return 'keys of the delegated roles'
  const { roles } = delegations
  return Array.isArray(roles) && roles.every((role: unknown) => isRecord(role) && areRoleKeys(role))
    ? undefined
    : 'delegated roles'
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isVersion(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1
}

function isHex(value: unknown, digits: number): boolean {
  return typeof value === 'string' && value.length === digits && /^[0-9a-f]*$/.test(value)
}

function isTarget(value: unknown): boolean {
  if (!isRecord(value) || !Number.isSafeInteger(value['length']) || (value['length'] as number) < 0)
    return false
  return isRecord(value['hashes']) && isHex(value['hashes']['sha256'], 64)
}

function isFileMeta(value: unknown): boolean {
  return isTarget(value) && isVersion((value as Fields)['version'])
}

function areKeys(value: unknown): boolean {
  if (!isRecord(value)) return false
  return Object.entries(value).every(([keyid, key]) => {
    if (!isRecord(key) || key['keytype'] !== 'ed25519' || key['scheme'] !== 'ed25519') return false
    const { keyval } = key
    return (
      isRecord(keyval) && isHex(keyval['public'], 64) && keyidOf(keyOf(String(keyval['public']))) === keyid
    )
  })
}

function areRoleKeys(value: unknown): boolean {
  if (!isRecord(value) || !Array.isArray(value['keyids']) || !isVersion(value['threshold'])) return false
  return value['keyids'].every((keyid) => isHex(keyid, 64))
}
