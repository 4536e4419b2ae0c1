/**
 * A whole guest in one initrd: the initramfs, zeros up to a multiple of 4, and a newc archive with `squashfs.img` and
 * `etc/cmdline`. The kernel unpacks both archives one over the other; `dd` gives each part back.
 * @see Linux Documentation/driver-api/early-userspace/buffer-format.rst
 */
import { cpioHeader, cpioPadding, cpioTrailer } from '../format/cpio.ts'
import { FILE_TYPE } from '../format/file-type.ts'

export interface Part {
  readonly name: 'initramfs' | 'pad' | 'cpio' | 'etc/cmdline' | 'squashfs.img'
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly length: number
}

interface OneInitrd {
  readonly size: number
  /** `etc/cmdline` and `squashfs.img` lie inside `cpio`. */
  readonly parts: readonly Part[]
  /** What the file is made of, in order: bytes, or all of the initramfs or base. */
  readonly pieces: readonly (Uint8Array | 'initramfs' | 'base')[]
}

/**
 * @param sizes in bytes
 * @param date seconds since 1970: the time of every member
 * @throws S5_IMAGE_INPUT when the base has 4 GiB or more
 */
export function planOneInitrd(
  sizes: { readonly initramfs: number; readonly base: number },
  cmdline: string,
  date: number,
): OneInitrd {
  const pieces: (Uint8Array | 'initramfs' | 'base')[] = ['initramfs']
  let at = sizes.initramfs
  const put = (bytes: Uint8Array): void => {
    if (bytes.length > 0) pieces.push(bytes)
    at += bytes.length
  }
  const member = (name: string, mode: number, size: number): Uint8Array =>
    cpioHeader({ name, ino: ++ino, mode, uid: 0, gid: 0, nlink: 1, mtime: date, size, ...NO_DEVICE })
  let ino = 0

  put(cpioPadding(at))
  const cpio = at
  put(member('etc', FILE_TYPE.dir | 0o755, 0))
  const words = Buffer.from(`${cmdline}\n`)
  put(member('etc/cmdline', FILE_TYPE.file | 0o644, words.length))
  const text = at
  put(words)
  put(cpioPadding(words.length))
  put(member('squashfs.img', FILE_TYPE.file | 0o644, sizes.base))
  const base = at
  pieces.push('base')
  at += sizes.base
  put(cpioPadding(sizes.base))
  put(cpioTrailer(at - cpio))
  const parts: Part[] = [
    { name: 'initramfs', offset: 0, length: sizes.initramfs },
    { name: 'pad', offset: sizes.initramfs, length: cpio - sizes.initramfs },
    { name: 'cpio', offset: cpio, length: at - cpio },
    { name: 'etc/cmdline', offset: text, length: words.length },
    { name: 'squashfs.img', offset: base, length: sizes.base },
  ]
  return { size: at, parts, pieces }
}

const NO_DEVICE = { rdevMajor: 0, rdevMinor: 0 } as const
