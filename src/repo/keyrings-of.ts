/** Which keys a text of apt's or of a repository file names. */
import { resolve } from 'node:path'
import type { Keyrings } from './keyring.ts'

/**
 * `Signed-By`: absolute keyring paths, fingerprints, or one armoured block. Fingerprints alone select among the keys of
 * `trusted`.
 * @param base what relative paths are below
 */
export function keyringsOf(signedBy: readonly string[], trusted: Keyrings, base = '/'): Keyrings {
  if (signedBy.length === 0) return trusted
  const blocks = signedBy.filter((item) => item.includes('-----BEGIN PGP'))
  const fingerprints = signedBy.filter((item) => /^[0-9a-fA-F]{40}!?$/.test(item))
  const files = signedBy
    .filter((item) => !blocks.includes(item) && !fingerprints.includes(item))
    .map((item) => (base === '/' ? resolve('/', item) : resolve(base, item.replace(/^\/+/, ''))))
  if (files.length + blocks.length === 0) return { ...trusted, fingerprints }
  return { files, blocks, fingerprints }
}
