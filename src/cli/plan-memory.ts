/** What guests of a plan need in memory: from the last build of the same packages, else estimated from its packages. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Json } from '../base/json.ts'
import { type MemoryFacts, memoryNeeds, memoryText } from '../emit/memory.ts'
import type { Lock } from '../resolve/lock.ts'
import type { Profile } from '../resolve/profile.ts'
import { DEFAULT_ROOT } from '../resolve/shape-memory.ts'
import { mustFit, waysOf } from './fit-memory.ts'
import { readManifest } from './manifest.ts'
import type { DiskUsage } from './reports.ts'
import type { World } from './world.ts'

/** @throws S5_MEMORY_SHORT when the last build of these packages, or any base at all, does not fit into what guests have */
export async function plannedMemory(
  world: World,
  profile: Profile,
  lock: Lock,
): Promise<{ readonly data: Json; readonly text: string }> {
  if (!profile.kernel.wanted) return { data: null, text: '' }
  const root = profile.boot.root ?? DEFAULT_ROOT
  const built = await lastBuild(world, profile, lock)
  const facts: MemoryFacts = built
    ? { base: built.base, tree: inPages(built.usage), root }
    : { base: archives(lock), tree: 3 * archives(lock), root }
  if (profile.memory > 0)
    if (built) mustFit(profile, facts, built.usage.owners)
    else mustFit(profile, { base: 0, tree: 0, root }, [])
  const needs = waysOf(profile).flatMap((way) => memoryNeeds(facts, way))
  const source = built
    ? ' (as the last build of these packages measured)'
    : ' (estimated from the archives of the packages; a build knows)'
  return {
    data: {
      estimated: built === undefined,
      memory: profile.memory,
      needs: needs.map((need) => ({ ...need, words: [...need.words] })),
    },
    text: `\nmemory${source}\n${memoryText(facts, profile.memory).replace(/^/gm, '  ').trimEnd()}\n`,
  }
}

/** Sizes of the newest output of the profile, when it was made of the packages of this lock. */
async function lastBuild(
  world: World,
  { id }: Profile,
  lock: Lock,
): Promise<{ readonly base: number; readonly usage: DiskUsage } | undefined> {
  const folder = join(world.directory, 'out', id)
  const manifest = await readManifest(folder).catch(() => undefined)
  if (!manifest) return undefined
  const sums = (packages: readonly { readonly sha256: string }[]): string =>
    packages
      .map(({ sha256 }) => sha256)
      .sort()
      .join()
  const base = manifest.files.find(({ name }) => name === manifest.boot.base)?.size
  if (base === undefined || sums(manifest.packages) !== sums(lock.packages)) return undefined
  const usage = manifest.files.find(({ name }) => name.endsWith('.disk_usage.json'))
  if (!usage) return undefined
  return { base, usage: JSON.parse(await readFile(join(folder, usage.name), 'utf8')) as DiskUsage }
}

/** Files fill whole pages: half of one is lost on average, and the kernel keeps a record of each. */
function inPages({ total, owners }: DiskUsage): number {
  return total + owners.reduce((sum, { files }) => sum + files, 0) * 3072
}

/** Kernels count little: their image stands beside the base, and most of their modules are left out. */
function archives({ packages }: Lock): number {
  return packages
    .filter(({ name }) => !/^linux-image-|^sys-kernel\//.test(name))
    .reduce((sum, { file }) => sum + Math.max(0, file.size), 0)
}
