/** Words of a shell script as values, as far as they are known: `undefined` stands for what cannot be known here. */
import type { Script, Word } from '../format/shell.ts'
import { compareDebianVersions, isDebVersion } from '../pkg/deb-version.ts'

export type Value = string | undefined

/** A longer value than any real script makes: its text is given up, as doubling could make it endless. */
const MAX_VALUE = 8192

/** Signs that the shell compares with the files that are there. */
const PATTERN = /[*?]|\[[^\]]+\]/

/** What the shell remembers. */
export interface Variables {
  /** The value of a name; '' when it is surely unset. */
  get(name: string): Value
  /** Whether a name is set, if that is known. */
  isSet(name: string): boolean | undefined
  readonly positional: readonly Value[] | undefined
  /** The output of a command substitution, without newlines at its end. */
  output(script: Script): Value
}

/**
 * The fields that a word becomes: none, one or several.
 * @see POSIX.1-2017, Shell Command Language, 2.6
 */
export function fieldsOf(word: Word, variables: Variables): Value[] {
  const [only] = word
  if (word.length <= 2 && isArguments(word)) return [...(variables.positional ?? [undefined])]
  if (only === undefined) return []
  const fields: Value[] = []
  let current: { text: Value; solid: boolean } | undefined
  const append = (text: Value, solid: boolean): void => {
    if (!current) current = { text, solid }
    else {
      current.text = bounded(
        text === undefined || current.text === undefined ? undefined : current.text + text,
      )
      current.solid ||= solid
    }
  }
  const finish = (): void => {
    if (current && (current.solid || current.text !== '')) fields.push(current.text)
    current = undefined
  }
  for (const part of word) {
    if (part.kind === 'text') {
      const pattern = !part.quoted && PATTERN.test(part.text)
      append(pattern ? undefined : part.text, true)
      continue
    }
    const quoted = part.kind !== 'opaque' && part.quoted
    const value = valueOfPart(part, variables)
    if (quoted || value === undefined) {
      append(value, quoted)
      continue
    }
    const pieces = value.split(/[ \t\n]+/)
    for (const [at, piece] of pieces.entries()) {
      if (at > 0) finish()
      append(PATTERN.test(piece) ? undefined : piece, false)
    }
  }
  finish()
  return fields
}

/** `"$@"`, perhaps with the empty text that opening quotes leave. */
function isArguments(word: Word): boolean {
  const parts = word.filter((part) => part.kind !== 'text' || part.text !== '')
  const [part] = parts
  return parts.length === 1 && part?.kind === 'variable' && part.name === '@' && part.operator === ''
}

/** A word as one text, without splitting: for assignments, patterns and redirections. */
export function textOf(word: Word, variables: Variables): Value {
  let text = ''
  for (const part of word) {
    const value = part.kind === 'text' ? part.text : valueOfPart(part, variables)
    if (value === undefined) return undefined
    text += value
    if (text.length > MAX_VALUE) return undefined
  }
  return text
}

function bounded(text: Value): Value {
  return text !== undefined && text.length > MAX_VALUE ? undefined : text
}

function valueOfPart(part: Exclude<Word[number], { kind: 'text' }>, variables: Variables): Value {
  switch (part.kind) {
    case 'opaque':
      return undefined
    case 'command':
      return variables.output(part.script)
    case 'variable': {
      const value = variables.get(part.name)
      if (part.operator === '' || part.operator.endsWith('?')) return value
      if (/[%#]/.test(part.operator)) return value === '' ? '' : undefined
      const filled =
        part.operator.startsWith(':') && value !== undefined ? value !== '' : variables.isSet(part.name)
      if (filled === undefined) return undefined
      if (part.operator.endsWith('+')) return filled ? textOf(part.word, variables) : ''
      return filled ? value : textOf(part.word, variables)
    }
  }
}

/** Longer texts and patterns than any real script compares. */
const MAX_MATCH = 4096

/** One sign of a pattern: `*`, or what a single letter must be. */
type Sign = '*' | ((letter: string) => boolean)

/** Whether a text matches a pattern of `case`; undefined when either is not known. @see POSIX.1-2017, 2.13 */
export function matches(text: Value, pattern: Word, variables: Variables): boolean | undefined {
  const signs: Sign[] = []
  for (const part of pattern) {
    const value = part.kind === 'text' ? part.text : valueOfPart(part, variables)
    if (value === undefined || signs.length > MAX_MATCH) return undefined
    const plain = part.kind !== 'text' || part.quoted
    for (const [sign] of value.matchAll(plain ? /[\s\S]/g : /\[!?\]?[^\]]*\]|[\s\S]/g))
      signs.push(plain ? (letter) => letter === sign : signOf(sign))
  }
  if (signs.length > 0 && signs.every((sign) => sign === '*')) return true
  if (text === undefined || text.length > MAX_MATCH) return undefined
  return matchSigns(text, signs)
}

function signOf(sign: string): Sign {
  if (sign === '*') return '*'
  if (sign === '?') return () => true
  if (sign.length === 1) return (letter) => letter === sign
  const inverted = sign[1] === '!'
  const members = sign.slice(inverted ? 2 : 1, -1)
  return (letter) => inverted !== isMember(letter, members)
}

/** Whether a letter is in a bracket expression of single letters and ranges. */
function isMember(letter: string, members: string): boolean {
  for (let at = 0; at < members.length; at++) {
    const first = members[at] as string
    const last = members[at + 1] === '-' ? members[at + 2] : undefined
    if (last === undefined ? letter === first : letter >= first && letter <= last) return true
    if (last !== undefined) at += 2
  }
  return false
}

/** Goes back to the last star only, so that time is at most text times pattern. */
function matchSigns(text: string, signs: readonly Sign[]): boolean {
  let at = 0
  let sign = 0
  let star = -1
  let resume = 0
  while (at < text.length) {
    const wanted = signs[sign]
    if (wanted === '*') {
      star = sign++
      resume = at
    } else if (wanted?.(text[at] as string)) {
      at++
      sign++
    } else if (star >= 0) {
      sign = star + 1
      at = ++resume
    } else return false
  }
  return signs.slice(sign).every((rest) => rest === '*')
}

/** A file test such as `-e`, on a path of the guest. */
export type FileTest = (operator: string, path: string) => boolean | undefined

/** The answer of `test` or `[`, without the name and the closing bracket. @see POSIX.1-2017, test */
export function testOf(words: readonly Value[], file: FileTest): boolean | undefined {
  for (const [operator, decisive] of [
    ['-o', true],
    ['-a', false],
  ] as const) {
    const at = words.findIndex((word, index) => word === operator && index > 0 && index < words.length - 1)
    if (at < 0 || words.length === 3) continue
    const left = testOf(words.slice(0, at), file)
    const right = testOf(words.slice(at + 1), file)
    if (left === decisive || right === decisive) return decisive
    return left === undefined || right === undefined ? undefined : !decisive
  }
  const [first, second, third] = words
  if (words.length === 0) return false
  if (first === '!' && words.length > 1) {
    const answer = testOf(words.slice(1), file)
    return answer === undefined ? undefined : !answer
  }
  if (words.length === 1) return first === undefined ? undefined : first !== ''
  if (words.length === 2)
    return first === undefined || second === undefined ? undefined : unary(first, second, file)
  if (words.length === 3 && first !== undefined && second !== undefined && third !== undefined)
    return binary(first, second, third)
  return undefined
}

function unary(operator: string, value: string, file: FileTest): boolean | undefined {
  if (operator === '-n') return value !== ''
  if (operator === '-z') return value === ''
  return /^-[efdLhxrsw]$/.test(operator) ? file(operator, value) : undefined
}

function binary(left: string, operator: string, right: string): boolean | undefined {
  if (operator === '=' || operator === '==') return left === right
  if (operator === '!=') return left !== right
  const order = /^-?[0-9]+$/.test(left) && /^-?[0-9]+$/.test(right) ? Number(left) - Number(right) : undefined
  if (order === undefined) return undefined
  return ordered(order, operator.slice(1))
}

function ordered(order: number, operator: string): boolean | undefined {
  switch (operator) {
    case 'eq':
      return order === 0
    case 'ne':
      return order !== 0
    case 'lt':
      return order < 0
    case 'le':
      return order <= 0
    case 'gt':
      return order > 0
    case 'ge':
      return order >= 0
    default:
      return undefined
  }
}

/**
 * The answer of `dpkg --compare-versions`.
 * @see dpkg(1): "lt le eq ne ge gt treat an empty version as earlier than any version; lt-nl le-nl ge-nl gt-nl treat an
 *   empty version as later than any version"
 */
export function compareVersions(left: Value, operator: Value, right: Value): boolean | undefined {
  if (left === undefined || operator === undefined || right === undefined) return undefined
  const later = operator.endsWith('-nl')
  const names: { readonly [sign: string]: string } = {
    '<': 'le',
    '<<': 'lt',
    '<=': 'le',
    '=': 'eq',
    '>=': 'ge',
    '>>': 'gt',
    '>': 'ge',
  }
  const plain = names[operator] ?? operator.replace(/-nl$/, '')
  if (left === '' || right === '') {
    const order = Number(left !== '') - Number(right !== '')
    return ordered(later ? -order : order, plain)
  }
  if (!isDebVersion(left) || !isDebVersion(right)) return undefined
  return ordered(compareDebianVersions(left, right), plain)
}
