/** Where a project keeps its keys, and how words of the command line name them. */
import { join, resolve } from 'node:path'
import type { Sign } from '../format/openpgp.ts'
import {
  loadPrivateKey,
  loadPublicKey,
  loadPublicKeys,
  type PrivateKey,
  type PublicKey,
  publicKeyOfPrivate,
  signBytes,
} from '../host/signing.ts'
import type { World } from './world.ts'

/** `.stage5/keys` of the project, or the folder given. */
export function keyDirectory(world: World, given?: string): string {
  return given === undefined ? join(world.directory, '.stage5', 'keys') : resolve(world.directory, given)
}

/** A private key by name (`release`) or by file. @throws S5_FILE_MISSING, S5_KEY_INVALID */
export async function privateKeyOf(world: World, word: string): Promise<PrivateKey> {
  return await loadPrivateKey(place(world, word, '.key'))
}

/** A public key by name or by file. @throws S5_FILE_MISSING, S5_KEY_INVALID */
export async function publicKeyOf(world: World, word: string): Promise<PublicKey> {
  return await loadPublicKey(place(world, word, '.pub'))
}

/** The same key for what is written as OpenPGP. */
export function openpgpOf(key: PrivateKey): { readonly raw: Uint8Array; readonly sign: Sign } {
  return {
    raw: publicKeyOfPrivate(key).raw,
    sign: (bytes) => Buffer.from(signBytes(key, bytes).sig, 'base64'),
  }
}

/** Every public key of the project: those it trusts. */
export async function trustedKeys(world: World): Promise<readonly PublicKey[]> {
  return await loadPublicKeys(keyDirectory(world))
}

function place(world: World, word: string, ending: string): string {
  if (word.includes('/') || word.endsWith(ending)) return resolve(world.directory, word)
  return join(keyDirectory(world), `${word}${ending}`)
}
