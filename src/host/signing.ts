/** Keys and signatures: Ed25519 (RFC 8032) with PEM files, so that openssl(1) makes and reads the same keys. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'
import { sign, verify } from 'node:crypto'
import { mkdir, open, readdir, readFile, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'

export interface PublicKey {
  /** sha256 of the raw public key, 64 hex digits. */
  readonly keyid: string
  /** The 32 bytes of the key. */
  readonly raw: Uint8Array
  readonly key: KeyObject
}

export interface PrivateKey {
  /** Of the public key that belongs to it. */
  readonly keyid: string
  readonly key: KeyObject
}

export interface Signature {
  readonly keyid: string
  /** 64 bytes in base64. */
  readonly sig: string
}

/** Names of keys: of their files, too. */
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/

/**
 * Makes `NAME.key` (PKCS #8, for its owner alone) and `NAME.pub` (SPKI) in a folder.
 * @throws S5_KEY_INVALID when the name is none, S5_KEY_EXISTS: a key is never written over
 */
export async function newKey(
  directory: string,
  name: string,
): Promise<{ readonly keyid: string; readonly privateFile: string; readonly publicFile: string }> {
  if (!NAME.test(name))
    throw new Stage5Error(
      'S5_KEY_INVALID',
      `expected a name of a-z 0-9 . _ - for the key, found ${JSON.stringify(name)}`,
    )
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const privateFile = join(directory, `${name}.key`)
  const publicFile = join(directory, `${name}.pub`)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await writeNew(privateFile, privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, 0o600)
  await writeNew(publicFile, publicKey.export({ type: 'spki', format: 'pem' }) as string, 0o644)
  return { keyid: publicOf(publicKey).keyid, privateFile, publicFile }
}

async function writeNew(path: string, text: string, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EEXIST') throw cause
    throw new Stage5Error('S5_KEY_EXISTS', `there is a key ${path} already`, {
      cause,
      hint: 'choose another name; signatures of a key that is gone can never be made again',
    })
  })
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** @throws S5_FILE_MISSING; S5_KEY_INVALID when it is no Ed25519 key, or others may read it */
export async function loadPrivateKey(path: string): Promise<PrivateKey> {
  const text = await readKey(path)
  const { mode } = await stat(path)
  if ((mode & 0o077) !== 0)
    throw new Stage5Error(
      'S5_KEY_INVALID',
      `${path}: expected a private key that only its owner can read, found mode 0${(mode & 0o777).toString(8)}`,
      { hint: `chmod 600 ${path}` },
    )
  const key = parse(path, 'a private key', () => createPrivateKey(text))
  return { keyid: publicOf(createPublicKey(key)).keyid, key }
}

/** The public key that belongs to a private one. */
export function publicKeyOfPrivate({ key }: PrivateKey): PublicKey {
  return publicOf(createPublicKey(key))
}

/** @throws S5_FILE_MISSING, S5_KEY_INVALID */
export async function loadPublicKey(path: string): Promise<PublicKey> {
  const text = await readKey(path)
  if (text.includes('PRIVATE KEY'))
    throw new Stage5Error('S5_KEY_INVALID', `${path}: expected a public key, found a private one`, {
      hint: 'name the .pub file; private keys stay where they were made',
    })
  return publicOf(parse(path, 'a public key', () => createPublicKey(text)))
}

/** Every `*.pub` of a folder, by name; none when there is no folder. */
export async function loadPublicKeys(directory: string): Promise<readonly PublicKey[]> {
  const names = await readdir(directory).catch(() => [])
  const files = names.filter((name) => name.endsWith('.pub')).sort()
  return await Promise.all(files.map((name) => loadPublicKey(join(directory, name))))
}

async function readKey(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT' && cause.code !== 'ENOTDIR') throw cause
    throw new Stage5Error('S5_FILE_MISSING', `there is no key ${path}`, {
      cause,
      hint: `stage5 key new ${basename(path).replace(/\.(?:key|pub)$/, '')} makes one`,
    })
  })
}

function parse(path: string, expected: string, read: () => KeyObject): KeyObject {
  const invalid = (found: string, cause?: unknown): Stage5Error =>
    new Stage5Error('S5_KEY_INVALID', `${path}: expected ${expected} (Ed25519, PEM), found ${found}`, {
      cause,
    })
  let key: KeyObject
  try {
    key = read()
  } catch (cause) {
    throw invalid('something else', cause)
  }
  if (key.asymmetricKeyType !== 'ed25519') throw invalid(`a key of type ${key.asymmetricKeyType}`)
  return key
}

function publicOf(key: KeyObject): PublicKey {
  const raw = rawKey(key)
  return { keyid: createHash('sha256').update(raw).digest('hex'), raw, key }
}

/** SubjectPublicKeyInfo of Ed25519 is twelve fixed bytes and the key (RFC 8410, 4). */
function rawKey(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ type: 'spki', format: 'der' }).subarray(12))
}

/** Ed25519 is deterministic: the same key and bytes give the same signature. */
export function signBytes({ keyid, key }: PrivateKey, bytes: Uint8Array): Signature {
  return { keyid, sig: sign(null, bytes, key).toString('base64') }
}

/** @param signature in base64; what is no signature at all is not a good one */
export function verifyBytes({ key }: PublicKey, bytes: Uint8Array, signature: string): boolean {
  const decoded = Buffer.from(signature, 'base64')
  return (
    decoded.length === 64 && decoded.toString('base64') === signature && verify(null, bytes, key, decoded)
  )
}
