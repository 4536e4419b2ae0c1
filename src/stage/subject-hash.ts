/** The number under which OpenSSL looks for a certificate in a folder, worked out from its DER bytes. */
import { createHash } from 'node:crypto'
import { Stage5Error } from '../base/errors.ts'

const SEQUENCE = 0x30
const UTF8_STRING = 0x0c
const PEM =
  /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----([^-]*)-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g

/** The certificates of a PEM file in order, each also as PEM text of its own. */
export function certificatesOf(text: string): { readonly der: Uint8Array; readonly pem: string }[] {
  return [...text.matchAll(PEM)].map(([, body = '']) => {
    const der = Buffer.from(body, 'base64')
    const lines = der.toString('base64').replace(/.{1,64}/g, '$&\n')
    return { der, pem: `-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n` }
  })
}

/**
 * Eight hex digits: the first four bytes, little-endian, of the SHA-1 of the canonical subject.
 *
 * Canonical: each set of attributes in turn without the outer sequence, every character string as UTF-8, without blanks
 * around it, inner runs of blanks as one, ASCII letters small.
 * @throws S5_STAGE_INVALID
 * @see openssl-x509(1), -subject_hash
 */
export function subjectHash(der: Uint8Array, file: string): string {
  try {
    const certificate = children(element(der, 0, file).body, file)[0]
    const fields = children(certificate?.body ?? new Uint8Array(), file)
    const subject = fields[(fields[0]?.tag === 0xa0 ? 1 : 0) + 4]
    if (subject?.tag !== SEQUENCE) throw broken(file)
    const sets = children(subject.body, file).map((set) => {
      const attributes = children(set.body, file).map((attribute) => canonicalAttribute(attribute.body, file))
      return encode(0x31, Buffer.concat(attributes.sort((a, b) => Buffer.compare(a, b))))
    })
    const sum = createHash('sha1').update(Buffer.concat(sets)).digest()
    return sum.readUInt32LE(0).toString(16).padStart(8, '0')
  } catch (cause) {
    if (cause instanceof RangeError) throw broken(file)
    throw cause
  }
}

function broken(file: string): Stage5Error {
  return new Stage5Error(
    'S5_STAGE_INVALID',
    `certs: expected an X.509 certificate in /${file}, found other bytes`,
  )
}

interface Element {
  readonly tag: number
  readonly body: Uint8Array
  /** Tag, length and body. */
  readonly whole: Uint8Array
}

/** X.690 8.1: tag, length in the short or the long form, contents. */
function element(bytes: Uint8Array, at: number, file: string): Element {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) throw broken(file)
  const more = first < 0x80 ? 0 : first & 0x7f
  if (more > 4 || first === 0x80) throw broken(file)
  let length = more === 0 ? first : 0
  for (let each = 0; each < more; each++) length = length * 256 + (bytes[at + 2 + each] ?? 0)
  const start = at + 2 + more
  if (start + length > bytes.length) throw broken(file)
  return { tag, body: bytes.subarray(start, start + length), whole: bytes.subarray(at, start + length) }
}

function children(bytes: Uint8Array, file: string): Element[] {
  const found: Element[] = []
  for (let at = 0; at < bytes.length; at += found.at(-1)?.whole.length ?? 0)
    found.push(element(bytes, at, file))
  return found
}

function encode(tag: number, body: Uint8Array): Buffer {
  const size = body.length
  const length =
    size < 0x80
      ? [size]
      : size < 0x100
        ? [0x81, size]
        : size < 0x10000
          ? [0x82, size >> 8, size & 255]
          : undefined
  if (!length) throw new RangeError('name longer than 64 KiB')
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

/** The string types that the canonical form turns into UTF-8, with the encoding of each. */
const STRINGS: ReadonlyMap<number, (body: Buffer) => string> = new Map([
  [UTF8_STRING, (body: Buffer) => body.toString('utf8')],
  [0x13, (body: Buffer) => body.toString('latin1')],
  [0x14, (body: Buffer) => body.toString('latin1')],
  [0x16, (body: Buffer) => body.toString('latin1')],
  [0x1a, (body: Buffer) => body.toString('latin1')],
  [0x1c, (body: Buffer) => wide(body, 4)],
  [0x1e, (body: Buffer) => wide(body, 2)],
])

function wide(body: Buffer, width: number): string {
  let text = ''
  for (let at = 0; at + width <= body.length; at += width)
    text += String.fromCodePoint(body.readUIntBE(at, width))
  return text
}

function canonicalAttribute(body: Uint8Array, file: string): Buffer {
  const [type, value] = children(body, file)
  if (!type || !value) throw broken(file)
  const decode = STRINGS.get(value.tag)
  if (!decode) return encode(SEQUENCE, body)
  const text = decode(Buffer.from(value.body))
    .replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '')
    .replace(/[ \t\n\v\f\r]+/g, ' ')
    .replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
  return encode(SEQUENCE, Buffer.concat([type.whole, encode(UTF8_STRING, Buffer.from(text, 'utf8'))]))
}
