/** Images as arguments of a command: a file, or the base of a build; with the layout beside it. */
import { type FileHandle, readFile, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { layoutOfSquashfs, type ReadableImage } from '../emit/delta.ts'
import { type Layout, parseLayout } from '../format/delta.ts'
import { generationNamed, generationsOf } from './generations.ts'
import { meansFolder, readManifest } from './manifest.ts'
import { openNamed } from './named-file.ts'
import { shownPath, type World } from './world.ts'

interface OpenImage extends ReadableImage, AsyncDisposable {
  readonly path: string
}

/**
 * @param word a file, an output folder or a generation
 * @throws S5_FILE_MISSING, S5_OUTPUT_MISSING, S5_GENERATION_UNKNOWN
 */
export async function openImage(world: World, word: string): Promise<OpenImage> {
  const given = resolve(world.directory, word)
  if (await meansFolder(world, word)) return await openPlain(await baseOf(given))
  const isFile = (await stat(given).catch(() => undefined))?.isFile() === true
  const known = isFile ? [] : await generationsOf(world, word)
  const generation = isFile ? undefined : (known.at(-1) ?? (await generationNamed(world, word)))
  return await openPlain(generation ? await baseOf(generation.directory) : given)
}

/** @throws S5_FILE_MISSING */
export async function openPlain(path: string): Promise<OpenImage> {
  const file = await openNamed(path)
  const { size } = await file.stat()
  const read = (offset: number, length: number): Promise<Uint8Array> => readPart(file, offset, length)
  return { path, name: shownPath(path), size, read, [Symbol.asyncDispose]: () => file.close() }
}

async function baseOf(directory: string): Promise<string> {
  const { base } = (await readManifest(directory)).boot
  if (base === undefined)
    throw new Stage5Error('S5_OUTPUT_MISSING', `${shownPath(directory)} has no base image`)
  return join(directory, base)
}

/** Fewer bytes at the end of the file. */
async function readPart(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafe(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, offset + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return bytes.subarray(0, done)
}

/**
 * The layout that was published with the image; without one that fits, the image is read.
 * @throws S5_ARCHIVE_REFUSED
 */
export async function layoutBeside(image: OpenImage): Promise<Layout> {
  const path = image.path.replace(/\.squashfs$/, '.layout')
  const text = path === image.path ? undefined : await readFile(path, 'utf8').catch(() => undefined)
  const layout = text === undefined ? undefined : parseLayout(text, shownPath(path))
  if (layout?.size === image.size && layout.name === basename(image.path)) return layout
  await mustBeSquashfs(image)
  return await layoutOfSquashfs(image)
}

/** Files whose runs have no layout: what they are, where their magic stands. */
const OTHERS: readonly (readonly [what: string, offset: number, magic: string])[] = [
  ['an erofs image', 1024, 'e2e1f5e0'],
  ['a verity tree', 0, '7665726974790000'],
  ['a qcow2 disk', 0, '514649fb'],
]

async function mustBeSquashfs(image: OpenImage): Promise<void> {
  for (const [what, offset, magic] of OTHERS) {
    const bytes = Buffer.from(await image.read(offset, magic.length / 2))
    if (bytes.toString('hex') !== magic) continue
    const message = `${image.name}: magic: expected a squashfs image, found ${what}`
    const hint = 'deltas are made of squashfs images, which lie in the order of packages; send this one whole'
    throw new Stage5Error('S5_ARCHIVE_REFUSED', message, {
      hint,
      data: { file: image.path, reason: 'magic' },
    })
  }
}
