/**
 * Ed25519 keys and detached signatures as OpenPGP packets, for readers that know nothing else, such as systemd-sysupdate.
 * @see RFC 4880, sections 4.2, 5.2.3, 5.2.4, 5.5.2, 12.2; RFC 9580, 5.2.3.3 and 5.5.5.5 (EdDSALegacy)
 */
import { createHash } from 'node:crypto'

/** Signs what it is given with Ed25519. @returns 64 bytes */
export type Sign = (bytes: Uint8Array) => Uint8Array

/** Seconds since 1970 at which every key was made, as far as OpenPGP asks: the time is part of its fingerprint. */
const CREATED = 1_577_836_800

const [SIGNATURE, PUBLIC_KEY, USER_ID] = [2, 6, 13]
const [OF_BINARY, POSITIVE_CERTIFICATION] = [0x00, 0x13]
const [EDDSA, SHA256] = [22, 8]
const [SIGNATURE_TIME, KEY_FLAGS, ISSUER, FINGERPRINT] = [2, 27, 16, 33]
const MAY_CERTIFY_AND_SIGN = 3
/** DER of the object identifier 1.3.6.1.4.1.11591.15.1, with its length. */
const CURVE = Buffer.from('092b06010401da470f01', 'hex')

/**
 * A keyring with one key: public key, user id, and the certification that binds them.
 * @param raw the 32 bytes of the key
 * @param name what readers show, such as `stage5 release`
 */
export function openpgpKeyring(raw: Uint8Array, name: string, sign: Sign): Uint8Array {
  const body = keyBody(raw)
  const user = Buffer.from(name)
  const head = Buffer.alloc(5)
  head[0] = 0xb4
  head.writeUInt32BE(user.length, 1)
  const subject = Buffer.concat([hashedKey(body), head, user])
  const extra = [subpacket(KEY_FLAGS, Buffer.of(MAY_CERTIFY_AND_SIGN))]
  const binding = signatureBody(POSITIVE_CERTIFICATION, subject, CREATED, body, extra, sign)
  return Buffer.concat([packet(PUBLIC_KEY, body), packet(USER_ID, user), packet(SIGNATURE, binding)])
}

/**
 * `FILE.gpg`: a detached signature over the bytes of FILE.
 * @param time seconds since 1970
 */
export function openpgpSignature(raw: Uint8Array, bytes: Uint8Array, time: number, sign: Sign): Uint8Array {
  return packet(SIGNATURE, signatureBody(OF_BINARY, bytes, time, keyBody(raw), [], sign))
}

function keyBody(raw: Uint8Array): Buffer {
  // A point in its native form has 0x40 in front.
  return Buffer.concat([
    Buffer.of(4),
    number(CREATED, 4),
    Buffer.of(EDDSA),
    CURVE,
    integer(Buffer.from([0x40, ...raw])),
  ])
}

/** What a fingerprint and a certification say instead of the packet's own header. */
function hashedKey(body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(0x99), number(body.length, 2), body])
}

function signatureBody(
  type: number,
  subject: Uint8Array,
  time: number,
  key: Uint8Array,
  extra: readonly Uint8Array[],
  sign: Sign,
): Buffer {
  const fingerprint = createHash('sha1').update(hashedKey(key)).digest()
  const hashed = Buffer.concat([
    subpacket(SIGNATURE_TIME, number(time, 4)),
    subpacket(FINGERPRINT, Buffer.concat([Buffer.of(4), fingerprint])),
    ...extra,
  ])
  const issuer = subpacket(ISSUER, fingerprint.subarray(12))
  const head = Buffer.concat([Buffer.of(4, type, EDDSA, SHA256), number(hashed.length, 2), hashed])
  const trailer = Buffer.concat([Buffer.of(4, 0xff), number(head.length, 4)])
  const digest = createHash('sha256').update(subject).update(head).update(trailer).digest()
  const signed = sign(digest)
  return Buffer.concat([
    head,
    ...[number(issuer.length, 2), issuer, digest.subarray(0, 2)],
    ...[integer(signed.subarray(0, 32)), integer(signed.subarray(32))],
  ])
}

function packet(tag: number, body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(0xc0 | tag), length(body.length), body])
}

function subpacket(type: number, body: Uint8Array): Buffer {
  return Buffer.concat([length(body.length + 1), Buffer.of(type), body])
}

/** New-format lengths of one or two octets. */
function length(size: number): Buffer {
  if (size < 192) return Buffer.of(size)
  if (size < 8384) return Buffer.of(((size - 192) >> 8) + 192, (size - 192) & 0xff)
  throw new RangeError(`a packet of ${size} bytes`)
}

function number(value: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeUIntBE(value, 0, size)
  return bytes
}

/** A multiprecision integer: its bits, and its bytes without zeros in front. */
function integer(bytes: Uint8Array): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0)
  if (first < 0) return Buffer.of(0, 0)
  const bits = (bytes.length - first) * 8 - (Math.clz32(bytes[first] as number) - 24)
  return Buffer.concat([number(bits, 2), bytes.subarray(first)])
}
