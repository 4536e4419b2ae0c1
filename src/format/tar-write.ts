/**
 * Tar headers as bytes: ustar, with a pax extended header in front where ustar has no room.
 * @see POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"
 */
import type { TarEntry, TarType } from './tar.ts'

export const TAR_BLOCK = 512

const FLAG: { readonly [type in TarType]: string } = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
}
/** Eleven octal digits: 8 GiB - 1, and seconds up to the year 2242. */
const LARGE = 8 ** 11 - 1
/** Seven octal digits: owners. */
const SMALL = 8 ** 7 - 1

/** Everything in front of the body of `size` bytes, which is followed by `tarPadding(size)`. Texts are byte strings. */
export function tarHeader(entry: TarEntry): Uint8Array {
  const records: (readonly [key: string, value: string])[] = []
  const place = splitName(entry.path)
  if (!place) records.push(['path', entry.path])
  if (entry.linkname.length > 100) records.push(['linkpath', entry.linkname])
  if (entry.size > LARGE) records.push(['size', `${entry.size}`])
  if (entry.uid > SMALL) records.push(['uid', `${entry.uid}`])
  if (entry.gid > SMALL) records.push(['gid', `${entry.gid}`])
  if (entry.mtime > LARGE || entry.mtime < 0) records.push(['mtime', `${entry.mtime}`])
  for (const [name, value] of entry.xattrs)
    records.push([`SCHILY.xattr.${name.replace(/[%=]/g, (byte) => (byte === '%' ? '%25' : '%3D'))}`, value])
  const own = ustarBlock(entry, place ?? { prefix: '', name: entry.path.slice(0, 100) }, FLAG[entry.type])
  if (records.length === 0) return own
  const body = Buffer.from(records.map(paxRecord).join(''), 'latin1')
  const extension = ustarBlock(
    { ...entry, size: body.length, linkname: '', mode: 0o644, major: 0, minor: 0 },
    { prefix: '', name: `PaxHeaders/${entry.path.slice(-80)}`.slice(0, 100) },
    'x',
  )
  return Buffer.concat([extension, body, tarPadding(body.length), own])
}

/** Zeros that follow a body. */
export function tarPadding(size: number): Uint8Array {
  return new Uint8Array((TAR_BLOCK - (size % TAR_BLOCK)) % TAR_BLOCK)
}

/** The end of an archive of `length` bytes: two blocks of zeros, and more up to 10240, as tar(1) writes it. */
export function tarTrailer(length: number): Uint8Array {
  return new Uint8Array(1024 + ((10240 - ((length + 1024) % 10240)) % 10240))
}

/** "%d %s=%s\n": the length counts itself. */
function paxRecord([key, value]: readonly [key: string, value: string]): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length + 1
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length
  return `${length}${rest}`
}

interface Place {
  readonly prefix: string
  readonly name: string
}

/** The name as ustar stores it: at most 155 bytes, a slash, at most 100 bytes. */
function splitName(path: string): Place | undefined {
  if (path.length <= 100) return { prefix: '', name: path }
  const slash = path.indexOf('/', path.length - 101)
  if (slash < 1 || slash > 155 || slash === path.length - 1) return undefined
  return { prefix: path.slice(0, slash), name: path.slice(slash + 1) }
}

function ustarBlock(entry: TarEntry, { prefix, name }: Place, flag: string): Buffer {
  const block = Buffer.alloc(TAR_BLOCK)
  const octal = (value: number, at: number, width: number): void => {
    block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1')
  }
  block.write(name, 0, 'latin1')
  octal(entry.mode, 100, 8)
  octal(entry.uid > SMALL ? 0 : entry.uid, 108, 8)
  octal(entry.gid > SMALL ? 0 : entry.gid, 116, 8)
  octal(entry.size > LARGE ? 0 : entry.size, 124, 12)
  octal(Math.min(Math.max(entry.mtime, 0), LARGE), 136, 12)
  block.write('        ', 148, 'latin1')
  block.write(flag, 156, 'latin1')
  block.write(entry.linkname.slice(0, 100), 157, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  octal(entry.major, 329, 8)
  octal(entry.minor, 337, 8)
  block.write(prefix, 345, 'latin1')
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}
