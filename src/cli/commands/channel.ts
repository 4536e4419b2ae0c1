/** `stage5 channel LINE`: which published generation the guests of a line go to, who first, and when. */
import { digestOf, hexOf } from '../../base/digest.ts'
import { Stage5Error } from '../../base/errors.ts'
import type { Place } from '../../deploy/place.ts'
import {
  type Channel,
  channelWaves,
  type ChannelWave,
  DEFAULT_PERCENTS,
  type PublishedGeneration,
} from '../../fleet/channel.ts'
import { targetPath, type Trusted } from '../../fleet/metadata-client.ts'
import { LIFETIMES, nextMetadata } from '../../fleet/publication.ts'
import type { Group } from '../../resolve/group.ts'
import { now } from '../../host/clock.ts'
import { type Command, textOption, type Words } from '../command.ts'
import { loadGroups } from '../groups.ts'
import { bytesOf, channelOf, documentsOf } from '../publish.ts'
import { parseSeconds } from '../quantities.ts'
import { openPlace, published, putMetadata, signersOf } from '../trust.ts'
import { lifetimesOf, PLACE, VALID } from '../trust-options.ts'
import type { World } from '../world.ts'

export const channel: Command = {
  name: 'channel',
  summary: 'point the guests of a line to a published generation, in waves by share and time; or pause them',
  arguments: [{ name: '<generation>', description: 'LINE (its newest that is published), or LINE/g3' }],
  options: [
    PLACE,
    {
      flags: '--wave <share>',
      description:
        'PERCENT@TIME: from TIME (0s, 6h) after now, so many percent; repeatable (default: everyone now)',
      many: true,
    },
    { flags: '--group <name>', description: 'waves, soak time and `require: booted` as this group says' },
    { flags: '--groups <dir>', description: 'folder of the groups (default: groups)' },
    { flags: '--floor <n>', description: 'no guest goes below this number any more' },
    { flags: '--pause', description: 'nobody moves until the channel is set again' },
    {
      flags: '--online <key>',
      description: 'key that signs channels, snapshot and timestamp (default: online)',
    },
    VALID,
  ],
  examples: [
    'stage5 channel www-nginx --to site',
    'stage5 channel www-nginx/g7 --to site --wave 1@0s --wave 25@6h --wave 100@24h',
    'stage5 channel www-nginx --to site --group www',
    'stage5 channel www-nginx --to site --pause',
  ],
  run: async (world, words) => {
    const [text = ''] = words.arguments
    const [line = '', wanted] = text.split('/')
    const seconds = Math.floor(now() / 1000)
    const group = await groupNamed(world, words, line)
    const waves = wavesOf(words, group, seconds)
    const online = await signersOf(world, [textOption(words, 'online') ?? 'online'])
    await using place = await openPlace(world, textOption(words, 'to'))
    const trusted = await published(world, place)
    const known = await documentsOf(place, trusted, line)
    const before = await channelOf(place, trusted, line)
    const isPause = words.options['pause'] === true
    const head = chosen(known, line, isPause ? before?.head : wanted, place)
    if (group?.require === 'booted' && !head.booted)
      throw new Stage5Error(
        'S5_PUBLISH_REFUSED',
        `group ${group.name} takes only what booted, and ${line}/${head.name} was published without a signed boot record`,
        { hint: `stage5 test ${line} --key KEY, then stage5 publish ${line}`, data: { group: group.name } },
      )
    const floor = floorOf(words, before, head)
    const next: Channel = {
      ...{ stage5: 1, line, head: head.name, seq: head.seq, floor, paused: isPause, issued: seconds },
      previous: before === undefined ? '' : before.head === head.name ? before.previous : before.head,
      rollout: isPause && before ? before.rollout : `${line}-${head.seq}-${seconds}`,
      waves: isPause && before ? before.waves : waves,
    }
    await putChannel(place, trusted, next, { online, seconds, words })
    await place.commit(world.signal)
    return {
      data: { place: place.name, channel: next as never },
      text: `${line} at ${place.name}: ${next.head}${isPause ? ', paused' : `, ${waves.map(shownWave).join(', ')}`}\n`,
    }

    function shownWave({ ppm, after }: ChannelWave): string {
      return `${ppm / 10_000} % ${after <= seconds ? 'now' : `in ${after - seconds} s`}`
    }
  },
}

async function putChannel(
  place: Place,
  trusted: Trusted,
  next: Channel,
  {
    online,
    seconds,
    words,
  }: { online: Awaited<ReturnType<typeof signersOf>>; seconds: number; words: Words },
): Promise<void> {
  const bytes = bytesOf(next)
  const path = `channels/${next.line}.json`
  const target = { length: bytes.length, hashes: { sha256: hexOf(digestOf(bytes)) } }
  const channels = { ...trusted.channels?.targets, [path]: target }
  const made = nextMetadata(
    trusted,
    { channels },
    { online, release: [] },
    seconds,
    lifetimesOf(words, LIFETIMES),
  )
  await place.put(targetPath(path, target), bytes)
  await putMetadata(place, made)
}

function chosen(
  known: readonly PublishedGeneration[],
  line: string,
  wanted: string | undefined,
  place: Place,
): PublishedGeneration {
  const found =
    wanted === undefined
      ? known.slice(0, 1)
      : known.filter(
          ({ seq, name }) =>
            wanted === `g${seq}` ||
            wanted === String(seq) ||
            (/^g\d+-/.test(wanted) && name.startsWith(wanted)),
        )
  const [one] = found
  if (one) return one
  const names = known.map(({ name }) => name).join(', ')
  throw new Stage5Error(
    'S5_GENERATION_UNKNOWN',
    `${place.name} has no generation ${line}${wanted === undefined ? '' : `/${wanted}`}; ${names === '' ? 'none of this line is published' : `published: ${names}`}`,
    { hint: `stage5 publish ${line} --to …` },
  )
}

function floorOf(words: Words, before: Channel | undefined, head: PublishedGeneration): number {
  const text = textOption(words, 'floor') ?? String(before?.floor ?? 0)
  const floor = /^\d{1,9}$/.test(text) ? Number(text) : -1
  if (floor < (before?.floor ?? 0) || floor > head.seq)
    throw new Stage5Error(
      'S5_PUBLISH_REFUSED',
      `expected a floor from ${before?.floor ?? 0} (as it is) to ${head.seq} (${head.name}), found ${text}`,
      { hint: 'a floor is never lowered: guests would refuse what is below it' },
    )
  return floor
}

async function groupNamed(world: World, words: Words, line: string): Promise<Group | undefined> {
  const name = textOption(words, 'group')
  if (name === undefined) return undefined
  const groups = await loadGroups(world, textOption(words, 'groups'))
  const group = groups.find((each) => each.name === name)
  if (!group) throw new Stage5Error('S5_GROUP_UNKNOWN', `there is no group ${JSON.stringify(name)}`)
  if (group.line !== line && group.line.replace('@', '-') !== line)
    throw new Stage5Error('S5_USAGE', `group ${name} runs ${group.line}, not ${line}`)
  return group
}

function wavesOf(words: Words, group: Group | undefined, seconds: number): readonly ChannelWave[] {
  const given = words.options['wave']
  const list = Array.isArray(given) ? (given as readonly string[]) : []
  if (list.length > 0)
    return list.map((text) => {
      const [, percent, time] = /^(\d{1,3}(?:\.\d{1,4})?)%?@(\S+)$/.exec(text) ?? []
      if (percent === undefined || time === undefined || Number(percent) > 100)
        throw new Stage5Error(
          'S5_USAGE',
          `--wave expects PERCENT@TIME such as 25@6h, found ${JSON.stringify(text)}`,
        )
      const after = /^0[smh]?$/.test(time) ? 0 : parseSeconds('--wave', time)
      return { ppm: Math.round(Number(percent) * 10_000), after: seconds + after }
    })
  if (!group) return channelWaves([100], seconds, 0)
  const counted = group.waves.find((wave) => 'count' in wave)
  if (counted)
    throw new Stage5Error(
      'S5_USAGE',
      `group ${group.name} counts the guests of a wave, and who follows a channel is not counted`,
      { hint: 'say its waves in percent, or give --wave' },
    )
  const shares = group.waves.flatMap((wave) => ('percent' in wave ? [wave.percent] : []))
  return channelWaves(shares.length > 0 ? shares : DEFAULT_PERCENTS, seconds, group.soakSeconds)
}
