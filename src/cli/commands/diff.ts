/** `stage5 diff A B`: two generations, two outputs or two locks. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { parseLock } from '../../resolve/lock-text.ts'
import { parseTree } from '../../tree/text.ts'
import type { Command } from '../command.ts'
import { compare, type Side } from '../compare.ts'
import { generationNamed } from '../generations.ts'
import { lockPath } from '../lock-file.ts'
import { readManifest } from '../manifest.ts'
import { comparisonJson, comparisonMarkdown, comparisonText } from '../render/compare.ts'
import { shownPath, type World } from '../world.ts'

const WHAT = 'a generation (www-nginx/g3), an output folder, a lock file, or a profile (its lock)'

export const diff: Command = {
  name: 'diff',
  summary: 'compare two generations or locks: packages, flags, files, users, services, kernel, sizes',
  arguments: [
    { name: '<a>', description: WHAT },
    { name: '<b>', description: 'the same' },
  ],
  options: [{ flags: '--markdown', description: 'as tables for a ticket' }],
  examples: [
    'stage5 diff www-nginx www-nginx@php',
    'stage5 diff www-nginx/g3 www-nginx/latest --markdown',
    'stage5 diff out/www-nginx_1_amd64 out/www-nginx',
  ],
  run: async (world, words) => {
    const [before, after] = await Promise.all(words.arguments.map((word) => readSide(world, word)))
    if (!before || !after) throw new Stage5Error('S5_USAGE', 'diff compares two things')
    const found = await compare(before, after, await world.store())
    return {
      data: comparisonJson(found),
      text: words.options['markdown'] === true ? comparisonMarkdown(found) : comparisonText(found),
    }
  },
}

async function readSide(world: World, word: string): Promise<Side> {
  const path = resolve(world.directory, word)
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory()) return await readBuild(path, word)
  const generation = found ? undefined : await generationNamed(world, word)
  if (generation) return await readBuild(generation.directory, `${generation.line}/${generation.name}`)
  const file = found?.isFile() ? path : lockPath(world, word)
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text !== undefined) return { name: word, lock: parseLock(text, shownPath(file)) }
  throw new Stage5Error(
    'S5_LOCK_MISSING',
    `${JSON.stringify(word)} is no output folder and no generation, and there is no ${shownPath(file)}`,
    { hint: `stage5 lock ${word}` },
  )
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
