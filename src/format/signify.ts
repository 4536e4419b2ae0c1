/**
 * Ed25519 keys and signatures in the writing of OpenBSD's signify(1), which Debian has as a small program without a key
 * ring or configuration.
 * @see signify.c of OpenBSD, struct pubkey and struct sig: "Ed", 8 bytes of a key's number, then 32 or 64 bytes
 */

/** `NAME.pub`. @param raw the 32 bytes of the key */
export function signifyPublicKey(raw: Uint8Array, keyid: string): string {
  return twoLines(`stage5 key ${keyid.slice(0, 16)}`, [numberOf(keyid), raw])
}

/** `FILE.sig`. @param signature the 64 bytes of Ed25519 over all of FILE */
export function signifySignature(signature: Uint8Array, keyid: string): string {
  return twoLines(`signed by stage5 key ${keyid.slice(0, 16)}`, [numberOf(keyid), signature])
}

/** signify takes no other key than the one whose number the signature has. */
function numberOf(keyid: string): Uint8Array {
  return Buffer.from(keyid.slice(0, 16), 'hex')
}

function twoLines(comment: string, parts: readonly Uint8Array[]): string {
  const bytes = Buffer.concat([Buffer.from('Ed'), ...parts])
  return `untrusted comment: ${comment}\n${bytes.toString('base64')}\n`
}
