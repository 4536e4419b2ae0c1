/**
 * What keeps things in the store: projects by their locks, outputs, roots that were checked out, and pins.
 *
 * Each is a ref, `project:PATH`, `output:PATH`, `root:PATH` or `pin:PATH` (of a generation's record), and counts while
 * the path exists.
 */
import { existsSync } from 'node:fs'
import { type Digest, digestOf, parseDigest } from '../base/digest.ts'
import type { Store } from '../store/store.ts'
import { shownPath, type World } from './world.ts'

type Holder = 'project' | 'output' | 'root' | 'pin'

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

interface Held {
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
