/** The sides of a comparison, read: an output folder, a generation, or a lock. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { parseLock } from '../resolve/lock-text.ts'
import { parseTree } from '../tree/text.ts'
import type { Side } from './compare.ts'
import { type Generation, generationNamed } from './generations.ts'
import { lockPath } from './lock-file.ts'
import { meansFolder, readManifest } from './manifest.ts'
import { shownPath, type World } from './world.ts'

/** @throws S5_LOCK_MISSING when the word names nothing, S5_GENERATION_UNKNOWN, S5_OUTPUT_MISSING */
export async function readSide(world: World, word: string): Promise<Side> {
  const path = resolve(world.directory, word)
  if (await meansFolder(world, word)) return await readBuild(path, word)
  const isFile = (await stat(path).catch(() => undefined))?.isFile() === true
  const generation = isFile ? undefined : await generationNamed(world, word)
  if (generation) return await generationSide(generation)
  const file = isFile ? path : lockPath(world, word)
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text !== undefined) return { name: word, lock: parseLock(text, shownPath(file)) }
  throw new Stage5Error(
    'S5_LOCK_MISSING',
    `${JSON.stringify(word)} is no output folder and no generation, and there is no ${shownPath(file)}`,
    { hint: `stage5 lock ${word}` },
  )
}

/** @throws S5_OUTPUT_MISSING when its output folder is gone */
export async function generationSide({ directory, line, name }: Generation): Promise<Side> {
  return await readBuild(directory, `${line}/${name}`)
}

async function readBuild(directory: string, name: string): Promise<Side> {
  const manifest = await readManifest(directory)
  const names = await readdir(directory)
  const read = async (end: string): Promise<string> => {
    const file = names.find((each) => each.endsWith(end))
    if (file === undefined)
      throw new Stage5Error('S5_OUTPUT_MISSING', `${shownPath(directory)} has no *${end}`)
    return await readFile(join(directory, file), 'utf8')
  }
  const lock = parseLock(await read('.lock.yaml'), shownPath(directory))
  const tree = parseTree(await read('.contents.txt'))
  return { name, lock, build: { tree, manifest } }
}
