/** Gentoo versions, ordered as PMS 3.3 says. */

const SYNTAX = /^([0-9]+(?:\.[0-9]+)*)([a-z]?)((?:_(?:alpha|beta|pre|rc|p)[0-9]*)*)(?:-r([0-9]+))?$/
const SUFFIXES = ['alpha', 'beta', 'pre', 'rc', '', 'p']

/** Whether `text` is a version of PMS 3.2 with an optional revision. */
export function isEbuildVersion(text: string): boolean {
  return SYNTAX.test(text)
}

/** The version without its revision: what `~` compares. */
export function withoutRevision(version: string): string {
  return version.replace(/-r[0-9]+$/, '')
}

/**
 * Compare two ebuild versions; a text that is no version sorts before all versions, by code units.
 *
 * Leading zeros in the first component do not count; later components with one compare as decimals.
 * @returns negative, zero or positive
 * @see PMS 8, section 3.3, algorithms 3.1 to 3.7
 * @example
 * compareEbuildVersions('1.0_rc1', '1.0') // => -1
 */
export function compareEbuildVersions(left: string, right: string): number {
  if (left === right) return 0
  const one = SYNTAX.exec(left)
  const two = SYNTAX.exec(right)
  if (!one || !two) return one ? 1 : two ? -1 : compareText(left, right)
  return (
    compareComponents((one[1] as string).split('.'), (two[1] as string).split('.')) ||
    compareText(one[2] as string, two[2] as string) ||
    compareSuffixes(suffixesOf(one[3] as string), suffixesOf(two[3] as string)) ||
    compareIntegers(one[4] ?? '0', two[4] ?? '0')
  )
}

function compareComponents(left: readonly string[], right: readonly string[]): number {
  const first = compareIntegers(left[0] as string, right[0] as string)
  if (first !== 0) return first
  for (let index = 1; index < Math.min(left.length, right.length); index++) {
    const one = left[index] as string
    const two = right[index] as string
    const isDecimal = one.startsWith('0') || two.startsWith('0')
    const order = isDecimal
      ? compareText(one.replace(/0+$/, ''), two.replace(/0+$/, ''))
      : compareIntegers(one, two)
    if (order !== 0) return order
  }
  return Math.sign(left.length - right.length)
}

function suffixesOf(text: string): { kind: number; number: string }[] {
  return text
    .split('_')
    .slice(1)
    .map((suffix) => {
      const word = suffix.replace(/[0-9]+$/, '')
      return { kind: SUFFIXES.indexOf(word), number: suffix.slice(word.length) || '0' }
    })
}

type Suffix = { readonly kind: number; readonly number: string }

function compareSuffixes(left: readonly Suffix[], right: readonly Suffix[]): number {
  const none: Suffix = { kind: SUFFIXES.indexOf(''), number: '0' }
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const one = left[index] ?? none
    const two = right[index] ?? none
    const order = Math.sign(one.kind - two.kind) || compareIntegers(one.number, two.number)
    if (order !== 0) return order
  }
  return 0
}

/** Digits of any length as integers. */
function compareIntegers(left: string, right: string): number {
  const one = left.replace(/^0+/, '')
  const two = right.replace(/^0+/, '')
  return Math.sign(one.length - two.length) || compareText(one, two)
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}
