import assert from 'node:assert/strict'
import { test } from 'node:test'
import { consoleFeed } from '../../src/deploy/console.ts'

test('lines come in order, from the first, and end with the guest', async () => {
  const feed = consoleFeed()
  feed.push(Buffer.from('one\r\ntw'))
  const lines = feed.console.lines()[Symbol.asyncIterator]()
  assert.equal((await lines.next()).value, 'one')
  const second = lines.next()
  feed.push(Buffer.from('o\nthree'))
  assert.equal((await second).value, 'two')
  const third = lines.next()
  feed.end()
  assert.equal((await third).value, 'three')
  assert.equal((await lines.next()).done, true)
})

test('waiting finds text that is already there, that comes in pieces, and that has no end of line', async () => {
  const feed = consoleFeed()
  feed.push(Buffer.from('boot\nstage5: ready\n'))
  const ready = await feed.console.waitFor('ready', 1000)
  assert.deepEqual(ready.found && ready.line, 'stage5: ready')
  const prompt = feed.console.waitFor('# ', 1000)
  feed.push(Buffer.from('/ #'))
  feed.push(Buffer.from(' '))
  const found = await prompt
  assert.deepEqual(found.found && found.line, '/ # ')
})

test('a second wait searches behind the first', async () => {
  const feed = consoleFeed()
  feed.push(Buffer.from('a ok 1 ok 2'))
  assert.equal((await feed.console.waitFor('ok', 1)).found, true)
  assert.equal((await feed.console.waitFor('ok', 1)).found, true)
  assert.deepEqual(await feed.console.waitFor('ok', 1), { found: false, why: 'timeout' })
})

test('waiting ends when the guest does', async () => {
  const feed = consoleFeed()
  const waiting = feed.console.waitFor('ready', 60_000)
  feed.push(Buffer.from('Kernel panic\n'))
  feed.end()
  assert.deepEqual(await waiting, { found: false, why: 'exited' })
  assert.deepEqual(feed.console.last(2), ['Kernel panic'])
})

test('control sequences and split letters do not stand in the text', async () => {
  const feed = consoleFeed()
  const bytes = Buffer.from('\x1b[2J\x1b[1;32mgr\u00fcn\x1b[0m\x1b7!\r\n')
  for (const byte of bytes) feed.push(Buffer.from([byte]))
  feed.end()
  assert.deepEqual(feed.console.last(3), ['grün!'])
})

test('a console that prints for ever keeps its end, in whole lines', async () => {
  const feed = consoleFeed(10_000)
  const block = Buffer.from('0123456789abcde\n'.repeat(10))
  for (let count = 0; count < 1_000; count++) feed.push(block)
  feed.push(Buffer.from('last\n'))
  feed.end()
  assert.deepEqual(feed.console.last(2), ['0123456789abcde', 'last'])
  const lines: string[] = []
  for await (const line of feed.console.lines()) lines.push(line)
  assert.deepEqual([...new Set(lines)], ['0123456789abcde', 'last'])
  assert.ok(lines.length >= 5_000 / 16 && lines.length <= 10_000 / 16 + 1, `${lines.length}`)
})
