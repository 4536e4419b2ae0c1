/** `stage5 publish LINE[/GENERATION] --to PLACE`: images, deltas, sums and signed metadata where guests find them. */
import { Stage5Error } from '../../base/errors.ts'
import { LIFETIMES } from '../../fleet/publication.ts'
import { now } from '../../host/clock.ts'
import { type Command, textOption, type Words } from '../command.ts'
import { findGeneration, generationsOf } from '../generations.ts'
import { privateKeyOf } from '../keys.ts'
import { publishGeneration } from '../publish.ts'
import { mebibytes } from '../render/progress.ts'
import { openPlace, signersOf } from '../trust.ts'
import { lifetimesOf, PLACE, VALID } from '../trust-options.ts'

export const publish: Command = {
  name: 'publish',
  summary: 'put a generation where guests fetch it: images, deltas, sums and signed metadata',
  arguments: [{ name: '<generation>', description: 'a line (its newest), LINE/g3, or an output folder' }],
  options: [
    PLACE,
    { flags: '--release <key>', description: 'key that signs generations (default: release)' },
    {
      flags: '--online <key>',
      description: 'key that signs snapshot, timestamp and channels (default: online)',
    },
    { flags: '--deltas <n>', description: 'deltas from so many of the generations before (default: 5)' },
    { flags: '--keep <n>', description: 'so many generations of the line stay (default: 5)' },
    { flags: '--require <what>', description: 'booted: only what `stage5 test` signed for' },
    VALID,
  ],
  examples: [
    'stage5 publish www-nginx --to site',
    'stage5 publish www-nginx/g7 --to site --require booted --deltas 3',
    'stage5 publish www-nginx --to oci://127.0.0.1:5000/www',
  ],
  run: async (world, words) => {
    const [text = ''] = words.arguments
    const require = textOption(words, 'require') ?? 'built'
    if (require !== 'booted' && require !== 'built')
      throw new Stage5Error('S5_USAGE', `--require expects booted, found ${JSON.stringify(require)}`)
    const one = await findGeneration(world, text)
    const earlier = await generationsOf(world, one.line)
    const [release, online] = [
      textOption(words, 'release') ?? 'release',
      textOption(words, 'online') ?? 'online',
    ]
    const options = {
      ...{ deltas: count(words, 'deltas', 5, 0), keep: count(words, 'keep', 5, 1) },
      ...{ requireBooted: require === 'booted', lifetimes: lifetimesOf(words, LIFETIMES) },
      ...{ release: await privateKeyOf(world, release), now: Math.floor(now() / 1000) },
      signers: { release: await signersOf(world, [release]), online: await signersOf(world, [online]) },
    }
    await using place = await openPlace(world, textOption(words, 'to'))
    const { generation, sent, removed } = await publishGeneration(world, place, one, earlier, options)
    const deltas = generation.deltas
      .map(({ from, size }) => `  delta from ${from}: ${mebibytes(size)}\n`)
      .join('')
    const gone = removed.length === 0 ? '' : `  ${removed.length} files of older ones removed\n`
    return {
      data: { place: place.name, sent, removed: [...removed], generation: { ...generation } as never },
      text: `${one.line}/${one.name} at ${place.name}: ${mebibytes(sent)} sent\n${deltas}${gone}`,
    }
  },
}

function count(words: Words, name: string, usual: number, least: number): number {
  const text = textOption(words, name)
  if (text === undefined) return usual
  if (/^\d{1,4}$/.test(text) && Number(text) >= least) return Number(text)
  throw new Stage5Error(
    'S5_USAGE',
    `--${name} expects a number of ${least} or more, found ${JSON.stringify(text)}`,
  )
}
