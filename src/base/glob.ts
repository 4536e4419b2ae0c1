/**
 * The pattern language of profiles and strip classes: INSTALL_MASK of Portage, with `**` and `{a,b}` beside it.
 *
 * - `*`, `?` and `[…]` are those of fnmatch without FNM_PATHNAME: they match `/` too, as in INSTALL_MASK
 * - `**` followed by `/` also stands for no directory at all: `/a/**` + `/b` matches `/a/b`
 * - `{a,b}` is either of them; groups may be nested
 * - a leading `/` anchors at the root of the tree, and such a pattern also matches everything below what it matches
 * - no slash: the last component of the path, at any depth, and nothing below it
 * - slashes, but not in front: like an anchored pattern that may start at any depth
 * - a trailing `/`: only what is below
 * - a leading `-` takes back what earlier patterns of the list matched: the later pattern wins
 */

/** Patterns made ready; every path is a byte string without a leading `/`. */
export interface Globs {
  /** Whether the last pattern that matches is one without `-`. */
  matches(path: string): boolean
  /** Index of the last pattern of the list that matches, taking back or not; -1 when none does. */
  deciding(path: string): number
}

type Test = (text: string) => boolean

/** Up to so many directories, comparing with each is faster than cutting the path at every slash (measured). */
const FEW = 16

/** More ways through the braces of a pattern are left to one regular expression. A guess. */
const MAX_ALTERNATIVES = 64

interface Ending {
  readonly tail: string
  readonly index: number
}

interface Numbered {
  readonly index: number
  readonly test: Test
}

/**
 * Makes a list of patterns ready. Patterns are text and compare as UTF-8 with the bytes of a path; `?` and `[…]`
 * stand for one byte. An unclosed `[` or `{` stands for itself.
 *
 * 200 patterns over 37 k paths take 100 to 300 ms: patterns are found by the directory they name or by the end of the
 * name they want, and only those that can match are tried.
 * @example
 * compileGlobs(['/usr/share/doc', '-copyright']).matches('usr/share/doc/bash/copyright') // => false
 */
export function compileGlobs(patterns: readonly string[]): Globs {
  const below = new Map<string, Numbered[]>()
  const exact = new Map<string, number>()
  /** By their last byte. */
  const endings: Ending[][] = []
  const names: Numbered[] = []
  const anywhere: Numbered[] = []
  const inclusive: boolean[] = []
  const addPath = (pattern: string, index: number): void => {
    const stem = literalDirectory(pattern)
    const list = stem === '' ? anywhere : (below.get(stem) ?? [])
    if (stem !== '') below.set(stem, list)
    list.push({ index, test: pathTest(pattern) })
  }
  const addName = (pattern: string, index: number): void => {
    const tail = pattern.slice(1)
    if (!special(pattern)) exact.set(pattern, index)
    else if (pattern === '*' || !pattern.startsWith('*') || special(tail))
      names.push({ index, test: nameTest(pattern) })
    else {
      const last = tail.charCodeAt(tail.length - 1)
      ;(endings[last] ??= []).push({ tail, index })
    }
  }
  patterns.forEach((written, index) => {
    inclusive.push(!written.startsWith('-'))
    const pattern = Buffer.from(written.startsWith('-') ? written.slice(1) : written, 'utf8').toString(
      'latin1',
    )
    if (pattern === '') return
    if (pattern.includes('/')) {
      const anchored = pattern.startsWith('/') ? pattern.slice(1) : `**/${pattern}`
      for (const one of alternatives(anchored)) addPath(one, index)
    } else for (const one of alternatives(pattern)) addName(one, index)
  })

  const byName = exact.size + endings.length + names.length > 0

  const longest = Math.max(0, ...[...below.keys()].map(({ length }) => length))

  function deciding(path: string): number {
    let best = highest(anywhere, path, -1)
    if (below.size <= FEW) {
      for (const [stem, list] of below)
        if (path.startsWith(stem) && (path.length === stem.length || path.charCodeAt(stem.length) === 47))
          best = highest(list, path, best)
    } else
      for (let slash = path.indexOf('/'); ; slash = path.indexOf('/', slash + 1)) {
        const end = slash < 0 ? path.length : slash
        if (end > longest) break
        const list = below.get(slash < 0 ? path : path.slice(0, end))
        if (list) best = highest(list, path, best)
        if (slash < 0) break
      }
    if (!byName) return best
    if (exact.size > 0) best = Math.max(best, exact.get(nameOf(path)) ?? -1)
    for (const { tail, index } of endings[path.charCodeAt(path.length - 1)] ?? [])
      if (index > best && path.endsWith(tail)) best = index
    return names.length > 0 ? highest(names, nameOf(path), best) : best
  }
  return {
    deciding,
    matches: (path) => inclusive[deciding(path)] === true,
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** The highest index above `floor` whose test holds. Lists are in ascending order of index. */
function highest(list: readonly Numbered[], text: string, floor: number): number {
  for (let at = list.length - 1; at >= 0; at--) {
    const { index, test } = list[at] as Numbered
    if (index <= floor) return floor
    if (test(text)) return index
  }
  return floor
}

function special(pattern: string): boolean {
  return /[*?[{]/.test(pattern)
}

/** The longest leading part of whole components that holds no special character; all of it for a plain path. */
function literalDirectory(pattern: string): string {
  const plain = pattern.endsWith('/') ? pattern.slice(0, -1) : pattern
  const first = plain.search(/[*?[{]/)
  if (first < 0) return plain
  const slash = plain.lastIndexOf('/', first)
  return slash < 0 ? '' : plain.slice(0, slash)
}

function nameTest(pattern: string): Test {
  const head = pattern.slice(0, -1)
  if (pattern.endsWith('*') && !special(head)) return (name) => name.startsWith(head)
  const expression = new RegExp(`^${expressionOf(pattern)}$`)
  return (name) => expression.test(name)
}

function pathTest(pattern: string): Test {
  const under = pattern.endsWith('/') || pattern === ''
  const plain = pattern.endsWith('/') ? pattern.slice(0, -1) : pattern
  if (plain === '') return () => true
  if (!special(plain))
    return (path) =>
      path.startsWith(plain) && (path.length === plain.length ? !under : path.charCodeAt(plain.length) === 47)
  const expression = new RegExp(`^${expressionOf(plain)}${under ? '/' : '(?:$|/)'}`)
  const head = plain.slice(0, plain.search(/[*?[{]/))
  const needle = longestLiteral(plain)
  return (path) => path.startsWith(head) && path.includes(needle) && expression.test(path)
}

/** The longest run of plain characters that every match must hold: spares nearly all runs of the expression. */
function longestLiteral(pattern: string): string {
  const open = pattern.search(/[{[]/)
  const sure = open < 0 ? pattern : pattern.slice(0, open)
  let longest = ''
  // a slash behind `**` may be missing from a match
  for (const run of sure.split(/\*\*+\/?|[*?]/)) if (run.length > longest.length) longest = run
  return longest
}

function expressionOf(pattern: string): string {
  let out = ''
  const groups = braces(pattern)
  let depth = 0
  for (let at = 0; at < pattern.length; at++) {
    const letter = pattern.charAt(at)
    if (letter === '*') {
      const double = pattern.charAt(at + 1) === '*'
      const whole = at === 0 || pattern.charAt(at - 1) === '/'
      while (pattern.charAt(at + 1) === '*') at++
      if (double && whole && pattern.charAt(at + 1) === '/') {
        out += '(?:[^]*/)?'
        at++
      } else out += '[^]*'
    } else if (letter === '?') out += '[^]'
    else if (letter === '[') {
      const end = classEnd(pattern, at)
      if (end < 0) out += '\\['
      else {
        out += classExpression(pattern.slice(at + 1, end))
        at = end
      }
    } else if (letter === '{' && groups.has(at)) {
      out += '(?:'
      depth++
    } else if (letter === '}' && groups.has(at)) {
      out += ')'
      depth--
    } else if (letter === ',' && depth > 0) out += '|'
    else out += letter.replace(/[\\^$.|+()\]{}]/, '\\$&')
  }
  return out
}

/** The pattern once for each way through its braces, as far as these are few; else the pattern itself. */
function alternatives(pattern: string): readonly string[] {
  let done: readonly string[] = [pattern]
  for (;;) {
    const next = done.flatMap(splitFirst)
    if (next.length > MAX_ALTERNATIVES) return [pattern]
    if (next.every((one, at) => one === done[at])) return done
    done = next
  }
}

/** The pattern for each part of its first pair of braces. */
function splitFirst(pattern: string): readonly string[] {
  const paired = braces(pattern)
  if (paired.size === 0) return [pattern]
  const start = Math.min(...paired)
  const parts: string[] = []
  let depth = 0
  let from = start + 1
  for (let at = start; at < pattern.length; at++) {
    const letter = pattern.charAt(at)
    if (letter === '[') at = Math.max(at, classEnd(pattern, at))
    if (paired.has(at)) depth += letter === '{' ? 1 : -1
    if ((letter === ',' && depth === 1) || depth === 0) {
      parts.push(pattern.slice(from, at))
      from = at + 1
    }
    if (depth === 0) return parts.map((part) => pattern.slice(0, start) + part + pattern.slice(at + 1))
  }
  return [pattern]
}

/** Positions of braces that belong together, outside of `[…]`. */
function braces(pattern: string): ReadonlySet<number> {
  const open: number[] = []
  const paired = new Set<number>()
  for (let at = 0; at < pattern.length; at++) {
    const letter = pattern.charAt(at)
    if (letter === '[') at = Math.max(at, classEnd(pattern, at))
    else if (letter === '{') open.push(at)
    else if (letter === '}') {
      const start = open.pop()
      if (start !== undefined) paired.add(start).add(at)
    }
  }
  return paired
}

/** Position of the `]` that ends the class which starts at `start`; a `]` that comes first is a member. -1 for none. */
function classEnd(pattern: string, start: number): number {
  let from = start + 1
  if (/[!^]/.test(pattern.charAt(from))) from++
  if (pattern.charAt(from) === ']') from++
  return pattern.indexOf(']', from)
}

function classExpression(body: string): string {
  const negated = /^[!^]/.test(body)
  const members = negated ? body.slice(1) : body
  let out = ''
  for (let at = 0; at < members.length; at++) {
    const first = members.charCodeAt(at)
    const isRange = members.charAt(at + 1) === '-' && at + 2 < members.length
    const last = isRange ? members.charCodeAt(at + 2) : first
    if (isRange) at += 2
    if (first <= last) out += first === last ? hex(first) : `${hex(first)}-${hex(last)}`
  }
  if (out === '') return negated ? '[^]' : '[]'
  return `[${negated ? '^' : ''}${out}]`
}

function hex(code: number): string {
  return `\\x${code.toString(16).padStart(2, '0')}`
}
