/**
 * What keeps things in the store: projects by their locks, outputs, roots that were checked out, and pins.
 *
 * Each is a ref, `project:PATH`, `output:PATH`, `root:PATH` or `pin:PATH` (of a generation's record), and counts while
 * the path exists.
 */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestOf, parseDigest } from '../base/digest.ts'
import { parseLock } from '../resolve/lock-text.ts'
import type { Lock } from '../resolve/lock.ts'
import type { Store } from '../store/store.ts'
import { recordKey } from './unpack-all.ts'
import { shownPath, type World } from './world.ts'

export type Holder = 'project' | 'output' | 'root' | 'pin'

/** Has the store know that `tree` is in use under `name`; nothing is written when it knows already. */
export async function keep(store: Store, holder: Holder, name: string, tree: string): Promise<void> {
  const ref = `${holder}:${name}`
  const target = parseDigest(tree)
  if ((await store.refs()).get(ref) !== target) await store.setRef(ref, target)
}

/** Has the store know this project, whose locks keep their packages from then on. */
export async function keepProject(world: World): Promise<void> {
  await keep(await world.store(), 'project', world.directory, digestOf(world.directory))
}

export interface Held {
  readonly ref: string
  readonly holder: Holder
  /** An absolute path. */
  readonly name: string
  readonly tree: Digest
  /** Its path is no more. */
  readonly isGone: boolean
}

export async function holders(store: Store): Promise<readonly Held[]> {
  const found: Held[] = []
  for (const [ref, tree] of await store.refs()) {
    const match = /^(project|output|root|pin):([^]*)$/.exec(ref)
    if (!match) continue
    const [, holder, name] = match as unknown as [string, Holder, string]
    found.push({ ref, holder, name, tree, isGone: !existsSync(name) })
  }
  return found
}

/** A holder in the words of people: `image out/shop_1_amd64`. */
export function shownHolder(ref: string): string {
  const match = /^(?:ref )?(project|output|root|pin):([^]*)$/.exec(ref)
  if (!match) return ref
  const [, holder = '', name = ''] = match
  return `${holder === 'output' ? 'image' : holder} ${shownPath(name)}`
}

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
