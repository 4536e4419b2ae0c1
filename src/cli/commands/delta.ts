/** `stage5 delta OLD NEW` and `stage5 patch OLD DELTA`: what changed between two images, to send and to apply. */
import { rename, rm } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { applyDelta, writeDelta } from '../../emit/delta.ts'
import type { Sink } from '../../emit/emitter.ts'
import { diskError } from '../../host/disk.ts'
import { openFileSink } from '../../host/file-sink.ts'
import { type Command, textOption, type Words } from '../command.ts'
import { layoutBeside, openImage, openPlain } from '../images.ts'
import { mebibytes } from '../render/progress.ts'
import { shownPath } from '../world.ts'

const IMAGE = 'a squashfs image, a generation (a line means its newest), or an output folder'

export const delta: Command = {
  name: 'delta',
  summary: 'write what changed between two images: the blocks that the old one does not have',
  arguments: [
    { name: '<old>', description: IMAGE },
    { name: '<new>', description: IMAGE },
  ],
  options: [{ flags: '-o, --out <file>', description: 'default: NAME.delta, after the new image' }],
  examples: [
    'stage5 delta www-nginx/g3 www-nginx/latest',
    'stage5 delta out/www-nginx_1_amd64 out/www-nginx -o www-nginx_1-2.delta',
  ],
  run: async (world, words) => {
    const [oldWord, newWord] = twoWords(words, 'delta')
    await using old = await openImage(world, oldWord)
    await using fresh = await openImage(world, newWord)
    const name = `${basename(fresh.path).replace(/\.squashfs$/, '')}.delta`
    const path = resolve(world.directory, textOption(words, 'out') ?? name)
    const [before, after] = [await layoutBeside(old), await layoutBeside(fresh)]
    const written = await intoFile(path, (sink) => writeDelta(before, after, fresh, sink, world.signal))
    const { size, copied, blocks, tables } = written
    return {
      data: { file: path, size, copied, blocks, tables, old: before.digest, new: after.digest },
      text: `${shownPath(path)}: ${mebibytes(size)} (${mebibytes(blocks)} of blocks, ${mebibytes(tables)} of tables) instead of ${mebibytes(after.size)}\n`,
    }
  },
}

export const patch: Command = {
  name: 'patch',
  summary: 'make the new image from the old one and a delta, and prove it',
  arguments: [
    { name: '<old>', description: IMAGE },
    { name: '<delta>', description: 'what `stage5 delta` wrote' },
  ],
  options: [{ flags: '-o, --out <file>', description: 'the new image' }],
  examples: ['stage5 patch www-nginx_1.squashfs www-nginx_1-2.delta -o www-nginx_2.squashfs'],
  run: async (world, words) => {
    const [oldWord, deltaWord] = twoWords(words, 'patch')
    const output = textOption(words, 'out')
    if (output === undefined)
      throw new Stage5Error('S5_USAGE', 'patch needs the name of the new image: -o FILE')
    await using old = await openImage(world, oldWord)
    await using file = await openPlain(resolve(world.directory, deltaWord))
    const path = resolve(world.directory, output)
    const made = await intoFile(path, (sink) => applyDelta(old, file, sink, world.signal))
    return {
      data: { file: path, ...made },
      text: `${shownPath(path)}: ${mebibytes(made.size)} ${made.digest}\n`,
    }
  },
}

function twoWords({ arguments: words }: Words, command: string): [string, string] {
  const [first, second] = words
  if (first === undefined || second === undefined)
    throw new Stage5Error('S5_USAGE', `${command} takes two names`)
  return [first, second]
}

/** The file appears whole under its name, or not at all. */
async function intoFile<T>(path: string, fill: (sink: Pick<Sink, 'write'>) => Promise<T>): Promise<T> {
  const fresh = `${path}.${process.pid}.tmp`
  try {
    await using sink = await openFileSink(fresh)
    const made = await fill(sink)
    await sink.finish()
    await rename(fresh, path)
    return made
  } catch (error) {
    await rm(fresh, { force: true }).catch(() => {})
    throw diskError(error, shownPath(path))
  }
}
