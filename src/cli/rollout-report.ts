/** `stage5 rollout report`: the page of src/fleet/report.ts, with what the project knows of the generations. */
import { resolve } from 'node:path'
import { renderReport, type ReportChanges } from '../fleet/report.ts'
import { statusOf } from '../fleet/status.ts'
import { now } from '../host/clock.ts'
import { writeWhole } from '../host/whole-file.ts'
import { type Result, textOption, type Words } from './command.ts'
import { type Manifest, readManifest } from './manifest.ts'
import { driverGenerations, type Fleet, findRollout, statusView } from './rollout-world.ts'
import { shownPath, type World } from './world.ts'

export async function writeReport(
  world: World,
  words: Words,
  fleet: Fleet,
  id: string | undefined,
): Promise<Result> {
  const { documents } = await fleet.read()
  if (id !== undefined) findRollout(documents, id)
  const status = statusOf(statusView(fleet.groups, documents), id)
  const rollout = status.shown?.rollout
  const changes =
    rollout && rollout.from !== '' ? await changesOf(world, rollout.from, rollout.to) : undefined
  const html = renderReport({
    status,
    madeAt: `${new Date(now()).toISOString().slice(0, 16).replace('T', ' ')} UTC`,
    storeId: fleet.engine.storeId,
    ...(changes && { changes }),
  })
  const path = resolve(world.directory, textOption(words, 'out') ?? 'rollout.html')
  await writeWhole(path, html)
  return { data: { file: path, rollout: rollout?.id ?? null }, text: `${shownPath(path)}\n` }
}

async function changesOf(world: World, from: string, to: string): Promise<ReportChanges> {
  const known = await driverGenerations(world)
  const read = async (name: string): Promise<Manifest | undefined> => {
    const directory = known.get(name)?.directory
    return directory === undefined ? undefined : await readManifest(directory).catch(() => undefined)
  }
  const [before, after] = await Promise.all([read(from), read(to)])
  if (!before || !after)
    return { from, to, packages: [], unknown: `the output of ${before ? to : from} is no longer here` }
  const versions = (manifest: Manifest): Map<string, string> =>
    new Map(manifest.packages.map(({ name, version }) => [name, version]))
  const [old, fresh] = [versions(before), versions(after)]
  const names = [...new Set([...old.keys(), ...fresh.keys()])].sort()
  const packages = names
    .map((name) => ({ name, before: old.get(name) ?? '', after: fresh.get(name) ?? '' }))
    .filter((one) => one.before !== one.after)
  return { from, to, packages, unknown: '' }
}
