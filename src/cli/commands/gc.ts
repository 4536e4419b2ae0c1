/** `stage5 gc`: frees what no lock, output, root or pinned generation needs and nobody used for some time. */
import type { Digest } from '../../base/digest.ts'
import { Stage5Error } from '../../base/errors.ts'
import { type Command, textOption, type Words } from '../command.ts'
import { type Download, listDownloads, removeDownloads } from '../downloads.ts'
import { holders } from '../kept.ts'
import { knownLocks, packagesOf } from '../known-locks.ts'
import { parseBytes, parseSeconds } from '../quantities.ts'
import { mebibytes } from '../render/progress.ts'

const DAY_MS = 86_400_000
const KEEP_DAYS = 30

export const gc: Command = {
  name: 'gc',
  summary: 'free what no lock, output, root or pinned generation needs and was not used for some time',
  arguments: [],
  options: [
    {
      flags: '--keep-days <n>',
      description: `what was used in the last days stays anyway (default: ${KEEP_DAYS})`,
    },
    {
      flags: '--max-size <size>',
      description: 'free also newer things, longest unused first, until the store has this size, such as 20G',
    },
    { flags: '--dry-run', description: 'only say what would be freed' },
    { flags: '--wait <time>', description: 'how long to wait for other stage5 processes (default: 10s)' },
  ],
  examples: ['stage5 gc --dry-run', 'stage5 gc --keep-days 7 --max-size 20G'],
  run: async (world, words) => {
    const maxIdleMs = keepDays(words) * DAY_MS
    const wait = textOption(words, 'wait')
    const maxSize = textOption(words, 'maxSize')
    const maxBytes = maxSize === undefined ? undefined : parseBytes('--max-size', maxSize)
    const dryRun = words.options['dryRun'] === true
    const store = await world.store()
    const held = await holders(store)
    const gone = held.filter(({ isGone }) => isGone).map(({ ref }) => ref)
    const locks = await knownLocks(world)
    const wanted = new Set<Digest>(locks.flatMap(({ lock }) => lock.packages.map(({ sha256 }) => sha256)))
    const downloads = listDownloads(store.downloads, wanted)
    const { objectBytes, recordBytes, blockBytes } = store.stats()
    const all = sizeOf(downloads) + objectBytes + recordBytes + blockBytes
    const excess = maxBytes === undefined ? 0 : all - maxBytes
    const dropped = chooseDownloads(downloads, maxIdleMs, excess)
    const rest = sizeOf(downloads) - sizeOf(dropped)
    const { objects, bytes } = await store.collect(
      {
        keep: packagesOf(locks),
        without: new Set(gone),
        maxIdleMs,
        ...(maxBytes === undefined ? {} : { maxBytes: Math.max(0, maxBytes - rest) }),
        dryRun,
        waitMs: wait === undefined ? 10_000 : parseSeconds('--wait', wait) * 1000,
        alone: () => {
          if (!dryRun) removeDownloads(dropped)
        },
      },
      world.signal,
    )
    if (!dryRun) for (const ref of gone) await store.setRef(ref, undefined)
    const count = (holder: string): number =>
      held.filter((one) => one.holder === holder && !one.isGone).length
    const kept = {
      projects: count('project'),
      locks: locks.length,
      outputs: count('output'),
      roots: count('root'),
      pins: count('pin'),
    }
    const freed = { objects, bytes, downloads: dropped.length, downloadBytes: sizeOf(dropped) }
    const left = all - bytes - freed.downloadBytes
    const isOver = maxBytes !== undefined && left > maxBytes
    return {
      data: { dryRun, freed, left, kept, gone },
      text:
        `${dryRun ? 'would free' : 'freed'} ${mebibytes(bytes)} of objects and records, ` +
        `${mebibytes(freed.downloadBytes)} of downloads\n` +
        (isOver ? `${mebibytes(left)} are left, more than --max-size: all of it is needed\n` : '') +
        `kept for ${kept.locks} locks of ${kept.projects} projects, ${kept.outputs} outputs, ` +
        `${kept.roots} roots${kept.pins > 0 ? `, ${kept.pins} pins` : ''}\n`,
    }
  },
}

function keepDays(words: Words): number {
  const text = textOption(words, 'keepDays') ?? String(KEEP_DAYS)
  if (!/^\d{1,5}$/.test(text))
    throw new Stage5Error('S5_USAGE', `--keep-days expects a number of days, found ${JSON.stringify(text)}`)
  return Number(text)
}

/** Downloads that no lock names: those unused for too long, and others, oldest first, while there is an excess. */
function chooseDownloads(
  downloads: readonly Download[],
  maxIdleMs: number,
  excess: number,
): readonly Download[] {
  let over = excess
  return downloads.filter(({ isWanted, idleMs, size }) => {
    if (isWanted || (idleMs < maxIdleMs && over <= 0)) return false
    over -= size
    return true
  })
}

function sizeOf(downloads: readonly Download[]): number {
  return downloads.reduce((sum, { size }) => sum + size, 0)
}
