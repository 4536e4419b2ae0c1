/** `stage5 config pack DIR` and `stage5 config seed FILE`: what guests fetch at their start, and what tells them apart. */
import { writeFile } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { type Command, type Result, textOption, type Words } from '../command.ts'
import { configSuccessor, seedArchive, seedDisk, writeSigned } from '../config-pack.ts'
import { privateKeyOf } from '../keys.ts'
import { readNamed } from '../named-file.ts'
import { mebibytes } from '../render/progress.ts'
import { shownPath, type World } from '../world.ts'

export const config: Command = {
  name: 'config',
  summary: 'sign a config package that guests fetch and apply (pack), or write the seed of one guest (seed)',
  arguments: [
    { name: '<action>', description: 'pack or seed' },
    {
      name: '<path>',
      description: 'pack: a folder with root/ (files) and apply (a script); seed: a file with words',
    },
  ],
  options: [
    { flags: '--key <name>', description: 'pack: key to sign with, made by `stage5 key new NAME`' },
    {
      flags: '-o, --out <file>',
      description: 'what to write (default: NAME.tar.gz with NAME.tar.gz.sig; NAME.cpio)',
    },
    {
      flags: '--sequence <number>',
      description:
        'pack: guests take no lower number than one that they applied (default: that of the file there, one more when the contents changed)',
    },
    {
      flags: '--disk',
      description: 'seed: an image for a disk with the serial "seed", not a part of an initrd',
    },
  ],
  examples: [
    'stage5 config pack site --key release --out www/site.tar.gz',
    'stage5 config pack site --key release --sequence $(date +%s) --out www/site.tar.gz',
    'stage5 config seed guest7.seed --out guest7.cpio',
  ],
  run: async (world, words) => {
    const [action = '', path = ''] = words.arguments
    if (action === 'pack') return await pack(world, words, path)
    if (action === 'seed') return await seed(world, words, path)
    throw new Stage5Error('S5_USAGE', `config expects pack or seed, found ${JSON.stringify(action)}`, {
      hint: 'stage5 config --help',
    })
  },
}

async function pack(world: World, words: Words, path: string): Promise<Result> {
  const name = textOption(words, 'key')
  if (name === undefined)
    throw new Stage5Error('S5_USAGE', 'config pack needs --key: guests apply nothing that is not signed', {
      hint: 'stage5 key new NAME',
    })
  const key = await privateKeyOf(world, name)
  const folder = resolve(world.directory, path)
  const file = resolve(world.directory, textOption(words, 'out') ?? `${basename(folder)}.tar.gz`)
  const { bytes, sequence } = await configSuccessor(folder, date(), file, sequenceOption(words))
  await writeSigned(file, bytes, key)
  return {
    data: {
      file: shownPath(file),
      signature: `${shownPath(file)}.sig`,
      size: bytes.length,
      sequence,
      keyid: key.keyid,
    },
    text: `${shownPath(file)} ${mebibytes(bytes.length)}, number ${sequence}, signed by ${key.keyid.slice(0, 16)}\n`,
  }
}

function sequenceOption(words: Words): number | undefined {
  const text = textOption(words, 'sequence')
  if (text === undefined || /^\d{1,15}$/.test(text)) return text === undefined ? undefined : Number(text)
  throw new Stage5Error('S5_USAGE', `--sequence expects a number, found ${JSON.stringify(text)}`, {
    hint: 'stage5 config --help',
  })
}

async function seed(world: World, words: Words, path: string): Promise<Result> {
  const from = resolve(world.directory, path)
  const text = (await readNamed(from)).toString()
  const isDisk = words.options['disk'] === true
  const bytes = isDisk ? seedDisk(text) : seedArchive(text, date())
  const ending = isDisk ? '.img' : '.cpio'
  const file = resolve(
    world.directory,
    textOption(words, 'out') ?? `${basename(path).replace(/\.seed$/, '')}${ending}`,
  )
  await writeFile(file, bytes)
  return { data: { file: shownPath(file), size: bytes.length }, text: `${shownPath(file)}\n` }
}

function date(): number {
  return Number(process.env['SOURCE_DATE_EPOCH'] ?? 0)
}
