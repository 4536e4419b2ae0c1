/** Whose signatures the packages of a binhost need, and what that comes to for one package. */
import { readFile } from 'node:fs/promises'
import { type Digest, digestOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { stableJson } from '../base/json.ts'
import type { Keyrings } from './keyring.ts'

/** `if-present`: what is signed must be signed well; what is not is taken. */
export type SignaturePolicy = 'require' | 'if-present' | 'off'

/** Plain data: it goes to worker threads. */
export interface Trust {
  readonly signatures: SignaturePolicy
  readonly keyrings: Keyrings
}

/**
 * Whether the signatures of a package are to be verified.
 * @throws S5_SIGNATURE_BAD `unsigned`
 */
export function checkTrust(trust: Trust, isSigned: boolean, name: string): boolean {
  if (trust.signatures === 'off') return false
  if (!isSigned && trust.signatures === 'require')
    throw unsigned(name, 'the package has no signature, and the repository requires them')
  return isSigned
}

/** What a package was judged by: what it passed once need not be asked again as long as this is the same. */
export async function trustDigest({ signatures, keyrings }: Trust): Promise<Digest> {
  if (signatures === 'off') return digestOf('off')
  const files = await Promise.all(keyrings.files.map((file) => readFile(file).then(digestOf, () => 'none')))
  return digestOf(stableJson([signatures, files, keyrings.blocks, keyrings.fingerprints]))
}

export function unsigned(name: string, message: string): Stage5Error {
  return new Stage5Error('S5_SIGNATURE_BAD', `${name}: unsigned: ${message}`, {
    hint: 'use signed packages, or say `signatures: if-present` in the repository file',
    data: { reason: 'unsigned', file: name },
  })
}
