/** Merge phases of Gentoo packages that no stage replaces and the profile does not acknowledge, before a build finds them. */
import type { Lock } from '../resolve/lock.ts'
import type { Profile } from '../resolve/profile.ts'
import { ebuildPhases } from '../stage/ebuild-phases.ts'
import type { ScriptLine } from '../stage/scripts.ts'
import { printable } from '../base/errors.ts'
import { recordKey } from './unpack-all.ts'
import type { World } from './world.ts'

export interface OpenPhases {
  readonly open: readonly {
    readonly name: string
    readonly version: string
    readonly lines: readonly ScriptLine[]
  }[]
  /** Gentoo packages that were never unpacked here: their phases are not known yet. */
  readonly unread: number
}

/** Reads what the store has; nothing is fetched. */
export async function openPhases(world: World, profile: Profile, lock: Lock): Promise<OpenPhases> {
  const gentoo = lock.packages.filter(({ scheme }) => scheme === 'ebuild')
  if (gentoo.length === 0) return { open: [], unread: 0 }
  const store = await world.store()
  const open: OpenPhases['open'][number][] = []
  let unread = 0
  for (const pkg of gentoo) {
    if (Object.hasOwn(profile.scripts, pkg.name)) continue
    const unpacked = await store.unpacked(recordKey(pkg))
    if (!unpacked) {
      unread++
      continue
    }
    const lines = ebuildPhases(unpacked.control)
    if (lines.length > 0) open.push({ name: pkg.name, version: pkg.version, lines })
  }
  return { open, unread }
}

/** Lines for people; nothing when there is nothing to say. */
export function printOpenPhases({ open, unread }: OpenPhases): string {
  if (open.length === 0 && unread === 0) return ''
  const lines = open.flatMap(({ name, version, lines: said }) => [
    `  ${name} ${version}\n`,
    ...said.map(
      ({ member, line, text }) => `    ${member}${line === 0 ? '' : `:${line}`}: ${printable(text)}\n`,
    ),
  ])
  const later =
    unread === 0
      ? []
      : [`  of ${unread} ${unread === 1 ? 'package' : 'packages'} they are known after the first build\n`]
  return `\nphases that no stage replaces; scripts: in the profile acknowledges them\n${lines.join('')}${later.join('')}`
}
