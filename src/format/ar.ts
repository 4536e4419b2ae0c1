/**
 * The outer container of a .deb, pushed in as bytes: a Unix ar archive of the plain kind, without long names.
 *
 * Bodies are passed on as views of the pushed chunks.
 */
import { type Refusal, refuse } from '../base/errors.ts'
import type { Json } from '../base/json.ts'

interface ArMember {
  /** Without the padding and the slash that some writers put behind it. */
  readonly name: string
  /** Bytes of data. */
  readonly size: number
}

interface ArHandler {
  member(header: ArMember): void
  /** A piece of the body of the last member; valid during the call only if the pusher reuses its chunk. */
  data(bytes: Uint8Array): void
  /** After the last byte of every member, also of empty ones. */
  close(): void
}

interface ArReader {
  /** @throws S5_ARCHIVE_REFUSED; after that the reader must not be used any more */
  push(chunk: Uint8Array): void
  /** @throws S5_ARCHIVE_REFUSED `truncated` when the archive is not whole */
  end(): void
}

const MAGIC = '!<arch>\n'
const HEADER = 60
/** A .deb has three members; more than this is not a package. */
const MAX_MEMBERS = 1000

/**
 * A reader of one ar archive.
 * @param file names the archive in errors
 * @param whole whether all that is needed was read: then what is no member is `trailing-data`
 * @see deb(5): "The file is an ar archive with a magic value of !<arch>. Only the common ar archive format is supported,
 *   with no long file name extensions, but with file names containing an optional trailing slash"
 */
export function arReader(file: string, handler: ArHandler, whole: () => boolean = () => false): ArReader {
  const held = Buffer.alloc(HEADER)
  let wanted = MAGIC.length
  let filled = 0
  let body = 0
  let padding = 0
  let offset = 0
  let members = 0

  const fail = (reason: Refusal, message: string, data: { readonly [key: string]: Json } = {}) =>
    refuse(reason, file, message, { offset, ...data })

  function header(): void {
    if (wanted === MAGIC.length) {
      if (held.toString('latin1', 0, MAGIC.length) !== MAGIC)
        throw fail('magic', `expected a Debian package, found ${shown(held, filled)}`)
      wanted = HEADER
      return
    }
    const text = held.toString('latin1')
    if (text.slice(58) !== '`\n')
      throw fail(
        whole() ? 'trailing-data' : 'bad-header',
        `no member header where member ${members + 1} should start`,
      )
    const name = text.slice(0, 16).replace(/ +$/, '')
    const plain = name.replace(/\/$/, '')
    if (!/^[\x21-\x2e\x30-\x7e]+$/.test(plain) || plain.startsWith('#1'))
      throw fail('bad-name', `the name of member ${members + 1}`, { entry: name })
    for (const [field, digits] of [
      [text.slice(16, 28), /^[0-9]* *$/],
      [text.slice(28, 34), /^[0-9]* *$/],
      [text.slice(34, 40), /^[0-9]* *$/],
      [text.slice(40, 48), /^[0-7]* *$/],
    ] as const)
      if (!digits.test(field)) throw fail('bad-header', 'a field that is not a number', { entry: plain })
    if (!/^[0-9]+ *$/.test(text.slice(48, 58)))
      throw fail('bad-size', 'the size is not a number', { entry: plain })
    if (++members > MAX_MEMBERS) throw fail('too-big', `more than ${MAX_MEMBERS} members`)
    body = Number(text.slice(48, 58).trimEnd())
    padding = body % 2
    const empty = body === 0
    handler.member({ name: plain, size: body })
    if (empty) handler.close()
  }

  function push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      const rest = chunk.length - at
      let take: number
      if (body > 0) {
        take = Math.min(body, rest)
        body -= take
        handler.data(chunk.subarray(at, at + take))
        if (body === 0) handler.close()
      } else if (padding > 0) {
        take = 1
        padding = 0
        // "each member is aligned to an even byte boundary": one newline
        if (chunk[at] !== 0x0a) throw fail('bad-header', 'a member of odd size that no newline follows')
      } else {
        take = Math.min(wanted - filled, rest)
        held.set(chunk.subarray(at, at + take), filled)
        filled += take
        if (filled === wanted) {
          header()
          filled = 0
        }
      }
      at += take
      offset += take
    }
  }

  function end(): void {
    if (wanted === MAGIC.length) {
      if (!MAGIC.startsWith(held.toString('latin1', 0, filled)))
        throw fail('magic', `expected a Debian package, found ${shown(held, filled)}`)
      throw fail('truncated', `expected a Debian package, found ${offset} bytes`)
    }
    if (filled > 0 && whole()) throw fail('trailing-data', `${filled} bytes after the last member`)
    if (filled > 0 || body > 0 || padding > 0) throw fail('truncated', 'the archive ends inside a member')
  }

  return { push, end }
}

/** The first bytes of something else, for the reader of the message. */
function shown(bytes: Buffer, length: number): string {
  return JSON.stringify(bytes.toString('latin1', 0, length).replace(/[^\x20-\x7e]/g, '.'))
}
