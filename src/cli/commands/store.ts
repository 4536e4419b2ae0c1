/** `stage5 store verify|repair|stats`: what is in the store, and whether it is what it says. */
import { Stage5Error } from '../../base/errors.ts'
import type { Json } from '../../base/json.ts'
import type { Problem } from '../../store/store.ts'
import type { Command, Result } from '../command.ts'
import { listDownloads } from '../downloads.ts'
import { holders, shownHolder } from '../kept.ts'
import { mebibytes } from '../render/progress.ts'
import { repairStore } from '../repair.ts'
import { timed } from '../timed.ts'
import { shownPath, type World } from '../world.ts'

export const store: Command = {
  name: 'store',
  summary: 'look after the store: verify every byte, repair what is damaged, show what is in it',
  arguments: [{ name: '<action>', description: 'verify, repair or stats' }],
  options: [],
  examples: ['stage5 store verify', 'stage5 store repair', 'stage5 store stats'],
  run: async (world, words) => {
    const [action = ''] = words.arguments
    if (action === 'verify') return await verify(world)
    if (action === 'repair') return await repair(world)
    if (action === 'stats') return await stats(world)
    throw new Stage5Error(
      'S5_USAGE',
      `store expects verify, repair or stats, found ${JSON.stringify(action)}`,
      {
        hint: 'stage5 store --help',
      },
    )
  },
}

/** The answer is no, status 1, when anything is damaged. */
async function verify(world: World): Promise<Result> {
  const problems = await problemsIn(world)
  const { objects } = (await world.store()).stats()
  return {
    data: { objects, problems: problems.map(problemJson) },
    text:
      problems.map(problemText).join('') +
      (problems.length === 0
        ? `${objects} objects are what they say\n`
        : `${problems.length} damaged of ${objects} objects: stage5 store repair\n`),
    exitCode: problems.length === 0 ? 0 : 1,
  }
}

async function repair(world: World): Promise<Result> {
  const { problems, packages, failed } = await repairStore(world, await problemsIn(world))
  const lines = [
    ...problems.map(problemText),
    ...packages.map((name) => `fetched and unpacked again: ${name}\n`),
    ...failed.map((text) => `not repaired: ${text}\n`),
    ...(problems.length > 0 && failed.length === 0 ? [`${problems.length} repaired\n`] : []),
    ...rootsOf(problems).map((root) => `may still have the damaged file: stage5 checkout --check ${root}\n`),
  ]
  return {
    data: { problems: problems.map(problemJson), packages: [...packages], failed: [...failed] },
    text: lines.length === 0 ? 'nothing is damaged\n' : lines.join(''),
    exitCode: failed.length === 0 ? 0 : 1,
  }
}

async function stats(world: World): Promise<Result> {
  const opened = await world.store()
  const counts = opened.stats()
  const downloads = listDownloads(opened.downloads, new Set())
  const downloadBytes = downloads.reduce((sum, { size }) => sum + size, 0)
  const held = await holders(opened)
  const row = (bytes: number, count: number, what: string): string =>
    `${mebibytes(bytes).padStart(12)} ${String(count).padStart(8)}  ${what}\n`
  return {
    data: {
      path: opened.path,
      ...counts,
      downloads: downloads.length,
      downloadBytes,
      holders: held.map(({ ref }) => ref),
    },
    text:
      `${shownPath(opened.path)}\n` +
      row(counts.objectBytes, counts.objects, 'objects: contents of files') +
      row(counts.recordBytes, counts.records, 'records: trees, packages, results of stages') +
      row(counts.blockBytes, counts.blocks, 'compressed blocks, facts about files') +
      row(downloadBytes, downloads.length, 'downloads') +
      `${counts.links} files for hard links, ${counts.segments} segments\n` +
      held.map(({ ref, isGone }) => `kept for ${shownHolder(ref)}${isGone ? ' (gone)' : ''}\n`).join(''),
  }
}

async function problemsIn(world: World): Promise<readonly Problem[]> {
  const opened = await world.store()
  return await timed(world, 'verify', async () => {
    const problems: Problem[] = []
    for await (const problem of opened.verify(world.signal)) problems.push(problem)
    return problems
  })
}

/** Folders of the roots that name what is damaged: where they are linked, their file is the damaged one. */
function rootsOf(problems: readonly Problem[]): readonly string[] {
  const users = problems.flatMap(({ usedBy }) => usedBy)
  const roots = users.filter((user) => user.startsWith('ref root:'))
  return [...new Set(roots)].sort().map((user) => shownPath(user.slice('ref root:'.length)))
}

function problemJson({ content, kind, problem, usedBy }: Problem): Json {
  return { content, kind, problem, usedBy: [...usedBy] }
}

function problemText({ content, problem, usedBy }: Problem): string {
  const users = usedBy.map((user) => `  needed by ${user.startsWith('ref ') ? shownHolder(user) : user}\n`)
  return `${content} ${problem}\n${users.join('')}`
}
