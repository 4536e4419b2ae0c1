/** The locks of the projects that a store knows, and the packages that they keep in it. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '../base/digest.ts'
import { parseLock } from '../resolve/lock-text.ts'
import type { Lock } from '../resolve/lock.ts'
import { holders } from './kept.ts'
import { recordKey } from './unpack-all.ts'
import { shownPath, type World } from './world.ts'

export interface ProjectLock {
  readonly project: string
  readonly path: string
  readonly lock: Lock
}

/** All locks of the projects that the store knows; one that cannot be read is warned of. */
export async function knownLocks(world: World): Promise<readonly ProjectLock[]> {
  const locks: ProjectLock[] = []
  for (const { holder, name: project, isGone } of await holders(await world.store())) {
    if (holder !== 'project' || isGone) continue
    const folder = join(project, 'profiles')
    const names = await readdir(folder).catch(() => [])
    for (const name of names.filter((file) => file.endsWith('.lock.yaml')).sort()) {
      const path = join(folder, name)
      try {
        locks.push({ project, path, lock: parseLock(await readFile(path, 'utf8'), shownPath(path)) })
      } catch (error) {
        const message = `${shownPath(path)} keeps nothing: ${error instanceof Error ? error.message : String(error)}`
        world.report({ kind: 'warning', code: 'lock.unreadable', message })
      }
    }
  }
  return locks
}

/** Keys of the unpacked packages that locks stand for. */
export function packagesOf(locks: readonly ProjectLock[]): ReadonlySet<Digest> {
  return new Set(locks.flatMap(({ lock }) => lock.packages.map(recordKey)))
}
