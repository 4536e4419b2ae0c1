/** `stage5 rollout …`: move groups of guests to a generation, in waves, and stop by itself when that goes wrong. */
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Stage5Error } from '../../base/errors.ts'
import type { Json } from '../../base/json.ts'
import { historyChecker } from '../../fleet/checker.ts'
import type { RolloutDocument } from '../../fleet/documents.ts'
import { printProgress, printStatus } from '../../fleet/status-text.ts'
import { statusOf } from '../../fleet/status.ts'
import type { Command, Result, Words } from '../command.ts'
import { openNamed } from '../named-file.ts'
import { writeReport } from '../rollout-report.ts'
import { runFleet } from '../rollout-run.ts'
import { planRollout, startRollout } from '../rollout-start.ts'
import { steerRollout } from '../rollout-steer.ts'
import { findRollout, type Fleet, FLEET_OPTIONS, openFleet, statusView } from '../rollout-world.ts'
import { shownPath, type World } from '../world.ts'

const ACTIONS = [
  'plan',
  'start',
  'status',
  'pause',
  'resume',
  'approve',
  'abort',
  'rollback',
  'run',
  'report',
  'check',
] as const
type Action = (typeof ACTIONS)[number]

const WATCH_MS = 1000

export const rollout: Command = {
  name: 'rollout',
  summary:
    'update guests in waves: plan, start, status, pause, resume, approve, abort, rollback, run, report, check',
  arguments: [
    { name: '<action>', description: ACTIONS.join(', ') },
    {
      name: '[what...]',
      description: 'groups or a line to plan and start; else the id of a rollout (default: the newest)',
    },
  ],
  options: [
    ...FLEET_OPTIONS,
    {
      flags: '--to <generation>',
      description: 'plan, start: what to move to, such as g3 (default: the newest of the line)',
    },
    {
      flags: '--wait',
      description:
        'start: be the controller until it has ended; status 0 completed, 1 not, 4 paused by a person',
    },
    {
      flags: '--irreversible',
      description: 'plan, start: guests may be led to what writes data that their old generation cannot read',
    },
    {
      flags: '--restore-data',
      description: 'rollback: put copies of data back; what guests wrote since they were switched is lost',
    },
    { flags: '--watch', description: 'status: show each change until interrupted' },
    { flags: '--reason <text>', description: 'pause, abort, rollback: why, for the others' },
    { flags: '--key <name>', description: 'approve: the key to sign with (stage5 key new NAME)' },
    { flags: '--all', description: 'approve: all waves that are left, not only the next' },
    { flags: '--history <file>', description: 'run, start --wait: record every revision in this file' },
    { flags: '-o, --out <file>', description: 'report: the page to write (default: rollout.html)' },
  ],
  examples: [
    'stage5 rollout plan web',
    'stage5 rollout start web --to g7 --wait',
    'stage5 rollout run --engine etcd://10.0.0.1:2379,10.0.0.2:2379 --history fleet.ndjson',
    'stage5 rollout status --watch',
    'stage5 rollout approve r7 --key alice',
    'stage5 rollout rollback --reason "error rate is up"',
    'stage5 rollout report -o rollout.html',
    'stage5 rollout check fleet.ndjson',
  ],
  run: async (world, words) => {
    const [action = '', ...what] = words.arguments
    if (!isAction(action))
      throw new Stage5Error(
        'S5_USAGE',
        `rollout expects ${ACTIONS.join(', ')}, found ${JSON.stringify(action)}`,
        {
          hint: 'stage5 rollout --help',
        },
      )
    if (action === 'check') return await checkHistory(world, what)
    await using fleet = await openFleet(world, words)
    if (action === 'plan') return await planRollout(world, words, fleet, what)
    if (action === 'start') return await start(world, words, fleet, what)
    const [id, ...more] = what
    if (more.length > 0)
      throw new Stage5Error('S5_USAGE', `rollout ${action} takes one id, found ${what.join(' ')}`)
    if (action === 'run') {
      await runFleet(world, words, fleet)
      return { data: null, text: '' }
    }
    if (action === 'status')
      return words.options['watch'] === true ? await watch(world, fleet, id) : await status(fleet, id)
    if (action === 'report') return await writeReport(world, words, fleet, id)
    return await steerRollout(world, words, fleet, action, id)
  },
}

function isAction(word: string): word is Action {
  return (ACTIONS as readonly string[]).includes(word)
}

async function start(world: World, words: Words, fleet: Fleet, names: readonly string[]): Promise<Result> {
  const begun = await startRollout(world, words, fleet, names)
  const say = `${begun.id}: ${begun.from === '' ? '' : `${begun.from} → `}${begun.to} for ${begun.groups.join(', ')}`
  if (words.options['wait'] !== true)
    return {
      data: begun as unknown as Json,
      text: `${say}\nstage5 rollout run moves the guests; stage5 rollout status shows how far it is\n`,
    }
  world.report({ kind: 'rollout.moved', rollout: begun.id, text: say })
  await runFleet(world, words, fleet, begun.id)
  const shown = await status(fleet, begun.id)
  return { ...shown, exitCode: codeOf((await fleet.read()).documents.rollouts.get(begun.id)?.document) }
}

/** 0 completed, 1 ended otherwise, 3 at work, 4 paused. */
function codeOf(document: RolloutDocument | undefined): number {
  switch (document?.state) {
    case undefined:
    case 'completed':
      return 0
    case 'paused':
      return 4
    case 'draft':
    case 'prefetch':
    case 'wave':
    case 'soak':
    case 'rolling-back':
      return 3
    case 'rolled-back':
    case 'superseded':
    case 'aborted':
      return 1
  }
}

async function status(fleet: Fleet, id: string | undefined): Promise<Result> {
  const { documents } = await fleet.read()
  if (id !== undefined) findRollout(documents, id)
  const found = statusOf(statusView(fleet.groups, documents), id)
  return { data: found as unknown as Json, text: printStatus(found), exitCode: codeOf(found.shown?.rollout) }
}

/** A line for each change, and the whole at the end of the rollout. */
async function watch(world: World, fleet: Fleet, id: string | undefined): Promise<Result> {
  let told = ''
  for (;;) {
    const { documents } = await fleet.read()
    const shown = findRollout(documents, id).document
    const line = printProgress(statusOf(statusView(fleet.groups, documents), shown.id))
    if (line !== told) world.report({ kind: 'rollout.moved', rollout: shown.id, text: line })
    told = line
    const code = codeOf(shown)
    if (code !== 3 && code !== 4) return await status(fleet, shown.id)
    await sleep(WATCH_MS, undefined, { signal: world.signal })
  }
}

async function checkHistory(world: World, [path, ...more]: readonly string[]): Promise<Result> {
  if (path === undefined || more.length > 0)
    throw new Stage5Error('S5_USAGE', 'rollout check takes the file of a history', {
      hint: 'stage5 rollout run --history FILE records one',
    })
  const file = resolve(world.directory, path)
  const checker = historyChecker()
  await using history = await openNamed(file)
  for await (const line of history.readLines()) checker.line(line)
  const found = checker.end(false)
  const { problems, revisions, guests, grants, leaders } = found
  const counts = `${revisions} revisions, ${guests} guests, ${grants} restarts granted, ${leaders} leaders`
  const text =
    problems.length === 0
      ? `${shownPath(file)}: ${counts}: nothing that must not be\n`
      : `${problems.join('\n')}\n${shownPath(file)}: ${counts}: ${problems.length} problems\n`
  return { data: found as unknown as Json, text, exitCode: problems.length > 0 ? 1 : 0 }
}
