/** Packages that are no entries of a Gentoo index (Debian, native) as JSON of a universe, and back. */
import { Stage5Error } from '../base/errors.ts'
import { type Json, stableJson } from '../base/json.ts'
import type { DepExpr, Package } from '../pkg/package.ts'

const NOTHING: DepExpr = { all: [] }

/** What a package has where its JSON says nothing. */
const DEFAULTS: Omit<Package, 'scheme' | 'name' | 'version' | 'repo'> = {
  arch: 'all',
  slot: '0',
  subslot: '0',
  use: [],
  iuse: [],
  buildId: 0,
  buildTime: 0,
  provides: [],
  needs: NOTHING,
  recommends: NOTHING,
  essential: false,
  multiArch: 'no',
  installedSize: 0,
  summary: '',
  file: { path: '', origin: '', size: -1, sums: {} },
}

const FIELDS = [...Object.keys(DEFAULTS), 'scheme', 'name', 'version', 'before', 'rank'] as (keyof Package)[]

/** Fields that are not as by default; the summary, which decides nothing, is left out. */
export function packageToJson(pkg: Package): Json {
  const found: { [field: string]: Json } = {}
  for (const field of FIELDS) {
    const value = pkg[field] as Json | undefined
    const usual = (DEFAULTS as { readonly [field: string]: unknown })[field] as Json | undefined
    if (value === undefined || field === 'summary') continue
    if (usual === undefined || stableJson(value) !== stableJson(usual)) found[field] = value
  }
  return found
}

/** @throws S5_UNIVERSE_INVALID */
export function packagesFromJson(values: readonly unknown[], repo: string, where: string): Package[] {
  const known = new Map<string, DepExpr>()
  return values.map((value, at) => packageFromJson(value, repo, `${where}[${at}]`, known))
}

function packageFromJson(value: unknown, repo: string, where: string, known: Map<string, DepExpr>): Package {
  const given = membersOf(value, where)
  const pkg: { [field: string]: unknown } = { ...DEFAULTS, repo }
  for (const field of FIELDS) {
    const member = given[field]
    if (member === undefined) {
      if (field === 'name' || field === 'version') throw invalid(`${where}.${field}: expected a string`)
      continue
    }
    const usual = (DEFAULTS as { readonly [field: string]: unknown })[field] ?? (field === 'rank' ? 0 : '')
    if (field === 'needs' || field === 'recommends' || field === 'before') {
      pkg[field] = exprOf(member, `${where}.${field}`, known)
      continue
    }
    if (typeof member !== typeof usual || Array.isArray(member) !== Array.isArray(usual))
      throw invalid(`${where}.${field}: expected ${Array.isArray(usual) ? 'a list' : `a ${typeof usual}`}`)
    pkg[field] = member
  }
  if (given['scheme'] !== 'deb' && given['scheme'] !== 'semver')
    throw invalid(`${where}.scheme: expected deb or semver (Gentoo packages are entries of an index)`)
  return pkg as unknown as Package
}

/** Equal expressions become one object: that a part of `needs` is in `before` too is told by identity. */
function exprOf(value: unknown, where: string, known: Map<string, DepExpr>): DepExpr {
  const given = membersOf(value, where)
  const list = (key: 'all' | 'any'): DepExpr[] => {
    const parts = given[key]
    if (!Array.isArray(parts)) throw invalid(`${where}.${key}: expected a list`)
    return parts.map((part, at) => exprOf(part, `${where}.${key}[${at}]`, known))
  }
  let made: DepExpr
  if ('all' in given) made = { all: list('all') }
  else if ('any' in given) made = { any: list('any') }
  else {
    const atom = membersOf(given['need'] ?? given['block'], `${where}: need or block`)
    if (typeof atom['name'] !== 'string' || typeof atom['text'] !== 'string')
      throw invalid(`${where}: expected an atom with name and text`)
    made = value as DepExpr
  }
  const key = stableJson(made as never)
  const same = known.get(key) ?? made
  known.set(key, same)
  return same
}

function membersOf(value: unknown, where: string): { readonly [key: string]: unknown } {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${where}: expected an object`)
  return value as { readonly [key: string]: unknown }
}

function invalid(message: string): Stage5Error {
  return new Stage5Error('S5_UNIVERSE_INVALID', message)
}
