/** Keys of one process, and a publication in memory as a client fetches it. */
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import {
  signMetadata,
  type MetadataSigner,
  metadataFile,
  type Signed,
  type VerifySignature,
} from '../../src/fleet/metadata.ts'
import type { Trusted } from '../../src/fleet/metadata-client.ts'
import { LIFETIMES, nextMetadata, nextRoot, type Change, type Signers } from '../../src/fleet/publication.ts'

export const NOW = 1_800_000_000

export function newSigner(): MetadataSigner {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(12)
  return { public: raw.toString('hex'), sign: (bytes) => sign(null, bytes, privateKey).toString('hex') }
}

/** SubjectPublicKeyInfo of Ed25519 begins with these (RFC 8410, 4). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

export const verifySignature: VerifySignature = (key, bytes, sig) =>
  verify(
    null,
    bytes,
    createPublicKey({ key: Buffer.concat([SPKI, Buffer.from(key, 'hex')]), format: 'der', type: 'spki' }),
    Buffer.from(sig, 'hex'),
  )

export interface Site {
  readonly root: readonly MetadataSigner[]
  readonly signers: Signers
  /** By name below metadata/. */
  readonly files: Map<string, Uint8Array>
  trusted: Trusted
}

/** A root of two of three, and a first round of everything. */
export function newSite(now: number = NOW): Site {
  const root = [newSigner(), newSigner(), newSigner()]
  const signers = { release: [newSigner()], online: [newSigner()] }
  const publics = (some: readonly MetadataSigner[]): string[] => some.map((one) => one.public)
  const wish = { root, threshold: 2, release: publics(signers.release), online: publics(signers.online) }
  const first = nextRoot(wish, undefined, now, LIFETIMES)
  const site: Site = {
    root,
    signers,
    files: new Map([[first.name, first.bytes]]),
    trusted: { root: first.root },
  }
  publish(site, { delegate: wish.online }, now)
  return site
}

export function publish(site: Site, change: Change, now: number = NOW): void {
  const next = nextMetadata(site.trusted, change, site.signers, now, LIFETIMES)
  for (const { name, bytes } of next.files) site.files.set(name, bytes)
  site.trusted = next.trusted
}

export function signedFile(signed: Signed, ...signers: readonly MetadataSigner[]): Uint8Array {
  return metadataFile(signMetadata(signed, signers))
}
