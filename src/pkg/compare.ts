/** Version order and version tests by scheme. */
import { compareDebianVersions } from './deb-version.ts'
import { compareEbuildVersions, withoutRevision } from './ebuild-version.ts'
import type { Scheme, VersionTest } from './package.ts'
import { compareSemver, isInRange } from './semver-version.ts'

/** Compare two versions under the law of their scheme: negative, zero or positive. */
export function compareVersions(scheme: Scheme, left: string, right: string): number {
  switch (scheme) {
    case 'deb':
      return compareDebianVersions(left, right)
    case 'semver':
      return compareSemver(left, right)
    case 'ebuild':
      return compareEbuildVersions(left, right)
  }
}

/** Whether `version` passes `test` under the law of `scheme`. */
export function passesVersionTest(scheme: Scheme, test: VersionTest, version: string): boolean {
  if ('range' in test) return scheme === 'semver' && isInRange(version, test.range)
  if (test.op === '~')
    return compareVersions(scheme, withoutRevision(version), withoutRevision(test.version)) === 0
  if (test.op === '=*') return hasPrefix(version, test.version)
  const order = compareVersions(scheme, version, test.version)
  switch (test.op) {
    case '<':
      return order < 0
    case '<=':
      return order <= 0
    case '=':
      return order === 0
    case '>=':
      return order >= 0
    case '>':
      return order > 0
  }
}

/**
 * Gentoo's `=…*`: the prefix must end where a component ends; zeros in front of the first one do not count.
 * @see PMS 8, section 8.3.1
 */
function hasPrefix(version: string, prefix: string): boolean {
  const whole = withoutZeros(version)
  const part = withoutZeros(prefix)
  if (!whole.startsWith(part)) return false
  const next = whole[part.length]
  return next === undefined || /[._-]/.test(next) || isDigit(next) !== isDigit(part.slice(-1))
}

function withoutZeros(version: string): string {
  return version.replace(/^0+(?=[0-9])/, '')
}

function isDigit(character: string): boolean {
  return /[0-9]/.test(character)
}
