/** Debian versions: `[epoch:]upstream[-revision]`, ordered as Policy 5.6.12 says. */
import { Stage5Error } from '../base/errors.ts'

interface DebVersion {
  readonly epoch: number
  readonly upstream: string
  /** `0` and a missing revision are equal in order; '' when missing. */
  readonly revision: string
}

/**
 * Take a version apart, as strictly as dpkg does when it builds a package.
 *
 * @throws S5_VERSION_SYNTAX
 * @see Debian Policy 5.6.12: “It is permitted to use hyphens in upstream_version if a debian_revision is present”
 * @example
 * parseDebVersion('1:2.36-9+deb12u10').revision // => '9+deb12u10'
 */
export function parseDebVersion(text: string): DebVersion {
  const problem = problemOf(text)
  if (problem !== undefined)
    throw new Stage5Error(
      'S5_VERSION_SYNTAX',
      `${JSON.stringify(text)} is not a Debian version: ${problem}`,
      {
        hint: 'write [epoch:]upstream[-revision], such as 1.22.1-9 or 1:2.3',
      },
    )
  return split(text)
}

/** Whether `parseDebVersion` would take it. */
export function isDebVersion(text: string): boolean {
  return problemOf(text) === undefined
}

function problemOf(text: string): string | undefined {
  const colon = text.indexOf(':')
  if (colon >= 0) {
    const epoch = text.slice(0, colon)
    if (!/^[0-9]+$/.test(epoch)) return 'the epoch is not a number'
    if (Number(epoch) > 0x7fffffff) return 'the epoch is too big'
  }
  const rest = text.slice(colon + 1)
  const hyphen = rest.lastIndexOf('-')
  const upstream = hyphen < 0 ? rest : rest.slice(0, hyphen)
  if (upstream === '') return 'nothing is left for the upstream version'
  if (!/^[0-9]/.test(upstream)) return 'the upstream version does not start with a digit'
  if (!/^[A-Za-z0-9.+~:-]+$/.test(upstream)) return 'the upstream version has a letter that is not allowed'
  if (hyphen >= 0 && !/^[A-Za-z0-9.+~]+$/.test(rest.slice(hyphen + 1)))
    return 'the revision is empty or has a letter that is not allowed'
  return undefined
}

function split(text: string): DebVersion {
  const colon = text.indexOf(':')
  const hyphen = text.lastIndexOf('-')
  const hasRevision = hyphen > colon
  return {
    epoch: colon < 0 ? 0 : Number(text.slice(0, colon)),
    upstream: text.slice(colon + 1, hasRevision ? hyphen : undefined),
    revision: hasRevision ? text.slice(hyphen + 1) : '',
  }
}

/**
 * Compare two Debian versions: epoch, then upstream version, then revision.
 *
 * Defined for every string, so that one odd line of an index cannot stop a sort; numbers have no upper limit.
 * @returns negative, zero or positive
 * @see Debian Policy 5.6.12: “all the letters sort earlier than all the non-letters … a tilde sorts before
 * anything, even the end of a part”
 * @example
 * compareDebianVersions('1.0~rc1', '1.0') // => -1
 */
export function compareDebianVersions(left: string, right: string): number {
  if (left === right) return 0
  const leftColon = left.indexOf(':')
  const rightColon = right.indexOf(':')
  if (leftColon >= 0 || rightColon >= 0) {
    const order = compareNumbers(left, 0, Math.max(leftColon, 0), right, 0, Math.max(rightColon, 0))
    if (order !== 0) return order
  }
  const leftHyphen = hyphenOf(left, leftColon)
  const rightHyphen = hyphenOf(right, rightColon)
  return (
    comparePart(left, leftColon + 1, leftHyphen, right, rightColon + 1, rightHyphen) ||
    comparePart(left, leftHyphen + 1, left.length, right, rightHyphen + 1, right.length)
  )
}

/** Where the revision's hyphen stands; the end of the text when there is none. */
function hyphenOf(text: string, colon: number): number {
  const hyphen = text.lastIndexOf('-')
  return hyphen > colon ? hyphen : text.length
}

function comparePart(
  left: string,
  leftFrom: number,
  leftTo: number,
  right: string,
  rightFrom: number,
  rightTo: number,
): number {
  let one = leftFrom
  let two = rightFrom
  while (one < leftTo || two < rightTo) {
    while ((one < leftTo && !isDigit(left, one)) || (two < rightTo && !isDigit(right, two))) {
      const difference = weight(left, one, leftTo) - weight(right, two, rightTo)
      if (difference !== 0) return Math.sign(difference)
      one++
      two++
    }
    const oneStart = one
    const twoStart = two
    while (one < leftTo && isDigit(left, one)) one++
    while (two < rightTo && isDigit(right, two)) two++
    const order = compareNumbers(left, oneStart, one, right, twoStart, two)
    if (order !== 0) return order
  }
  return 0
}

function isDigit(text: string, index: number): boolean {
  const code = text.charCodeAt(index)
  return code >= 0x30 && code <= 0x39
}

/** Order of one position outside numbers: tilde, then the end (or a digit), then letters, then the rest. */
function weight(text: string, index: number, end: number): number {
  if (index >= end || isDigit(text, index)) return 0
  const code = text.charCodeAt(index)
  if (code === 0x7e) return -1
  const isLetter = (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a)
  return isLetter ? code : code + 0x10000
}

function compareNumbers(
  left: string,
  leftFrom: number,
  leftTo: number,
  right: string,
  rightFrom: number,
  rightTo: number,
): number {
  let one = leftFrom
  let two = rightFrom
  while (one < leftTo && left.charCodeAt(one) === 0x30) one++
  while (two < rightTo && right.charCodeAt(two) === 0x30) two++
  if (leftTo - one !== rightTo - two) return leftTo - one < rightTo - two ? -1 : 1
  for (; one < leftTo; one++, two++) {
    const difference = left.charCodeAt(one) - right.charCodeAt(two)
    if (difference !== 0) return difference < 0 ? -1 : 1
  }
  return 0
}
