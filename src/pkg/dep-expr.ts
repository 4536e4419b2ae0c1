/** Dependency expressions: conditionals worked in, and as text. */
import type { Atom, DepExpr } from './package.ts'

/**
 * The expression without conditionals, as flags `use` decide them; `undefined` when nothing is left. What has none is
 * returned itself, so that its parts keep their identity.
 *
 * A group of which nothing is left vanishes with it, but an `any` that was written empty, or became so, is false.
 * @param emptyIsFalse `false`: an empty `any` is true and vanishes
 * @see PMS 8, section 8.2.3, and table 8.3 (an empty any-of is false from EAPI 7 on)
 */
export function reduceExpr(expr: DepExpr, use: readonly string[], emptyIsFalse = true): DepExpr | undefined {
  if ('flag' in expr)
    return use.includes(expr.flag) === expr.on ? reduceExpr(expr.then, use, emptyIsFalse) : undefined
  if ('all' in expr) {
    const all = expr.all.flatMap((part) => reduceExpr(part, use, emptyIsFalse) ?? [])
    if (all.length === 0) return undefined
    return all.length === 1 ? (all[0] as DepExpr) : isSame(all, expr.all) ? expr : { all }
  }
  if ('any' in expr) {
    const any = expr.any.flatMap((part) => reduceExpr(part, use, emptyIsFalse) ?? [])
    if (any.length === 0 && !emptyIsFalse) return undefined
    return any.length === 1 ? (any[0] as DepExpr) : isSame(any, expr.any) ? expr : { any }
  }
  return expr
}

function isSame(left: readonly DepExpr[], right: readonly DepExpr[]): boolean {
  return left.length === right.length && left.every((part, index) => part === right[index])
}

/** The parts of an expression that must all hold, nested `all` groups opened. */
export function itemsOf(expr: DepExpr): readonly DepExpr[] {
  return 'all' in expr ? expr.all.flatMap(itemsOf) : [expr]
}

/** Every atom that is needed somewhere in the expression, blockers not among them, in reading order. */
export function neededAtoms(expr: DepExpr): readonly Atom[] {
  if ('need' in expr) return [expr.need]
  if ('all' in expr) return expr.all.flatMap(neededAtoms)
  if ('any' in expr) return expr.any.flatMap(neededAtoms)
  return 'flag' in expr ? neededAtoms(expr.then) : []
}

/** As people read it: `a | b`, with parentheses where groups are nested, `!` for a blocker. */
export function printExpr(expr: DepExpr): string {
  return print(expr, false)
}

function print(expr: DepExpr, isInner: boolean): string {
  if ('need' in expr) return expr.need.text
  if ('block' in expr) return `!${expr.block.text}`
  if ('flag' in expr) return `${expr.on ? '' : '!'}${expr.flag}? ( ${print(expr.then, false)} )`
  const isAny = 'any' in expr
  const parts = isAny ? expr.any : expr.all
  if (parts.length === 0) return isAny ? 'nothing (an empty choice)' : 'nothing'
  if (parts.length === 1) return print(parts[0] as DepExpr, isInner)
  const text = parts.map((part) => print(part, true)).join(isAny ? ' | ' : ', ')
  return isInner ? `( ${text} )` : text
}
