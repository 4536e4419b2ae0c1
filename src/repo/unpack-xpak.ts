/** Gentoo packages of the older form: the image as a compressed tar, and the xpak segment with its metadata behind it. */
import { refuse } from '../base/errors.ts'
import { MAX_XPAK, parseXpak, XPAK_TAIL, xpakSegment } from '../format/xpak.ts'
import { compressionOf, decompress } from '../host/decompress.ts'
import type { Bodies } from '../tree/bodies.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import { checkTrust, type Trust } from './package-trust.ts'
import { chunksBetween, type RandomSource, withSource } from './source.ts'
import { imageLimit, type NativeOptions, readTar, refusing } from './unpack.ts'
import { checkBuildInfo, type ExpectedBuild } from './unpack-metadata.ts'
import { treeBuilder } from './unpack-tree.ts'

export interface GentooOptions extends NativeOptions {
  readonly expect?: ExpectedBuild
  /** Without it no signature is looked at. */
  readonly trust?: Trust
}

/**
 * Unpack an `.xpak` or `.tbz2`. The caller has checked the digest of the file.
 * @throws S5_ARCHIVE_REFUSED with the reason in `data.reason`; S5_SIGNATURE_BAD `unsigned` where signatures are required,
 *   because this form has none; S5_FILE_MISSING, S5_TOOL_MISSING, S5_TOOL_FAILED
 */
export function unpackXpak(file: string, bodies: Bodies, options: GentooOptions): Promise<Unpacked> {
  return withSource(file, options.label, (source) => unpackXpakFrom(source, bodies, options))
}

/** The same as `unpackXpak`, from bytes that come from anywhere. */
export function unpackXpakFrom(
  source: RandomSource,
  bodies: Bodies,
  options: GentooOptions,
): Promise<Unpacked> {
  return refusing(source, options, async (name) => {
    const { signal } = options
    if (options.trust) checkTrust(options.trust, false, name)
    const { start, values } = await readXpak(source, name)
    checkBuildInfo(name, values, options.expect)
    const bytes = imageLimit(start)
    const kind = compressionOf(await source.read(0, Math.min(9, start)))
    if (kind === 'lzma') throw refuse('magic', name, 'an image that is compressed with lzma')
    const builder = treeBuilder(name, options.label, bodies)
    try {
      const image = chunksBetween(source, 0, start, signal)
      await readTar(name, decompress(image, kind, { file: name, bytes }, signal), builder, { bytes })
    } catch (error) {
      builder.abort()
      throw error
    }
    return { tree: builder.tree(), control: values }
  })
}

/**
 * The metadata of an xpak as byte strings sorted by name, and where the segment begins.
 * @throws S5_ARCHIVE_REFUSED
 */
export async function readXpak(
  source: RandomSource,
  name: string,
): Promise<{ start: number; values: { [name: string]: string } }> {
  const tail = await source.read(Math.max(0, source.size - XPAK_TAIL), XPAK_TAIL)
  const segment = xpakSegment(name, tail, source.size)
  if (!segment) throw await noSegment(source, name)
  const bytes = await source.read(segment.start, Math.min(segment.length, MAX_XPAK))
  const values = [...parseXpak(name, bytes)]
    .map(([key, value]) => [key, Buffer.from(value).toString('latin1')] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return { start: segment.start, values: Object.fromEntries(values) }
}

/** A file that begins like a package was cut; anything else never was one. */
async function noSegment(source: RandomSource, name: string): Promise<Error> {
  const head = Buffer.from(await source.read(0, 512))
  const isTar = head.toString('latin1', 257, 262) === 'ustar'
  if (source.size === 0) return refuse('truncated', name, 'the file is empty')
  if (isTar || compressionOf(head) !== 'none')
    return refuse('truncated', name, 'there is no xpak segment at the end of the file')
  const found = JSON.stringify(head.toString('latin1', 0, 16))
  return refuse('magic', name, `expected a Gentoo package, found ${found}`)
}
