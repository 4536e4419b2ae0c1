/** Records of a pax extended header: what the next tar entry (or every following one) is called and how large it is. */
import type { Refusal, Stage5Error } from '../base/errors.ts'

export interface PaxRecords {
  readonly path?: string
  readonly linkpath?: string
  readonly size?: number
  readonly uid?: number
  readonly gid?: number
  /** Whole seconds, rounded down. */
  readonly mtime?: number
  /** Sorted by name; byte strings. */
  readonly xattrs: readonly (readonly [name: string, value: string])[]
}

/** `xattr_name` of Linux allows 255 bytes, `XATTR_SIZE_MAX` 65,536. */
const XATTR_NAME = 255
const XATTR_SIZE = 65_536

/**
 * "%d %s=%s\n", length, keyword, value: the length counts the whole record, itself, the blank and the newline. A key that
 * comes twice is refused, since readers disagree about which one counts; unknown keys are ignored.
 * @param fail makes the error; `S5_ARCHIVE_REFUSED` with `bad-pax` and others
 * @see POSIX.1-2017, pax, "pax Extended Header"
 */
export function parsePax(bytes: Buffer, fail: (reason: Refusal, message: string) => Stage5Error): PaxRecords {
  const texts = new Map<string, string>()
  const xattrs = new Map<string, string>()
  for (let at = 0; at < bytes.length; ) {
    const { key, value, next } = recordAt(bytes, at, fail)
    if (texts.has(key)) throw fail('bad-pax', `${JSON.stringify(key)} twice in one pax header`)
    texts.set(key, value)
    if (key.startsWith('SCHILY.xattr.')) addXattr(xattrs, key.slice(13), value, fail)
    else if (key.startsWith('GNU.sparse.') || key === 'SCHILY.realsize' || key.startsWith('SUN.holes'))
      throw fail('bad-type', 'a sparse file')
    at = next
  }
  const text = (key: string) => {
    const value = texts.get(key)
    if (value === '' || value?.includes('\0')) throw fail('bad-pax', `${key} is empty or holds a NUL`)
    return value
  }
  const number = (key: string) => {
    const value = texts.get(key)
    if (value === undefined) return undefined
    const result = /^[0-9]{1,16}$/.test(value) ? Number(value) : NaN
    if (!Number.isSafeInteger(result)) throw fail('bad-pax', `${key} is not a number that fits`)
    return result
  }
  const path = text('path')
  const linkpath = text('linkpath')
  const size = number('size')
  const uid = number('uid')
  const gid = number('gid')
  const mtime = wholeSeconds(texts.get('mtime'), fail)
  return {
    ...(path === undefined ? {} : { path }),
    ...(linkpath === undefined ? {} : { linkpath }),
    ...(size === undefined ? {} : { size }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(mtime === undefined ? {} : { mtime }),
    xattrs: [...xattrs].sort(([a], [b]) => (a < b ? -1 : 1)),
  }
}

function recordAt(
  bytes: Buffer,
  at: number,
  fail: (reason: Refusal, message: string) => Stage5Error,
): { key: string; value: string; next: number } {
  let length = 0
  let index = at
  for (; index < at + 8; index++) {
    const digit = (bytes[index] ?? 0) - 0x30
    if (digit < 0 || digit > 9) break
    length = length * 10 + digit
  }
  const next = at + length
  if (index === at || bytes[index] !== 0x20 || next > bytes.length || next <= index)
    throw fail('bad-pax', `the record at byte ${at} of a pax header has a bad length`)
  if (bytes[next - 1] !== 0x0a)
    throw fail('bad-pax', `the record at byte ${at} of a pax header does not end with a newline`)
  const equals = bytes.subarray(index + 1, next - 1).indexOf(0x3d)
  if (equals <= 0) throw fail('bad-pax', `the record at byte ${at} of a pax header has no key`)
  const key = bytes.toString('latin1', index + 1, index + 1 + equals)
  return { key, value: bytes.toString('latin1', index + 2 + equals, next - 1), next }
}

/** GNU tar writes `=` and `%` in names of attributes as `%3D` and `%25`. */
function addXattr(
  xattrs: Map<string, string>,
  written: string,
  value: string,
  fail: (reason: Refusal, message: string) => Stage5Error,
): void {
  const name = written.replace(/%(3D|25)/g, (_, code: string) => (code === '25' ? '%' : '='))
  if (name === '' || name.includes('\0')) throw fail('bad-pax', 'an extended attribute without a proper name')
  if (xattrs.has(name)) throw fail('bad-pax', 'an extended attribute twice in one pax header')
  if (name.length > XATTR_NAME) throw fail('too-long', 'the name of an extended attribute')
  if (value.length > XATTR_SIZE) throw fail('too-big', 'the value of an extended attribute')
  xattrs.set(name, value)
}

/** Decimal seconds, perhaps with a fraction, perhaps negative; rounded towards the past as stat(2) shows them. */
function wholeSeconds(
  text: string | undefined,
  fail: (reason: Refusal, message: string) => Stage5Error,
): number | undefined {
  if (text === undefined) return undefined
  const parts = /^(-?)([0-9]{1,16})(?:\.([0-9]*))?$/.exec(text)
  const whole = Number(parts?.[2] ?? NaN)
  if (!parts || !Number.isSafeInteger(whole)) throw fail('bad-pax', 'mtime is not a number that fits')
  if (parts[1] === '') return whole
  return /[1-9]/.test(parts[3] ?? '') ? -whole - 1 : 0 - whole
}
