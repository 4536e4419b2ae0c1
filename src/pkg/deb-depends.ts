/** Debian relation fields (Depends, Conflicts, Provides …) to dependency expressions. */
import { Stage5Error } from '../base/errors.ts'
import type { Atom, DepExpr, Provide } from './package.ts'

/** `need` for Depends, Pre-Depends and Recommends; `block` for Conflicts and Breaks. */
type RelationKind = 'need' | 'block'

export const NOTHING: DepExpr = { all: [] }

const RELATION =
  /^([A-Za-z0-9][A-Za-z0-9+._-]*)(?::([a-z0-9-]+))?\s*(?:\(\s*(<<|<=|>=|>>|=|<|>)\s*([A-Za-z0-9.+~:-]+)\s*\))?\s*(?:\[([^\]]*)\])?\s*(?:<[^>]*>\s*)*$/

type Op = '<' | '<=' | '=' | '>=' | '>'
/** A lone `<` or `>` is an old writing of `<=` and `>=` (deb-control(5)). */
const OPERATORS: { readonly [written: string]: Op } = {
  '<<': '<',
  '<=': '<=',
  '=': '=',
  '>=': '>=',
  '>>': '>',
  '<': '<=',
  '>': '>=',
}

/**
 * One relation field. Restrictions to architectures are applied when `arch` is given, build profiles are ignored.
 *
 * @throws S5_ATOM_SYNTAX
 * @see Debian Policy 7.1
 */
export function parseDebRelations(text: string, kind: RelationKind, arch?: string): DepExpr {
  const all: DepExpr[] = []
  for (const group of text.split(',')) {
    if (group.trim() === '') continue
    const atoms: Atom[] = []
    for (const written of group.split('|')) {
      const atom = parseRelation(written.trim(), arch)
      if (atom) atoms.push(atom)
    }
    if (kind === 'block') for (const atom of atoms) all.push({ block: atom, strong: true })
    else if (atoms.length === 1) all.push({ need: atoms[0] as Atom })
    else if (atoms.length > 1) all.push({ any: atoms.map((need) => ({ need })) })
  }
  return all.length === 0 ? NOTHING : all.length === 1 ? (all[0] as DepExpr) : { all }
}

/** @throws S5_ATOM_SYNTAX */
export function parseProvides(text: string): Provide[] {
  const provides: Provide[] = []
  for (const written of text.split(',')) {
    if (written.trim() === '') continue
    const { name, version } = parseDebRelation(written.trim())
    if (version && 'version' in version) provides.push({ name, version: version.version })
    else provides.push({ name })
  }
  return provides
}

/**
 * One relation, such as `libc6:any (>= 2.36)`.
 *
 * @throws S5_ATOM_SYNTAX
 */
export function parseDebRelation(text: string): Atom {
  return atomOf(matchRelation(text), text)
}

function parseRelation(text: string, arch: string | undefined): Atom | undefined {
  const found = matchRelation(text)
  const restriction = found[5]
  if (restriction !== undefined && arch !== undefined && !admits(restriction, arch)) return undefined
  return atomOf(found, text)
}

function matchRelation(text: string): RegExpExecArray {
  const found = RELATION.exec(text)
  if (!found)
    throw new Stage5Error(
      'S5_ATOM_SYNTAX',
      `expected a Debian relation such as libc6 (>= 2.36), found ${JSON.stringify(text)}`,
    )
  return found
}

function atomOf(found: RegExpExecArray, text: string): Atom {
  const name = found[1] as string
  const arch = found[2]
  const written = found[3]
  if (written === undefined) return arch === undefined ? { name, text } : { name, text, arch }
  const version = { op: OPERATORS[written] as Op, version: found[4] as string }
  return arch === undefined ? { name, text, version } : { name, text, version, arch }
}

/** Whether a restriction list such as `amd64 arm64` or `!i386 !hurd-any` admits `arch`. */
function admits(restriction: string, arch: string): boolean {
  const words = restriction.split(/\s+/).filter((word) => word !== '')
  if (words.length === 0) return true
  const isNegative = words.every((word) => word.startsWith('!'))
  const isNamed = words.some((word) => meansArch(word.replace(/^!/, ''), arch))
  return isNegative ? !isNamed : isNamed
}

/** `any`, `linux-any`, `any-amd64` and plain names; all architectures of this program are Linux. */
function meansArch(pattern: string, arch: string): boolean {
  return pattern === 'any' || pattern === 'linux-any' || pattern.replace(/^(?:any|linux)-/, '') === arch
}
