/** Atoms as people write them: parse and print, by scheme. */
import { Stage5Error } from '../base/errors.ts'
import { parseDebRelation } from './deb-depends.ts'
import { parseEbuildAtom, printEbuildAtom } from './ebuild-atom.ts'
import type { Atom, Scheme } from './package.ts'
import { isSemverRange } from './semver-version.ts'
import { parseUseTests, printUseTest } from './use.ts'

const NATIVE =
  /^([A-Za-z0-9_][A-Za-z0-9+_.-]*(?:\/[A-Za-z0-9_][A-Za-z0-9+_.-]*)+)\s*:?\s*([^[\]#]*?)\s*((?:\[[^\]]*\]\s*|#[0-9]+\s*)*)$/
const SHORT_DEB = /^([a-z0-9][a-z0-9+.-]*)(?::([a-z0-9-]+))?\s*(<<|<=|>=|>>|=|<|>)\s*([A-Za-z0-9.+~:-]+)$/
const SHORT_OPERATORS: { readonly [written: string]: '<' | '<=' | '=' | '>=' | '>' } = {
  '<<': '<',
  '<': '<',
  '<=': '<=',
  '=': '=',
  '>=': '>=',
  '>': '>',
  '>>': '>',
}

/**
 * Parse an atom in the writing of `scheme`.
 *
 * - `deb`: `nginx`, `libc6 (>= 2.36)`, `libc6>=2.36`, `python3:any`.
 * - `semver`: `app/shop`, `app/shop ^2.1`, `app/shop: ^2.1`, `[ssl,-ldap]`, `#3` for build 3; `deb:NAME …` is a Debian atom.
 * - `ebuild`: `net-misc/curl`, `>=dev-lang/php-8.3:8.3[fpm,-apache2]`, `=app/x-1-r1-3` for build 3.
 *
 * @throws S5_ATOM_SYNTAX
 * @example
 * parseAtom('app/shop: ^2.1 [ssl]', 'semver').name // => 'app/shop'
 */
export function parseAtom(text: string, scheme: Scheme): Atom {
  const trimmed = text.trim()
  if (scheme === 'deb' || trimmed.startsWith('deb:')) return parseDebAtom(trimmed)
  if (scheme === 'semver') return parseNativeAtom(trimmed)
  return parseEbuildAtom(trimmed)
}

/** The scheme in whose writing an atom without further knowledge is read: a native name has a `/`, a Debian name cannot. */
export function schemeOfName(name: string): 'deb' | 'semver' {
  return name.includes('/') && !name.startsWith('deb:') ? 'semver' : 'deb'
}

function parseDebAtom(text: string): Atom {
  const short = SHORT_DEB.exec(text.replace(/^deb:\s*/, ''))
  if (!short) return { ...parseDebRelation(text.replace(/^deb:\s*/, '')), text }
  const version = { op: SHORT_OPERATORS[short[3] as string] as '=', version: short[4] as string }
  const atom = { name: short[1] as string, text, version }
  return short[2] === undefined ? atom : { ...atom, arch: short[2] }
}

function parseNativeAtom(text: string): Atom {
  const found = NATIVE.exec(text)
  if (!found)
    throw new Stage5Error(
      'S5_ATOM_SYNTAX',
      `expected a package such as app/shop ^2.1 [ssl,-ldap], found ${JSON.stringify(text)}`,
    )
  const range = found[2] as string
  if (range !== '' && !isSemverRange(range))
    throw new Stage5Error(
      'S5_ATOM_SYNTAX',
      `${JSON.stringify(range)} is not a version range, in ${JSON.stringify(text)}`,
    )
  const rest = found[3] as string
  const use = [...rest.matchAll(/\[([^\]]*)\]/g)].flatMap((match) => parseUseTests(match[1] as string))
  const builds = [...rest.matchAll(/#([0-9]+)/g)].map((match) => Number(match[1]))
  if (builds.length > 1)
    throw new Stage5Error(
      'S5_ATOM_SYNTAX',
      `expected one build number, found ${builds.length} in ${JSON.stringify(text)}`,
    )
  return {
    name: found[1] as string,
    text,
    ...(range === '' ? {} : { version: { range } }),
    ...(use.length === 0 ? {} : { use }),
    ...(builds[0] === undefined ? {} : { buildId: builds[0] }),
  }
}

/** The atom in one fixed writing, made of its parts and not of its text; a Debian one without `deb:`. */
export function printAtom(atom: Atom): string {
  if (isEbuildAtom(atom)) return printEbuildAtom(atom)
  const use = atom.use && atom.use.length > 0 ? `[${atom.use.map(printUseTest).join(',')}]` : ''
  const build = atom.buildId === undefined ? '' : `#${atom.buildId}`
  if (schemeOfName(atom.name) === 'semver' && (atom.version === undefined || 'range' in atom.version))
    return [`${atom.name}`, atom.version?.range ?? '', use, build].filter((part) => part !== '').join(' ')
  const name = atom.arch === undefined ? atom.name : `${atom.name}:${atom.arch}`
  if (atom.version === undefined) return name + use + build
  if ('range' in atom.version) return `${name} (${atom.version.range})`
  const { op, version } = atom.version
  const written = op === '<' ? '<<' : op === '>' ? '>>' : op
  return `${name} (${written} ${version})${use}${build}`
}

/** What only Gentoo's writing can say; without any of it the native writing is the same. */
function isEbuildAtom({ name, version, slot, slotOperator, repo }: Atom): boolean {
  if (!name.includes('/')) return false
  const isRange = version !== undefined && 'range' in version
  return !isRange && (version ?? slot ?? slotOperator ?? repo) !== undefined
}
