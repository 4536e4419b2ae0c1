/** Content digests: the names by which every byte in stage5 is known. */
import { createHash, hash } from 'node:crypto'
import { Stage5Error } from './errors.ts'

/** `sha256:` and 64 lower-case hex digits. */
export type Digest = `sha256:${string}`

/** The digest of a whole buffer (strings are taken as UTF-8). */
export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${hash('sha256', bytes, 'hex')}`
}

/** The bare hex of a digest, as `sha256sum` prints it and file names use it. */
export function hexOf(digest: Digest): string {
  return digest.slice(7)
}

/** @throws S5_DIGEST_SYNTAX when `text` is not `sha256:` and 64 hex digits */
export function parseDigest(text: string): Digest {
  if (!/^sha256:[0-9a-f]{64}$/.test(text))
    throw new Stage5Error(
      'S5_DIGEST_SYNTAX',
      `expected sha256:<64 hex digits>, found ${JSON.stringify(text)}`,
    )
  return text as Digest
}

/** A digest over bytes that arrive in pieces. */
export function digester(): { update(bytes: Uint8Array): void; digest(): Digest } {
  const sum = createHash('sha256')
  return {
    update: (bytes) => void sum.update(bytes),
    digest: () => `sha256:${sum.digest('hex')}`,
  }
}
