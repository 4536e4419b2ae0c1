/** Takes what is damaged out of the store, then fetches and makes again what locks still ask for. */
import type { Digest } from '../base/digest.ts'
import { inputDigest } from '../resolve/resolve.ts'
import type { Problem } from '../store/store.ts'
import { compose } from './flow.ts'
import { holders, shownHolder } from './kept.ts'
import { knownLocks, packagesOf, type ProjectLock } from './known-locks.ts'
import { loadRecipe } from './recipe.ts'
import { recordKey, unpackAll } from './unpack-all.ts'
import { openWorld, shownPath, type World } from './world.ts'

interface Repaired {
  readonly problems: readonly Problem[]
  /** Names of packages that were fetched and unpacked again. */
  readonly packages: readonly string[]
  /** What could not be made again, and why; for people. */
  readonly failed: readonly string[]
}

/** @throws S5_LOCK_BUSY while other processes have the store open */
export async function repairStore(world: World, problems: readonly Problem[]): Promise<Repaired> {
  if (problems.length === 0) return { problems, packages: [], failed: [] }
  const store = await world.store()
  const locks = await knownLocks(world)
  const before = await presentIn(world, locks)
  const objects = problems.filter(({ kind, id }) => kind === 'object' && id !== '')
  const others = problems.filter(({ kind }) => kind !== 'object')
  await store.collect(
    {
      drop: new Set(objects.map(({ content }) => content)),
      dropRecords: new Set(others.map(({ id }) => id)),
      keep: before,
    },
    world.signal,
  )
  const after = await presentIn(world, locks)
  const packages = new Set<string>()
  const failed: string[] = []
  for (const one of locks) {
    const lost = one.lock.packages.filter((pkg) => {
      const key = recordKey(pkg)
      return before.has(key) && !after.has(key)
    })
    try {
      await remake(world, one, lost)
      for (const { name } of lost) packages.add(name)
    } catch (error) {
      world.signal.throwIfAborted()
      failed.push(`${shownPath(one.path)}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  for (const ref of await incomplete(world))
    failed.push(`${shownHolder(ref)}: its files are not all in the store until it is built again`)
  return { problems, packages: [...packages].sort(), failed }
}

async function presentIn(world: World, locks: readonly ProjectLock[]): Promise<Set<Digest>> {
  const store = await world.store()
  const present = new Set<Digest>()
  for (const key of packagesOf(locks)) if ((await store.unpacked(key)) !== undefined) present.add(key)
  return present
}

/** Packages, and what stages made of them where the lock still fits its profile. */
async function remake(
  world: World,
  { project, lock }: ProjectLock,
  packages: ProjectLock['lock']['packages'],
): Promise<void> {
  if (packages.length === 0) return
  await using own = openWorld({ ...world.options, directory: project }, world.report, world.signal)
  await unpackAll(own, { ...lock, packages })
  const recipe = await loadRecipe(own, lock.profile)
  if (inputDigest(recipe.profile) === lock.input) await compose(own, recipe, lock)
}

/** Refs whose trees are not whole, seen by a store that was opened after all was made again. */
async function incomplete(world: World): Promise<readonly string[]> {
  await using own = openWorld(world.options, world.report, world.signal)
  const store = await own.store()
  const refs: string[] = []
  for (const { ref, holder, tree, isGone } of await holders(store)) {
    if (holder === 'project' || isGone) continue
    await store.loadTree(tree).catch(() => refs.push(ref))
  }
  return refs
}
