/** `stage5 generations [LINE]`, `pin`, `unpin`, `prune`: what builds made, and how long it stays. */
import { Stage5Error } from '../../base/errors.ts'
import type { Json } from '../../base/json.ts'
import { type Command, type Result, textOption, type Words } from '../command.ts'
import {
  findGeneration,
  type Generation,
  generationsOf,
  isGone,
  pinGeneration,
  pruneGenerations,
} from '../generations.ts'
import { readManifest } from '../manifest.ts'
import { mebibytes } from '../render/progress.ts'
import { shownPath, type World } from '../world.ts'

const KEEP = 5
const DAY_SECONDS = 86_400

export const generations: Command = {
  name: 'generations',
  summary: 'list what builds made; pin what must stay, prune what need not',
  arguments: [
    { name: '[action]', description: 'a line (a profile) to list, or pin, unpin, prune' },
    { name: '[what...]', description: 'generations to pin or unpin; lines to prune (default: all)' },
  ],
  options: [
    {
      flags: '--keep <n>',
      description: `prune: so many of each line stay (default: ${KEEP}, with --keep-days 1)`,
    },
    { flags: '--keep-days <n>', description: 'prune: what was built in the last days stays too' },
    { flags: '--dry-run', description: 'prune: only say what would go' },
  ],
  examples: [
    'stage5 generations www-nginx',
    'stage5 generations pin www-nginx/g3',
    'stage5 generations prune --keep 3 --keep-days 14',
  ],
  run: async (world, words) => {
    const [action, ...what] = words.arguments
    if (action === 'pin' || action === 'unpin') return await pin(world, what, action === 'pin')
    if (action === 'prune') return await prune(world, what, words)
    if (what.length > 0)
      throw new Stage5Error(
        'S5_USAGE',
        `generations expects pin, unpin, prune or one line, found ${JSON.stringify(action)}`,
        { hint: 'stage5 generations --help' },
      )
    return await list(world, action)
  },
}

async function list(world: World, line: string | undefined): Promise<Result> {
  const found = await generationsOf(world, line)
  // Says which lines there are.
  if (line !== undefined && found.length === 0) await findGeneration(world, line)
  const rows = await Promise.all(found.map((one) => rowOf(one, found)))
  return {
    data: rows.map(({ data }) => data),
    text: rows.length === 0 ? 'nothing was built yet: stage5 build PROFILE\n' : tableOf(rows),
  }
}

interface Row {
  readonly cells: readonly string[]
  readonly data: Json
}

async function rowOf(one: Generation, all: readonly Generation[]): Promise<Row> {
  const isHead = !all.some(({ line, seq }) => line === one.line && seq > one.seq)
  const gone = await isGone(one)
  const size = gone ? 0 : (await readManifest(one.directory)).files.reduce((sum, file) => sum + file.size, 0)
  const { booted } = one
  const notes = [
    ...(isHead ? ['head'] : []),
    ...(one.pinned ? ['pinned'] : []),
    ...(booted ? [booted.ok ? 'booted' : 'not known to boot'] : []),
    ...(gone ? ['folder is gone'] : []),
  ]
  const date = new Date(one.date * 1000).toISOString()
  return {
    cells: [
      `${one.line}/${one.name}`,
      one.version,
      `${date.slice(0, 10)} ${date.slice(11, 16)}`,
      gone ? '-' : mebibytes(size),
      notes.join(', '),
    ],
    data: { ...one, isHead, isGone: gone, size } as unknown as Json,
  }
}

function tableOf(rows: readonly Row[]): string {
  const widths = (rows[0] as Row).cells.map((_, at) =>
    Math.max(...rows.map(({ cells }) => (cells[at] as string).length)),
  )
  return rows
    .map(({ cells }) => `${cells.map((cell, at) => cell.padEnd(widths[at] as number)).join('  ')}`)
    .map((line) => `${line.trimEnd()}\n`)
    .join('')
}

async function pin(world: World, what: readonly string[], pinned: boolean): Promise<Result> {
  if (what.length === 0)
    throw new Stage5Error('S5_USAGE', `${pinned ? 'pin' : 'unpin'} needs a generation`, {
      hint: 'stage5 generations',
    })
  const changed: Generation[] = []
  for (const word of what) changed.push(await pinGeneration(world, word, pinned))
  return {
    data: changed as unknown as Json,
    text: changed.map(({ line, name }) => `${line}/${name} ${pinned ? 'pinned' : 'unpinned'}\n`).join(''),
  }
}

async function prune(world: World, lines: readonly string[], words: Words): Promise<Result> {
  const days = numberOf(words, 'keep-days', 'keepDays')
  const keep = numberOf(words, 'keep', 'keep') ?? (days === undefined ? KEEP : 1)
  const dryRun = words.options['dryRun'] === true
  const how = { keep, keepSeconds: (days ?? 0) * DAY_SECONDS, dryRun }
  // A misspelt line is told before anything goes.
  for (const line of lines)
    if ((await generationsOf(world, line)).length === 0) await findGeneration(world, line)
  const results = []
  for (const line of lines.length === 0 ? [undefined] : lines)
    results.push(await pruneGenerations(world, { ...how, line }))
  const removed = results.flatMap((result) => result.removed)
  const kept = results.flatMap((result) => result.kept)
  const verb = dryRun ? 'would remove' : 'removed'
  return {
    data: {
      dryRun,
      removed: removed as unknown as Json,
      kept: kept.map(({ generation: { line, name }, because }) => ({ line, name, because })),
    },
    text: [
      ...removed.map(({ line, name, directory }) => `${verb} ${line}/${name} ${shownPath(directory)}\n`),
      ...kept.map(
        ({ generation: { line, name }, because }) => `kept ${line}/${name} (${REASONS[because]})\n`,
      ),
    ].join(''),
  }
}

const REASONS = {
  head: 'newest',
  pinned: 'pinned',
  guest: 'used by a guest',
  number: '--keep',
  age: '--keep-days',
} as const

function numberOf(words: Words, option: string, key: string): number | undefined {
  const text = textOption(words, key)
  if (text === undefined) return undefined
  if (!/^\d{1,5}$/.test(text))
    throw new Stage5Error('S5_USAGE', `--${option} expects a number, found ${JSON.stringify(text)}`)
  return Number(text)
}
