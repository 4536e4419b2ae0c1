/** One table that both decodes a document and describes it as JSON Schema: small shapes that compose. */
import { Stage5Error } from './errors.ts'
import type { Json } from './json.ts'
import { nearest } from './near.ts'

/** Line and column from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

/** A parsed document, whatever it was written in; each node knows where it stands. */
export type Source = ScalarSource | ListSource | MapSource

export interface ScalarSource extends Place {
  readonly kind: 'scalar'
  readonly value: string | number | boolean | null
  /** As written when it was written plainly (`0644`, `1.10`), otherwise the value as text. */
  readonly text: string
}
interface ListSource extends Place {
  readonly kind: 'list'
  readonly items: readonly Source[]
}
export interface MapSource extends Place {
  readonly kind: 'map'
  /** Keys are unique. */
  readonly members: readonly { readonly key: string; readonly at: Place; readonly value: Source }[]
}

export type Schema = { readonly [key: string]: Json | undefined }

/** Where problems go while one document is decoded. */
export interface Decoder {
  /** Name of the document, for errors. */
  readonly file: string
  report(at: Place, message: string): undefined
}

/** What a value must look like. */
export interface Shape<T> {
  /** Completes “expected …”. */
  readonly expected: string
  readonly schema: Schema
  /** The value, or `undefined` after at least one report. */
  decode(node: Source, to: Decoder): T | undefined
}

/** Problems beyond this many are counted, not printed. */
const SHOWN = 20

/**
 * Runs `decode` and turns what it reported into one error that lists every problem as `file:line:column: message`.
 * @throws S5_PROFILE_INVALID; `data` has `file`, `line`, `column` of the first problem, and all of them
 */
export function decodeDocument<T>(file: string, decode: (to: Decoder) => T): T {
  const problems: (Place & { readonly message: string })[] = []
  const value = decode({
    file,
    report: ({ line, column }, message) => {
      problems.push({ line, column, message })
      return undefined
    },
  })
  if (problems.length > 0) throw invalid(file, problems)
  return value
}

/** The error for problems of one document, in the order of their places. */
export function invalid(file: string, found: readonly (Place & { readonly message: string })[]): Stage5Error {
  const problems = found.toSorted((a, b) => a.line - b.line || a.column - b.column)
  const lines = problems
    .slice(0, SHOWN)
    .map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`)
  if (problems.length > SHOWN) lines.push(`${file}: and ${problems.length - SHOWN} more`)
  return new Stage5Error('S5_PROFILE_INVALID', lines.join('\n'), {
    data: {
      file,
      line: problems[0]?.line,
      column: problems[0]?.column,
      problems: problems.map(({ line, column, message }) => ({ line, column, message })),
    },
  })
}

/** What stands there, for “found …”. */
export function describe(node: Source): string {
  if (node.kind === 'list') return node.items.length === 0 ? 'an empty list' : 'a list'
  if (node.kind === 'map') return 'a map'
  if (node.value === null) return 'nothing'
  if (typeof node.value === 'string') return JSON.stringify(clip(node.value))
  return `${typeof node.value} ${clip(node.text)}`
}

function clip(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

function mismatch(node: Source, expected: string, to: Decoder): undefined {
  to.report(node, `expected ${expected}, found ${describe(node)}`)
  return undefined
}

/** `, did you mean "x"` for the nearest known word, or nothing. */
export function suggestion(word: string, known: Iterable<string>): string {
  const [best] = nearest(word, known, 1)
  return best === undefined ? '' : `, did you mean ${JSON.stringify(best)}`
}

/**
 * A string.
 * @param options `pattern` must match; `expected` says it in words; `plain` takes numbers and booleans as written, so that
 *   `version: 1.10` keeps its zero; `empty` allows `""`
 */
export function string(
  options: { pattern?: RegExp; expected?: string; plain?: boolean; empty?: boolean; maxBytes?: number } = {},
): Shape<string> {
  const expected = options.expected ?? 'a string'
  return {
    expected,
    schema: {
      type: options.plain ? ['string', 'number', 'boolean'] : 'string',
      ...(options.pattern && { pattern: options.pattern.source }),
      ...(!options.empty && !options.pattern && { minLength: 1 }),
    },
    decode(node, to) {
      if (node.kind !== 'scalar' || node.value === null) return mismatch(node, expected, to)
      if (typeof node.value !== 'string' && !options.plain) {
        to.report(node, `expected ${expected}, found ${describe(node)}; write it in quotes`)
        return undefined
      }
      const value = typeof node.value === 'string' ? node.value : node.text
      if (value === '' && !options.empty) return mismatch(node, expected, to)
      if (value.includes('\0')) return mismatch(node, `${expected} without NUL`, to)
      if (options.pattern && !options.pattern.test(value)) return mismatch(node, expected, to)
      if (options.maxBytes !== undefined && Buffer.byteLength(value) > options.maxBytes) {
        to.report(node, `expected at most ${options.maxBytes} bytes, found ${Buffer.byteLength(value)}`)
        return undefined
      }
      return value
    },
  }
}

export function integer(min: number, max: number): Shape<number> {
  const expected = `an integer from ${min} to ${max}`
  return {
    expected,
    schema: { type: 'integer', minimum: min, maximum: max },
    decode(node, to) {
      const value = node.kind === 'scalar' ? node.value : undefined
      if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
        return mismatch(node, expected, to)
      return value
    },
  }
}

export function boolean(): Shape<boolean> {
  return {
    expected: 'true or false',
    schema: { type: 'boolean' },
    decode: (node, to) =>
      node.kind === 'scalar' && typeof node.value === 'boolean'
        ? node.value
        : mismatch(node, 'true or false', to),
  }
}

/** A number with a unit, written plainly; the result is in the unit that counts 1. */
function measure(expected: string, units: { readonly [unit: string]: number }, max: number): Shape<number> {
  const pattern = new RegExp(`^([0-9]{1,15})(${Object.keys(units).join('|')})$`)
  return {
    expected,
    schema: { type: ['string', 'integer'], pattern: pattern.source },
    decode(node, to) {
      const found = node.kind === 'scalar' && typeof node.value !== 'boolean' ? pattern.exec(node.text) : null
      const value = found ? Number(found[1]) * (units[found[2] as string] as number) : Number.NaN
      return value >= 1 && value <= max ? value : mismatch(node, expected, to)
    },
  }
}

/** Bytes, such as `128K`, `64M`, `2G` (powers of 1024) or a bare number. */
export function bytes(): Shape<number> {
  const units = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }
  return measure('a size such as 128K, 64M or 2G', units, 2 ** 50)
}

/** Seconds, written `30s`, `5m`, `1h` or as a bare number. */
export function duration(): Shape<number> {
  return measure('a duration such as 30s, 5m or 1h', { '': 1, s: 1, m: 60, h: 3600 }, 7 * 86_400)
}

/** Permission bits in octal: `0644`, `0o644`, `"755"`, `4755`. */
export function octalMode(): Shape<number> {
  const expected = 'an octal mode such as 0644'
  const pattern = /^(?:0o|0)?([0-7]{3,4})$/
  return {
    expected,
    schema: { type: ['string', 'integer'], pattern: pattern.source },
    decode(node, to) {
      const found = node.kind === 'scalar' ? pattern.exec(node.text) : null
      return found ? Number.parseInt(found[1] as string, 8) : mismatch(node, expected, to)
    },
  }
}

export function oneOf<const V extends string>(...values: readonly V[]): Shape<V> {
  const expected = values.length === 1 ? (values[0] as string) : `one of ${values.join(', ')}`
  return {
    expected,
    schema: { enum: [...values] },
    decode(node, to) {
      const value = node.kind === 'scalar' && typeof node.value === 'string' ? node.value : undefined
      const found = values.find((each) => each === value)
      if (found !== undefined) return found
      to.report(
        node,
        `expected ${expected}, found ${describe(node)}${value === undefined ? '' : suggestion(value, values)}`,
      )
      return undefined
    },
  }
}

/** A list; `id` names the items that must not occur twice. */
export function list<T>(item: Shape<T>, id?: (item: T) => string): Shape<readonly T[]> {
  return {
    expected: 'a list',
    schema: { type: 'array', items: item.schema },
    decode(node, to) {
      if (node.kind !== 'list') return mismatch(node, `a list, each ${item.expected}`, to)
      const seen = new Set<string>()
      const values: T[] = []
      let sound = true
      for (const each of node.items) {
        const value = item.decode(each, to)
        if (value === undefined) sound = false
        else {
          values.push(value)
          const name = id?.(value)
          if (name !== undefined && seen.has(name)) {
            to.report(each, `${JSON.stringify(name)} is listed twice`)
            sound = false
          }
          if (name !== undefined) seen.add(name)
        }
      }
      return sound ? values : undefined
    },
  }
}

/** A map with keys of the writer's choice. Its members come in the order of writing. */
export function record<T>(key: Shape<string>, value: Shape<T>): Shape<ReadonlyMap<string, T>> {
  return {
    expected: 'a map',
    schema: { type: 'object', propertyNames: key.schema, additionalProperties: value.schema },
    decode(node, to) {
      if (node.kind !== 'map') return mismatch(node, `a map with values, each ${value.expected}`, to)
      const result = new Map<string, T>()
      let sound = true
      for (const member of node.members) {
        const name = key.decode({ kind: 'scalar', value: member.key, text: member.key, ...member.at }, to)
        const each = value.decode(member.value, to)
        if (name === undefined || each === undefined) sound = false
        else result.set(name, each)
      }
      return sound ? result : undefined
    },
  }
}

/** A key of an object: with a fallback it may be left out. */
interface Member<T> {
  readonly shape: Shape<T>
  readonly description: string
  readonly fallback?: { readonly value: T }
}

export function required<T>(shape: Shape<T>, description: string): Member<T> {
  return { shape, description }
}

export function optional<T, const F = T>(shape: Shape<T>, fallback: F, description: string): Member<T | F> {
  return { shape, description, fallback: { value: fallback } }
}

/** The JSON Schema of an object with these keys and no others. */
export function objectSchema(
  members: { readonly [key: string]: { readonly schema: Schema } },
  needed: readonly string[],
): Schema {
  return {
    type: 'object',
    additionalProperties: false,
    ...(needed.length > 0 && { required: [...needed] }),
    properties: Object.fromEntries(Object.entries(members).map(([key, { schema }]) => [key, schema])),
  }
}

/** A schema with its description, and its default where one can be written down. */
export function annotated(schema: Schema, description: string, fallback?: unknown): Schema {
  const plain = ['string', 'number', 'boolean'].includes(typeof fallback) && fallback !== ''
  const empty = Array.isArray(fallback) && fallback.length === 0
  return { description, ...schema, ...((plain || empty) && { default: fallback as Json }) }
}

/**
 * Visits the members of a map whose keys are known; every other key is reported with the nearest known one.
 * @returns the members by key, or undefined when `node` is no map
 */
export function knownMembers(
  node: Source,
  known: readonly string[],
  what: string,
  to: Decoder,
): ReadonlyMap<string, Source> | undefined {
  if (node.kind !== 'map') return mismatch(node, what, to)
  const found = new Map<string, Source>()
  for (const { key, at, value } of node.members) {
    if (known.includes(key)) found.set(key, value)
    else to.report(at, `unknown key ${JSON.stringify(clip(key))}${suggestion(key, known)}`)
  }
  return found
}

type Decoded<M> = { readonly [K in keyof M]: M[K] extends Member<infer T> ? T : never }

/** A map with known keys. */
export function object<M extends { readonly [key: string]: Member<unknown> }>(
  expected: string,
  members: M,
): Shape<Decoded<M>> {
  const known = Object.keys(members)
  const needed = known.filter((key) => members[key]?.fallback === undefined)
  const properties = Object.fromEntries(
    Object.entries(members).map(([key, { shape, description, fallback }]) => [
      key,
      { schema: annotated(shape.schema, description, fallback?.value) },
    ]),
  )
  return {
    expected,
    schema: objectSchema(properties, needed),
    decode(node, to) {
      const found = knownMembers(node, known, expected, to)
      if (!found) return undefined
      const result: { [key: string]: unknown } = {}
      let sound = node.kind === 'map' && found.size === node.members.length
      for (const [key, member] of Object.entries(members)) {
        const each = found.get(key)
        if (each) {
          result[key] = member.shape.decode(each, to)
          if (result[key] === undefined) sound = false
        } else if (member.fallback) result[key] = member.fallback.value
        else {
          to.report(node, `expected the key ${JSON.stringify(key)}: ${member.description}`)
          sound = false
        }
      }
      return sound ? (result as Decoded<M>) : undefined
    },
  }
}

/** A value with further rules: `refine` returns the value, or reports and returns undefined. */
export function refined<S, T>(
  shape: Shape<S>,
  refine: (value: S, node: Source, to: Decoder) => T | undefined,
): Shape<T> {
  return {
    expected: shape.expected,
    schema: shape.schema,
    decode(node, to) {
      const value = shape.decode(node, to)
      return value === undefined ? undefined : refine(value, node, to)
    },
  }
}

/** A value with a short and a long form: the short one is taken for every node that `isShort`. */
export function shortOrLong<T>(
  short: Shape<T>,
  long: Shape<T>,
  isShort: (node: Source) => boolean = (node) => node.kind === 'scalar',
): Shape<T> {
  return {
    expected: `${short.expected} or ${long.expected}`,
    schema: { anyOf: [short.schema, long.schema] },
    decode: (node, to) => (isShort(node) ? short : long).decode(node, to),
  }
}

/** The document as plain JSON. */
export function plain(node: Source): Json {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(plain)
  return Object.fromEntries(node.members.map(({ key, value }) => [key, plain(value)]))
}
