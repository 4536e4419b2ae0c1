/** Builds that a demand lacks, as commands that would make them. */
import { printEbuildAtom } from '../pkg/ebuild-atom.ts'
import { mismatch } from '../pkg/match.ts'
import type { Atom, Package } from '../pkg/package.ts'
import { isSonameKey } from '../pkg/soname.ts'
import { wantedState } from '../pkg/use.ts'
import type { Catalog } from './catalog.ts'
import type { Choice } from './choose.ts'

/** One build to make. */
export interface MissingBuild {
  /** As emerge takes it: `=dev-lang/php-8.3.9`. */
  readonly atom: string
  /** `fpm`, `-apache2`: those that are on first, then by name. */
  readonly use: readonly string[]
}

/** `USE="fpm -apache2" emerge --buildpkgonly =dev-lang/php-8.3.9`, ready for a shell. */
export function buildCommand({ atom, use }: MissingBuild): string {
  const quoted = /^[A-Za-z0-9=~+./:_-]+$/.test(atom) && !/^~/.test(atom) ? atom : `'${atom}'`
  return `${use.length === 0 ? '' : `USE="${use.join(' ')}" `}emerge --buildpkgonly ${quoted}`
}

/**
 * The build that would meet `atom`, when no build may be chosen for it; `undefined` where building cannot help: other
 * schemes, shared libraries, numbered builds, builds that exist but are masked, and flags that the profile wants otherwise.
 *
 * @param parent who wrote the atom: where only the sub-slot of its own build is in the way, it is what must be built anew
 */
export function missingBuild(
  choice: Choice,
  catalog: Catalog,
  atom: Atom,
  parent?: Package,
): MissingBuild | undefined {
  const { name, version, buildId } = atom
  if (buildId !== undefined || !choice.hasGentoo || !name.includes('/') || isSonameKey(name)) return undefined
  if (version && 'range' in version) return undefined
  const named = catalog.named(name)
  if (named.some(({ scheme }) => scheme !== 'ebuild')) return undefined
  const { text, slot, subslot, use = [] } = atom
  const wide: Atom = { name, text, ...(version && { version }), ...(slot !== undefined && { slot }) }
  const rest: Atom = { ...wide, ...(subslot !== undefined && { subslot }) }
  const flags = new Map<string, boolean>()
  for (const test of use) {
    const state = wantedState(test, parent)
    if (state !== undefined) flags.set(test.flag, state)
  }
  const near = named.find((pkg) => mismatch(rest, pkg) === undefined)
  if (near) {
    const hidden = choice.hidden(near)
    if (hidden && hidden.kind !== 'use') return undefined
    if (flags.size === 0 && !hidden) return undefined
    for (const { flag, state } of choice.boundFlags(near)) {
      const isOn = state === 'on'
      if ((flags.get(flag) ?? isOn) !== isOn) return undefined
      flags.set(flag, isOn)
    }
    return { atom: `=${name}-${near.version}`, use: words(flags) }
  }
  if (parent && subslot !== undefined && named.some((pkg) => mismatch(wide, pkg) === undefined))
    return { atom: `=${parent.name}-${parent.version}`, use: [] }
  for (const { flag, state } of choice.askedFlags(name)) if (!flags.has(flag)) flags.set(flag, state === 'on')
  return { atom: printEbuildAtom(wide), use: words(flags) }
}

function words(flags: ReadonlyMap<string, boolean>): string[] {
  return [...flags]
    .sort(([left, isOn], [right, isOther]) => Number(isOther) - Number(isOn) || (left < right ? -1 : 1))
    .map(([flag, on]) => (on ? flag : `-${flag}`))
}
