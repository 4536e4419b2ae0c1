/**
 * Gentoo packages of GLEP 78: the whole container is verified first, then unpacked through the same descriptor, and its
 * members are hashed again while that happens.
 */
import { createHash, type Hash } from 'node:crypto'
import { type Refusal, refuse } from '../base/errors.ts'
import { clearSignedFrame } from '../format/armor.ts'
import {
  checkManifest,
  GPKG_HASHES,
  type GpkgHash,
  type GpkgMember,
  gpkgContainer,
  type ManifestEntry,
  parseManifest,
} from '../format/gpkg.ts'
import { type TarHandler, tarReader } from '../format/tar.ts'
import { metadataNameProblem } from '../format/xpak.ts'
import { type Compression, decompress } from '../host/decompress.ts'
import type { Bodies } from '../tree/bodies.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import { verifyDetachedStream, verifyInRelease } from './keyring.ts'
import { checkTrust, type Trust, unsigned } from './package-trust.ts'
import { chunksBetween, type RandomSource, withSource } from './source.ts'
import { type Collector, collector, imageLimit, readTar, refusing } from './unpack.ts'
import { checkBuildInfo } from './unpack-metadata.ts'
import { treeBuilder } from './unpack-tree.ts'
import type { GentooOptions } from './unpack-xpak.ts'

/** Bytes of the metadata archive when decompressed. */
const MAX_METADATA = 2 ** 26
const HASHES = Object.keys(GPKG_HASHES) as GpkgHash[]

interface Placed {
  readonly member: GpkgMember
  /** Where its bytes begin in the file. */
  readonly start: number
}

/** A container whose Manifest holds for every member, and whose signatures are good where they count. */
interface VerifiedGpkg {
  readonly metadata: Placed
  readonly image: Placed
  readonly manifest: ReadonlyMap<string, ManifestEntry>
  readonly isSigned: boolean
}

/**
 * Unpack a `.gpkg.tar`. The caller has checked the digest of the file.
 * @throws S5_ARCHIVE_REFUSED with the reason in `data.reason`; S5_SIGNATURE_BAD; S5_FILE_MISSING, S5_TOOL_MISSING,
 *   S5_TOOL_FAILED
 */
export function unpackGpkg(file: string, bodies: Bodies, options: GentooOptions): Promise<Unpacked> {
  return withSource(file, options.label, (source) => unpackGpkgFrom(source, bodies, options))
}

/** The same as `unpackGpkg`, from bytes that come from anywhere. */
export function unpackGpkgFrom(
  source: RandomSource,
  bodies: Bodies,
  options: GentooOptions,
): Promise<Unpacked> {
  return refusing(source, options, async (name) => {
    const { signal, label } = options
    const verified = await verifyGpkg(source, name, signal, options.trust)
    const control = await readMetadata(source, name, verified, signal)
    checkBuildInfo(name, control, options.expect)
    const bytes = imageLimit(verified.image.member.size)
    const builder = treeBuilder(name, label, bodies, 'image')
    try {
      await readMember(source, name, verified, verified.image, builder, bytes, signal)
    } catch (error) {
      builder.abort()
      throw error
    }
    return { tree: builder.tree(), control }
  })
}

/**
 * The members of build-info of a container whose Manifest holds, as byte strings sorted by name.
 * @throws S5_ARCHIVE_REFUSED
 */
export async function readGpkgInfo(
  source: RandomSource,
  name: string,
  signal: AbortSignal,
): Promise<{ [key: string]: string }> {
  return await readMetadata(source, name, await verifyGpkg(source, name, signal), signal)
}

/**
 * Every check that needs no unpacking: layout, Manifest, sizes and hashes of all members, signatures.
 * @param trust without it no signature is looked at
 * @see GLEP 78, "The container format" and "Manifest"
 */
export async function verifyGpkg(
  source: RandomSource,
  name: string,
  signal: AbortSignal,
  trust?: Trust,
): Promise<VerifiedGpkg> {
  const { members, sums, small, metadata, image } = await scan(source, name, signal)
  const frame = clearSignedFrame(Buffer.from(small.get('Manifest') as string, 'latin1'))
  const isSigned = frame !== 'unsigned' || members.some(({ member }) => member.role === 'signature')
  const isChecked = trust !== undefined && checkTrust(trust, isSigned, name)
  const text = await manifestText(
    name,
    small.get('Manifest') as string,
    frame,
    signal,
    isChecked ? trust : undefined,
  )
  const manifest = parseManifest(name, text)
  checkManifest(
    name,
    manifest,
    members.map(({ member }) => member),
    (member, hash) => (sums.get(member.name) as Sums)[hash],
  )
  if (isChecked)
    for (const placed of [metadata, image]) {
      const signature = small.get(`${placed.member.name}.sig`)
      const label = `${name}: ${placed.member.name}`
      if (signature === undefined) throw unsigned(label, 'only a part of the package is signed')
      const bytes = chunksBetween(source, placed.start, placed.start + placed.member.size, signal)
      await verifyDetachedStream(bytes, Buffer.from(signature, 'latin1'), trust.keyrings, signal, label)
    }
  return { metadata, image, manifest, isSigned }
}

/** What of the Manifest may be believed. Nothing may stand outside a signed text, whatever the policy. */
async function manifestText(
  name: string,
  text: string,
  frame: ReturnType<typeof clearSignedFrame>,
  signal: AbortSignal,
  trust: Trust | undefined,
): Promise<string> {
  const bytes = Buffer.from(text, 'latin1')
  const label = `${name}: Manifest`
  if (trust) {
    const verified = await verifyInRelease(bytes, trust.keyrings, signal, label)
    return Buffer.from(verified.text).toString('latin1')
  }
  if (frame === 'unsigned') return text
  if (frame === 'outside-text') throw refuse('manifest', name, 'something stands outside the signed Manifest')
  const [, signed = ''] = text.split(/^-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n/m)
  return signed.split(/^-----BEGIN PGP SIGNATURE-----/m)[0] as string
}

type Sums = { readonly [hash in GpkgHash]: string }

/** One pass over the container: where members are, their hashes, and the bytes of the small ones as byte strings. */
async function scan(
  source: RandomSource,
  name: string,
  signal: AbortSignal,
): Promise<{
  members: readonly Placed[]
  sums: ReadonlyMap<string, Sums>
  small: ReadonlyMap<string, string>
  metadata: Placed
  image: Placed
}> {
  const container = gpkgContainer(name)
  const members: Placed[] = []
  const sums = new Map<string, Sums>()
  const small = new Map<string, string>()
  let at = 0
  let chunk: Uint8Array = new Uint8Array()
  let current:
    | { member: GpkgMember; start: number; hashes: readonly Hash[]; kept: Collector | undefined }
    | undefined
  const handler: TarHandler = {
    entry(header) {
      const member = container.add(header.path, header.type, header.size)
      const isSmall = member.role === 'manifest' || member.role === 'signature'
      current = {
        member,
        start: -1,
        hashes: HASHES.map((hash) => createHash(GPKG_HASHES[hash])),
        kept: isSmall ? collector(name, header, (text) => small.set(member.name, text)) : undefined,
      }
    },
    data(bytes) {
      if (!current) return
      if (current.start < 0) current.start = at + bytes.byteOffset - chunk.byteOffset
      for (const hash of current.hashes) hash.update(bytes)
      current.kept?.data(bytes)
    },
    close() {
      if (!current) return
      const { member, start, hashes, kept } = current
      kept?.close()
      members.push({ member, start: Math.max(0, start) })
      sums.set(
        member.name,
        Object.fromEntries(HASHES.map((hash, i) => [hash, hashes[i]?.digest('hex')])) as Sums,
      )
      current = undefined
    },
  }
  const reader = tarReader(name, handler)
  for await (chunk of chunksBetween(source, 0, source.size, signal)) {
    reader.push(chunk)
    at += chunk.length
  }
  reader.end()
  const found = container.finish()
  const placed = (member: GpkgMember) => members.find((one) => one.member === member) as Placed
  return { members, sums, small, metadata: placed(found.metadata), image: placed(found.image) }
}

const SUFFIXES: { readonly [suffix: string]: Compression } = {
  '': 'none',
  '.gz': 'gz',
  '.bz2': 'bz2',
  '.lz4': 'lz4',
  '.lz': 'lz',
  '.lzo': 'lzo',
  '.xz': 'xz',
  '.zst': 'zst',
}

/** Reads an inner archive, whose bytes must be those that were verified. */
async function readMember(
  source: RandomSource,
  name: string,
  { manifest }: VerifiedGpkg,
  { member, start }: Placed,
  handler: TarHandler,
  bytes: number,
  signal: AbortSignal,
): Promise<void> {
  const suffix = member.name.slice(member.name.indexOf('.tar') + 4)
  const kind = Object.hasOwn(SUFFIXES, suffix) ? (SUFFIXES[suffix] as Compression) : undefined
  if (kind === undefined)
    throw refuse('layout', name, 'a compression that is not of GLEP 78', { entry: member.name })
  const [hash, expected] = Object.entries(manifest.get(member.name)?.hashes ?? {})[0] as [GpkgHash, string]
  const again = createHash(GPKG_HASHES[hash])
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunksBetween(source, start, start + member.size, signal)) {
      again.update(chunk)
      yield chunk
    }
  }
  await readTar(name, decompress(hashed(), kind, { file: name, bytes }, signal), handler, { bytes })
  const actual = again.digest('hex')
  if (actual !== expected)
    throw refuse('digest', name, 'the file changed while it was read', {
      entry: member.name,
      expected,
      actual,
    })
}

/** The files `metadata/KEY`, as byte strings sorted by name. */
async function readMetadata(
  source: RandomSource,
  name: string,
  verified: VerifiedGpkg,
  signal: AbortSignal,
): Promise<{ [key: string]: string }> {
  const values = new Map<string, string>()
  let current: Collector | undefined
  const handler: TarHandler = {
    entry(header) {
      const fail = (reason: Refusal, message: string) => refuse(reason, name, message, { entry: header.path })
      const path = header.path.replace(/^\.\//, '')
      if (header.type === 'dir' && path.replace(/\/$/, '') === 'metadata') return
      if (header.type !== 'file') throw fail('bad-type', `a ${header.type} in the metadata archive`)
      if (header.path.startsWith('/')) throw fail('absolute-path', 'an absolute name in the metadata archive')
      if (path.split('/').includes('..')) throw fail('traversal', 'a name with ".." in the metadata archive')
      if (!path.startsWith('metadata/'))
        throw fail('layout', 'expected only metadata/ in the metadata archive')
      const key = path.slice('metadata/'.length)
      const problem = metadataNameProblem(key)
      if (problem !== undefined) throw fail(key.length > 255 ? 'too-long' : 'bad-name', problem)
      if (values.has(key)) throw fail('duplicate', 'twice in the metadata archive')
      current = collector(name, header, (text) => values.set(key, text))
    },
    data: (bytes) => current?.data(bytes),
    close() {
      current?.close()
      current = undefined
    },
  }
  await readMember(source, name, verified, verified.metadata, handler, MAX_METADATA, signal)
  return Object.fromEntries([...values].sort(([a], [b]) => (a < b ? -1 : 1)))
}
