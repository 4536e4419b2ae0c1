/**
 * cpio archives in the "new portable format" (newc), the one that Linux unpacks as an initramfs.
 *
 * A member is a header of 110 ASCII bytes, the name with its NUL, padding to 4, the body, padding to 4. The archive
 * ends with a member `TRAILER!!!`. A later archive may follow at any multiple of 4; its files win.
 * @see Linux Documentation/driver-api/early-userspace/buffer-format.rst
 */
import { printable, refuse, Stage5Error } from '../base/errors.ts'
import { FILE_TYPE } from './file-type.ts'

/** One member. `name` and every other text are byte strings; all numbers are unsigned 32 bit in the format. */
export interface CpioMember {
  /** Relative, without `./`; the root directory is `.`. */
  readonly name: string
  readonly ino: number
  /** Type and permission bits as in st_mode. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  /** Seconds since 1970. */
  readonly mtime: number
  /** Bytes of the body: a file's content, a symlink's target, otherwise 0. */
  readonly size: number
  readonly rdevMajor: number
  readonly rdevMinor: number
}

const HEADER = 110
const TRAILER = 'TRAILER!!!'
/** Linux skips members whose name or target, NUL included, is longer than PATH_MAX. */
const PATH_MAX = 4096
const FIELDS = [
  'ino',
  'mode',
  'uid',
  'gid',
  'nlink',
  'mtime',
  'size',
  'devMajor',
  'devMinor',
  'rdevMajor',
  'rdevMinor',
  'nameSize',
  'check',
] as const

/** Zeros that follow `length` bytes up to the next multiple of `unit`. */
export function cpioPadding(length: number, unit = 4): Uint8Array {
  return new Uint8Array((unit - (length % unit)) % unit)
}

/**
 * Header, name and padding of one member; its body and `cpioPadding(size)` follow.
 * @throws S5_IMAGE_INPUT when a number does not fit its 32 bit field (files of 4 GiB), or Linux would skip the name
 */
export function cpioHeader(member: CpioMember): Uint8Array {
  const { name, size, mode } = member
  const shown = printable(name)
  if (size > 0xffffffff)
    throw limit(shown, `expected less than 4 GiB in a cpio archive, found ${size} bytes`, name)
  if (name === TRAILER) throw limit(shown, 'this name ends a cpio archive', name)
  if (name.length + 1 > PATH_MAX)
    throw limit(shown, `expected a name of at most ${PATH_MAX - 1} bytes, found ${name.length}`, name)
  if ((mode & 0o170000) === FILE_TYPE.symlink && size + 1 > PATH_MAX)
    throw limit(shown, `expected a link target of at most ${PATH_MAX - 1} bytes, found ${size}`, name)
  return memberHead(member)
}

function memberHead(member: CpioMember): Uint8Array {
  const { name } = member
  const numbers = { ...member, devMajor: 0, devMinor: 0, nameSize: name.length + 1, check: 0 }
  let text = '070701'
  for (const field of FIELDS) {
    const value = numbers[field]
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
      throw limit(printable(name), `expected ${field} from 0 to ${0xffffffff}, found ${value}`, name)
    text += value.toString(16).padStart(8, '0')
  }
  const length = HEADER + name.length + 1
  const head = Buffer.alloc(length + cpioPadding(length).length)
  head.write(text + name, 'latin1')
  return head
}

function limit(shown: string, message: string, path: string): Stage5Error {
  return new Stage5Error('S5_IMAGE_INPUT', `${shown}: ${message}`, { data: { path, format: 'cpio' } })
}

/** The end of an archive that is `offset` bytes long so far, padded to 512. */
export function cpioTrailer(offset: number): Uint8Array {
  const trailer = { name: TRAILER, ino: 0, mode: 0, uid: 0, gid: 0, nlink: 1, mtime: 0, size: 0 }
  const head = memberHead({ ...trailer, rdevMajor: 0, rdevMinor: 0 })
  return Buffer.concat([head, cpioPadding(offset + head.length, 512)])
}

export interface CpioEntry extends CpioMember {
  /** A view into the archive. */
  readonly body: Uint8Array
}

/**
 * One archive that starts at `start`, with the offset behind its trailer (padding not skipped).
 *
 * Names come as they are written: the caller decides about `..` and absolute names.
 * @throws S5_ARCHIVE_REFUSED with `magic`, `bad-header`, `bad-name`, `truncated`
 */
export function readCpio(bytes: Uint8Array, file: string, start = 0): { entries: CpioEntry[]; end: number } {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const entries: CpioEntry[] = []
  let at = start
  for (;;) {
    const { member, nameSize } = readHead(view, at, file)
    const nameEnd = at + HEADER + nameSize
    if (nameSize < 2 || nameSize > PATH_MAX) throw refuse('bad-name', file, `name of ${nameSize} bytes`)
    if (nameEnd > view.length) throw refuse('truncated', file, `in a name at ${at}`)
    const name = view.toString('latin1', at + HEADER, nameEnd - 1)
    if (view[nameEnd - 1] !== 0 || name.includes('\0')) throw refuse('bad-name', file, `at ${at}`)
    const bodyStart = align4(nameEnd, start)
    const bodyEnd = bodyStart + member.size
    if (bodyEnd > view.length) throw refuse('truncated', file, `in the body`, { entry: name })
    if (name === TRAILER) return { entries, end: bodyEnd }
    entries.push({ ...member, name, body: view.subarray(bodyStart, bodyEnd) })
    at = align4(bodyEnd, start)
  }
}

function readHead(view: Buffer, at: number, file: string): { member: CpioMember; nameSize: number } {
  if (at + HEADER > view.length) throw refuse('truncated', file, `in a header at ${at}`)
  const text = view.toString('latin1', at, at + HEADER)
  if (!text.startsWith('070701'))
    throw refuse('magic', file, `expected 070701 at ${at}, found ${JSON.stringify(text.slice(0, 6))}`)
  if (!/^[0-9a-fA-F]{104}$/.test(text.slice(6))) throw refuse('bad-header', file, `not hexadecimal at ${at}`)
  const value = (field: (typeof FIELDS)[number]) => {
    const from = 6 + 8 * FIELDS.indexOf(field)
    return Number.parseInt(text.slice(from, from + 8), 16)
  }
  const member = {
    name: '',
    ino: value('ino'),
    mode: value('mode'),
    uid: value('uid'),
    gid: value('gid'),
    nlink: value('nlink'),
    mtime: value('mtime'),
    size: value('size'),
    rdevMajor: value('rdevMajor'),
    rdevMinor: value('rdevMinor'),
  }
  return { member, nameSize: value('nameSize') }
}

function align4(offset: number, start: number): number {
  return offset + ((4 - ((offset - start) % 4)) % 4)
}
