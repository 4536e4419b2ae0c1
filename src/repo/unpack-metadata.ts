/** The build-info of a Gentoo package against what is needed of it and what the index promised. */
import { type Refusal, refuse } from '../base/errors.ts'
import { isEbuildVersion } from '../pkg/ebuild-version.ts'

/** What the lock says of a build. */
export interface ExpectedBuild {
  /** `dev-lang/php` */
  readonly name: string
  readonly version: string
  readonly slot?: string
  /** Enabled flags. */
  readonly use?: readonly string[]
  /** 0 when it was not said. */
  readonly buildId?: number
}

const MAX_VALUE = 2 ** 24
/** PMS 3.1.1 and 3.1.3: category and slot names; "it must not begin with a hyphen, a dot or a plus sign". */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9+_.-]*$/
const PACKAGE = /^[A-Za-z0-9_][A-Za-z0-9+_-]*$/
const EAPI = /^[A-Za-z0-9_][A-Za-z0-9+_.-]*$/
const DEPENDENCIES = ['RDEPEND', 'PDEPEND', 'IDEPEND', 'DEPEND', 'BDEPEND']

/**
 * @param values members of build-info by name, as byte strings with their newlines
 * @throws S5_ARCHIVE_REFUSED `missing-metadata`, `bad-metadata`, `mismatch`, `too-big`
 */
export function checkBuildInfo(
  file: string,
  values: { readonly [name: string]: string },
  expect?: ExpectedBuild,
): void {
  const fail = (reason: Refusal, message: string, data: { readonly [key: string]: string } = {}) =>
    refuse(reason, file, message, data)
  const value = (key: string): string | undefined =>
    Object.hasOwn(values, key) ? (values[key] as string).trim() : undefined
  const needed = (key: string, syntax: RegExp): string => {
    const found = value(key)
    if (found === undefined || found === '') throw fail('missing-metadata', `there is no ${key}`)
    if (!syntax.test(found)) throw fail('bad-metadata', `an improper ${key}`, { actual: found.slice(0, 200) })
    return found
  }
  for (const [name, text] of Object.entries(values))
    if (text.length > MAX_VALUE) throw fail('too-big', `metadata of ${text.length} bytes`, { entry: name })
  const category = needed('CATEGORY', NAME)
  const full = needed('PF', NAME)
  const slot = needed('SLOT', /^[A-Za-z0-9_][A-Za-z0-9+_.-]*(?:\/[A-Za-z0-9_][A-Za-z0-9+_.-]*)?$/)
  const split = splitFullName(full)
  if (split === undefined) throw fail('bad-metadata', 'an improper PF', { actual: full })
  if (value('EAPI') !== undefined) needed('EAPI', EAPI)
  const buildId = value('BUILD_ID') ?? ''
  if (buildId !== '') needed('BUILD_ID', /^[0-9]{1,9}$/)
  for (const key of DEPENDENCIES) {
    const problem = dependencyProblem(value(key) ?? '')
    if (problem !== undefined) throw fail('bad-metadata', `${key} ${problem}`)
  }
  if (expect) checkExpected(file, { ...split, category, slot, buildId, value }, expect)
}

function checkExpected(
  file: string,
  found: {
    readonly category: string
    readonly name: string
    readonly version: string
    readonly slot: string
    readonly buildId: string
    readonly value: (key: string) => string | undefined
  },
  expect: ExpectedBuild,
): void {
  const mismatch = (what: string, expected: string, actual: string) =>
    refuse('mismatch', file, `${what}: expected ${expected}, found ${actual}`, { expected, actual })
  const name = `${found.category}/${found.name}`
  if (name !== expect.name) throw mismatch('package', expect.name, name)
  if (found.version !== expect.version) throw mismatch('version', expect.version, found.version)
  const slot = found.slot.split('/')[0] as string
  if (expect.slot !== undefined && slot !== expect.slot) throw mismatch('SLOT', expect.slot, slot)
  if (expect.buildId && found.buildId !== '' && Number(found.buildId) !== expect.buildId)
    throw mismatch('BUILD_ID', String(expect.buildId), found.buildId)
  if (expect.use === undefined) return
  const built = new Set(wordsOf(found.value('USE')))
  const wanted = new Set(expect.use)
  for (const flag of wordsOf(found.value('IUSE')).map((word) => word.replace(/^[+-]/, '')))
    if (built.has(flag) !== wanted.has(flag))
      throw mismatch(`USE flag ${flag}`, wanted.has(flag) ? 'on' : 'off', built.has(flag) ? 'on' : 'off')
}

function wordsOf(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '')
}

/** `php-8.3.9-r1` to its name and version; undefined when it does not end with a version. */
function splitFullName(full: string): { name: string; version: string } | undefined {
  for (let at = full.indexOf('-'); at > 0; at = full.indexOf('-', at + 1)) {
    const [name, version] = [full.slice(0, at), full.slice(at + 1)]
    if (isEbuildVersion(version) && PACKAGE.test(name)) return { name, version }
  }
  return undefined
}

/** The shape that every dependency string has; the resolver reads the index, not this. */
function dependencyProblem(text: string): string | undefined {
  let depth = 0
  for (const word of text.split(/\s+/)) {
    if (word === '(') depth++
    else if (word === ')') depth--
    else if (/[\0-\x1f\x7f]/.test(word)) return 'has control characters'
    else if (word.replace(/\([+-]\)/g, '').includes('(')) return 'has a parenthesis without blanks around it'
    if (depth < 0) break
  }
  return depth === 0 ? undefined : 'has parentheses without a partner'
}
