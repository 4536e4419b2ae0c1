/** What guests of a plan need in memory: from the build of this very lock, else estimated from its packages. */
import { join } from 'node:path'
import type { Json } from '../base/json.ts'
import { type MemoryFacts, memoryNeeds, memoryText } from '../emit/memory.ts'
import type { Lock } from '../resolve/lock.ts'
import type { Profile } from '../resolve/profile.ts'
import { DEFAULT_ROOT } from '../resolve/shape-memory.ts'
import { mustFit, waysOf } from './fit-memory.ts'
import { versionOf } from './flow.ts'
import { readManifest } from './manifest.ts'
import { stemOf } from './output.ts'
import type { DiskUsage } from './reports.ts'
import type { World } from './world.ts'

/**
 * @param usage of the build of this lock, if there was one
 * @throws S5_MEMORY_SHORT when that build does not fit into what guests have
 */
export async function plannedMemory(
  world: World,
  profile: Profile,
  lock: Lock,
  usage: DiskUsage | undefined,
): Promise<{ readonly data: Json; readonly text: string }> {
  if (!profile.kernel.wanted) return { data: null, text: '' }
  const root = profile.boot.root ?? DEFAULT_ROOT
  const base = usage && (await builtBase(world, profile, lock))
  const known = usage !== undefined && base !== undefined
  const facts: MemoryFacts = known
    ? { base, tree: inPages(usage), root }
    : { base: archives(lock), tree: 3 * archives(lock), root }
  if (known && profile.memory > 0) mustFit(profile, facts, usage.owners)
  const ways = waysOf(profile)
  const needs = ways.flatMap((way) => memoryNeeds(facts, way))
  const source = known ? '' : ' (estimated from the archives of the packages; a build knows)'
  return {
    data: {
      estimated: !known,
      memory: profile.memory,
      needs: needs.map((need) => ({ ...need, words: [...need.words] })),
    },
    text: `\nmemory${source}\n${memoryText(facts, profile.memory).replace(/^/gm, '  ').trimEnd()}\n`,
  }
}

async function builtBase(world: World, profile: Profile, lock: Lock): Promise<number | undefined> {
  const folder = join(
    world.directory,
    'out',
    `${stemOf(profile.id, versionOf(profile, lock))}_${profile.arch}`,
  )
  const { files, boot } = await readManifest(folder)
  return files.find(({ name }) => name === boot.base)?.size
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
