/** Gives every package of a lock its SHA256: where an index has weaker sums only, the file is fetched for it. */
import type { Digest } from '../base/digest.ts'
import { stableJson } from '../base/json.ts'
import type { Lock, Locked } from '../resolve/lock.ts'
import { timed } from './timed.ts'
import type { World } from './world.ts'

const UNKNOWN: Digest = 'sha256:'

/** @param before an older lock: what it has of the same file counts */
export async function pinned(world: World, lock: Lock, before?: Lock): Promise<Lock> {
  if (lock.packages.every(({ sha256 }) => sha256 !== UNKNOWN)) return lock
  const known = new Map(before?.packages.map((pkg) => [keyOf(pkg), pkg.sha256]))
  const packages = await timed(world, 'pin', () =>
    Promise.all(
      lock.packages.map(async (pkg): Promise<Locked> => {
        if (pkg.sha256 !== UNKNOWN) return pkg
        const sha256 = known.get(keyOf(pkg)) ?? UNKNOWN
        return sha256 === UNKNOWN ? world.limit(() => pinOne(world, pkg)) : { ...pkg, sha256 }
      }),
    ),
  )
  return { ...lock, packages }
}

async function pinOne(world: World, pkg: Locked): Promise<Locked> {
  world.signal.throwIfAborted()
  const repository = await world.repository(pkg.repo)
  if (!repository.pin) throw new Error(`${pkg.repo} lists ${pkg.name} without SHA256`)
  return { ...pkg, sha256: await repository.pin(pkg, world.signal) }
}

function keyOf({ name, version, buildId, repo, file: { path, origin, size, sums } }: Locked): string {
  return stableJson([name, version, buildId, repo, path, origin, size, sums])
}
