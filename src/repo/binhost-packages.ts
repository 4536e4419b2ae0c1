/** Entries of accepted indexes to packages; what cannot be used is told and left out. */
import { setImmediate as breathe } from 'node:timers/promises'
import { printable, type Refusal } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import type { GentooFields } from '../format/gentoo-index.ts'
import { packageOfEntry } from '../pkg/ebuild-package.ts'
import { withFlagsOf } from '../pkg/gentoo-header.ts'
import type { Package } from '../pkg/package.ts'
import type { AcceptedIndex } from './binhost-index.ts'
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
 * @throws S5_INDEX_REFUSED `truncated` for an index with fewer entries than it announces
 */
export async function packagesOf(
  repo: string,
  indexes: readonly AcceptedIndex[],
  report: Report,
  signal: AbortSignal,
): Promise<Package[]> {
  const packages: Package[] = []
  const identities = new Set<string>()
  let refusals = 0
  const warn = (message: string) => report({ kind: 'warning', code: 'S5_INDEX_REFUSED', message })
  const headers = indexes.map(({ header }) => header)
  for (const { source, header: own, entries } of indexes) {
    const header = withFlagsOf(own, headers)
    const builds = new Set<string>()
    let count = 0
    let withoutSignature = 0
    for (const { fields, line } of entries()) {
      if (++count % ENTRIES_AT_ONCE === 0) {
        await breathe()
        signal.throwIfAborted()
      }
      const made = usable(fields, (entry) => packageOfEntry(entry, header, repo, source.name))
      if ('reason' in made) {
        const name = fields.get('CPV') ?? `line ${line}`
        if (++refusals <= SHOWN_REFUSALS)
          warn(`${source.label}: ${made.reason}: ${printable(name.slice(0, 200))}: ${made.message}`)
        continue
      }
      if (source.trust.signatures === 'require' && !made.file.path.endsWith('.gpkg.tar')) {
        withoutSignature++
        continue
      }
      const build = `${made.name} ${made.version} ${made.buildId}`
      const identity = `${build} ${made.file.size} ${made.buildTime} ${fields.get('MTIME') ?? ''}`
      if (identities.has(identity)) continue
      if (builds.has(build)) {
        if (++refusals <= SHOWN_REFUSALS)
          warn(`${source.label}: duplicate: ${build} is listed twice and differs`)
        continue
      }
      identities.add(identity)
      builds.add(build)
      packages.push(made)
    }
    if (withoutSignature > 0)
      warn(
        `${source.label}: unsigned: ${withoutSignature} packages that are no .gpkg.tar are not used, because signatures are required`,
      )
  }
  if (refusals > SHOWN_REFUSALS) warn(`${repo}: ${refusals - SHOWN_REFUSALS} more entries were refused`)
  return packages
}

function usable(
  fields: GentooFields,
  make: (fields: GentooFields) => ReturnType<typeof packageOfEntry>,
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
  const made = make(fields)
  return 'problem' in made ? { reason: 'bad-metadata', message: printable(made.problem) } : made
}
