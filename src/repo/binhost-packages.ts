/** Entries of accepted indexes to packages; what cannot be used is told and left out. */
import { setImmediate as breathe } from 'node:timers/promises'
import { printable, type Refusal } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import type { GentooFields } from '../format/gentoo-index.ts'
import { matchesPattern } from '../pkg/ebuild-atom.ts'
import { packageOfEntry } from '../pkg/ebuild-package.ts'
import { type GentooHeader, withFlagsOf } from '../pkg/gentoo-header.ts'
import { listingOf } from '../pkg/listing.ts'
import type { Package, PackagesByName } from '../pkg/package.ts'
import type { AcceptedIndex } from './binhost-index.ts'
import type { BinhostSource } from './binhost-sources.ts'
import { indexPathProblem } from './index-path.ts'

const SHOWN_REFUSALS = 10
const ENTRIES_AT_ONCE = 4096
const SUMS = [
  ['MD5', /^[0-9A-Fa-f]{32}$/],
  ['SHA1', /^[0-9A-Fa-f]{40}$/],
  ['SHA256', /^[0-9A-Fa-f]{64}$/],
  ['SHA512', /^[0-9A-Fa-f]{128}$/],
  ['BLAKE2B', /^[0-9A-Fa-f]{128}$/],
] as const

/**
 * All usable packages, those of preferred binhosts first. Of one build that is listed twice the first is taken.
 *
 * All entries of a new index are looked at, so that what is wrong is told of once; of one that was accepted before,
 * those that are asked for.
 */
export async function packagesOf(
  repo: string,
  indexes: readonly AcceptedIndex[],
  report: Report,
  signal: AbortSignal,
): Promise<PackagesByName> {
  let refusals = 0
  const warn = (message: string) => report({ kind: 'warning', code: 'S5_INDEX_REFUSED', message })
  const refuse = (message: string): void => {
    if (++refusals <= SHOWN_REFUSALS) warn(message)
  }
  const headers = indexes.map(({ header }) => header)
  const readers = indexes.map(({ source, header: own, index }) => {
    const header = withFlagsOf(own, headers)
    const isSigned = source.trust.signatures === 'require'
    return {
      source,
      index,
      read: (at: number) => usable(index.fields(at), header, repo, source.name, isSigned),
    }
  })
  const byName = listingOf(
    indexes.map(({ index }) => index),
    (places) => {
      const packages: Package[] = []
      const identities = new Set<string>()
      const builds = new Set<string>()
      for (const { source: number, at } of places) {
        const { source, index, read } = readers[number] as (typeof readers)[number]
        const made = read(at)
        if ('reason' in made) {
          const name = index.cpv(at) || `entry ${at + 1}`
          refuse(`${source.label}: ${made.reason}: ${printable(name.slice(0, 200))}: ${made.message}`)
          continue
        }
        if (!takes(source, made)) continue
        const build = `${made.name} ${made.version} ${made.buildId}`
        const identity = `${build} ${made.file.size} ${made.buildTime} ${made.gentoo?.mtime}`
        if (identities.has(identity)) continue
        if (builds.has(`${number} ${build}`)) {
          refuse(`${source.label}: duplicate: ${build} is listed twice and differs`)
          continue
        }
        identities.add(identity)
        builds.add(`${number} ${build}`)
        packages.push(made)
      }
      return packages
    },
  )
  if (indexes.every(({ fromCache }) => fromCache)) return byName
  const unsigned = new Map<string, number>()
  let count = 0
  for (const name of byName.names()) {
    const packages = byName.named(name)
    count += packages.length
    for (const { file, gentoo } of packages)
      if (gentoo?.isUnsigned) unsigned.set(file.origin, (unsigned.get(file.origin) ?? 0) + 1)
    if (count < ENTRIES_AT_ONCE) continue
    count = 0
    await breathe()
    signal.throwIfAborted()
  }
  for (const { source } of indexes)
    if (unsigned.has(source.name))
      warn(
        `${source.label}: unsigned: ${unsigned.get(source.name)} packages that are no .gpkg.tar are not used, because signatures are required`,
      )
  if (refusals > SHOWN_REFUSALS) warn(`${repo}: ${refusals - SHOWN_REFUSALS} more entries were refused`)
  return byName
}

/** @see portage(5), binrepos.conf: getbinpkg-include, getbinpkg-exclude */
function takes({ include, exclude }: BinhostSource, pkg: Package): boolean {
  if (exclude.some((pattern) => matchesPattern(pattern, pkg))) return false
  return include.length === 0 || include.some((pattern) => matchesPattern(pattern, pkg))
}

function usable(
  fields: GentooFields,
  header: GentooHeader,
  repo: string,
  origin: string,
  needsSignature: boolean,
): Package | { readonly reason: Refusal; readonly message: string } {
  const path = fields.get('PATH')
  // PATH is text, and what would be joined are its bytes.
  const problem =
    path === undefined ? undefined : indexPathProblem(Buffer.from(path, 'utf8').toString('latin1'))
  if (problem !== undefined)
    return {
      reason: 'index-path',
      message: `PATH ${JSON.stringify(printable((path ?? '').slice(0, 120)))} ${problem}`,
    }
  const size = fields.get('SIZE') ?? ''
  if (size === '') return { reason: 'missing-metadata', message: 'has no SIZE' }
  let sums = 0
  for (const [key, syntax] of SUMS) {
    const sum = fields.get(key)
    if (sum === undefined) continue
    sums++
    if (!syntax.test(sum))
      return { reason: 'bad-metadata', message: `${key} is not the right number of hex digits` }
  }
  if (sums === 0) return { reason: 'weak-digest', message: 'has no MD5 and no SHA1' }
  const made = packageOfEntry(fields, header, repo, { origin, needsSignature })
  return 'problem' in made ? { reason: 'bad-metadata', message: printable(made.problem) } : made
}
