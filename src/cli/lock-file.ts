/** Lock files beside the profiles: found, read, made when missing, and written whole. */
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { writeWhole } from '../host/whole-file.ts'
import { parseLock, printLock } from '../resolve/lock-text.ts'
import type { Lock } from '../resolve/lock.ts'
import type { Profile } from '../resolve/profile.ts'
import { inputDigest } from '../resolve/resolve.ts'
import { shownPath, type World } from './world.ts'

/** `profiles/<name>.lock.yaml` of the project, also for a profile of the bundle. */
export function lockPath(world: World, profile: string): string {
  return join(world.directory, 'profiles', `${profile}.lock.yaml`)
}

export async function readLock(world: World, profile: string): Promise<Lock | undefined> {
  const path = lockPath(world, profile)
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  return text === undefined ? undefined : parseLock(text, shownPath(path))
}

/** Replaces the lock file at once; an equal one is left alone. */
export async function writeLock(world: World, lock: Lock): Promise<string> {
  const path = lockPath(world, lock.profile)
  const text = printLock(lock)
  if ((await readFile(path, 'utf8').catch(() => undefined)) === text) return path
  await mkdir(dirname(path), { recursive: true })
  await writeWhole(path, text)
  return path
}

export interface Settled {
  readonly lock: Lock
  /** The lock file as it stood before, if there was one. */
  readonly before: Lock | undefined
  /** Whether `lock` still has to be written. */
  readonly isNew: boolean
}

/**
 * The lock that a build of this profile uses: the file where it fits, else a new one that changes as little as
 * possible.
 * @throws S5_LOCK_MISSING, S5_LOCK_STALE with `--locked`
 */
export async function settledLock(
  world: World,
  profile: Profile,
  plan: (world: World, profile: Profile, pins?: Lock) => Promise<Lock>,
): Promise<Settled> {
  const before = await readLock(world, profile.name)
  if (before && before.input === inputDigest(profile)) return { lock: before, before, isNew: false }
  if (world.options.locked) {
    const hint = `stage5 lock ${profile.name}`
    const path = shownPath(lockPath(world, profile.name))
    if (!before)
      throw new Stage5Error('S5_LOCK_MISSING', `there is no ${path}, and --locked was given`, { hint })
    throw new Stage5Error(
      'S5_LOCK_STALE',
      `${path} was made for another state of the profile, and --locked was given`,
      { hint },
    )
  }
  return { lock: await plan(world, profile, before), before, isNew: true }
}

/** @throws S5_LOCK_STALE when composing gave numbers to users or groups that the locked ledger does not have */
export function mustKeepLedger(before: Lock, after: Lock): void {
  const fresh = (['users', 'groups'] as const).flatMap((kind) =>
    Object.keys(after.ids[kind]).filter((name) => before.ids[kind][name] === undefined),
  )
  if (fresh.length > 0)
    throw new Stage5Error(
      'S5_LOCK_STALE',
      `the lock has no number for ${fresh.join(', ')}, and --locked was given`,
      {
        hint: `stage5 build ${before.profile} once without --locked, then commit the lock file`,
      },
    )
}
