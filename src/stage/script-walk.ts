/**
 * Which commands a maintainer script would come to on a first installation, found by reading it: conditions are judged as
 * far as they are known, and where they are not, both ways are gone. Nothing is run.
 */
import type { AndOr, Command, Pipeline, Redirect, Script, Word } from '../format/shell.ts'
import {
  compareVersions,
  fieldsOf,
  type FileTest,
  matches,
  testOf,
  textOf,
  type Value,
  type Variables,
} from './script-values.ts'

/** A command that is reached, surely or perhaps. */
export interface Call {
  readonly words: readonly Value[]
  readonly line: number
  /** Whether its output goes into a file of the guest: not into /dev/null, and not below /tmp or /run. */
  readonly writes: boolean
}

interface Situation {
  /** `$1`, `$2`… */
  readonly positional: readonly string[]
  readonly variables: { readonly [name: string]: string }
  readonly file: FileTest
  /** Debian's name of the architecture. */
  readonly arch: string
}

/** What is no part of a base: file systems that are made at boot, and the memory of package managers. */
export const VOLATILE: RegExp = /^\/(?:dev|proc|run|sys|tmp|var\/(?:run|lock|tmp|lib\/(?:dpkg|ucf)))(?:\/|$)/

/** More steps or variables than any real script takes; beyond it the walk is given up. */
const MAX_STEPS = 20_000
const MAX_VARIABLES = 500
const MAX_WORDS = 1000
const MAX_CALL_DEPTH = 20

interface State {
  readonly variables: Map<string, Value>
  readonly functions: Map<string, readonly Command[]>
  positional: readonly Value[] | undefined
  /** Something unknown was read in: names that were not set since may have any value. */
  blurred: boolean
}

interface End {
  readonly state: State
  readonly status: boolean | undefined
}

/** How a piece of script can end; of several ways to one end, what differs is unknown. */
type Flow = 'next' | 'return' | 'break' | 'continue' | 'exit'
type Ends = { [flow in Flow]?: End }

/** Thrown inside the walk only. */
const TOO_LONG = new Error('too long')

/** The commands in the order they are come to, or undefined when there are too many. */
export function walkScript(script: Script, situation: Situation): Call[] | undefined {
  try {
    return walker(situation).walk(script)
  } catch (error) {
    if (error === TOO_LONG) return undefined
    throw error
  }
}

function walker(situation: Situation): { walk(script: Script): Call[] } {
  const calls: Call[] = []
  let steps = 0
  /** Names that each running function made its own. */
  const locals: Set<string>[] = []

  function walk(script: Script): Call[] {
    const variables = new Map<string, Value>(Object.entries(situation.variables))
    run(script, { variables, functions: new Map(), positional: situation.positional, blurred: false })
    return calls
  }

  function run(script: Script, state: State): Ends {
    const ends: Ends = {}
    let current: End = { state, status: true }
    for (const item of script) {
      const { next, ...others } = andOr(item, current.state)
      collect(ends, others)
      if (!next) return ends
      current = next
    }
    ends.next = current
    return ends
  }

  function andOr({ first, rest }: AndOr, state: State): Ends {
    let { next, ...ends } = pipeline(first, state)
    for (const { operator, pipeline: following } of rest) {
      if (!next) break
      const wanted = operator === '&&'
      if (next.status === !wanted) continue
      const skipped: End | undefined =
        next.status === undefined ? { state: fork(next.state), status: !wanted } : undefined
      const { next: taken, ...others } = pipeline(following, next.state)
      collect(ends, others)
      next = taken && skipped ? joined(taken, skipped) : (taken ?? skipped)
    }
    return next ? { ...ends, next } : ends
  }

  function pipeline({ negated, commands }: Pipeline, state: State): Ends {
    const [only] = commands
    if (commands.length > 1) {
      for (const each of commands) command(each, fork(state))
      return { next: { state, status: undefined } }
    }
    const ends = command(only as Command, state)
    if (!negated || !ends.next || ends.next.status === undefined) return ends
    return { ...ends, next: { state: ends.next.state, status: !ends.next.status } }
  }

  function command(item: Command, state: State): Ends {
    if (++steps > MAX_STEPS || state.variables.size > MAX_VARIABLES) throw TOO_LONG
    const variables = variablesOf(state)
    if (item.kind !== 'simple' && writesFile(item.redirects, variables))
      calls.push({ words: [], line: item.line, writes: true })
    switch (item.kind) {
      case 'simple':
        return simple(item, state)
      case 'if':
        return conditional(item, state)
      case 'case':
        return choice(item, state)
      case 'for':
        return forLoop(item, state)
      case 'while':
        return someTimes([...item.test, ...item.body], state)
      case 'group': {
        if (!item.subshell) return run(item.body, state)
        const ends = Object.values(run(item.body, fork(state)))
        const [first] = ends
        const agree = ends.every((end) => end.status === first?.status)
        return { next: { state, status: agree ? first?.status : undefined } }
      }
      case 'function':
        state.functions.set(item.name, [item.body])
        return { next: { state, status: true } }
    }
  }

  function conditional({ branches, otherwise }: Command & { kind: 'if' }, state: State): Ends {
    const ends: Ends = {}
    let current = state
    for (const { test, body } of branches) {
      const { next, ...others } = run(test, current)
      collect(ends, others)
      if (!next) return ends
      if (next.status === true) return collect(ends, run(body, next.state))
      if (next.status === undefined) collect(ends, run(body, fork(next.state)))
      current = next.state
    }
    return collect(ends, run(otherwise, current))
  }

  function choice({ word, items }: Command & { kind: 'case' }, state: State): Ends {
    const ends: Ends = {}
    const subject = textOf(word, variablesOf(state))
    for (const { patterns, body } of items) {
      const answers = patterns.map((pattern) => matches(subject, pattern, variablesOf(state)))
      if (answers.includes(true)) return collect(ends, run(body, state))
      if (answers.includes(undefined)) collect(ends, run(body, fork(state)))
    }
    return collect(ends, { next: { state, status: true } })
  }

  function forLoop({ name, words, body }: Command & { kind: 'for' }, state: State): Ends {
    const fields = words ? words.flatMap((word) => fieldsOf(word, variablesOf(state))) : state.positional
    if (!fields || fields.length > MAX_WORDS || fields.includes(undefined)) {
      state.variables.set(name, undefined)
      return someTimes(body, state)
    }
    const ends: Ends = {}
    let current: State | undefined = state
    for (const value of fields) {
      current.variables.set(name, value)
      const { next, break: left, continue: again, ...others } = run(body, current)
      collect(ends, others)
      if (left) collect(ends, { next: left })
      const following: End | undefined = next && again ? joined(next, again) : (next ?? again)
      current = following?.state
      if (!current) return ends
    }
    return collect(ends, { next: { state: current, status: undefined } })
  }

  /** A body that runs never, once or often. */
  function someTimes(body: Script, state: State): Ends {
    const functions = [...state.functions.values()].flat()
    for (const name of assignedIn(body, functions)) state.variables.set(name, undefined)
    const before: End = { state: fork(state), status: undefined }
    const { next, break: left, continue: again, ...others } = run(body, state)
    let after = before
    for (const end of [next, left, again]) if (end) after = joined(after, { ...end, status: undefined })
    return { ...others, next: after }
  }

  function simple(item: Command & { kind: 'simple' }, state: State): Ends {
    const variables = variablesOf(state)
    const words = item.words.flatMap((word) => fieldsOf(word, variables))
    const writes = writesFile(item.redirects, variables)
    const [name] = words
    steps += words.length >> 4
    if (words.length > MAX_WORDS) throw TOO_LONG
    if (words.length === 0) {
      let substituted = false
      for (const { name: variable, value } of item.assignments) {
        state.variables.set(variable, textOf(value, variables))
        substituted ||= value.some((part) => part.kind === 'command')
      }
      if (writes) calls.push({ words, line: item.line, writes })
      return { next: { state, status: substituted ? undefined : true } }
    }
    if (name !== undefined && state.functions.has(name)) {
      if (writes) calls.push({ words: [], line: item.line, writes })
      return callFunction(state.functions.get(name) as readonly Command[], words.slice(1), state)
    }
    const done = builtin(name, words.slice(1), state)
    if (done && !writes) return done
    calls.push({ words, line: item.line, writes })
    return done ?? { next: { state, status: knownStatus(words, situation) } }
  }

  function callFunction(bodies: readonly Command[], positional: readonly Value[], state: State): Ends {
    if (locals.length >= MAX_CALL_DEPTH) throw TOO_LONG
    const own = new Set<string>()
    locals.push(own)
    const ends: Ends = {}
    for (const body of bodies) {
      const { next, return: returned, ...others } = command(body, { ...fork(state), positional })
      collect(ends, others)
      for (const end of [next, returned]) if (end) collect(ends, { next: end })
    }
    locals.pop()
    if (!ends.next) return ends
    const { state: after, status } = ends.next
    for (const name of own) after.variables.set(name, valueOf(name, state))
    return { ...ends, next: { state: { ...after, positional: state.positional }, status } }
  }

  /** What the shell does itself; undefined for everything else. */
  function builtin(name: Value, words: readonly Value[], state: State): Ends | undefined {
    const next = (status: boolean | undefined): Ends => ({ next: { state, status } })
    switch (name ?? '') {
      case ':':
      case 'true':
        return next(true)
      case 'false':
        return next(false)
      case '[':
        return next(testOf(words.slice(0, -1), situation.file))
      case 'test':
        return next(testOf(words, situation.file))
      case 'exit':
        return { exit: { state, status: undefined } }
      case 'break':
        return { break: { state, status: true } }
      case 'continue':
        return { continue: { state, status: true } }
      case 'return':
        return { return: { state, status: words[0] === undefined ? undefined : words[0] === '0' } }
      case 'export':
      case 'local':
      case 'readonly':
        if (name === 'local') for (const word of words) locals.at(-1)?.add(word?.split('=', 1)[0] ?? '')
        for (const word of words) assignWord(word, state)
        return next(true)
      case 'read':
        for (const word of words) if (word !== undefined) state.variables.set(word, undefined)
        return next(undefined)
      case 'unset':
        for (const word of words) if (word !== undefined) state.variables.set(word, '')
        return next(true)
      case 'shift':
        state.positional = state.positional?.slice(words[0] === undefined ? 1 : Number(words[0]) || 1)
        return next(true)
      case 'set':
        if (words[0] === '--') state.positional = words.includes(undefined) ? undefined : words.slice(1)
        return next(true)
      case '.':
      case 'source':
        if (words[0]?.endsWith('/debconf/confmodule')) state.variables.set('RET', undefined)
        else blur(state)
        return undefined
      case 'eval':
      case 'getopts':
        blur(state)
        return undefined
      default:
        if (name?.startsWith('db_')) state.variables.set('RET', undefined)
        return undefined
    }
  }

  function variablesOf(state: State): Variables {
    return {
      positional: state.positional,
      get: (name) => valueOf(name, state),
      isSet: (name) => {
        if (state.variables.has(name)) return true
        const value = valueOf(name, state)
        return value === undefined ? undefined : value !== ''
      },
      output: (script) => {
        run(script, fork(state))
        return outputOf(script, situation)
      },
    }
  }

  return { walk }
}

/** Names in capitals come from outside unless the script sets them. */
function valueOf(name: string, state: State): Value {
  if (/^[0-9]+$/.test(name)) {
    if (name === '0' || !state.positional) return undefined
    const at = Number(name) - 1
    return at < state.positional.length ? state.positional[at] : ''
  }
  if (name === '#') return state.positional && String(state.positional.length)
  if (name === '@' || name === '*')
    return state.positional?.includes(undefined) ? undefined : state.positional?.join(' ')
  if (state.variables.has(name)) return state.variables.get(name)
  return state.blurred || !/^[a-z_][a-z0-9_]*$/.test(name) ? undefined : ''
}

function assignWord(word: Value, state: State): void {
  if (word === undefined) return blur(state)
  const equals = word.indexOf('=')
  if (equals > 0) state.variables.set(word.slice(0, equals), word.slice(equals + 1))
}

function blur(state: State): void {
  for (const name of state.variables.keys()) state.variables.set(name, undefined)
  state.blurred = true
}

function fork(state: State): State {
  return { ...state, variables: new Map(state.variables), functions: new Map(state.functions) }
}

function joined(left: End, right: End): End {
  const state = fork(left.state)
  for (const name of new Set([...left.state.variables.keys(), ...right.state.variables.keys()])) {
    const value = valueOf(name, left.state)
    state.variables.set(name, value === valueOf(name, right.state) ? value : undefined)
  }
  for (const [name, bodies] of right.state.functions)
    state.functions.set(name, [...new Set([...(state.functions.get(name) ?? []), ...bodies])])
  const [ours, theirs] = [left.state.positional, right.state.positional]
  if (ours?.length !== theirs?.length || ours?.some((value, at) => value !== theirs?.[at]))
    state.positional = undefined
  state.blurred ||= right.state.blurred
  return { state, status: left.status === right.status ? left.status : undefined }
}

/** Adds `more` to `ends`. */
function collect(ends: Ends, more: Ends): Ends {
  for (const flow of ['next', 'return', 'break', 'continue', 'exit'] as const) {
    const [known, added] = [ends[flow], more[flow]]
    if (added) ends[flow] = known ? joined(known, added) : added
  }
  return ends
}

function writesFile(redirects: readonly Redirect[], variables: Variables): boolean {
  return redirects.some(({ operator, target }) => {
    if (operator.startsWith('<') && operator !== '<>') return false
    const text = textOf(target, variables)
    return operator === '>&' ? !/^[0-9-]$/.test(text ?? '') : text === undefined || !VOLATILE.test(text)
  })
}

function knownStatus(words: readonly Value[], { arch }: Situation): boolean | undefined {
  if (words[0] === 'dpkg' && words[1] === '--compare-versions')
    return compareVersions(words[2], words[3], words[4])
  if (words[0] === 'dpkg-maintscript-helper' && words[1] === 'supports') return true
  return words[0] === 'dpkg-architecture' && words[1] === `-ia${arch}` ? true : undefined
}

/** What a substitution prints, where that is a matter of course. */
function outputOf(script: Script, { arch }: Situation): Value {
  const [item] = script
  const simple = item?.first.commands[0]
  if (script.length !== 1 || item?.rest.length !== 0 || item.first.commands.length !== 1) return undefined
  if (simple?.kind !== 'simple') return undefined
  const words = simple.words.map((word: Word) =>
    word.map((part) => (part.kind === 'text' ? part.text : '\0')).join(''),
  )
  if (words.join(' ') === 'dpkg --print-architecture') return arch
  if (words[0] === 'mktemp' || words[0] === 'tempfile') return '/tmp/file'
  return words.join(' ') === 'uname -s' ? 'Linux' : undefined
}

/** Every name that a script and these functions may set. */
function assignedIn(script: Script, functions: readonly Command[]): Set<string> {
  const names = new Set<string>()
  const visit = (item: Command): void => {
    switch (item.kind) {
      case 'simple':
        for (const { name } of item.assignments) names.add(name)
        // `local a=1`, `read a`: every word that looks like a name
        for (const word of item.words)
          for (const part of word)
            if (part.kind === 'text') names.add(/^[A-Za-z_][A-Za-z0-9_]*/.exec(part.text)?.[0] ?? '')
        break
      case 'if':
        for (const { test, body } of item.branches) for (const each of [...test, ...body]) visitAll(each)
        item.otherwise.forEach(visitAll)
        break
      case 'case':
        for (const { body } of item.items) body.forEach(visitAll)
        break
      case 'for':
        names.add(item.name)
        item.body.forEach(visitAll)
        break
      case 'while':
        for (const each of [...item.test, ...item.body]) visitAll(each)
        break
      case 'group':
        item.body.forEach(visitAll)
        break
      case 'function':
        visit(item.body)
    }
  }
  const visitAll = ({ first, rest }: AndOr): void => {
    for (const { commands } of [first, ...rest.map(({ pipeline }) => pipeline)]) commands.forEach(visit)
  }
  script.forEach(visitAll)
  functions.forEach(visit)
  names.delete('')
  return names
}
