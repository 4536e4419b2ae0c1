/** What the newest build of a profile measured, if it was a build of this very lock. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Lock } from '../resolve/lock.ts'
import type { Profile } from '../resolve/profile.ts'
import { versionOf } from './flow.ts'
import { stemOf } from './output.ts'
import type { DiskUsage } from './reports.ts'
import type { World } from './world.ts'

export async function lastUsage(world: World, profile: Profile, lock: Lock): Promise<DiskUsage | undefined> {
  const stem = stemOf(profile.id, versionOf(profile, lock))
  const path = join(world.directory, 'out', `${stem}_${profile.arch}`, `${stem}.disk_usage.json`)
  const text = await readFile(path, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as DiskUsage)
}
