/** The syntax tree, the tokens and the lines of POSIX shell scripts. @see POSIX.1-2017, Shell Command Language, 2.10 */

export type Part =
  | { readonly kind: 'text'; readonly text: string; readonly quoted: boolean }
  /** `${name}`, or with `operator` and `word` such as `:-` and the default. */
  | {
      readonly kind: 'variable'
      readonly name: string
      readonly operator: string
      readonly word: Word
      readonly quoted: boolean
    }
  | { readonly kind: 'command'; readonly script: Script; readonly quoted: boolean }
  /** Arithmetic and the like: a value that is not looked into. */
  | { readonly kind: 'opaque' }

export type Word = readonly Part[]

export interface Redirect {
  readonly operator: '<' | '>' | '>>' | '<>' | '<&' | '>&' | '>|' | '<<' | '<<-'
  readonly target: Word
}

export interface Assignment {
  readonly name: string
  readonly value: Word
}

interface Placed {
  /** Line of the text, from 1. */
  readonly line: number
  readonly redirects: readonly Redirect[]
}

export type Command = Placed &
  (
    | {
        readonly kind: 'simple'
        readonly assignments: readonly Assignment[]
        readonly words: readonly Word[]
      }
    | {
        readonly kind: 'if'
        readonly branches: readonly { test: Script; body: Script }[]
        readonly otherwise: Script
      }
    | {
        readonly kind: 'case'
        readonly word: Word
        readonly items: readonly { patterns: readonly Word[]; body: Script }[]
      }
    | { readonly kind: 'while'; readonly test: Script; readonly body: Script }
    | {
        readonly kind: 'for'
        readonly name: string
        readonly words: readonly Word[] | undefined
        readonly body: Script
      }
    | { readonly kind: 'group'; readonly body: Script; readonly subshell: boolean }
    | { readonly kind: 'function'; readonly name: string; readonly body: Command }
  )

export interface Pipeline {
  readonly negated: boolean
  readonly commands: readonly Command[]
}

/** Pipelines joined by `&&` and `||`, which bind equally and from the left. */
export interface AndOr {
  readonly first: Pipeline
  readonly rest: readonly { readonly operator: '&&' | '||'; readonly pipeline: Pipeline }[]
}

export type Script = readonly AndOr[]

/** Tokens, matched where the parser stands. */
export const TOKEN: {
  readonly [name in
    | 'blank'
    | 'comment'
    | 'name'
    | 'assignment'
    | 'function'
    | 'redirect'
    | 'reserved'
    | 'unquoted'
    | 'special'
    | 'operator']: RegExp
} = {
  blank: /(?:[ \t]|\\\n)+/y,
  comment: /#[^\n]*/y,
  name: /[A-Za-z_][A-Za-z0-9_]*/y,
  assignment: /([A-Za-z_][A-Za-z0-9_]*)=/y,
  function: /([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*\([ \t]*\)/y,
  redirect: /[0-9]*(<<-|<<|<>|<&|>&|>>|>\||<|>)/y,
  reserved: /(?:if|then|elif|else|fi|while|until|for|do|done|case|esac|\{|\}|!)(?=[ \t\n;&|()<>]|$)/y,
  unquoted: /[^ \t\n;&|<>()'"\\$`]+/y,
  special: /[0-9@*#?$!-]/y,
  operator: /:?[-=?+]|%%?|##?/y,
}

/** Line numbers of positions; cheap when they are asked for in ascending order. */
export function lineCounter(text: string, firstLine: number): (position: number) => number {
  let from = 0
  let line = firstLine
  return (position) => {
    if (position < from) {
      from = 0
      line = firstLine
    }
    for (; from < position; from++) if (text[from] === '\n') line++
    return line
  }
}
