/**
 * What a client believes (TUF 1.0, section 5): each file is held against what is trusted already, and what is refused
 * changes nothing. The caller brings bytes in this order: roots, timestamp, snapshot, targets, channels.
 */
import { digestOf, hexOf } from '../base/digest.ts'
import {
  type Envelope,
  type FileMeta,
  type MetadataKey,
  metadataName,
  parseMetadata,
  refuseMetadata,
  type Role,
  type RoleKeys,
  type Root,
  type Signed,
  signedBytes,
  type SignedOf,
  type Snapshot,
  type TargetFile,
  type Targets,
  type Timestamp,
  type VerifySignature,
} from './metadata.ts'

/** What was believed last, with the bytes as they came, so that it can be kept. */
export interface Trusted {
  readonly root: Root
  readonly timestamp?: Timestamp | undefined
  readonly snapshot?: Snapshot | undefined
  readonly targets?: Targets | undefined
  readonly channels?: Targets | undefined
}

export interface ClientRules {
  readonly verify: VerifySignature
  /** Seconds since 1970. */
  readonly now: number
}

/**
 * The root that a guest or a publisher starts from: it stands for itself, so it must come by a safe way.
 * @throws S5_METADATA_REFUSED when its own keys did not sign it
 */
export function trustRoot(bytes: Uint8Array, { verify }: Pick<ClientRules, 'verify'>): Trusted {
  const envelope = parseMetadata('root', 'root.json', bytes)
  mustBeSigned(envelope, 'root.json', envelope.signed.keys, envelope.signed.roles.root, verify)
  return { root: envelope.signed }
}

/**
 * The next root (5.3): signed by those who were trusted and by those who will be. Where the keys of timestamp or
 * snapshot changed, what these said is forgotten: the way back after someone with the old keys raised the versions.
 * @throws S5_METADATA_REFUSED
 */
export function updateRoot(trusted: Trusted, bytes: Uint8Array, { verify }: ClientRules): Trusted {
  const file = metadataName('root', trusted.root.version + 1)
  const envelope = parseMetadata('root', file, bytes)
  const { signed } = envelope
  mustBeSigned(envelope, file, trusted.root.keys, trusted.root.roles.root, verify)
  mustBeSigned(envelope, file, signed.keys, signed.roles.root, verify)
  if (signed.version !== trusted.root.version + 1)
    throw refuseMetadata(
      'rollback',
      file,
      `expected version ${trusted.root.version + 1}, found ${signed.version}`,
    )
  const isSame = (role: 'timestamp' | 'snapshot'): boolean =>
    [...trusted.root.roles[role].keyids].sort().join() === [...signed.roles[role].keyids].sort().join()
  if (isSame('timestamp') && isSame('snapshot')) return { ...trusted, root: signed }
  return { root: signed, targets: trusted.targets, channels: trusted.channels }
}

/** After the last root (5.3.10). @throws S5_METADATA_REFUSED */
export function mustHoldRoot({ root }: Trusted, { now }: ClientRules): void {
  mustHold(root, metadataName('root', root.version), now)
}

/** 5.4: an equal version is no news, and what is trusted stays. @throws S5_METADATA_REFUSED */
export function updateTimestamp(trusted: Trusted, bytes: Uint8Array, rules: ClientRules): Trusted {
  const file = 'timestamp.json'
  const { signed } = signedBy('timestamp', trusted, file, bytes, rules.verify)
  const { timestamp: old } = trusted
  if (old && signed.version < old.version)
    throw refuseMetadata(
      'rollback',
      file,
      `expected version ${old.version} or later, found ${signed.version}`,
    )
  const [before, after] = [old?.meta['snapshot.json'].version ?? 0, signed.meta['snapshot.json'].version]
  if (after < before)
    throw refuseMetadata(
      'rollback',
      file,
      `expected a snapshot of version ${before} or later, found ${after}`,
    )
  mustHold(signed, file, rules.now)
  return signed.version === old?.version ? trusted : { ...trusted, timestamp: signed }
}

/** 5.5. @throws S5_METADATA_REFUSED */
export function updateSnapshot(trusted: Trusted, bytes: Uint8Array, rules: ClientRules): Trusted {
  const meta = trusted.timestamp?.meta['snapshot.json']
  if (!meta) throw new Error('a snapshot comes after a timestamp')
  const file = metadataName('snapshot', meta.version)
  mustBeBytes(bytes, meta, file)
  const { signed } = signedBy('snapshot', trusted, file, bytes, rules.verify)
  mustBeVersion(signed, meta, file)
  for (const [name, { version }] of Object.entries(trusted.snapshot?.meta ?? {})) {
    const found = signed.meta[name]?.version
    if (found === undefined || found < version)
      throw refuseMetadata(
        'rollback',
        file,
        `expected ${name} of version ${version} or later, found ${found ?? 'none'}`,
      )
  }
  mustHold(signed, file, rules.now)
  return { ...trusted, snapshot: signed }
}

/** 5.6, and 5.6.7 for the delegated role. @throws S5_METADATA_REFUSED */
export function updateTargets(
  trusted: Trusted,
  role: 'targets' | 'channels',
  bytes: Uint8Array,
  rules: ClientRules,
): Trusted {
  const meta = trusted.snapshot?.meta[`${role}.json`]
  if (!meta) throw refuseMetadata('mismatch', `${role}.json`, 'the snapshot does not name it')
  const file = metadataName(role, meta.version)
  mustBeBytes(bytes, meta, file)
  const { signed } = signedBy(role, trusted, file, bytes, rules.verify)
  mustBeVersion(signed, meta, file)
  mustHold(signed, file, rules.now)
  return { ...trusted, [role]: signed }
}

/**
 * What is signed for a path: `channels/*` by the role channels, everything else by the release keys alone.
 * @throws S5_METADATA_REFUSED when nobody signed for it
 */
export function targetOf({ targets, channels }: Trusted, path: string): TargetFile {
  const found = (path.startsWith('channels/') ? channels : targets)?.targets[path]
  if (!found) throw refuseMetadata('mismatch', path, 'nobody signed for a file of this name')
  return found
}

/** Path of a target on a server: its digest stands before its name. */
export function targetPath(path: string, { hashes }: TargetFile): string {
  const slash = path.lastIndexOf('/') + 1
  return `targets/${path.slice(0, slash)}${hashes.sha256}.${path.slice(slash)}`
}

/** @throws S5_METADATA_REFUSED when these are not the bytes that were signed for */
export function mustBeBytes(
  bytes: Uint8Array,
  { length, hashes }: Pick<FileMeta, 'length' | 'hashes'>,
  file: string,
): void {
  if (bytes.length === length && hexOf(digestOf(bytes)) === hashes.sha256) return
  const found = bytes.length === length ? hexOf(digestOf(bytes)) : `${bytes.length} bytes`
  const expected = bytes.length === length ? hashes.sha256 : `${length} bytes`
  throw refuseMetadata('mismatch', file, `expected ${expected}, found ${found}`)
}

function signedBy<R extends Exclude<Role, 'root'>>(
  role: R,
  trusted: Trusted,
  file: string,
  bytes: Uint8Array,
  verify: VerifySignature,
): Envelope<SignedOf<R>> {
  const envelope = parseMetadata(role, file, bytes)
  if (role !== 'channels') {
    const { keys, roles } = trusted.root
    mustBeSigned(envelope, file, keys, roles[role as Exclude<R, 'channels'>], verify)
    return envelope
  }
  const delegations = trusted.targets?.delegations
  const delegated = delegations?.roles.find(({ name }) => name === role)
  if (!delegations || !delegated)
    throw refuseMetadata('unsigned', file, 'the release keys delegate nothing to it')
  mustBeSigned(envelope, file, delegations.keys, delegated, verify)
  return envelope
}

/** As many different keys of the role as its threshold says must have signed. */
function mustBeSigned(
  { signatures, signed }: Envelope,
  file: string,
  keys: Readonly<Record<string, MetadataKey>>,
  { keyids, threshold }: RoleKeys,
  verify: VerifySignature,
): void {
  const bytes = signedBytes(signed)
  const good = new Set<string>()
  for (const { keyid, sig } of signatures) {
    const key = keyids.includes(keyid) ? keys[keyid] : undefined
    if (key && verify(key.keyval.public, bytes, sig)) good.add(keyid)
  }
  if (good.size < threshold)
    throw refuseMetadata(
      'unsigned',
      file,
      `expected signatures of ${threshold} of the ${keyids.length} keys of its role, found ${good.size}`,
    )
}

function mustBeVersion({ version }: Signed, meta: FileMeta, file: string): void {
  if (version !== meta.version)
    throw refuseMetadata('mismatch', file, `expected version ${meta.version}, found ${version}`)
}

function mustHold({ expires }: Signed, file: string, now: number): void {
  if (Date.parse(expires) / 1000 <= now) throw refuseMetadata('expired', file, `it held until ${expires}`)
}
