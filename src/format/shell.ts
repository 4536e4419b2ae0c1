/**
 * POSIX shell scripts into a syntax tree, to be read and never run: what a maintainer script would do can be found out
 * without letting it.
 *
 * What is not understood makes the whole script unreadable; nothing is guessed.
 */
import {
  type AndOr,
  type Assignment,
  type Command,
  type Part,
  type Pipeline,
  type Redirect,
  type Script,
  lineCounter,
  TOKEN,
  type Word,
} from './shell-syntax.ts'

export type * from './shell-syntax.ts'

/** Deeper nesting than any real script has. */
const MAX_DEPTH = 100

/** Thrown inside the parser only. */
const UNREADABLE = new Error('unreadable')

/**
 * The script, or undefined when it is not understood.
 * @param firstLine line number of the first line
 * @see POSIX.1-2017, Shell Command Language, 2.10
 */
export function parseShell(text: string, firstLine = 1): Script | undefined {
  try {
    return shellParser(text, firstLine, 0).whole()
  } catch (error) {
    if (error === UNREADABLE) return undefined
    throw error
  }
}

function shellParser(text: string, firstLine: number, outerDepth: number): { whole(): Script } {
  let at = 0
  let depth = outerDepth
  const hereDocuments: { readonly end: string; readonly strip: boolean }[] = []
  const lineAt = lineCounter(text, firstLine)

  function take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = at
    const found = pattern.exec(text)
    if (!found) return undefined
    at += found[0].length
    return found
  }

  function sees(pattern: RegExp): string | undefined {
    pattern.lastIndex = at
    return pattern.exec(text)?.[0]
  }

  function expect(written: string): void {
    if (!text.startsWith(written, at)) throw UNREADABLE
    at += written.length
  }

  function nested<T>(work: () => T): T {
    if (++depth > MAX_DEPTH) throw UNREADABLE
    const result = work()
    depth--
    return result
  }

  /** Blanks and a comment. */
  function blanks(): void {
    take(TOKEN.blank)
    if (text[at] === '#') take(TOKEN.comment)
  }

  function newline(): void {
    at++
    for (const { end, strip } of hereDocuments.splice(0)) {
      for (;;) {
        if (at >= text.length) throw UNREADABLE
        const stop = text.indexOf('\n', at)
        const line = text.slice(at, stop < 0 ? text.length : stop)
        at = stop < 0 ? text.length : stop + 1
        if ((strip ? line.replace(/^\t+/, '') : line) === end) break
      }
    }
  }

  function blankLines(): void {
    for (blanks(); text[at] === '\n'; blanks()) newline()
  }

  function whole(): Script {
    const script = list()
    if (at < text.length || hereDocuments.length > 0) throw UNREADABLE
    return script
  }

  /** Commands up to a word or sign that ends them, which is left standing. */
  function list(): Script {
    return nested(() => {
      const found: AndOr[] = []
      for (;;) {
        blankLines()
        const word = sees(TOKEN.reserved)
        if (at >= text.length || text[at] === ')' || text.startsWith(';;', at)) return found
        if (word !== undefined && /^(?:then|elif|else|fi|do|done|esac|\})$/.test(word)) return found
        found.push(andOr())
        blanks()
        if (text.startsWith(';;', at)) return found
        if (text[at] === ';' || text[at] === '&') at++
        else if (at < text.length && text[at] !== '\n' && text[at] !== ')') throw UNREADABLE
      }
    })
  }

  function someList(): Script {
    const found = list()
    if (found.length === 0) throw UNREADABLE
    return found
  }

  function andOr(): AndOr {
    const first = pipeline()
    const rest: { operator: '&&' | '||'; pipeline: Pipeline }[] = []
    for (;;) {
      blanks()
      const operator = text.slice(at, at + 2)
      if (operator !== '&&' && operator !== '||') return { first, rest }
      at += 2
      blankLines()
      rest.push({ operator, pipeline: pipeline() })
    }
  }

  function pipeline(): Pipeline {
    let negated = false
    while (sees(TOKEN.reserved) === '!') {
      negated = !negated
      at++
      blanks()
    }
    const commands = [command()]
    for (blanks(); text[at] === '|' && text[at + 1] !== '|'; blanks()) {
      at++
      blankLines()
      commands.push(command())
    }
    return { negated, commands }
  }

  function command(): Command {
    return nested(() => {
      const line = lineAt(at)
      if (text[at] === '(') {
        if (text[at + 1] === '(') throw UNREADABLE
        at++
        const body = someList()
        expect(')')
        return { kind: 'group', body, subshell: true, line, redirects: redirects() }
      }
      const word = sees(TOKEN.reserved)
      if (word !== undefined) {
        at += word.length
        return compound(word, line)
      }
      const named = take(TOKEN.function)
      if (named) {
        blankLines()
        return { kind: 'function', name: named[1] as string, body: command(), line, redirects: [] }
      }
      return simple(line)
    })
  }

  function compound(word: string, line: number): Command {
    switch (word) {
      case 'if':
        return conditional(line)
      case 'while':
      case 'until':
        return { kind: 'while', test: someList(), body: between('do', 'done'), line, redirects: redirects() }
      case 'for':
        return loop(line)
      case 'case':
        return choice(line)
      case '{': {
        const body = someList()
        reserved('}')
        return { kind: 'group', body, subshell: false, line, redirects: redirects() }
      }
      default:
        throw UNREADABLE
    }
  }

  function reserved(word: string): void {
    if (sees(TOKEN.reserved) !== word) throw UNREADABLE
    at += word.length
  }

  function between(start: string, end: string): Script {
    reserved(start)
    const body = someList()
    reserved(end)
    return body
  }

  function conditional(line: number): Command {
    const branches: { test: Script; body: Script }[] = []
    let otherwise: Script = []
    for (;;) {
      const test = someList()
      reserved('then')
      branches.push({ test, body: someList() })
      const word = sees(TOKEN.reserved)
      if (word === 'elif') at += 4
      else if (word === 'else') {
        at += 4
        otherwise = someList()
        break
      } else break
    }
    reserved('fi')
    return { kind: 'if', branches, otherwise, line, redirects: redirects() }
  }

  function loop(line: number): Command {
    blanks()
    const name = take(TOKEN.name)?.[0]
    if (name === undefined) throw UNREADABLE
    blankLines()
    let list: Word[] | undefined
    if (/^in[ \t\n;]/.test(text.slice(at, at + 3))) {
      at += 2
      list = words()
    }
    blanks()
    if (text[at] === ';') at++
    blankLines()
    return { kind: 'for', name, words: list, body: between('do', 'done'), line, redirects: redirects() }
  }

  function choice(line: number): Command {
    blanks()
    const subject = word()
    blankLines()
    if (!/^in[ \t\n]/.test(text.slice(at, at + 3))) throw UNREADABLE
    at += 2
    const items: { patterns: Word[]; body: Script }[] = []
    for (;;) {
      blankLines()
      if (sees(TOKEN.reserved) === 'esac') break
      if (text[at] === '(') at++
      const patterns: Word[] = []
      do {
        if (patterns.length > 0) at++
        blanks()
        patterns.push(word())
        blanks()
      } while (text[at] === '|')
      expect(')')
      items.push({ patterns, body: list() })
      if (text.startsWith(';;', at)) at += 2
      else if (sees(TOKEN.reserved) !== 'esac') throw UNREADABLE
    }
    reserved('esac')
    return { kind: 'case', word: subject, items, line, redirects: redirects() }
  }

  function simple(line: number): Command {
    const assignments: Assignment[] = []
    const found: Word[] = []
    const redirected: Redirect[] = []
    for (;;) {
      blanks()
      const redirect = redirection()
      if (redirect) {
        redirected.push(redirect)
        continue
      }
      if (endsWord()) break
      const assigned = found.length === 0 ? take(TOKEN.assignment) : undefined
      if (assigned) {
        if (text[at] === '(') throw UNREADABLE
        assignments.push({ name: assigned[1] as string, value: endsWord() ? [] : word() })
      } else found.push(word())
    }
    if (text[at] === '(' || assignments.length + found.length + redirected.length === 0) throw UNREADABLE
    return { kind: 'simple', assignments, words: found, line, redirects: redirected }
  }

  function redirects(): Redirect[] {
    const found: Redirect[] = []
    for (;;) {
      blanks()
      const redirect = redirection()
      if (!redirect) return found
      found.push(redirect)
    }
  }

  function redirection(): Redirect | undefined {
    const operator = take(TOKEN.redirect)?.[1] as Redirect['operator'] | undefined
    if (operator === undefined) return undefined
    take(TOKEN.blank)
    const target = word()
    if (operator === '<<' || operator === '<<-') {
      const end = target.map((part) => (part.kind === 'text' ? part.text : '')).join('')
      hereDocuments.push({ end, strip: operator === '<<-' })
    }
    return { operator, target }
  }

  function endsWord(): boolean {
    return at >= text.length || ' \t\n;&|<>()'.includes(text[at] as string)
  }

  function words(): Word[] {
    const found: Word[] = []
    for (blanks(); !endsWord(); blanks()) found.push(word())
    return found
  }

  /** One word; at least a pair of quotes must stand here. */
  function word(): Word {
    const parts: Part[] = []
    const start = at
    while (!endsWord()) part(parts, false)
    if (at === start) throw UNREADABLE
    return parts
  }

  /** The next piece of a word, outside or inside of double quotes. */
  function part(parts: Part[], quoted: boolean): void {
    const letter = text[at]
    if (letter === '$') parts.push(expansion(quoted))
    else if (letter === '`') parts.push(backticks(quoted))
    else if (letter === '\\') {
      const escaped = text[at + 1]
      if (escaped === undefined) throw UNREADABLE
      at += 2
      if (escaped === '\n') return
      const kept = quoted && !'$`"\\'.includes(escaped) ? `\\${escaped}` : escaped
      parts.push({ kind: 'text', text: kept, quoted: true })
    } else if (quoted) {
      const start = at
      while (at < text.length && !'"$`\\'.includes(text[at] as string)) at++
      if (at >= text.length) throw UNREADABLE
      parts.push({ kind: 'text', text: text.slice(start, at), quoted: true })
    } else if (letter === "'") {
      const end = text.indexOf("'", at + 1)
      if (end < 0) throw UNREADABLE
      parts.push({ kind: 'text', text: text.slice(at + 1, end), quoted: true })
      at = end + 1
    } else if (letter === '"') {
      at++
      parts.push({ kind: 'text', text: '', quoted: true })
      nested(() => {
        while (text[at] !== '"') part(parts, true)
      })
      at++
    } else {
      const plain = take(TOKEN.unquoted)?.[0]
      if (plain === undefined) throw UNREADABLE
      parts.push({ kind: 'text', text: plain, quoted: false })
    }
  }

  function expansion(quoted: boolean): Part {
    at++
    if (text.startsWith('((', at)) return arithmetic()
    if (text[at] === '(') {
      at++
      const script = list()
      expect(')')
      return { kind: 'command', script, quoted }
    }
    if (text[at] === '{') return braces(quoted)
    const name = (take(TOKEN.name) ?? take(TOKEN.special))?.[0]
    if (name === undefined) return { kind: 'text', text: '$', quoted: true }
    return { kind: 'variable', name, operator: '', word: [], quoted }
  }

  function braces(quoted: boolean): Part {
    at++
    if (text[at] === '#' && text[at + 1] !== '}') {
      const end = text.indexOf('}', at)
      if (end < 0) throw UNREADABLE
      at = end + 1
      return { kind: 'opaque' }
    }
    const name = (take(TOKEN.name) ?? take(/[0-9]+/y) ?? take(TOKEN.special))?.[0]
    if (name === undefined) throw UNREADABLE
    const operator = take(TOKEN.operator)?.[0] ?? ''
    const parts: Part[] = []
    nested(() => {
      while (text[at] !== '}') {
        if (operator === '' || at >= text.length) throw UNREADABLE
        // Signs that end a word elsewhere are plain here.
        if (!quoted && endsWord()) parts.push({ kind: 'text', text: text[at++] as string, quoted: true })
        else bracePart(parts, quoted)
      }
    })
    at++
    return { kind: 'variable', name, operator, word: parts, quoted }
  }

  /** A piece of a word that a closing brace ends. */
  function bracePart(parts: Part[], quoted: boolean): void {
    const plain = take(/[^}'"\\$` \t\n;&|<>()]+/y)?.[0]
    if (plain !== undefined) parts.push({ kind: 'text', text: plain, quoted })
    else if (quoted && !'"$`\\'.includes(text[at] as string))
      parts.push({ kind: 'text', text: text[at++] as string, quoted })
    else if (quoted && text[at] === '"') part(parts, false)
    else part(parts, quoted)
  }

  function arithmetic(): Part {
    let open = 0
    for (; at < text.length; at++) {
      if (text[at] === '(') open++
      else if (text[at] === ')' && --open === 0) {
        at++
        return { kind: 'opaque' }
      }
    }
    throw UNREADABLE
  }

  function backticks(quoted: boolean): Part {
    const start = ++at
    let inner = ''
    while (text[at] !== '`') {
      if (at >= text.length) throw UNREADABLE
      const escaped = text[at] === '\\' && '$`\\'.includes(text[at + 1] ?? ' ')
      if (escaped) at++
      inner += text[at++]
    }
    at++
    const script = nested(() => shellParser(inner, lineAt(start), depth).whole())
    return { kind: 'command', script, quoted }
  }

  return { whole }
}
