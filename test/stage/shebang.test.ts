/** First lines of scripts, as the kernel and env read them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { missingFor, parseShebang } from '../../src/stage/shebang.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { link, program, smallTree } from '../helpers/small-tree.ts'

const TABLE: readonly [line: string, interpreter: string | undefined, program?: string][] = [
  ['#!/bin/sh\n', '/bin/sh'],
  ['#! /bin/sh -e\nrest', '/bin/sh'],
  ['#!\t/usr/bin/perl -w', '/usr/bin/perl'],
  ['#!/usr/bin/env python3\n', '/usr/bin/env', 'python3'],
  ['#!/usr/bin/env -S python3 -u\n', '/usr/bin/env', 'python3'],
  ['#!/usr/bin/env -Spython3 -u\n', '/usr/bin/env', 'python3'],
  ['#!/usr/bin/env -i -u HOME A=b perl\n', '/usr/bin/env', 'perl'],
  ['#!/usr/bin/env\n', '/usr/bin/env'],
  ['#!/bin/sh\0garbage\n', '/bin/sh'],
  ['#!\n/bin/sh\n', undefined],
  ['#', undefined],
  ['', undefined],
  [' #!/bin/sh\n', undefined],
  [`#!/${'x'.repeat(500)}\n`, `/${'x'.repeat(253)}`],
]

test('first lines are read as execve and env do', () => {
  for (const [line, interpreter, named] of TABLE) {
    const found = parseShebang(Buffer.from(line, 'latin1'))
    assert.equal(found?.interpreter, interpreter, line)
    assert.equal(found?.program, named, line)
  }
})

test('an interpreter must be an executable file, also through links', async () => {
  const tree = await smallTree(memoryContents(), {
    bin: link('usr/bin'),
    'usr/bin/env': program('x'),
    'usr/bin/sh': link('dash'),
    'usr/bin/dash': program('x'),
    'usr/bin/data': 'not executable',
    'usr/sbin/tool': program('x'),
  })
  const missing = (line: string, gone?: ReadonlySet<string>): string | undefined => {
    const shebang = parseShebang(Buffer.from(line))
    assert.ok(shebang)
    return missingFor(tree, shebang, gone)
  }
  assert.equal(missing('#!/bin/sh'), undefined)
  assert.equal(missing('#!/bin/sh', new Set(['usr/bin/dash'])), '/bin/sh')
  assert.equal(missing('#!/usr/bin/data'), '/usr/bin/data')
  assert.equal(missing('#!/usr/bin/env tool'), undefined)
  assert.equal(missing('#!/usr/bin/env nothing'), 'nothing')
  assert.equal(missing('#!sh'), 'sh')
})
