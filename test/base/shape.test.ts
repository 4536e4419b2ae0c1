import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  boolean,
  bytes,
  decodeDocument,
  duration,
  integer,
  list,
  object,
  octalMode,
  oneOf,
  optional,
  plain,
  record,
  refined,
  required,
  type ScalarSource,
  type Shape,
  shortOrLong,
  type Source,
  string,
} from '../../src/base/shape.ts'

/** A node of JSON; places count from 1 in the order of reading. */
function source(value: unknown): Source {
  let line = 0
  const build = (each: unknown): Source => {
    const at = { line: ++line, column: 1 }
    if (Array.isArray(each)) return { kind: 'list', ...at, items: each.map(build) }
    if (typeof each === 'object' && each !== null)
      return {
        kind: 'map',
        ...at,
        members: Object.entries(each).map(([key, member]) => ({
          key,
          at: { line: ++line, column: 2 },
          value: build(member),
        })),
      }
    return { kind: 'scalar', ...at, value: each as ScalarSource['value'], text: String(each) }
  }
  return build(value)
}

function decode<T>(shape: Shape<T>, value: unknown): T | undefined {
  return decodeDocument('doc', (to) => shape.decode(source(value), to))
}

function refusal(shape: Shape<unknown>, value: unknown): string {
  try {
    decode(shape, value)
  } catch (error) {
    if (error instanceof Error) return error.message.replaceAll(/^doc:/gm, '')
  }
  return 'accepted'
}

for (const [shape, written, expected] of [
  [bytes(), '64M', 67_108_864],
  [bytes(), '1T', 2 ** 40],
  [bytes(), 4096, 4096],
  [bytes(), '128K', 131_072],
  [duration(), '30s', 30],
  [duration(), '5m', 300],
  [duration(), '2h', 7200],
  [duration(), 9, 9],
  [octalMode(), '0644', 0o644],
  [octalMode(), '0o755', 0o755],
  [octalMode(), 4755, 0o4755],
  [octalMode(), '01777', 0o1777],
  [integer(1, 3), 3, 3],
  [boolean(), false, false],
  [string({ empty: true }), '', ''],
  [string({ plain: true }), 1.5, '1.5'],
  [string({ plain: true }), true, 'true'],
  [oneOf('a', 'b'), 'b', 'b'],
] as const)
  test(`${shape.expected}: ${JSON.stringify(written)} is ${JSON.stringify(expected)}`, () => {
    assert.equal(decode<unknown>(shape, written), expected)
  })

for (const [shape, written] of [
  [bytes(), '64MB'],
  [bytes(), '0'],
  [bytes(), '-1'],
  [bytes(), '1.5G'],
  [bytes(), '999999T'],
  [bytes(), true],
  [duration(), '1d'],
  [duration(), '0s'],
  [duration(), '200h'],
  [octalMode(), '0888'],
  [octalMode(), '77777'],
  [octalMode(), '7'],
  [integer(1, 3), 0],
  [integer(1, 3), 4],
  [integer(1, 3), 1.5],
  [integer(1, 3), '1'],
  [boolean(), 'no'],
  [string(), ''],
  [string(), null],
  [string(), 'a\0b'],
  [string({ plain: true }), null],
  [string({ pattern: /^a$/ }), 'b'],
  [string({ maxBytes: 3 }), 'üü'],
  [oneOf('a', 'b'), 'c'],
  [list(boolean()), true],
  [record(string(), boolean()), [true]],
  [object('a map', {}), 'text'],
] as const)
  test(`${shape.expected}: ${JSON.stringify(written)} is refused`, () => {
    assert.match(refusal(shape, written), /^1:1: expected .*, found /)
  })

test('an object has its members, its fallbacks, and nothing else', () => {
  const shape = object('a thing', {
    name: required(string(), 'What it is called.'),
    size: optional(bytes(), 7, 'How large it is.'),
    note: optional(string(), undefined, 'A note.'),
  })
  assert.deepEqual(decode(shape, { name: 'a' }), { name: 'a', size: 7, note: undefined })
  assert.equal(
    refusal(shape, { naem: 'a', size: 'x' }),
    '1:1: expected the key "name": What it is called.\n2:2: unknown key "naem", did you mean "name"\n5:1: expected a size such as 128K, 64M or 2G, found "x"',
  )
  assert.deepEqual(shape.schema, {
    type: 'object',
    additionalProperties: false,
    required: ['name'],
    properties: {
      name: { description: 'What it is called.', type: 'string', minLength: 1 },
      size: {
        description: 'How large it is.',
        type: ['string', 'integer'],
        pattern: bytes().schema['pattern'],
        default: 7,
      },
      note: { description: 'A note.', type: 'string', minLength: 1 },
    },
  })
})

test('a short form stands for a long one', () => {
  const shape = shortOrLong(
    refined(string(), (name) => ({ name })),
    object('a map', { name: required(string(), 'Name.') }),
  )
  assert.deepEqual(
    decode(
      list(shape, ({ name }) => name),
      ['a', { name: 'b' }],
    ),
    [{ name: 'a' }, { name: 'b' }],
  )
  assert.equal(
    refusal(
      list(shape, ({ name }) => name),
      ['a', { name: 'a' }],
    ),
    '3:1: "a" is listed twice',
  )
})

test('names such as __proto__ are names like any other', () => {
  const value = JSON.parse('{"__proto__": true, "constructor": false}') as unknown
  assert.deepEqual(
    [...(decode(record(string(), boolean()), value) ?? [])],
    [
      ['__proto__', true],
      ['constructor', false],
    ],
  )
  assert.equal(refusal(object('a map', { a: optional(string(), '', 'A.') }), value).split('\n').length, 2)
})

test('plain gives back what was written', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
      assert.deepEqual(plain(source(value)), value)
    }),
  )
})

test('decoding never throws anything but a named error, whatever is written', () => {
  const shape = object('a map', {
    a: optional(list(shortOrLong(string(), string({ plain: true }))), [], 'A.'),
    b: optional(record(string(), octalMode()), new Map(), 'B.'),
    c: optional(duration(), 1, 'C.'),
  })
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.jsonValue({ maxDepth: 3 })),
      (value) => {
        const message = refusal(shape, value)
        assert.ok(message === 'accepted' || /^\d+:\d+: /.test(message), message)
      },
    ),
  )
})
