/**
 * Packages into trees: a .deb or a native package is read once, front to back, from one file descriptor, and its files go
 * to the store as they come. Nothing is unpacked on a disk, and nothing of the package is run.
 */
import { open } from 'node:fs/promises'
import { isStage5Error, refuse, Stage5Error } from '../base/errors.ts'
import { type TarEntry, type TarHandler, type TarLimits, tarReader } from '../format/tar.ts'
import { type Compression, decompress } from '../host/decompress.ts'
import type { Bodies } from '../tree/bodies.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import { arMembers, drain, type Member } from './unpack-ar.ts'
import { checkControl, type Expected } from './unpack-control.ts'
import { treeBuilder } from './unpack-tree.ts'

interface UnpackOptions {
  /** Owner of every name: `nginx_1.22.1-9`. */
  readonly label: string
  readonly signal: AbortSignal
  /** What the index said; the package must say the same. */
  readonly expect?: Expected
  /** A folder that a decompressor may write to. */
  readonly scratch?: string
}

export type NativeOptions = Omit<UnpackOptions, 'expect' | 'scratch'>

/** Bytes of the control archive, and of one member of it or of `package.yaml`. */
const MAX_CONTROL = 2 ** 26
const MAX_METADATA = 2 ** 24
const CHUNK = 2 ** 20
/** Compressed bytes of what may lie on the disk before it is read: beyond, decompressing and reading overlap. */
const MAX_SCRATCH = 2 ** 25

/** The bytes of one package, to be read once. */
interface Source {
  /** File name without folders, for errors. */
  readonly name: string
  /** Bytes in all. */
  readonly size: number
  readonly chunks: AsyncIterable<Uint8Array>
}

/**
 * Unpack a Debian package. The caller has checked the digest of the file.
 * @throws S5_ARCHIVE_REFUSED with the reason in `data.reason`; S5_FILE_MISSING, S5_TOOL_MISSING, S5_TOOL_FAILED
 */
export function unpackDeb(file: string, bodies: Bodies, options: UnpackOptions): Promise<Unpacked> {
  return fromFile(file, options, (source) => unpackDebFrom(source, bodies, options))
}

/**
 * Unpack a native package: a `.tar.zst` whose first entry is `package.yaml` and whose files are below `root/`. What the
 * YAML says is for the caller to check.
 * @throws S5_ARCHIVE_REFUSED with the reason in `data.reason`; S5_FILE_MISSING
 */
export function unpackNative(file: string, bodies: Bodies, options: NativeOptions): Promise<Unpacked> {
  return fromFile(file, options, (source) => unpackNativeFrom(source, bodies, options))
}

/**
 * The same as `unpackDeb`, from bytes that come from anywhere.
 * @see deb(5)
 */
export function unpackDebFrom(source: Source, bodies: Bodies, options: UnpackOptions): Promise<Unpacked> {
  return refusing(source, options, async (name) => {
    const { signal } = options
    const members = arMembers(name, source.chunks, (member) => member.startsWith('data.tar'))
    checkFormat(name, await wholeMember(name, await members.next()))
    const control = await readControl(await expectMember(name, members.next, 'control.tar'), name, signal)
    checkControl(name, control['control'], options.expect)
    const data = await expectMember(name, members.next, 'data.tar')
    const bytes = imageLimit(Math.min(data.size, source.size))
    const builder = treeBuilder(name, options.label, bodies)
    try {
      const scratch = data.size <= MAX_SCRATCH ? options.scratch : undefined
      const limits = { file: name, bytes, ...(scratch !== undefined && { scratch }) }
      const plain = decompress(data.body, compressionOfMember(name, data), limits, signal)
      await readTar(name, plain, builder, { bytes })
    } catch (error) {
      builder.abort()
      throw error
    }
    // "Any further members must be ignored", but what stands there must be members.
    for (let rest = await members.next(); rest; rest = await members.next()) await drain(rest.body)
    return { tree: builder.tree(), control }
  })
}

/** The same as `unpackNative`, from bytes that come from anywhere. */
export function unpackNativeFrom(source: Source, bodies: Bodies, options: NativeOptions): Promise<Unpacked> {
  return refusing(source, options, async (name) => {
    const bytes = imageLimit(source.size)
    const builder = treeBuilder(name, options.label, bodies, 'root')
    let metadata: Collector | undefined
    const inRoot = () => metadata?.text !== undefined
    const handler: TarHandler = {
      entry: (header) => {
        if (inRoot()) return builder.entry(header)
        if (header.type !== 'file' || header.path.replace(/^\.\//, '') !== 'package.yaml')
          throw refuse('missing-member', name, 'the first entry is not package.yaml', { entry: header.path })
        metadata = collector(name, header)
      },
      data: (piece) => (inRoot() ? builder.data(piece) : metadata?.data(piece)),
      close: () => (inRoot() ? builder.close() : metadata?.close()),
    }
    try {
      const plain = decompress(source.chunks, 'zst', { file: name, bytes }, options.signal)
      await readTar(name, plain, handler, { bytes })
    } catch (error) {
      builder.abort()
      throw error
    }
    if (metadata?.text === undefined) throw refuse('missing-member', name, 'there is no package.yaml')
    return { tree: builder.tree(), control: { 'package.yaml': metadata.text } }
  })
}

async function fromFile(
  file: string,
  { label, signal }: NativeOptions,
  work: (source: Source) => Promise<Unpacked>,
): Promise<Unpacked> {
  signal.throwIfAborted()
  const handle = await open(file, 'r').catch((cause: unknown) => {
    if ((cause as { code?: unknown }).code !== 'ENOENT') throw cause
    throw new Stage5Error('S5_FILE_MISSING', `${label}: there is no file ${file}`, { cause })
  })
  try {
    const { size } = await handle.stat()
    const read = async (buffer: Uint8Array) => (await handle.read(buffer, 0, buffer.length)).bytesRead
    return await work({
      name: file.slice(file.lastIndexOf('/') + 1),
      size,
      chunks: readChunks(read, signal),
    })
  } finally {
    await handle.close()
  }
}

/** Names the package in every refusal, and tells package and file apart in its data. */
export async function refusing<T>(
  source: { readonly name: string },
  { label, signal }: NativeOptions,
  work: (name: string) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  try {
    return await work(`${label} (${source.name})`)
  } catch (error) {
    if (!isStage5Error(error, 'S5_ARCHIVE_REFUSED')) throw error
    throw new Stage5Error(error.code, error.message, {
      hint: error.hint,
      cause: error,
      data: { ...error.data, package: label, file: source.name },
    })
  }
}

async function* readChunks(
  read: (buffer: Uint8Array) => Promise<number>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (;;) {
    signal.throwIfAborted()
    const buffer = Buffer.allocUnsafeSlow(CHUNK)
    const bytes = await read(buffer)
    if (bytes === 0) return
    yield buffer.subarray(0, bytes)
  }
}

export async function readTar(
  name: string,
  plain: AsyncIterable<Uint8Array>,
  handler: TarHandler,
  limits: Partial<TarLimits>,
): Promise<void> {
  const reader = tarReader(name, handler, limits)
  for await (const chunk of plain) reader.push(chunk)
  reader.end()
}

/** Bytes that may come out of so many. Real packages reach 63 times their compressed size. */
export function imageLimit(compressed: number): number {
  return Math.min(2 ** 36, compressed * 1000 + 2 ** 28)
}

/** "The first line is the format version number, 2.0 at the time this manual page was written." */
function checkFormat(name: string, member: { name: string; text: string } | undefined): void {
  if (member?.name !== 'debian-binary')
    throw refuse('missing-member', name, `expected debian-binary first, found ${member?.name ?? 'nothing'}`)
  const version = /^(\d+)\.(\d+)\n/.exec(member.text)
  if (version?.[1] !== '2')
    throw refuse('version', name, `expected format 2, found ${JSON.stringify(member.text.slice(0, 20))}`)
}

/** The next member that does not begin with `_`, which must be `control.tar` or `data.tar` in some compression. */
async function expectMember(
  name: string,
  next: () => Promise<Member | undefined>,
  wanted: 'control.tar' | 'data.tar',
): Promise<Member> {
  for (let member = await next(); member; member = await next()) {
    if (member.name === wanted || member.name.startsWith(`${wanted}.`)) return member
    if (!member.name.startsWith('_'))
      throw refuse('layout', name, `expected ${wanted}, found a member`, { entry: member.name })
    await drain(member.body)
  }
  throw refuse('missing-member', name, `there is no ${wanted}`)
}

const SUFFIXES: { readonly [suffix: string]: Compression } = {
  '': 'none',
  '.gz': 'gz',
  '.xz': 'xz',
  '.zst': 'zst',
  '.bz2': 'bz2',
  '.lzma': 'lzma',
}

function compressionOfMember(file: string, { name }: Member): Compression {
  const suffix = name.slice(name.indexOf('.tar') + 4)
  const kind = Object.hasOwn(SUFFIXES, suffix) ? SUFFIXES[suffix] : undefined
  const onlyData = kind === 'bz2' || kind === 'lzma'
  if (kind === undefined || (onlyData && !name.startsWith('data')))
    throw refuse('layout', file, 'a compression that a Debian package does not have here', { entry: name })
  return kind
}

/** The members of the control archive: plain files at its top. */
async function readControl(
  member: Member,
  name: string,
  signal: AbortSignal,
): Promise<{ [member: string]: string }> {
  const control = new Map<string, string>()
  let current: Collector | undefined
  const handler: TarHandler = {
    entry: (header) => {
      const path = header.path.replace(/^(?:\.\/+)+/, '').replace(/\/+$/, '')
      if (header.type === 'dir' && (path === '' || path === '.')) return
      if (header.type !== 'file')
        throw refuse('bad-type', name, `a ${header.type} in the control archive`, { entry: header.path })
      if (path.includes('/') || path === '.' || path === '..')
        throw refuse('bad-name', name, 'a path in the control archive', { entry: header.path })
      if (control.has(path)) throw refuse('duplicate', name, 'twice in the control archive', { entry: path })
      current = collector(name, header, (text) => control.set(path, text))
    },
    data: (bytes) => current?.data(bytes),
    close: () => {
      current?.close()
      current = undefined
    },
  }
  const limits = { file: name, bytes: MAX_CONTROL }
  const plain = decompress(member.body, compressionOfMember(name, member), limits, signal)
  await readTar(name, plain, handler, { bytes: MAX_CONTROL })
  return Object.fromEntries([...control].sort(([a], [b]) => (a < b ? -1 : 1)))
}

export interface Collector {
  data(bytes: Uint8Array): void
  close(): void
  /** Defined when closed. */
  readonly text: string | undefined
}

/** Gathers one small file as a byte string. */
export function collector(name: string, header: TarEntry, done?: (text: string) => void): Collector {
  if (header.size > MAX_METADATA)
    throw refuse('too-big', name, `metadata of ${header.size} bytes`, { entry: header.path })
  const parts: Buffer[] = []
  let text: string | undefined
  return {
    data: (bytes) => void parts.push(Buffer.from(bytes)),
    close: () => {
      text = Buffer.concat(parts).toString('latin1')
      done?.(text)
    },
    get text() {
      return text
    },
  }
}

/** A member that is a line of text. */
async function wholeMember(
  name: string,
  member: Member | undefined,
): Promise<{ name: string; text: string } | undefined> {
  if (!member) return undefined
  if (member.name === 'debian-binary' && member.size > 4096)
    throw refuse('version', name, `debian-binary has ${member.size} bytes`)
  let text = ''
  if (member.name === 'debian-binary')
    for await (const chunk of member.body) text += Buffer.from(chunk).toString('latin1')
  return { name: member.name, text }
}
