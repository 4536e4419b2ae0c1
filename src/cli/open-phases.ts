/** Merge phases of Gentoo packages that no stage replaces and the profile does not acknowledge, before a build finds them. */
import type { Lock, Locked } from '../resolve/lock.ts'
import type { Profile } from '../resolve/profile.ts'
import { ebuildPhases, phasesToRead } from '../stage/ebuild-phases.ts'
import type { ScriptLine } from '../stage/scripts.ts'
import { printable } from '../base/errors.ts'
import { recordKey } from './unpack-all.ts'
import type { World } from './world.ts'

interface OpenPhases {
  readonly open: readonly {
    readonly name: string
    readonly version: string
    readonly lines: readonly ScriptLine[]
  }[]
  /** Packages that were never unpacked here, whose entry in an index names phases; what those do is not known yet. */
  readonly named: readonly { readonly name: string; readonly version: string; readonly phases: string[] }[]
  /** Packages that were never unpacked here, of which no index was asked. */
  readonly unread: number
}

/**
 * Reads what the store has; nothing is fetched.
 * @param indexed whether the indexes of the profile have been read by this run already, and may be asked
 */
export async function openPhases(
  world: World,
  profile: Profile,
  lock: Lock,
  indexed: boolean,
): Promise<OpenPhases> {
  const gentoo = lock.packages.filter(({ scheme }) => scheme === 'ebuild')
  if (gentoo.length === 0) return { open: [], named: [], unread: 0 }
  const store = await world.store()
  const named: OpenPhases['named'][number][] = []
  const open: OpenPhases['open'][number][] = []
  let unread = 0
  for (const pkg of gentoo) {
    if (Object.hasOwn(profile.scripts, pkg.name)) continue
    const unpacked = await store.unpacked(recordKey(pkg))
    if (!unpacked) {
      const entry = indexed ? await entryOf(world, profile, pkg) : undefined
      const phases = entry && phasesToRead(pkg.name, entry.get('DEFINED_PHASES') ?? '')
      if (!phases) unread++
      else if (phases.length > 0) named.push({ name: pkg.name, version: pkg.version, phases })
      continue
    }
    const lines = ebuildPhases(unpacked.control)
    if (lines.length > 0) open.push({ name: pkg.name, version: pkg.version, lines })
  }
  return { open, named, unread }
}

/** What the index says of a package of the lock. */
async function entryOf(
  world: World,
  profile: Profile,
  { repo, name, version, buildId }: Locked,
): Promise<ReadonlyMap<string, string> | undefined> {
  const { byName } = await (await world.repository(repo)).index(profile.arch, world.signal)
  const found = byName?.named(name).find((each) => each.version === version && each.buildId === buildId)
  return found?.gentoo?.entry
}

/** Lines for people; nothing when there is nothing to say. */
export function printOpenPhases({ open, named, unread }: OpenPhases): string {
  const lines = open.flatMap(({ name, version, lines: said }) => [
    `  ${name} ${version}\n`,
    ...said.map(
      ({ member, line, text }) => `    ${member}${line === 0 ? '' : `:${line}`}: ${printable(text)}\n`,
    ),
  ])
  const later = [
    ...(named.length === 0 ? [] : ['  read when `stage5 lock` fetches the packages\n']),
    ...named.map(({ name, version, phases }) => `    ${name} ${version}: ${phases.join(', ')}\n`),
    ...(unread === 0
      ? []
      : [`  of ${unread} ${unread === 1 ? 'package' : 'packages'} they are known after the first build\n`]),
  ]
  if (lines.length + later.length === 0) return ''
  return `\nphases that no stage replaces; scripts: in the profile acknowledges them\n${lines.join('')}${later.join('')}`
}
