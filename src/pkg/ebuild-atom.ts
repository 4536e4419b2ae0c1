/** Gentoo atoms: parse, print, and patterns of configuration files. */
import { Stage5Error } from '../base/errors.ts'
import { isEbuildVersion } from './ebuild-version.ts'
import { matches } from './match.ts'
import type { Atom, Package, VersionTest } from './package.ts'
import { parseUseTests, printUseTest } from './use.ts'

/** Newest EAPI of PMS 8, and what is taken where nobody says. */
export const NEWEST_EAPI = 8

interface AtomRules {
  /** Features that this EAPI lacks are errors (PMS 8, tables 8.4 to 8.7). Default: all features. */
  readonly eapi?: number
  /**
   * `dependency`: as ebuilds write them; `request`: build ids and `::repository` too; `pattern`: wildcards as well, for
   * masks and settings. Default: `request`.
   */
  readonly kind?: 'dependency' | 'request' | 'pattern'
}

const CATEGORY = /^[A-Za-z0-9_][A-Za-z0-9+_.-]*$/
const NAME = /^[A-Za-z0-9_][A-Za-z0-9+_-]*$/
const SLOT = '[A-Za-z0-9_][A-Za-z0-9+_.-]*'
const SLOT_PART = new RegExp(`^(?:(\\*|=)|(${SLOT})(?:/(${SLOT}))?(=)?)$`)
const REPOSITORY = /^[A-Za-z0-9_][A-Za-z0-9_-]*$/
const VERSIONED = /^(.+)-([0-9]+(?:\.[0-9]+)*[a-z]?(?:_(?:alpha|beta|pre|rc|p)[0-9]*)*(?:-r[0-9]+)?)$/

/**
 * Parse an atom without blocker marks: `>=dev-libs/glib-2.32:2[abi_x86_64(-)]`.
 *
 * @throws S5_ATOM_SYNTAX
 * @see PMS 8, section 8.3
 * @example
 * parseEbuildAtom('>=dev-lang/php-8.3:8.3=[fpm]').slot // => '8.3'
 */
export function parseEbuildAtom(text: string, rules: AtomRules = {}): Atom {
  const { eapi = NEWEST_EAPI, kind = 'request' } = rules
  const bad = (expected: string): Stage5Error =>
    new Stage5Error('S5_ATOM_SYNTAX', `expected ${expected}, found ${JSON.stringify(text.slice(0, 200))}`)
  const needs = (from: number, feature: string): void => {
    if (eapi < from) throw bad(`no ${feature} in EAPI ${eapi}`)
  }
  let rest = text
  let use: Atom['use']
  const bracket = rest.indexOf('[')
  if (bracket >= 0) {
    needs(2, 'USE dependency')
    if (!rest.endsWith(']')) throw bad('] at the end of the USE dependency')
    use = useTests(rest.slice(bracket + 1, -1), bad)
    if (use.some(({ otherwise }) => otherwise !== undefined)) needs(4, 'USE default')
    rest = rest.slice(0, bracket)
  }
  let repo: string | undefined
  const colons = rest.indexOf('::')
  if (colons >= 0) {
    repo = rest.slice(colons + 2)
    if (kind === 'dependency' || !REPOSITORY.test(repo)) throw bad('no ::repository in a dependency')
    rest = rest.slice(0, colons)
  }
  let slots: Pick<Atom, 'slot' | 'subslot' | 'slotOperator'> = {}
  const colon = rest.indexOf(':')
  if (colon >= 0) {
    needs(1, 'slot')
    const found = SLOT_PART.exec(rest.slice(colon + 1))
    if (!found) throw bad('a slot such as :0, :0/3, :0=, := or :*')
    if (found[1] !== undefined || found[3] !== undefined || found[4] !== undefined)
      needs(5, 'sub-slot or slot operator')
    slots = slotsOf(found)
    rest = rest.slice(0, colon)
  }
  const operator = /^(?:>=|<=|[<>=~])?/.exec(rest)?.[0] as VersionOperator | ''
  const parts = { ...slots, ...(use && { use }), ...(repo !== undefined && { repo }) }
  const body = rest.slice(operator.length)
  if (operator === '') {
    if (kind === 'pattern' && body.includes('*') && isPatternName(body)) return { name: body, text, ...parts }
    if (!isPackageName(body)) throw bad('category/package without a version, or an operator before it')
    return { name: body, text, ...parts }
  }
  const isGlob = operator === '=' && body.endsWith('*')
  if (kind === 'pattern' && isGlob) {
    const wild = /^([^*]*\*?[^*]*\/[^*]*\*?[^*]*)-(\*[^*]*)\*$/.exec(body)
    if (wild && isPatternName(wild[1] as string))
      return { name: wild[1] as string, text, version: { op: '=*', version: wild[2] as string }, ...parts }
  }
  const written = isGlob ? body.slice(0, -1) : body
  const found = splitVersion(written)
  if (!found || (found.buildId !== undefined && (operator !== '=' || isGlob || kind === 'dependency')))
    throw bad(`category/package-version after ${operator}`)
  const version: VersionTest = { op: isGlob ? '=*' : operator, version: found.version }
  const { buildId } = found
  return { name: found.name, text, version, ...parts, ...(buildId !== undefined && { buildId }) }
}

type VersionOperator = '<' | '<=' | '=' | '~' | '>=' | '>'

function slotsOf(found: RegExpExecArray): Pick<Atom, 'slot' | 'subslot' | 'slotOperator'> {
  const [, alone, slot, subslot, bound] = found
  return {
    ...(slot !== undefined && { slot }),
    ...(subslot !== undefined && { subslot }),
    ...(alone !== undefined ? { slotOperator: alone as '=' | '*' } : bound && { slotOperator: '=' as const }),
  }
}

function useTests(text: string, bad: (expected: string) => Stage5Error): NonNullable<Atom['use']> {
  if (/\s/.test(text)) throw bad('no white space in a USE dependency')
  const tests = parseUseTests(text)
  for (const { flag, otherwise } of tests)
    if (otherwise === true && tests.some((other) => other.flag === flag && other.otherwise === false))
      throw bad(`one default for the flag ${flag}`)
  return tests
}

/** Whether `text` is a `category/package`; a name may not end in a hyphen and a version (PMS 8, section 3.1.2). */
export function isPackageName(text: string): boolean {
  const slash = text.indexOf('/')
  if (slash < 0 || !CATEGORY.test(text.slice(0, slash))) return false
  const name = text.slice(slash + 1)
  if (!NAME.test(name)) return false
  for (let at = name.indexOf('-'); at >= 0; at = name.indexOf('-', at + 1))
    if (isEbuildVersion(name.slice(at + 1))) return false
  return true
}

function isPatternName(text: string): boolean {
  const [category = '', name = '', ...more] = text.split('/')
  const plain = (part: string): string => part.replaceAll('*', 'x')
  if (more.length > 0 || /\*\*/.test(text)) return false
  return CATEGORY.test(plain(category)) && NAME.test(plain(name))
}

/** Name, version and, where the text is none without it, build id of `category/package-version[-build]`. */
export function splitVersion(
  text: string,
): { readonly name: string; readonly version: string; readonly buildId?: number } | undefined {
  const plain = splitAt(text)
  if (plain) return plain
  const build = /^(.*)-([1-9][0-9]{0,14})$/.exec(text)
  const rest = build && splitAt(build[1] as string)
  return rest ? { ...rest, buildId: Number((build as RegExpExecArray)[2]) } : undefined
}

function splitAt(text: string): { readonly name: string; readonly version: string } | undefined {
  const [, name = '', version = ''] = VERSIONED.exec(text) ?? []
  return isPackageName(name) ? { name, version } : undefined
}

/** The atom in one fixed writing, made of its parts and not of its text. */
export function printEbuildAtom(atom: Atom): string {
  const { version } = atom
  const test = version && 'op' in version ? version : undefined
  const build = atom.buildId === undefined ? '' : `-${atom.buildId}`
  const body = test
    ? `${test.op === '=*' ? '=' : test.op}${atom.name}-${test.version}${build}${test.op === '=*' ? '*' : ''}`
    : atom.name
  const subslot = atom.subslot === undefined ? '' : `/${atom.subslot}`
  const slot = `${atom.slot ?? ''}${subslot}${atom.slotOperator ?? ''}`
  const repo = atom.repo === undefined ? '' : `::${atom.repo}`
  const use = atom.use && atom.use.length > 0 ? `[${atom.use.map(printUseTest).join(',')}]` : ''
  return `${body}${slot === '' ? '' : `:${slot}`}${repo}${use}`
}

/** Whether a package is meant by an atom of a configuration file, in which names and versions may have wildcards. */
export function matchesPattern(pattern: Atom, pkg: Package): boolean {
  if (!pattern.name.includes('*') && !isWildVersion(pattern)) return matches(pattern, pkg)
  if (!wildcard(pattern.name, pkg.name)) return false
  if (!isWildVersion(pattern)) return matches({ ...pattern, name: pkg.name }, pkg)
  const { version, ...rest } = pattern
  const part = version && 'version' in version ? version.version.slice(1) : ''
  return matches({ ...rest, name: pkg.name }, pkg) && pkg.version.includes(part)
}

function isWildVersion({ version }: Atom): boolean {
  return version !== undefined && 'op' in version && version.op === '=*' && version.version.startsWith('*')
}

function wildcard(pattern: string, name: string): boolean {
  const source = pattern.replaceAll(/[.+]/g, String.raw`\$&`).replaceAll('*', '[^/]*')
  return new RegExp(`^${source}$`).test(name)
}
