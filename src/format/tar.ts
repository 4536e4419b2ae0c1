/**
 * Tar archives, pushed in as bytes and handed out as entries: ustar, pax and GNU; what else there is gets refused.
 *
 * One pass, synchronous; file bodies are passed on as views of the pushed chunks. Paths are given as they stand in the
 * archive: whether they are safe is for the caller to judge.
 */
import { type Refusal, refuse } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { type PaxRecords, parsePax } from './pax.ts'

export type TarType = 'file' | 'hardlink' | 'symlink' | 'char' | 'block' | 'dir' | 'fifo'

export interface TarEntry {
  /** Byte string, as archived: with `./`, trailing slashes and all; never empty, never with a NUL. */
  readonly path: string
  readonly type: TarType
  /** Permission bits only: 0 to 0o7777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Whole seconds since 1970, rounded down. */
  readonly mtime: number
  /** Bytes of data that follow; 0 unless `type` is `file`. */
  readonly size: number
  /** Byte string; '' unless `type` is `hardlink` or `symlink`. */
  readonly linkname: string
  readonly major: number
  readonly minor: number
  /** `SCHILY.xattr.*` of pax headers, sorted by name; names and values are byte strings. */
  readonly xattrs: readonly (readonly [name: string, value: string])[]
}

export interface TarHandler {
  entry(header: TarEntry): void
  /** A piece of the body of the last entry. The view is valid during the call only if the pusher reuses its chunk. */
  data(bytes: Uint8Array): void
  /** After the last byte of every entry, also of those without data. */
  close(): void
}

export interface TarLimits {
  /** Bytes of all file bodies together, checked against what headers announce. */
  readonly bytes: number
  readonly entries: number
  /** Bytes of one pax header, GNU long name or long link. */
  readonly extension: number
}

/** Far above every real package seen: the largest had 17,743 entries. */
const TAR_LIMITS: TarLimits = { bytes: 2 ** 36, entries: 2_000_000, extension: 2 ** 20 }

interface TarReader {
  /** @throws S5_ARCHIVE_REFUSED; after that the reader must not be used any more */
  push(chunk: Uint8Array): void
  /** Tells that there are no more bytes. @throws S5_ARCHIVE_REFUSED `truncated` without the end-of-archive blocks */
  end(): void
}

const BLOCK = 512
/** User and group numbers are 32 bits on Linux, and 2^32 - 1 means "none". */
const MAX_ID = 0xffff_fffe

const TYPES: { readonly [flag: string]: TarType } = {
  '0': 'file',
  '\0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  '6': 'fifo',
  '7': 'file',
}

/** What extension headers have said about the next entry. */
interface Pending {
  pax?: PaxRecords
  name?: string
  link?: string
}

/**
 * A reader of one tar archive.
 * @param file names the archive in errors
 * @see POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"
 */
export function tarReader(file: string, handler: TarHandler, limits: Partial<TarLimits> = {}): TarReader {
  const { bytes: maxBytes, entries: maxEntries, extension: maxExtension } = { ...TAR_LIMITS, ...limits }
  const held = Buffer.alloc(BLOCK)
  let filled = 0
  let body = 0
  let padding = 0
  let zeroBlocks = 0
  let offset = 0
  let entries = 0
  let total = 0
  let pending: Pending = {}
  let defaults: PaxRecords | undefined
  /** The extension header being collected; undefined while the body belongs to an entry. */
  let extension: { flag: string; bytes: Buffer; filled: number } | undefined

  const fail = (reason: Refusal, message: string, data: { readonly [key: string]: Json } = {}) =>
    refuse(reason, file, message, { offset, ...data })

  function header(block: Buffer, at: number): void {
    if (isZero(block, at)) {
      zeroBlocks++
      return
    }
    if (zeroBlocks > 0)
      throw fail(
        'trailing-data',
        `data after ${zeroBlocks === 1 ? 'a lone zero block' : 'the end of the archive'}`,
      )
    const posix = checkMagic(block, at)
    const flag = String.fromCharCode(block[at + 156] as number)
    const size = numberField(block, at + 124, 12)
    const name = textField(block, at, 100)
    if (size === undefined || size < 0)
      throw fail('bad-size', 'the size is not a number that fits', { entry: name })
    if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') startExtension(flag, size)
    else startEntry(block, at, flag, size, posix ? prefixed(block, at, name) : name)
  }

  function checkMagic(block: Buffer, at: number): boolean {
    if (!checksumHolds(block, at)) {
      if (entries === 0 && offset === 0)
        throw fail('magic', `expected a tar archive, found ${shown(block, at)}`)
      throw fail('bad-header', `the checksum of the header at byte ${offset} is wrong`)
    }
    const magic = block.toString('latin1', at + 257, at + 265)
    if (magic === 'ustar\x0000') return true
    if (magic === 'ustar  \0' || /^[\0 ]+$/.test(magic)) return false
    throw fail('bad-header', `unknown format of the header at byte ${offset}`, { magic })
  }

  function startExtension(flag: string, size: number): void {
    if (size > maxExtension)
      throw fail('too-long', `an extension header of ${size} bytes, at most ${maxExtension} are allowed`)
    const taken =
      flag === 'x' ? pending.pax : flag === 'L' ? pending.name : flag === 'K' ? pending.link : undefined
    if (taken !== undefined || (flag === 'g' && hasPending()))
      throw fail('bad-pax', 'an extension header that no entry follows')
    if (++entries > maxEntries) throw fail('too-big', `more than ${maxEntries} entries`)
    extension = { flag, bytes: Buffer.allocUnsafe(size), filled: 0 }
    startBody(size)
    if (size === 0) finishExtension()
  }

  function finishExtension(): void {
    const { flag, bytes } = extension as { flag: string; bytes: Buffer }
    extension = undefined
    if (flag === 'x') pending.pax = parsePax(bytes, fail)
    else if (flag === 'g') defaults = globalRecords(parsePax(bytes, fail))
    else {
      const text = bytes.toString('latin1').replace(/\0+$/, '')
      if (text === '' || text.includes('\0'))
        throw fail('bad-name', 'a long name that is empty or holds a NUL')
      if (flag === 'L') pending.name = text
      else pending.link = text
    }
  }

  /** Values for all entries that follow; what names or sizes an entry must stand at that entry. */
  function globalRecords(records: PaxRecords): PaxRecords {
    const { path, linkpath, size, xattrs } = records
    if (path !== undefined || linkpath !== undefined || size !== undefined || xattrs.length > 0)
      throw fail('bad-pax', 'a global header with a path, a link, a size or an extended attribute')
    return { ...defaults, ...records }
  }

  function hasPending(): boolean {
    return pending.pax !== undefined || pending.name !== undefined || pending.link !== undefined
  }

  function startEntry(block: Buffer, at: number, flag: string, headerSize: number, name: string): void {
    const { pax, name: longName, link: longLink } = pending
    pending = {}
    if (
      (pax?.path !== undefined && longName !== undefined) ||
      (pax?.linkpath !== undefined && longLink !== undefined)
    )
      throw fail('bad-pax', 'a pax header and a GNU header name one entry', { entry: longName ?? name })
    const path = pax?.path ?? longName ?? name
    if (path === '') throw fail('bad-name', `the entry at byte ${offset} has no name`)
    let type = TYPES[flag]
    if (type === undefined) throw fail('bad-type', `entries of type ${JSON.stringify(flag)}`, { entry: path })
    if (type === 'file' && path.endsWith('/')) {
      // "If the typeflag is NUL, a name that ends in a slash is a directory": old archives; of '0' readers disagree.
      if (flag !== '\0')
        throw fail('bad-name', 'a regular file whose name ends with a slash', { entry: path })
      type = 'dir'
    }
    if (pax?.size !== undefined && headerSize !== 0 && headerSize !== pax.size)
      throw fail('bad-pax', `the header says ${headerSize} bytes, its pax header ${pax.size}`, {
        entry: path,
      })
    const size = pax?.size ?? headerSize
    if (type !== 'file' && size !== 0)
      throw fail('bad-size', `a ${type} with ${size} bytes of data`, { entry: path })
    if (++entries > maxEntries) throw fail('too-big', `more than ${maxEntries} entries`)
    total += size
    if (total > maxBytes)
      throw fail('too-big', `${total} bytes are announced, at most ${maxBytes} are allowed`, { entry: path })
    const number = (field: string, start: number, length: number): number => {
      const value = numberField(block, at + start, length)
      if (value === undefined) throw fail('bad-header', `${field} is not a number that fits`, { entry: path })
      return value
    }
    const id = (field: 'uid' | 'gid', start: number): number => {
      const value = pax?.[field] ?? defaults?.[field] ?? number(field, start, 8)
      if (value < 0 || value > MAX_ID)
        throw fail('bad-header', `${field} ${value} does not fit`, { entry: path })
      return value
    }
    const link = type === 'hardlink' || type === 'symlink'
    const device = type === 'char' || type === 'block'
    startBody(size)
    handler.entry({
      path,
      type,
      mode: number('mode', 100, 8) & 0o7777,
      uid: id('uid', 108),
      gid: id('gid', 116),
      mtime: pax?.mtime ?? defaults?.mtime ?? number('mtime', 136, 12),
      size,
      linkname: link ? (pax?.linkpath ?? longLink ?? textField(block, at + 157, 100)) : '',
      major: device ? number('devmajor', 329, 8) : 0,
      minor: device ? number('devminor', 337, 8) : 0,
      xattrs: pax?.xattrs ?? [],
    })
    if (size === 0) handler.close()
  }

  function startBody(size: number): void {
    body = size
    padding = (BLOCK - (size % BLOCK)) % BLOCK
  }

  function takeBody(bytes: Uint8Array): void {
    body -= bytes.length
    if (!extension) {
      handler.data(bytes)
      if (body === 0) handler.close()
      return
    }
    extension.bytes.set(bytes, extension.filled)
    extension.filled += bytes.length
    if (body === 0) finishExtension()
  }

  function push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let at = 0
    while (at < bytes.length) {
      const rest = bytes.length - at
      let take: number
      if (body > 0) {
        take = Math.min(body, rest)
        takeBody(chunk.subarray(at, at + take))
      } else if (padding > 0) {
        take = Math.min(padding, rest)
        padding -= take
      } else if (filled === 0 && rest >= BLOCK) {
        take = BLOCK
        header(bytes, at)
      } else {
        take = Math.min(BLOCK - filled, rest)
        bytes.copy(held, filled, at, at + take)
        filled = (filled + take) % BLOCK
        if (filled === 0) {
          offset -= BLOCK - take
          header(held, 0)
          offset += BLOCK - take
        }
      }
      at += take
      offset += take
    }
  }

  function end(): void {
    if (hasPending()) throw fail('bad-pax', 'an extension header that no entry follows')
    if (zeroBlocks >= 2) {
      for (let at = 0; at < filled; at++)
        if (held[at] !== 0) throw fail('trailing-data', 'data after the end of the archive')
      return
    }
    if (body > 0 || padding > 0) throw fail('truncated', `the archive ends ${body + padding} bytes too early`)
    if (offset < BLOCK)
      throw fail('truncated', `expected a tar archive, found ${offset} bytes: ${shown(held, 0)}`)
    throw fail('truncated', 'the end-of-archive blocks are missing')
  }

  return { push, end }
}

function isZero(block: Buffer, at: number): boolean {
  if (block[at] !== 0) return false
  for (let index = at + 1; index < at + BLOCK; index++) if (block[index] !== 0) return false
  return true
}

/**
 * "The simple sum of all bytes in the header block, with the chksum field taken as all spaces." Old writers summed signed
 * bytes; both are known by the same field.
 */
function checksumHolds(block: Buffer, at: number): boolean {
  const expected = numberField(block, at + 148, 8)
  let unsigned = 8 * 32
  let high = 0
  for (let index = at; index < at + 148; index++) {
    const byte = block[index] as number
    unsigned += byte
    if (byte > 127) high++
  }
  for (let index = at + 156; index < at + BLOCK; index++) {
    const byte = block[index] as number
    unsigned += byte
    if (byte > 127) high++
  }
  return expected === unsigned || expected === unsigned - 256 * high
}

/** The bytes of a field up to its first NUL. */
function textField(block: Buffer, at: number, length: number): string {
  let end = at
  while (end < at + length && block[end] !== 0) end++
  return block.toString('latin1', at, end)
}

function prefixed(block: Buffer, at: number, name: string): string {
  if (block[at + 345] === 0) return name
  return `${textField(block, at + 345, 155)}/${name}`
}

/**
 * A number as octal digits (leading spaces, ended by NUL or space or the end of the field; nothing at all is 0) or as
 * base-256 (first byte 0x80, or 0xff for negative ones; the rest big-endian two's complement).
 * @returns undefined when it is neither, or too large for a safe integer
 */
function numberField(block: Buffer, at: number, length: number): number | undefined {
  const first = block[at] as number
  if (first === 0x80 || first === 0xff) {
    let value = first === 0xff ? -1 : 0
    for (let index = at + 1; index < at + length; index++) value = value * 256 + (block[index] as number)
    return Number.isSafeInteger(value) ? value : undefined
  }
  const end = at + length
  let index = at
  while (index < end && block[index] === 0x20) index++
  let value = 0
  for (; index < end; index++) {
    const digit = (block[index] as number) - 0x30
    if (digit < 0 || digit > 7) break
    value = value * 8 + digit
  }
  for (; index < end; index++) if (block[index] !== 0 && block[index] !== 0x20) return undefined
  return value
}

/** The first bytes of something that is not a tar archive, for the reader of the message. */
function shown(block: Buffer, at: number): string {
  return JSON.stringify(block.toString('latin1', at, at + 16).replace(/[^\x20-\x7e]/g, '.'))
}
