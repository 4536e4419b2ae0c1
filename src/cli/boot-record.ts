/** Boot records: which images a guest was started from and what was seen, signed, beside the output they speak of. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { type PrivateKey, type PublicKey, type Signature, signBytes, verifyBytes } from '../host/signing.ts'
import { writeWhole } from '../host/whole-file.ts'
import { shownPath } from './world.ts'

export interface TestResult {
  readonly name: string
  /** How the guest was started. */
  readonly image: string
  readonly firmware: string
  readonly result: 'passed' | 'failed'
  /** Why it failed. */
  readonly reason?: string
  /** What was checked: the ready line, and each question. */
  readonly checks: number
  /** From the start of the guest to its ready line; absent when it was not seen. */
  readonly readyMs?: number
  readonly ms: number
}

export interface BootRecordBody {
  readonly stage5: 1
  readonly image: { readonly id: string; readonly version: string; readonly arch: string }
  /** Of the manifest file, which names the digest of everything else. */
  readonly manifest: Digest
  /** The files that guests were started from, as they were read for the tests. */
  readonly files: readonly { readonly name: string; readonly digest: Digest }[]
  readonly results: readonly TestResult[]
  readonly passed: boolean
  /** First line of `qemu-system-… --version`, and what ran the guest. */
  readonly qemu: string
  readonly accel: string
}

/** A record with the bytes that were signed. */
interface SignedBootRecord {
  readonly body: BootRecordBody
  readonly bytes: Uint8Array
  readonly signatures: readonly Signature[]
}

const ENDING = '.boot.json'

/** Writes `<stem>.boot.json` and `<stem>.boot.json.sig` into an output folder; a record that was there is replaced. */
export async function writeBootRecord(
  directory: string,
  stem: string,
  body: BootRecordBody,
  key: PrivateKey,
): Promise<string> {
  const name = `${stem}${ENDING}`
  const bytes = Buffer.from(`${JSON.stringify(body, null, 2)}\n`)
  const signature = `${JSON.stringify([signBytes(key, bytes)], null, 2)}\n`
  // The signature first: a new record beside the old signature does not verify, which is the safe way to be torn.
  await writeWhole(join(directory, `${name}.sig`), signature)
  await writeWhole(join(directory, name), bytes)
  return name
}

/** Whether a file of an output folder came after the build: a record or its signature. */
export function isBootRecord(name: string): boolean {
  return name.endsWith(ENDING) || name.endsWith(`${ENDING}.sig`)
}

/**
 * The record of an output folder, not yet believed; undefined when there is none.
 * @throws S5_SIGNATURE_BAD when record or signature is no JSON of this format
 */
export async function readBootRecord(directory: string): Promise<SignedBootRecord | undefined> {
  const name = (await readdir(directory)).find((file) => file.endsWith(ENDING))
  if (name === undefined) return undefined
  const path = join(directory, name)
  const bytes = await readFile(path)
  const signed = await readFile(`${path}.sig`, 'utf8').catch(() => '[]')
  const body = parse<BootRecordBody>(path, bytes.toString())
  const signatures = parse<readonly Signature[]>(`${path}.sig`, signed)
  if (body?.stage5 !== 1 || !Array.isArray(body.results) || !Array.isArray(signatures))
    throw new Stage5Error('S5_SIGNATURE_BAD', `${shownPath(path)} is no boot record of format 1`)
  return { body, bytes, signatures }
}

function parse<T>(path: string, text: string): T {
  try {
    return JSON.parse(text) as T
  } catch (cause) {
    throw new Stage5Error('S5_SIGNATURE_BAD', `${shownPath(path)} is no JSON`, {
      cause,
      hint: 'stage5 test PROFILE writes a new boot record',
    })
  }
}

/**
 * Whether a record says that this image boots, and one of these keys stands for it.
 * @param manifest digest of the manifest file of the image
 * @returns `ok`, or the reason for a no
 */
export function verifyBootRecord(
  { body, bytes, signatures }: SignedBootRecord,
  manifest: Digest,
  keys: readonly PublicKey[],
): string {
  if (keys.length === 0) return 'no public key is trusted'
  const signed = signatures.some(
    ({ keyid, sig }) =>
      typeof sig === 'string' && keys.some((key) => key.keyid === keyid && verifyBytes(key, bytes, sig)),
  )
  if (!signed)
    return signatures.length === 0
      ? 'the boot record is not signed'
      : 'no trusted key signed the boot record as it is'
  if (body.manifest !== manifest) return `the boot record is about another image: ${body.manifest}`
  const failed = body.results.filter(({ result }) => result !== 'passed').map(({ name }) => name)
  if (!body.passed || failed.length > 0) return `the boot test failed: ${failed.join(', ')}`
  if (body.results.length === 0) return 'nothing was tested'
  return 'ok'
}
