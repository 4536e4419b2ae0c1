/** Config packages: a folder as a signed archive that guests apply over HTTP, and the seed that tells one guest apart. */
import { lstat, mkdir, readdir, readFile, readlink, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { printable, Stage5Error } from '../base/errors.ts'
import { cpioHeader, cpioPadding, cpioTrailer } from '../format/cpio.ts'
import { FILE_TYPE } from '../format/file-type.ts'
import { signifySignature } from '../format/signify.ts'
import { tarHeader, tarPadding, tarTrailer } from '../format/tar-write.ts'
import type { TarType } from '../format/tar.ts'
import { type PrivateKey, signBytes } from '../host/signing.ts'
import { writeWhole } from '../host/whole-file.ts'
import { shownPath } from './world.ts'

/** What a folder of a config package may hold: files for the guest's root, and a script that is run there. */
const MEMBERS = ['apply', 'root']

/** Stands in front of a package and is signed with it: `NAME NUMBER`. */
const LABEL = 'stage5-config'

/** Under which name guests take a package, and its place among the packages of that name: they never go back. */
interface ConfigLabel {
  readonly name: string
  readonly sequence: number
}

/**
 * Everything of a folder as tar through gzip, owned by root, with one time: equal folders give equal bytes.
 * @param date seconds since 1970
 * @throws S5_CONFIG_INVALID
 */
async function configArchive(
  folder: string,
  date: number,
  { name: title, sequence }: ConfigLabel,
): Promise<Uint8Array> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(title))
    throw invalid(
      `the name of a config package has letters, digits, dots and dashes, found ${JSON.stringify(title)}`,
    )
  if (!(await stat(folder).catch(() => undefined))?.isDirectory())
    throw invalid(`there is no folder ${folder}`)
  const names = (await readdir(folder)).sort()
  const strange = names.filter((name) => !MEMBERS.includes(name))
  if (strange.length > 0 || names.length === 0)
    throw invalid(
      `${folder}: expected root/ (files for the guest) or apply (a shell script), found ${strange.map((name) => printable(name)).join(', ') || 'nothing'}`,
    )
  if (names.includes('apply') && !(await lstat(join(folder, 'apply'))).isFile())
    throw invalid(`${folder}/apply: expected a shell script`)
  const label = Buffer.from(`${title} ${sequence}\n`)
  const parts: Uint8Array[] = [labelHeader(label.length, date), label, tarPadding(label.length)]
  for (const name of names) await addTo(parts, folder, name, date)
  parts.push(tarTrailer(parts.reduce((sum, { length }) => sum + length, 0)))
  const packed = gzipSync(Buffer.concat(parts), { level: 9, memLevel: 9 })
  packed[9] = 255 // RFC 1952, OS: unknown, so that the platform of the packing does not show
  return packed
}

async function addTo(parts: Uint8Array[], folder: string, path: string, date: number): Promise<void> {
  const place = join(folder, path)
  const found = await lstat(place)
  const type: TarType | undefined = found.isDirectory()
    ? 'dir'
    : found.isFile()
      ? 'file'
      : found.isSymbolicLink()
        ? 'symlink'
        : undefined
  if (!type) throw invalid(`${place}: expected files, folders and symlinks, found something else`)
  const body = type === 'file' ? await readFile(place) : new Uint8Array(0)
  const header = tarHeader({
    path: byteText(type === 'dir' ? `${path}/` : path),
    type,
    mode: type === 'symlink' ? 0o777 : found.mode & 0o7777,
    ...{ uid: 0, gid: 0, mtime: date, size: body.length, major: 0, minor: 0, xattrs: [] },
    linkname: type === 'symlink' ? byteText(await readlink(place)) : '',
  })
  parts.push(header, body, tarPadding(body.length))
  if (type !== 'dir') return
  for (const name of (await readdir(place)).sort()) await addTo(parts, folder, `${path}/${name}`, date)
}

function labelHeader(size: number, mtime: number): Uint8Array {
  const none = { uid: 0, gid: 0, linkname: '', major: 0, minor: 0, xattrs: [] }
  return tarHeader({ path: LABEL, type: 'file', mode: 0o644, mtime, size, ...none })
}

/** What a package was labelled as, or undefined for bytes that are none. */
function configLabel(bytes: Uint8Array): ConfigLabel | undefined {
  let archive: Buffer
  try {
    archive = gunzipSync(bytes)
  } catch {
    return undefined
  }
  const [path, body] = [
    archive.toString('latin1', 0, LABEL.length + 1),
    archive.toString('latin1', 512, 1024),
  ]
  const found = /^(\S+) (\d{1,15})\n/.exec(body)
  return path === `${LABEL}\0` && found ? { name: found[1] as string, sequence: Number(found[2]) } : undefined
}

/**
 * The package for `file`. Its number is the one of the file that stands there while the contents are the same, else the
 * next one.
 * @param asked the number that it is to have instead
 * @throws S5_CONFIG_INVALID when it would not take the place of what stands there
 */
export async function configSuccessor(
  folder: string,
  date: number,
  file: string,
  asked: number | undefined,
): Promise<{ readonly bytes: Uint8Array; readonly sequence: number }> {
  const name = basename(file).replace(/\.tar\.gz$/, '')
  const there = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  const before = there && configLabel(there)
  if (there && !before && asked === undefined)
    throw invalid(
      `${shownPath(file)} stands there and is no config package with a number: remove it or say --sequence`,
    )
  const sequence = asked ?? before?.sequence ?? 1
  const bytes = await configArchive(folder, date, { name, sequence })
  if (!there || !before || there.equals(bytes)) return { bytes, sequence }
  if (asked === undefined) {
    const next = sequence + 1
    return { bytes: await configArchive(folder, date, { name, sequence: next }), sequence: next }
  }
  if (asked > before.sequence) return { bytes, sequence }
  throw invalid(
    `${shownPath(file)} has number ${before.sequence}: expected a greater one for other contents, found ${asked}`,
  )
}

function byteText(text: string): string {
  return Buffer.from(text).toString('latin1')
}

function invalid(message: string): Stage5Error {
  return new Stage5Error('S5_CONFIG_INVALID', message, { hint: 'stage5 config --help' })
}

/** Writes FILE and FILE.sig, the signature first: a server never offers a package without one. */
export async function writeSigned(file: string, bytes: Uint8Array, key: PrivateKey): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  const { sig, keyid } = signBytes(key, bytes)
  await writeWhole(`${file}.sig`, signifySignature(Buffer.from(sig, 'base64'), keyid))
  await writeWhole(file, bytes)
}

const WORD = /^(?:stage5\.[a-z]+|init|panic|roothash)=\S+$/

/**
 * Words of one guest as an archive that stands behind an initrd (at a multiple of 4 bytes).
 * @throws S5_CONFIG_INVALID
 */
export function seedArchive(text: string, date: number): Uint8Array {
  const bytes = seedBytes(text)
  const device = { rdevMajor: 0, rdevMinor: 0 }
  const member = (name: string, ino: number, mode: number, size: number): Uint8Array =>
    cpioHeader({ name, ino, mode, uid: 0, gid: 0, nlink: 1, mtime: date, size, ...device })
  const parts = [
    member('etc', 1, FILE_TYPE.dir | 0o755, 0),
    member('etc/seed', 2, FILE_TYPE.file | 0o644, bytes.length),
    bytes,
    cpioPadding(bytes.length),
  ]
  return Buffer.concat([...parts, cpioTrailer(parts.reduce((sum, { length }) => sum + length, 0))])
}

/** Words of one guest as the disk with the serial `seed`: the text, and zeros up to 64 KiB. @throws S5_CONFIG_INVALID */
export function seedDisk(text: string): Uint8Array {
  const disk = Buffer.alloc(65_536)
  disk.set(seedBytes(text))
  return disk
}

function seedBytes(text: string): Uint8Array {
  const words = text
    .replace(/#.*$/gm, '')
    .split(/\s+/)
    .filter((word) => word !== '')
  const wrong = words.find((word) => !WORD.test(word))
  if (wrong !== undefined || words.length === 0)
    throw invalid(
      `a seed has words of the kernel command line such as stage5.ip=10.0.0.7/24, found ${JSON.stringify(wrong ?? '')}`,
    )
  const bytes = Buffer.from(`${words.join('\n')}\n`)
  if (bytes.length > 65_535) throw invalid(`a seed has at most 65535 bytes, found ${bytes.length}`)
  return bytes
}
