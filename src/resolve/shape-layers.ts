/** Fields that stack: how each key of a later profile changes what its parents said. */
import {
  annotated,
  type Decoder,
  describe,
  knownMembers,
  objectSchema,
  type Place,
  type Schema,
  type Shape,
  type Source,
} from '../base/shape.ts'

/** A key whose value is worked out from several documents, one after the other. */
export interface Field<T> {
  readonly schema: Schema
  /** What holds when no document says anything, and what `null` goes back to. */
  readonly start: T
  /** What holds after one more document; reports and returns `before` when that document is wrong. */
  apply(before: T, node: Source, to: Decoder): T
}

function isNull(node: Source): boolean {
  return node.kind === 'scalar' && node.value === null
}

/** The later value overrides. */
export function scalar<T>(shape: Shape<T>, start: T, description: string): Field<T> {
  return {
    schema: annotated(shape.schema, description, start),
    start,
    apply: (before, node, to) => (isNull(node) ? start : (shape.decode(node, to) ?? before)),
  }
}

/** One step of a list that accumulates. */
type Change<T> =
  | { readonly op: 'add'; readonly value: T }
  | { readonly op: 'remove'; readonly name: string }
  | { readonly op: 'clear' }

interface StackRules<T> {
  /** The identity by which a later item replaces an earlier one and `-name` removes it. */
  readonly nameOf: (item: T) => string
  /** How a name is written behind `-`, when not as itself. */
  readonly removal?: (written: string) => string
  /** `-name` is an item of its own, as with USE flags: nothing but `-*` removes. */
  readonly negative?: boolean
  /** Several items of one document may have one name, as long as this differs. */
  readonly textOf?: (item: T) => string
}

/**
 * A list that accumulates as in Gentoo profiles: later items are added, an item with the name of an inherited one takes
 * its place, `-name` removes, `-*` clears. Removing what is not there is no error: mixins may both remove a thing.
 */
export function stack<T>(item: Shape<T>, rules: StackRules<T>, description: string): Field<readonly T[]> {
  const removal: Schema = { type: 'string', pattern: '^-.' }
  return {
    schema: annotated(
      { type: 'array', items: rules.negative ? item.schema : { anyOf: [item.schema, removal] } },
      description,
    ),
    start: [],
    apply(before, node, to) {
      if (isNull(node)) return []
      if (node.kind !== 'list') {
        to.report(node, `expected a list, each ${item.expected}, found ${describe(node)}`)
        return before
      }
      return stacked(before, changesOf(node.items, item, rules, to), rules)
    },
  }
}

function changesOf<T>(
  items: readonly Source[],
  item: Shape<T>,
  rules: StackRules<T>,
  to: Decoder,
): Change<T>[] {
  const seen = new Map<string, Place>()
  const changes: Change<T>[] = []
  for (const each of items) {
    const text = each.kind === 'scalar' && typeof each.value === 'string' ? each.value : ''
    if (text === '-*') changes.push({ op: 'clear' })
    else if (text.startsWith('-') && text.length > 1 && !rules.negative) {
      const written = text.slice(1)
      changes.push({ op: 'remove', name: rules.removal?.(written) ?? written })
    } else {
      const value = item.decode(each, to)
      if (value === undefined) continue
      const name = (rules.textOf ?? rules.nameOf)(value)
      const first = seen.get(name)
      if (first) to.report(each, `${JSON.stringify(name)} is listed twice, first in line ${first.line}`)
      else changes.push({ op: 'add', value })
      seen.set(name, each)
    }
  }
  return changes
}

function stacked<T>(before: readonly T[], changes: readonly Change<T>[], rules: StackRules<T>): T[] {
  let result = [...before]
  const own = new Set<T>()
  for (const change of changes) {
    if (change.op === 'clear') result = []
    else if (change.op === 'remove') result = result.filter((each) => rules.nameOf(each) !== change.name)
    else {
      const name = rules.nameOf(change.value)
      const inherited = result.findIndex((each) => !own.has(each) && rules.nameOf(each) === name)
      if (inherited < 0) result.push(change.value)
      else {
        result[inherited] = change.value
        result = result.filter((each, at) => at <= inherited || own.has(each) || rules.nameOf(each) !== name)
      }
      own.add(change.value)
    }
  }
  return result
}

/** A map that merges by key: later values override, `null` removes a key. */
export function stackedMap(
  key: Shape<string>,
  value: Shape<string>,
  description: string,
): Field<ReadonlyMap<string, string>> {
  return {
    schema: annotated(
      {
        type: 'object',
        propertyNames: key.schema,
        additionalProperties: { anyOf: [value.schema, { type: 'null' }] },
      },
      description,
    ),
    start: new Map(),
    apply(before, node, to) {
      if (isNull(node)) return new Map()
      if (node.kind !== 'map') {
        to.report(node, `expected a map with values, each ${value.expected}, found ${describe(node)}`)
        return before
      }
      const result = new Map(before)
      for (const member of node.members) {
        const written: Source = { kind: 'scalar', value: member.key, text: member.key, ...member.at }
        const name = key.decode(written, to)
        if (name === undefined) continue
        if (isNull(member.value)) result.delete(name)
        else {
          const decoded = value.decode(member.value, to)
          if (decoded !== undefined) result.set(name, decoded)
        }
      }
      return result
    },
  }
}

type Fields = { readonly [key: string]: Field<unknown> }
type Values<F> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never }

/** What holds before any document. */
export function startOf<F extends Fields>(fields: F): Values<F> {
  return Object.fromEntries(Object.entries(fields).map(([key, field]) => [key, field.start])) as Values<F>
}

/** Applies the members of one map; `also` are keys that someone else reads. */
export function applyFields<F extends Fields>(
  fields: F,
  before: Values<F>,
  node: Source,
  expected: string,
  to: Decoder,
  also: readonly string[] = [],
): Values<F> {
  const found = knownMembers(node, [...Object.keys(fields), ...also], expected, to)
  if (!found) return before
  const result: { [key: string]: unknown } = { ...before }
  for (const [key, field] of Object.entries(fields)) {
    const each = found.get(key)
    if (each) result[key] = field.apply(result[key], each, to)
  }
  return result as Values<F>
}

/** A map with known keys, each of which stacks by its own rule. */
export function group<F extends Fields>(expected: string, fields: F, description: string): Field<Values<F>> {
  const start = startOf(fields)
  return {
    schema: annotated(objectSchema(fields, []), description),
    start,
    apply: (before, node, to) => (isNull(node) ? start : applyFields(fields, before, node, expected, to)),
  }
}
