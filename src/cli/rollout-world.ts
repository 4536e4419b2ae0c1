/** What the commands of a rollout stand on: the engine, the groups, the generations, and documents by name. */
import { readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { stableJson } from '../base/json.ts'
import { nearest } from '../base/near.ts'
import { momentOf } from '../deploy/controller.ts'
import type { DriverGeneration } from '../deploy/driver.ts'
import type { Engine } from '../engine/engine.ts'
import { PREFIX, type RolloutDocument } from '../fleet/documents.ts'
import { activeRollouts } from '../fleet/progress.ts'
import { documentReader, type Documents } from '../fleet/read.ts'
import type { StatusView } from '../fleet/status.ts'
import type { Stored } from '../fleet/view.ts'
import { now } from '../host/clock.ts'
import type { Group } from '../resolve/group.ts'
import { type Option, textOption, type Words } from './command.ts'
import { generationsOf } from './generations.ts'
import { loadGroups } from './groups.ts'
import { openPinnedEngine } from './store-pin.ts'
import type { World } from './world.ts'

export const USUAL_ENGINE = 'sqlite:.stage5/fleet.db'

export const FLEET_OPTIONS: readonly Option[] = [
  {
    flags: '--engine <url>',
    description: `where the state is: sqlite:FILE (default: ${USUAL_ENGINE}) or etcd://HOST:2379`,
  },
  { flags: '--groups <dir>', description: 'folder of the groups (default: groups)' },
]

export interface Fleet extends AsyncDisposable {
  readonly engine: Engine
  readonly groups: ReadonlyMap<string, Group>
  /** Everything that is written, and the revision of it. */
  read(): Promise<{ readonly documents: Documents; readonly revision: bigint }>
}

export async function openFleet(world: World, words: Words): Promise<Fleet> {
  const groups = await groupsOf(world, words)
  const engine = await openPinnedEngine(world, textOption(words, 'engine') ?? USUAL_ENGINE)
  const read = documentReader()
  return {
    engine,
    groups,
    read: async () => {
      const { values, revision } = await engine.list(PREFIX)
      return { documents: read(values), revision }
    },
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  }
}

export async function groupsOf(world: World, words: Words): Promise<ReadonlyMap<string, Group>> {
  const groups = await loadGroups(world, groupFolder(world, words))
  return new Map(groups.map((group) => [group.name, group]))
}

function groupFolder(world: World, words: Words): string {
  return resolve(world.directory, textOption(words, 'groups') ?? 'groups')
}

const LOOK_AGAIN_MS = 2000

/** The groups as their files say now; a group that says the same is the same object. */
export function liveGroups(world: World, words: Words): () => Promise<ReadonlyMap<string, Group>> {
  const folder = groupFolder(world, words)
  let known: ReadonlyMap<string, Group> | undefined
  let stamp = ''
  let lookedAt = 0
  return async () => {
    if (known && now() - lookedAt < LOOK_AGAIN_MS) return known
    lookedAt = now()
    const fresh = await stampOf(folder)
    if (known && fresh === stamp) return known
    const read = await groupsOf(world, words)
    const before = known ?? new Map<string, Group>()
    known = new Map(
      [...read].map(([name, group]) => {
        const old = before.get(name)
        return [name, old && stableJson(old as never) === stableJson(group as never) ? old : group]
      }),
    )
    stamp = fresh
    return known
  }
}

async function stampOf(folder: string): Promise<string> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.yaml')).sort()
  const stats = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)))
  return names
    .map((name, at) => `${name} ${stats[at]?.mtimeMs} ${stats[at]?.ino} ${stats[at]?.size}`)
    .join('\n')
}

export function statusView(groups: ReadonlyMap<string, Group>, documents: Documents): StatusView {
  return { ...documents, groups, moment: momentOf(now()) }
}

/** Every generation of the project, by its name. */
export async function driverGenerations(world: World): Promise<ReadonlyMap<string, DriverGeneration>> {
  const all = await generationsOf(world)
  return new Map(
    all.map(({ line, seq, name, manifest, directory, dataSchema }) => [
      name,
      { line, seq, name, manifest, directory, ...(dataSchema && { dataSchema }) },
    ]),
  )
}

/**
 * The rollout that was named; else the newest at work, else the newest.
 * @throws S5_ROLLOUT_UNKNOWN
 */
export function findRollout(documents: Documents, id: string | undefined): Stored<RolloutDocument> {
  const all = [...documents.rollouts.values()].sort((a, b) => b.document.number - a.document.number)
  const found =
    id === undefined
      ? (activeRollouts(documents.rollouts).at(-1) ?? all[0])
      : all.find(({ document }) => document.id === id)
  if (found) return found
  const ids = all.map(({ document }) => document.id)
  throw new Stage5Error(
    'S5_ROLLOUT_UNKNOWN',
    id === undefined
      ? 'there was no rollout yet'
      : `there is no rollout ${JSON.stringify(id)}${ids.length > 0 ? `, the last ones are ${ids.slice(0, 5).join(', ')}` : ''}`,
    { hint: id === undefined ? 'stage5 rollout start GROUP' : 'stage5 rollout status' },
  )
}

/**
 * Groups by their names, or by the line that they run.
 * @throws S5_GROUP_UNKNOWN
 */
export function chosenGroups(groups: ReadonlyMap<string, Group>, names: readonly string[]): readonly Group[] {
  const all = [...groups.values()]
  const found = new Set<Group>()
  for (const name of names) {
    const matching = all.filter((group) => group.name === name || group.line === name)
    if (matching.length === 0) {
      const known = [...new Set(all.flatMap((group) => [group.name, group.line]))]
      const near = nearest(name, known)[0]
      throw new Stage5Error(
        'S5_GROUP_UNKNOWN',
        `no group ${JSON.stringify(name)}, and none that runs it${near ? `, did you mean ${near}` : ''}`,
        {
          hint:
            known.length > 0
              ? `groups: ${all.map((group) => group.name).join(', ')}`
              : 'write groups/NAME.yaml',
        },
      )
    }
    for (const group of matching) found.add(group)
  }
  return [...found]
}
