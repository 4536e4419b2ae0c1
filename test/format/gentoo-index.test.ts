/** The Packages index of Gentoo: what of it is read, and what is no index. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isStage5Error } from '../../src/base/errors.ts'
import { type GentooFields, parseGentooIndex } from '../../src/format/gentoo-index.ts'

const HEAD = 'VERSION: 0\nTIMESTAMP: 1760000000\n'

function parsed(text: string) {
  const index = parseGentooIndex('index', Buffer.from(text))
  return { ...index, list: () => [...index.entries()] }
}

function reasonOf(work: () => unknown): string {
  try {
    work()
    return 'accepted'
  } catch (error) {
    assert.ok(isStage5Error(error, 'S5_INDEX_REFUSED'), String(error))
    assert.match(error.message, /^index: [a-z-]+: /)
    return error.data['reason'] as string
  }
}

const plain = (fields: GentooFields) => Object.fromEntries(fields)

test('header and entries are blocks of lines split at the first colon', () => {
  const index = parsed(
    `${HEAD}PACKAGES: 2\nURI: https://host/a:b\n\nCPV: a/b-1\nUSE: x  y\n\nCPV:a/c-2\nDESC:  two blanks \n`,
  )
  assert.equal(index.timestamp, 1_760_000_000)
  assert.equal(index.count, 2)
  assert.equal(index.header.get('URI'), 'https://host/a:b')
  assert.deepEqual(
    index.list().map(({ fields, line }) => [line, plain(fields)]),
    [
      [6, { CPV: 'a/b-1', USE: 'x  y' }],
      [9, { CPV: 'a/c-2', DESC: ' two blanks' }],
    ],
  )
  assert.equal(index.list().length, 2, 'entries can be read again')
})

test('a repeated key counts with its last value; lines without a colon are passed over', () => {
  const [entry] = parsed(`${HEAD}\nCPV: a/b-1\nnonsense\nSLOT: 0\nSLOT: 2\n`).list()
  assert.deepEqual(plain(entry!.fields), { CPV: 'a/b-1', SLOT: '2' })
})

test('where a name and its libraries stand is known without reading the rest', () => {
  const index = parsed(
    `${HEAD}\nPROVIDES: x86_64: a.so.1\nCPV: a/b-1\nPROVIDES_X: no\nCPV: a/b-2\n\nDESC: none\n`,
  )
  assert.equal(index.size, 2)
  assert.deepEqual([index.cpv(0), index.provides(0)], ['a/b-2', 'x86_64: a.so.1'])
  assert.deepEqual([index.cpv(1), index.provides(1)], ['', ''])
  assert.equal(index.fields(0).get('SLOT'), undefined)
  assert.equal(index.fields(0).get('CPV: a/b-1\nCPV'), undefined)
  assert.equal(index.fields(0).get('PROVIDES: x86_64'), undefined)
})

test('several empty lines, and lines of blanks, stand between blocks; CRLF is read', () => {
  const index = parsed('VERSION: 0\r\nTIMESTAMP: 1\r\n\r\n\r\nCPV: a/b-1\r\n \nCPV: a/c-1\r\n\r\n')
  assert.deepEqual(
    index.list().map(({ fields }) => fields.get('CPV')),
    ['a/b-1', 'a/c-1'],
  )
})

test('text that is not UTF-8 does not stop the reading', () => {
  const bytes = Buffer.concat([
    Buffer.from(`${HEAD}\nCPV: a/b-1\nDESC: caf`),
    Buffer.from([0xe9, 10]),
    Buffer.from('SLOT: ü\n'),
  ])
  const [entry] = [...parseGentooIndex('index', bytes).entries()]
  assert.equal(entry?.fields.get('DESC'), 'caf\ufffd')
  assert.equal(entry?.fields.get('SLOT'), 'ü')
})

test('what is no index is refused with its word', () => {
  const rows: readonly (readonly [string, string, string])[] = [
    ['an empty file', '', 'truncated'],
    ['HTML', '<!doctype html><html>VERSION: 0\n', 'magic'],
    ['HTML behind blanks', '\n  <html>\n', 'magic'],
    ['binary', 'VERSION: 0\nTIMESTAMP: 1\0\n', 'magic'],
    ['prose', 'no such repository\n', 'magic'],
    ['no VERSION', 'TIMESTAMP: 1\n\nCPV: a/b-1\n', 'version'],
    ['a newer VERSION', 'VERSION: 1\nTIMESTAMP: 1\n', 'version'],
    ['a VERSION in words', 'VERSION: new\nTIMESTAMP: 1\n', 'version'],
    ['no TIMESTAMP', 'VERSION: 0\n\nCPV: a/b-1\n', 'bad-metadata'],
    ['a TIMESTAMP in words', 'VERSION: 0\nTIMESTAMP: today\n', 'bad-metadata'],
    ['PACKAGES in words', `${HEAD}PACKAGES: many\n`, 'bad-metadata'],
    ['cut inside a line', `${HEAD}\nCPV: a/b-1\nSLO`, 'truncated'],
    ['cut between lines', `${HEAD}PACKAGES: 2\n\nCPV: a/b-1\n\n`, 'truncated'],
    ['cut behind the header', `${HEAD}PACKAGES: 1\n`, 'truncated'],
    ['a line of 2 MiB', `${HEAD}\nCPV: ${'x'.repeat(2 << 20)}\n`, 'too-long'],
    ['more packages than announced', `${HEAD}PACKAGES: 1\n\nCPV: a/b-1\n\nCPV: a/c-1\n`, 'accepted'],
    ['no packages', HEAD, 'accepted'],
  ]
  for (const [name, text, expected] of rows)
    assert.equal(
      reasonOf(() => parsed(text).list()),
      expected,
      name,
    )
})

test('an index cut anywhere is refused when it says how many packages it has', () => {
  const text = `${HEAD}PACKAGES: 2\n\nCPV: a/b-1\nSIZE: 1\n\nCPV: a/c-1\nSIZE: 2\n`
  for (let length = text.indexOf('PACKAGES: 2') + 12; length < text.length - 'SIZE: 2\n'.length; length++)
    assert.notEqual(
      reasonOf(() => parsed(text.slice(0, length)).list()),
      'accepted',
      String(length),
    )
})

test('what is written is read back', () => {
  const key = fc.stringMatching(/^[A-Z][A-Z_]{0,10}$/)
  const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/)
  fc.assert(
    fc.property(fc.array(fc.dictionary(key, value, { minKeys: 1 }), { maxLength: 6 }), (blocks) => {
      const text = blocks
        .map((block) =>
          Object.entries(block)
            .map(([name, text5]) => `${name}: ${text5}\n`)
            .join(''),
        )
        .join('\n')
      const found = parsed(`${HEAD}PACKAGES: ${blocks.length}\n\n${text}`).list()
      assert.deepEqual(
        found.map(({ fields }) => plain(fields)),
        blocks.map((block) => ({ ...block })),
      )
    }),
  )
})
