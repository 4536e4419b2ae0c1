/** Ed25519 keys as signed metadata names them: raw, in hex. */
import { createPublicKey, sign, verify } from 'node:crypto'
import type { PrivateKey } from './signing.ts'

/** SubjectPublicKeyInfo of Ed25519 begins with these (RFC 8410, 4). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

/** A private key as a signer: its public half, and signatures in hex. */
export function signerOf({ key }: PrivateKey): {
  readonly public: string
  readonly sign: (bytes: Uint8Array) => string
} {
  const der = createPublicKey(key).export({ type: 'spki', format: 'der' })
  return {
    public: der.subarray(SPKI.length).toString('hex'),
    sign: (bytes) => sign(null, bytes, key).toString('hex'),
  }
}

/** @param publicKey 64 hex digits. What is no signature at all is not a good one. */
export function verifyRaw(publicKey: string, bytes: Uint8Array, sig: string): boolean {
  if (!/^[0-9a-f]{128}$/.test(sig)) return false
  const der = Buffer.concat([SPKI, Buffer.from(publicKey, 'hex')])
  return verify(
    null,
    bytes,
    createPublicKey({ key: der, format: 'der', type: 'spki' }),
    Buffer.from(sig, 'hex'),
  )
}
