/** The next metadata of a publication: what changes is signed anew, with versions one higher; the timestamp comes last. */
import { Stage5Error } from '../base/errors.ts'
import type { Trusted } from './metadata-client.ts'
import {
  expiryAt,
  type FileMeta,
  fileMeta,
  keyidOf,
  keyOf,
  metadataFile,
  type MetadataKey,
  metadataName,
  type MetadataSigner,
  type RoleKeys,
  type Root,
  type Signed,
  signMetadata,
  type Snapshot,
  SPEC_VERSION,
  type TargetFile,
  type Targets,
  type Timestamp,
} from './metadata.ts'

const DAY = 86_400

/** Seconds for which each role's metadata holds. */
export interface Lifetimes {
  readonly root: number
  readonly targets: number
  readonly channels: number
  readonly snapshot: number
  readonly timestamp: number
}

export const LIFETIMES: Lifetimes = {
  root: 365 * DAY,
  targets: 90 * DAY,
  channels: 30 * DAY,
  snapshot: 7 * DAY,
  timestamp: DAY,
}

export interface WrittenMetadata {
  /** In the order in which they must appear: what is named comes before what names it. */
  readonly files: readonly { readonly name: string; readonly bytes: Uint8Array }[]
  readonly trusted: Trusted
}

interface RootWish {
  readonly root: readonly MetadataSigner[]
  readonly threshold: number
  /** Raw public keys in hex. */
  readonly release: readonly string[]
  readonly online: readonly string[]
}

/**
 * The first root, or the one after `before`, which the keys of both sign.
 * @param before what is trusted so far, with the signers of its root
 * @throws S5_KEY_INVALID
 */
export function nextRoot(
  wish: RootWish,
  before: { readonly root: Root; readonly signers: readonly MetadataSigner[] } | undefined,
  now: number,
  { root: lifetime }: Lifetimes,
): { readonly name: string; readonly bytes: Uint8Array; readonly root: Root } {
  const publics = [...wish.root.map((signer) => signer.public), ...wish.release, ...wish.online]
  const keys = keysOf(publics)
  if (wish.threshold < 1 || wish.threshold > new Set(wish.root.map((signer) => signer.public)).size)
    throw new Stage5Error(
      'S5_USAGE',
      `--threshold expects a number from 1 to ${wish.root.length}, the root keys given; found ${wish.threshold}`,
    )
  const online = roleKeys(wish.online, 1)
  const version = (before?.root.version ?? 0) + 1
  const signed: Root = {
    ...{ _type: 'root', spec_version: SPEC_VERSION, version, expires: expiryAt(now + lifetime) },
    ...{ consistent_snapshot: true, keys },
    roles: {
      root: roleKeys(
        wish.root.map((signer) => signer.public),
        wish.threshold,
      ),
      targets: roleKeys(wish.release, 1),
      snapshot: online,
      timestamp: online,
    },
  }
  if (before) mustSign('root', before.root.roles.root, before.signers)
  const signers = [...wish.root, ...(before?.signers ?? [])]
  const bytes = metadataFile(signMetadata(signed, signers))
  return { name: metadataName('root', version), bytes, root: signed }
}

export interface Change {
  /** All targets of the release keys from now on; absent: as they are. */
  readonly targets?: Readonly<Record<string, TargetFile>>
  readonly channels?: Readonly<Record<string, TargetFile>>
  /** Raw public keys (hex) that may sign channels from now on. */
  readonly delegate?: readonly string[]
}

export interface Signers {
  /** Needed when targets or the delegation change. */
  readonly release: readonly MetadataSigner[]
  readonly online: readonly MetadataSigner[]
}

/**
 * A new timestamp in any case, a new snapshot where it must be, and what changed or would soon no longer hold.
 * @throws S5_KEY_INVALID when a key is not one of its role
 */
export function nextMetadata(
  trusted: Trusted,
  change: Change,
  { release, online }: Signers,
  now: number,
  lifetimes: Lifetimes,
): WrittenMetadata {
  const files: { name: string; bytes: Uint8Array }[] = []
  const meta: Record<string, FileMeta> = { ...trusted.snapshot?.meta }
  const head = (version: number | undefined, lifetime: number) => ({
    spec_version: SPEC_VERSION,
    version: (version ?? 0) + 1,
    expires: expiryAt(now + lifetime),
  })
  const add = (
    role: 'targets' | 'channels' | 'snapshot' | 'timestamp',
    signed: Signed,
    signers: readonly MetadataSigner[],
  ) => {
    const bytes = metadataFile(signMetadata(signed, signers))
    files.push({ name: metadataName(role, signed.version), bytes })
    return fileMeta(signed.version, bytes)
  }

  let { targets, channels, snapshot } = trusted
  const canRelease = release.length > 0
  if (
    change.targets ||
    change.delegate ||
    !targets ||
    (canRelease && isStale(targets, now, lifetimes.targets))
  ) {
    const delegated =
      change.delegate ?? Object.values(targets?.delegations?.keys ?? {}).map((key) => key.keyval.public)
    const signed: Targets = {
      _type: 'targets',
      ...head(targets?.version, lifetimes.targets),
      targets: change.targets ?? targets?.targets ?? {},
      delegations: {
        keys: keysOf(delegated),
        roles: [{ name: 'channels', ...roleKeys(delegated, 1), terminating: true, paths: ['channels/*'] }],
      },
    }
    mustSign('targets', trusted.root.roles.targets, release)
    meta['targets.json'] = add('targets', signed, release)
    targets = signed
  }
  if (change.channels || change.delegate || !channels || isStale(channels, now, lifetimes.channels)) {
    const signed: Targets = {
      _type: 'targets',
      ...head(channels?.version, lifetimes.channels),
      targets: change.channels ?? channels?.targets ?? {},
    }
    const delegated = targets.delegations?.roles.find(({ name }) => name === 'channels')
    mustSign('channels', delegated ?? { keyids: [], threshold: 1 }, online)
    meta['channels.json'] = add('channels', signed, online)
    channels = signed
  }
  let snapshotMeta = trusted.timestamp?.meta['snapshot.json']
  if (files.length > 0 || !snapshot || !snapshotMeta || isStale(snapshot, now, lifetimes.snapshot)) {
    const signed: Snapshot = { _type: 'snapshot', ...head(snapshot?.version, lifetimes.snapshot), meta }
    mustSign('snapshot', trusted.root.roles.snapshot, online)
    snapshotMeta = add('snapshot', signed, online)
    snapshot = signed
  }
  const timestamp: Timestamp = {
    _type: 'timestamp',
    ...head(trusted.timestamp?.version, lifetimes.timestamp),
    meta: { 'snapshot.json': snapshotMeta },
    issued: now,
  }
  mustSign('timestamp', trusted.root.roles.timestamp, online)
  add('timestamp', timestamp, online)
  return { files, trusted: { root: trusted.root, timestamp, snapshot, targets, channels } }
}

/** Less than half of its time is left. */
function isStale({ expires }: Signed, now: number, lifetime: number): boolean {
  return Date.parse(expires) / 1000 < now + lifetime / 2
}

function keysOf(publics: readonly string[]): Record<string, MetadataKey> {
  return Object.fromEntries(publics.map((one) => [keyidOf(keyOf(one)), keyOf(one)]))
}

function roleKeys(publics: readonly string[], threshold: number): RoleKeys {
  return { keyids: [...new Set(publics.map((one) => keyidOf(keyOf(one))))].sort(), threshold }
}

function mustSign(role: string, { keyids, threshold }: RoleKeys, signers: readonly MetadataSigner[]): void {
  const own = new Set(
    signers.map((signer) => keyidOf(keyOf(signer.public))).filter((id) => keyids.includes(id)),
  )
  if (own.size >= threshold) return
  const found = signers.length === 0 ? 'none was given' : `${own.size} of those given are`
  throw new Stage5Error(
    'S5_KEY_INVALID',
    `expected ${threshold} of the ${keyids.length} keys that the root names for the role ${role}, found: ${found}`,
    { hint: 'stage5 trust --help says which option names which key', data: { role, keyids: [...keyids] } },
  )
}
