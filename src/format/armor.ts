/** ASCII armour of OpenPGP (RFC 4880 6.2 and 7): where messages begin and end, and the bytes of armoured blocks. */

const DASHES = '-----'

/** Whether `bytes` begin with an armoured block of public keys (leading white space allowed). */
export function isArmoredKey(bytes: Uint8Array): boolean {
  return /^\s*-----BEGIN PGP PUBLIC KEY BLOCK-----/.test(
    Buffer.from(bytes.subarray(0, 256)).toString('latin1'),
  )
}

/**
 * The bytes of all public key blocks of a text, one after the other: what gpgv wants as a keyring.
 *
 * "An Armor Header Line …, Armor Headers, a blank line, the ASCII-Armored data, an Armor Checksum, the Armor Tail."
 * The checksum (a line `=XXXX`) only guards against transmission errors and is left to the packets themselves.
 * @returns undefined when a block does not end or is not base64
 */
export function dearmorKeys(text: string): Uint8Array | undefined {
  const blocks: Uint8Array[] = []
  let body: string[] | undefined
  let inHeaders = false
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.trim()
    if (line === `${DASHES}BEGIN PGP PUBLIC KEY BLOCK${DASHES}`) {
      if (body !== undefined) return undefined
      body = []
      inHeaders = true
    } else if (line === `${DASHES}END PGP PUBLIC KEY BLOCK${DASHES}`) {
      if (body === undefined) return undefined
      const joined = body.join('')
      if (!/^[A-Za-z0-9+/]+={0,2}$/.test(joined)) return undefined
      blocks.push(Buffer.from(joined, 'base64'))
      body = undefined
    } else if (body !== undefined) {
      if (inHeaders && line.includes(': ')) continue
      inHeaders = false
      if (line !== '' && !/^=[A-Za-z0-9+/]{4}$/.test(line)) body.push(line)
    }
  }
  return body === undefined && blocks.length > 0 ? Buffer.concat(blocks) : undefined
}

/**
 * Whether `bytes` are one clear-signed message and nothing else (RFC 4880 7).
 *
 * `unsigned`: no such message; `outside-text`: something stands before or after it, or there are several. gpgv accepts
 * these and ignores the outside, which a careless reader would take for signed.
 */
export function clearSignedFrame(bytes: Uint8Array): 'whole' | 'unsigned' | 'outside-text' {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  const begins = lines(text, `${DASHES}BEGIN PGP SIGNED MESSAGE${DASHES}`)
  const signatures = lines(text, `${DASHES}BEGIN PGP SIGNATURE${DASHES}`)
  const ends = lines(text, `${DASHES}END PGP SIGNATURE${DASHES}`)
  if (begins.length === 0 || signatures.length === 0 || ends.length === 0) return 'unsigned'
  const [begin, signature, end] = [begins[0] as Line, signatures[0] as Line, ends[0] as Line]
  const single = begins.length === 1 && signatures.length === 1 && ends.length === 1
  const inOrder = begin.to <= signature.from && signature.to <= end.from
  return single && inOrder && begin.from === 0 && /^\s*$/.test(text.slice(end.to)) ? 'whole' : 'outside-text'
}

interface Line {
  readonly from: number
  readonly to: number
}

/** Lines that are `wanted` but for white space at their end. */
function lines(text: string, wanted: string): Line[] {
  const found: Line[] = []
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
    const after = text.indexOf('\n', at)
    const to = after < 0 ? text.length : after + 1
    const alone = (at === 0 || text[at - 1] === '\n') && text.slice(at + wanted.length, to).trim() === ''
    if (alone) found.push({ from: at, to })
  }
  return found
}
