/**
 * The main path, one function per arrow:
 *
 * profile ─plan→ lock ─unpack→ packages ─compose→ root ─emit→ images ─build→ out/<id>_<version>_<arch>/
 *
 * What unpacks and what writes images is read in when it is needed: a plan needs neither.
 */
import { setImmediate } from 'node:timers/promises'
import { type Digest, digestOf, hexOf } from '../base/digest.ts'
import { stableJson } from '../base/json.ts'
import { printLock } from '../resolve/lock-text.ts'
import { labelOf } from '../pkg/package.ts'
import type { Lock } from '../resolve/lock.ts'
import type { Profile } from '../resolve/profile.ts'
import { relaxations } from '../resolve/relax.ts'
import { lockOf, refusalError } from '../resolve/resolve.ts'
import { printMissingSoname } from '../resolve/soname.ts'
import type { Facts } from '../stage/facts.ts'
import { allocateIds, wantedIds } from '../stage/ids.ts'
import type { Stage } from '../stage/stage.ts'
import { mergeTrees } from '../tree/merge.ts'
import type { Root } from '../tree/root.ts'
import { compact } from '../tree/select.ts'
import type { Unpacked } from '../tree/unpacked.ts'
import { resolveOrBuild } from './build-missing.ts'
import { mustKeepLedger, type Settled } from './lock-file.ts'
import { pinned } from './pin.ts'
import type { Recipe } from './recipe.ts'
import { timed } from './timed.ts'
import type { Unpacking } from './unpack-all.ts'
import type { World } from './world.ts'

/** profile → lock. Packages of `pins` stay where they still fit, so that a change of the profile changes little. */
export async function plan(world: World, profile: Profile, pins?: Lock): Promise<Lock> {
  const { answer, indexes } = await resolveOrBuild(world, profile, pins)
  if (!answer.ok) throw refusalError(answer, relaxations(profile, indexes, answer))
  for (const { kind, chosen, best, because } of answer.heldBack)
    if (kind === 'conflict')
      world.report({
        kind: 'warning',
        code: 'held-back',
        message: `${chosen}, not ${best}: ${because.join('; ')}`,
      })
  for (const { pkg, atom } of answer.loosened)
    world.report({
      kind: 'warning',
      code: 'slot-operator',
      message: `${pkg} was built against ${atom}, which is not there (ignoreSlotOperators: true)`,
    })
  for (const missing of answer.sonameMissing)
    world.report({ kind: 'warning', code: 'soname', message: printMissingSoname(missing) })
  return lockOf(profile, indexes, answer.packages, pins?.ids ?? { users: {}, groups: {} })
}

export interface Composed {
  readonly root: Root
  /** The lock, with the numbers of users and groups that this root added to its ledger. */
  readonly lock: Lock
  readonly facts: Facts
  readonly packages: readonly Unpacked[]
}

/** lock → root: packages are pinned and unpacked into the store, merged, and led through the stages of the pipeline. */
export async function compose(world: World, recipe: Recipe, unpinned: Lock): Promise<Composed> {
  const { beginUnpack } = await import('./unpack-all.ts')
  const lock = await pinned(world, unpinned)
  const unpacking = await timed(world, 'unpack', () => beginUnpack(world, lock))
  try {
    return await composeOf(world, recipe, lock, unpacking)
  } finally {
    await unpacking.durable
  }
}

async function composeOf(
  world: World,
  recipe: Recipe,
  lock: Lock,
  { packages, durable }: Unpacking,
): Promise<Composed> {
  const store = await world.store()
  const merged = mergeTrees(
    packages.map(({ tree }) => tree),
    recipe.profile.collisions,
  )
  const ids = allocateIds(lock.ids, await wantedIds(merged, store, recipe.profile))
  const settled = { ...lock, ids }
  const facts = factsOf(recipe, settled, packages)
  const key = composeKey(recipe, settled, facts)
  const root = await timed(world, 'compose', async () => {
    const known = await store.memo.get(key)
    if (known) return known
    const made = await runStages(world, recipe.stages, { tree: merged, removed: [] }, facts)
    await durable
    await store.memo.set(key, made)
    return made
  })
  return { root, lock: settled, facts, packages }
}

/** lock → out/: compose, then write images and reports into a folder that appears complete or not at all. */
export async function build(
  world: World,
  recipe: Recipe,
  settled: Settled,
): Promise<{ directory: string; lock: Lock }> {
  const composed = await compose(world, recipe, settled.lock)
  if (world.options.locked) mustKeepLedger(settled.lock, composed.lock)
  const { emitAll } = await import('./emit-all.ts')
  const directory = await timed(world, 'emit', () => emitAll(world, recipe, composed))
  return { directory, lock: composed.lock }
}

async function runStages(world: World, stages: readonly Stage[], input: Root, facts: Facts): Promise<Root> {
  const contents = await world.store()
  let root = input
  for (const stage of stages) {
    // What waits for the disk goes on meanwhile.
    await setImmediate()
    world.signal.throwIfAborted()
    root = await timed(world, `stage ${stage.name}`, () =>
      stage.run(root, stage.pick(facts), { contents, signal: world.signal }),
    )
  }
  return { ...root, tree: compact(root.tree.inodes, root.tree.names) }
}

function factsOf({ profile, stripClasses }: Recipe, lock: Lock, packages: readonly Unpacked[]): Facts {
  return {
    profile,
    version: versionOf(profile, lock),
    date: dateOf(lock),
    ids: lock.ids,
    packages: lock.packages.map(({ name, version, arch, scheme, buildId }, at) => ({
      label: labelOf({ name, version, buildId }),
      name,
      version,
      arch,
      scheme,
      control: (packages[at] as Unpacked).control,
    })),
    stripClasses,
  }
}

/** SOURCE_DATE_EPOCH, else the moment of the newest repository snapshot: no time in the result is later. */
export function dateOf(lock: Lock): number {
  const { SOURCE_DATE_EPOCH } = process.env
  if (SOURCE_DATE_EPOCH && /^\d+$/.test(SOURCE_DATE_EPOCH)) return Number(SOURCE_DATE_EPOCH)
  return Math.max(0, ...lock.repositories.map(({ date }) => date))
}

/** The profile's version, else `YYYYMMDD.<6 hex of lock and profile>`: equal inputs have one name. */
export function versionOf(profile: Profile, lock: Lock): string {
  if (profile.version !== '') return profile.version
  const day = new Date(dateOf(lock) * 1000).toISOString().slice(0, 10).replaceAll('-', '')
  return `${day}.${hexOf(digestOf(stableJson([profile as never, printLock(lock)]))).slice(0, 6)}`
}

function composeKey(recipe: Recipe, lock: Lock, facts: Facts): Digest {
  const packages = lock.packages.map((pkg) => [labelOf(pkg), pkg.sha256])
  const stages = recipe.stages.map((stage) => [stage.name, stage.version, stage.pick(facts)] as const)
  return digestOf(stableJson(['compose', 1, packages, recipe.profile.collisions as never, stages]))
}
