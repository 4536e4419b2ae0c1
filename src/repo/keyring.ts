/** Says who signed something, by gpgv's status lines: its exit code is wrong both ways. */
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { clearSignedFrame, dearmorKeys, isArmoredKey } from '../format/armor.ts'
import { run } from '../host/run.ts'

/** Whose signatures count. */
export interface Keyrings {
  /** Absolute paths; binary, keybox or armoured. */
  readonly files: readonly string[]
  /** Armoured key blocks. */
  readonly blocks: readonly string[]
  /** 40 hex digits, in any case, of a primary key; with `!` of exactly that key. Empty: every key of the files and blocks. */
  readonly fingerprints: readonly string[]
}

export interface Verified {
  /** What was signed; nothing else of the input may be believed. */
  readonly text: Uint8Array
  /** Of the primary key that signed: upper-case hex. */
  readonly fingerprint: string
  /** Seconds since 1970 when it was signed, as the signature says. */
  readonly timestamp: number
}

type SignatureProblem =
  | 'unsigned'
  | 'outside-text'
  | 'bad'
  | 'unknown-key'
  | 'expired'
  | 'revoked'
  | 'weak-digest'

/**
 * Checks a clear-signed file such as InRelease. One good signature of an allowed key is enough, unless another one is bad.
 * @throws S5_SIGNATURE_BAD with `data.reason`, S5_FILE_MISSING for a keyring, S5_TOOL_MISSING
 */
export async function verifyInRelease(
  bytes: Uint8Array,
  keyrings: Keyrings,
  signal: AbortSignal,
  name = 'InRelease',
): Promise<Verified> {
  const frame = clearSignedFrame(bytes)
  if (frame === 'unsigned') throw bad(name, 'unsigned', 'expected a clear-signed file, found none')
  if (frame === 'outside-text') throw bad(name, 'outside-text', 'something stands outside the signed text')
  await using scratch = await mkdtempDisposable(join(tmpdir(), 'stage5-gpgv-'))
  const output = join(scratch.path, 'output')
  const input = join(scratch.path, 'input')
  await writeFile(input, bytes)
  const signature = await gpgv(scratch.path, keyrings, ['--output', output, input], signal, name)
  return { ...signature, text: await readFile(output) }
}

/**
 * Checks a detached signature (binary or armoured) over `bytes`.
 * @throws S5_SIGNATURE_BAD with `data.reason`, S5_FILE_MISSING for a keyring, S5_TOOL_MISSING
 */
export async function verifyDetached(
  bytes: Uint8Array,
  signature: Uint8Array,
  keyrings: Keyrings,
  signal: AbortSignal,
  name: string,
): Promise<Verified> {
  return { ...(await verifyDetachedStream(bytes, signature, keyrings, signal, name)), text: bytes }
}

/** The same over bytes that come in pieces. */
export async function verifyDetachedStream(
  bytes: Uint8Array | AsyncIterable<Uint8Array>,
  signature: Uint8Array,
  keyrings: Keyrings,
  signal: AbortSignal,
  name: string,
): Promise<Omit<Verified, 'text'>> {
  await using scratch = await mkdtempDisposable(join(tmpdir(), 'stage5-gpgv-'))
  const signatureFile = join(scratch.path, 'signature')
  await writeFile(signatureFile, signature)
  return await gpgv(scratch.path, keyrings, [signatureFile, '-'], signal, name, bytes)
}

async function gpgv(
  scratch: string,
  keyrings: Keyrings,
  rest: readonly string[],
  signal: AbortSignal,
  name: string,
  input?: Uint8Array | AsyncIterable<Uint8Array>,
): Promise<{ fingerprint: string; timestamp: number }> {
  const files = await binaryKeyrings(scratch, keyrings, name)
  const named = files.flatMap((file) => ['--keyring', file])
  const argv = ['gpgv', '--homedir', scratch, '--status-fd', '1', ...named, ...rest]
  const { stdout } = await run(argv, {
    signal,
    accept: 'any',
    timeoutMs: 600_000,
    ...(input === undefined ? {} : { input }),
  })
  const judged = judgeStatus(stdout.toString('latin1'), keyrings.fingerprints)
  if ('problem' in judged) throw bad(name, judged.problem, EXPLAINED[judged.problem], judged.keys)
  return judged
}

const EXPLAINED: { readonly [problem in SignatureProblem]: string } = {
  unsigned: 'no signature was found',
  'outside-text': 'something stands outside the signed text',
  bad: 'the signature does not fit the text',
  'unknown-key': 'no signature is by a key of the keyring',
  expired: 'the key or its signature has expired',
  revoked: 'the key was revoked',
  'weak-digest': 'the signature rests on MD5, SHA-1 or RIPEMD-160',
}

/** Hash algorithms of RFC 4880 9.4 that are refused: MD5, SHA-1, RIPEMD-160. */
const WEAK_HASHES = new Set(['1', '2', '3'])

/**
 * Reads the status lines of gpgv (doc/DETAILS of GnuPG). A group is what stands between two NEWSIG; it counts when it has
 * GOODSIG, and VALIDSIG with an allowed fingerprint and a strong hash. BADSIG or ERROR anywhere spoils all.
 *
 * An expired or revoked key has EXPKEYSIG or REVKEYSIG in the place of GOODSIG, but still VALIDSIG and exit code 0.
 */
export function judgeStatus(
  status: string,
  allowed: readonly string[],
):
  | { readonly fingerprint: string; readonly timestamp: number }
  | { readonly problem: SignatureProblem; readonly keys: readonly string[] } {
  const lines = status
    .split('\n')
    .filter((line) => line.startsWith('[GNUPG:] '))
    .map((line) => line.slice(9).split(' '))
  const has = (word: string) => lines.some(([first]) => first === word)
  const keys = lines.filter(([word]) => word === 'NO_PUBKEY').map((line) => line[1] ?? '')
  const groups: string[][][] = []
  for (const line of lines)
    if (line[0] === 'NEWSIG') groups.push([])
    else groups.at(-1)?.push(line)
  if (has('BADSIG') || has('ERROR')) return { problem: 'bad', keys }
  let problem: SignatureProblem = has('EXPKEYSIG') || has('EXPSIG') ? 'expired' : 'unknown-key'
  if (groups.length === 0) problem = 'unsigned'
  if (has('REVKEYSIG')) problem = 'revoked'
  for (const group of groups) {
    const good = group.filter(([word]) => word === 'GOODSIG')
    const valid = group.filter(([word]) => word === 'VALIDSIG')
    const spoiled = group.some(([word]) =>
      ['EXPKEYSIG', 'EXPSIG', 'REVKEYSIG', 'ERRSIG'].includes(word ?? ''),
    )
    if (good.length !== 1 || valid.length !== 1 || spoiled) continue
    const [, signer = '', , timestamp = '', , , , , hash = '', , primary = ''] = valid[0] as string[]
    if (WEAK_HASHES.has(hash)) problem = 'weak-digest'
    else if (isAllowed(signer, primary, allowed))
      return { fingerprint: primary, timestamp: Number(timestamp) }
  }
  return { problem, keys }
}

function isAllowed(signer: string, primary: string, allowed: readonly string[]): boolean {
  if (allowed.length === 0) return true
  return allowed
    .map((item) => item.toUpperCase())
    .some((item) => (item.endsWith('!') ? item.slice(0, -1) === signer : item === primary || item === signer))
}

/** Keyrings as gpgv takes them: absolute paths, armour removed; it answers NO_PUBKEY for any other form. */
async function binaryKeyrings(scratch: string, keyrings: Keyrings, name: string): Promise<string[]> {
  const files: string[] = []
  const armored = [...keyrings.blocks]
  for (const file of keyrings.files) {
    if (!isAbsolute(file)) throw new RangeError(`keyring ${file} is not an absolute path`)
    let bytes: Uint8Array
    try {
      bytes = await readFile(file)
    } catch (cause) {
      throw new Stage5Error('S5_FILE_MISSING', `${name}: the keyring ${file} cannot be read`, {
        hint: 'correct signed-by in the repository file or in the apt configuration',
        cause,
        data: { file },
      })
    }
    if (isArmoredKey(bytes)) armored.push(Buffer.from(bytes).toString('latin1'))
    else files.push(file)
  }
  const blocks = armored.map((text) => {
    const keys = dearmorKeys(text)
    if (keys === undefined) throw bad(name, 'unknown-key', 'a key block of the keyring cannot be read')
    return keys
  })
  if (blocks.length > 0) {
    const joined = join(scratch, 'armored.gpg')
    await writeFile(joined, Buffer.concat(blocks))
    files.push(joined)
  }
  if (files.length === 0) throw bad(name, 'unknown-key', 'there is no keyring to check it against')
  return files
}

function bad(
  name: string,
  reason: SignatureProblem,
  message: string,
  keys: readonly string[] = [],
): Stage5Error {
  const shown = reason === 'unknown-key' && keys.length > 0 ? ` (signed by ${keys.join(', ')})` : ''
  return new Stage5Error('S5_SIGNATURE_BAD', `${name}: ${reason}: ${message}${shown}`, {
    data: { reason, file: name, ...(keys.length > 0 ? { keys: [...keys] } : {}) },
  })
}
