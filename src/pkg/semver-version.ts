/** Versions and ranges of native packages; the only importer of `semver`, which is read in when one is asked about. */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

interface Semver {
  readonly compareBuild: typeof import('semver/functions/compare-build.js')
  readonly satisfies: typeof import('semver/functions/satisfies.js')
  readonly valid: typeof import('semver/functions/valid.js')
  readonly validRange: typeof import('semver/ranges/valid.js')
}

let read: Semver | undefined

/** Synchronous, as comparing is. */
function semver(): Semver {
  return (read ??= {
    compareBuild: require('semver/functions/compare-build.js'),
    satisfies: require('semver/functions/satisfies.js'),
    valid: require('semver/functions/valid.js'),
    validRange: require('semver/ranges/valid.js'),
  })
}

/** Whether `text` is a version of Semantic Versioning 2.0.0, written without a leading `v`. */
export function isSemver(text: string): boolean {
  return /^[0-9]/.test(text) && semver().valid(text) !== null
}

/** Whether `text` is a range such as `^2.1`, `>=1 <3` or `1.x`. */
export function isSemverRange(text: string): boolean {
  return semver().validRange(text) !== null
}

/**
 * Compare two semantic versions; build metadata decides last, so that the order is total.
 * A text that is no version sorts before all versions, by code units.
 * @see Semantic Versioning 2.0.0, item 11
 */
export function compareSemver(left: string, right: string): number {
  const leftValid = isSemver(left)
  const rightValid = isSemver(right)
  if (leftValid && rightValid) return semver().compareBuild(left, right)
  if (leftValid !== rightValid) return leftValid ? 1 : -1
  return left < right ? -1 : left > right ? 1 : 0
}

/** Whether `version` is inside `range`; a pre-release only where the range names one of the same triple. */
export function isInRange(version: string, range: string): boolean {
  return semver().satisfies(version, range)
}
