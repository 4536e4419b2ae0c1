/** Gentoo dependency strings to dependency expressions. */
import { Stage5Error } from '../base/errors.ts'
import { reduceExpr } from './dep-expr.ts'
import { NEWEST_EAPI, parseEbuildAtom } from './ebuild-atom.ts'
import type { DepExpr } from './package.ts'

/** Groups inside each other; a guess, far above practice (a real index has 6). */
export const MOST_NESTED = 200

/** What is done at each token of a string of groups. */
interface GroupReader<T> {
  /** What the string is, for errors. */
  readonly what: string
  /** Group marks beside `(` and `flag?`. */
  readonly operators: readonly string[]
  leaf(token: string): T
  group(operator: string, parts: readonly T[]): T
}

const CONDITION = /^!?[A-Za-z0-9][A-Za-z0-9+_@-]*\?$/

/**
 * Read nested groups. An operator is one of `operators`, a `flag?` or '' for a plain group.
 *
 * @throws S5_ATOM_SYNTAX
 * @see PMS 8, section 8.2
 */
export function readGroups<T>(text: string, reader: GroupReader<T>): T[] {
  const bad = (message: string): Stage5Error =>
    new Stage5Error('S5_ATOM_SYNTAX', `${reader.what}: ${message} in ${JSON.stringify(text.slice(0, 200))}`)
  const open: { readonly operator: string; readonly parts: T[] }[] = []
  let parts: T[] = []
  let waiting: string | undefined
  for (const token of text.split(/\s+/)) {
    if (token === '') continue
    if (waiting !== undefined && token !== '(') throw bad(`expected ( after ${waiting}, found ${token}`)
    if (reader.operators.includes(token) || CONDITION.test(token)) waiting = token
    else if (token === '(') {
      if (open.length >= MOST_NESTED) throw bad(`more than ${MOST_NESTED} groups inside each other`)
      open.push({ operator: waiting ?? '', parts })
      parts = []
      waiting = undefined
    } else if (token === ')') {
      const group = open.pop()
      if (!group) throw bad('a ) without (')
      group.parts.push(reader.group(group.operator, parts))
      parts = group.parts
    } else parts.push(reader.leaf(token))
  }
  if (waiting !== undefined) throw bad(`expected ( after ${waiting}, found the end`)
  if (open.length > 0) throw bad('a ( without )')
  return parts
}

/**
 * A dependency string as one expression, conditionals kept.
 *
 * @throws S5_ATOM_SYNTAX
 * @see PMS 8, sections 8.2 and 8.3
 */
export function parseDependencies(text: string, eapi: number = NEWEST_EAPI): DepExpr {
  const what = 'dependencies'
  const all = readGroups<DepExpr>(text, {
    what,
    operators: ['||'],
    leaf: (token) => leafOf(token, eapi),
    group: (operator, parts) => {
      if (parts.length === 0)
        throw new Stage5Error(
          'S5_ATOM_SYNTAX',
          `${what}: an empty group in ${JSON.stringify(text.slice(0, 200))}`,
        )
      return groupOf(operator, parts)
    },
  })
  return all.length === 1 ? (all[0] as DepExpr) : { all }
}

function leafOf(token: string, eapi: number): DepExpr {
  if (!token.startsWith('!')) return { need: parseEbuildAtom(token, { eapi, kind: 'dependency' }) }
  const strong = token.startsWith('!!')
  if (strong && eapi < 2)
    throw new Stage5Error('S5_ATOM_SYNTAX', `expected no !! in EAPI ${eapi}, found ${JSON.stringify(token)}`)
  return { block: parseEbuildAtom(token.slice(strong ? 2 : 1), { eapi, kind: 'dependency' }), strong }
}

function groupOf(operator: string, parts: readonly DepExpr[]): DepExpr {
  if (operator === '||') return { any: parts }
  const all: DepExpr = parts.length === 1 ? (parts[0] as DepExpr) : { all: parts }
  if (operator === '') return all
  const on = !operator.startsWith('!')
  return { flag: operator.slice(on ? 0 : 1, -1), on, then: all }
}

/** How flags stand when a string is reduced. */
interface ReduceOptions {
  /** Enabled flags. */
  readonly use: readonly string[]
  /** Known flags: a conditional on another one is an error. Default: any flag may be asked for. */
  readonly iuse?: readonly string[]
  readonly eapi?: number
}

/**
 * A dependency string without conditionals, as these flags decide them.
 *
 * An any-of that becomes empty is true up to EAPI 6 and false from EAPI 7 on.
 * @throws S5_ATOM_SYNTAX
 * @see PMS 8, section 8.2 and table 8.3
 * @example
 * reduceDependencies('ssl? ( a/c )', { use: ['ssl'] }) // => { need: { name: 'a/c', text: 'a/c' } }
 */
export function reduceDependencies(text: string, { use, iuse, eapi = NEWEST_EAPI }: ReduceOptions): DepExpr {
  const parsed = parseDependencies(text, eapi)
  const unknown = iuse && conditionsOf(parsed).find((flag) => !iuse.includes(flag))
  if (unknown !== undefined)
    throw new Stage5Error(
      'S5_ATOM_SYNTAX',
      `dependencies: the flag ${unknown} is not in IUSE, in ${JSON.stringify(text.slice(0, 200))}`,
    )
  return reduceExpr(parsed, use, eapi >= 7) ?? { all: [] }
}

function conditionsOf(expr: DepExpr): string[] {
  if ('flag' in expr) return [expr.flag, ...conditionsOf(expr.then)]
  if ('all' in expr) return expr.all.flatMap(conditionsOf)
  return 'any' in expr ? expr.any.flatMap(conditionsOf) : []
}
