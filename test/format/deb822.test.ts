/** Stanzas: what a field is, where it ends, and that printing and parsing are a pair. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseDeb822, printDeb822, stanzasOf } from '../../src/format/deb822.ts'

function fieldsOf(text: string | Uint8Array): (readonly [string, string])[][] {
  return parseDeb822(text).map((stanza) => [...stanza.fields()])
}

test('fields are found without regard to case and keep their spelling', () => {
  const [stanza] = parseDeb822('Package: nginx\nVERSION:  1.0 \t\n')
  assert.equal(stanza?.get('package'), 'nginx')
  assert.equal(stanza?.get('Version'), '1.0')
  assert.equal(stanza?.has('VERSION'), true)
  assert.equal(stanza?.has('Size'), false)
  assert.equal(stanza?.get('Size'), undefined)
  assert.deepEqual(
    [...(stanza?.fields() ?? [])],
    [
      ['Package', 'nginx'],
      ['VERSION', '1.0'],
    ],
  )
})

test('stanzas are parted by blank lines, of which there may be many', () => {
  const stanzas = parseDeb822('\n\nA: 1\n\n \t\n\nA: 2\nB: 3\r\n\r\nA: 4')
  assert.deepEqual(
    stanzas.map((stanza) => [stanza.line, stanza.get('a'), stanza.get('b')]),
    [
      [3, '1', undefined],
      [7, '2', '3'],
      [10, '4', undefined],
    ],
  )
})

test('a field goes on over lines that begin with a blank', () => {
  const text =
    'SHA256:\n aa 1 main/x\n bb 2 main/y\nDescription: short\n long: text \n\tmore\n .\n  indented\n'
  const [stanza] = parseDeb822(text)
  assert.equal(stanza?.get('SHA256'), '\naa 1 main/x\nbb 2 main/y')
  assert.equal(stanza?.get('Description'), 'short\nlong: text\nmore\n\n indented')
})

test('comments are passed over, also inside a field', () => {
  assert.deepEqual(fieldsOf('# top\nA: 1\n# within: a field\n 2\n'), [[['A', '1\n2']]])
})

test('a value may hold colons and be empty', () => {
  assert.deepEqual(fieldsOf('Homepage: https://x/:y\nEmpty:\n'), [
    [
      ['Homepage', 'https://x/:y'],
      ['Empty', ''],
    ],
  ])
})

test('bytes become a byte string', () => {
  assert.deepEqual(fieldsOf(Buffer.from('A: \u00e4')), [[['A', '\xc3\xa4']]])
})

test('text that is no stanza is refused with its line', () => {
  const cases: [string, number][] = [
    ['A: 1\nno field\nB: 2\n', 2],
    [' continued\n', 1],
    ['A: 1\n\n continued\n', 3],
    ['A: 1\nB: 2\na: 3\n', 3],
    [': value\n', 1],
    ['-A: value\n', 1],
    ['A B: value\n', 1],
    ['A\x01: value\n', 1],
    ['A: 1\nno field\n\nB: 2', 2],
    ['A: 1\n\rB\n', 2],
  ]
  for (const [text, line] of cases)
    assert.throws(() => parseDeb822(text, 'x'), { data: { reason: 'bad-metadata', file: 'x', line } }, text)
})

test('a line of more than a mebibyte is refused', () => {
  assert.equal(parseDeb822(`A: ${'x'.repeat(2 ** 20 - 3)}\n`).length, 1)
  assert.throws(() => parseDeb822(`A: ${'x'.repeat(2 ** 20 - 2)}\n`), {
    data: { reason: 'too-long', file: 'deb822', line: 1 },
  })
})

test('stanzas are given out before the rest is read', () => {
  const stanzas = stanzasOf('A: 1\n\nbroken\n')
  const first = stanzas.next()
  assert.ok(!first.done)
  assert.equal(first.value.get('A'), '1')
  assert.throws(() => stanzas.next())
})

const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9-]{0,8}$/)
const word = fc.stringMatching(/^[!-~]{1,6}$/)
const line = fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => words.join(' '))
const value = fc
  .tuple(
    fc.oneof(fc.constant(''), line),
    fc.array(
      fc.oneof(
        fc.constant(''),
        line.filter((text) => text !== '.'),
      ),
      { maxLength: 3 },
    ),
  )
  .map(([first, more]) => [first, ...more].join('\n'))
const stanza = fc.uniqueArray(fc.tuple(name, value), {
  minLength: 1,
  maxLength: 4,
  selector: ([key]) => key.toLowerCase(),
})

test('what is printed parses to the same', () => {
  fc.assert(
    fc.property(fc.array(stanza, { maxLength: 4 }), (stanzas) => {
      assert.deepEqual(fieldsOf(printDeb822(stanzas)), stanzas)
    }),
  )
})

test('printing refuses what the format cannot say', () => {
  for (const [key, text] of [
    ['a b', 'x'],
    ['', 'x'],
    ['#a', 'x'],
    ['a', 'x\n.'],
    ['a', 'x\ny '],
    ['a', ' x'],
  ] as const)
    assert.throws(() => printDeb822([[[key, text]]]), RangeError)
})
