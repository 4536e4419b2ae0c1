import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Event } from '../../src/base/events.ts'
import { Stage5Error } from '../../src/base/errors.ts'
import { parseDigest } from '../../src/base/digest.ts'
import { parseMemory, parseSeconds } from '../../src/cli/quantities.ts'
import { showError } from '../../src/cli/render/error.ts'
import { mebibytes, openProgress } from '../../src/cli/render/progress.ts'

function shown(events: readonly Event[], isTerminal: boolean): string {
  let text = ''
  let clock = 0
  const progress = openProgress(
    { write: (more) => (text += more), isTerminal, columns: 40 },
    () => (clock += 1000),
  )
  for (const event of events) progress.report(event)
  progress.end()
  return text
}

const EVENTS: readonly Event[] = [
  { kind: 'step.started', step: 'unpack' },
  { kind: 'download.progress', name: 'nginx', received: 1 << 20, total: 4 << 20 },
  { kind: 'step.finished', step: 'unpack', ms: 2500 },
  { kind: 'step.started', step: 'resolve' },
  { kind: 'step.finished', step: 'resolve', ms: 20 },
  { kind: 'warning', code: 'x', message: 'look here' },
]

test('without a terminal only what took a second gets a line, and warnings', () => {
  assert.equal(shown(EVENTS, false), 'unpack: 2.5 s\nwarning: look here\n')
})

test('a terminal gets one living line that leaves nothing behind', () => {
  const text = shown(EVENTS, true)
  assert.match(text, /unpack nginx 1\.0 MiB of 4\.0 MiB/)
  const screen = text.split('\n').map((line) => line.split('\r').at(-1))
  assert.deepEqual(screen, ['unpack: 2.5 s', 'warning: look here', ''])
})

test('errors a user can mend exit 1, usage 2, bugs 70, interrupts 130', () => {
  const known = new Stage5Error('S5_COLLISION', 'a and b', { hint: 'do this' })
  assert.deepEqual(showError(known, false), {
    text: 'error: a and b\n  hint: do this\n  S5_COLLISION: stage5 explain S5_COLLISION\n',
    data: { error: { code: 'S5_COLLISION', message: 'a and b', hint: 'do this', data: {} } },
    exitCode: 1,
  })
  assert.equal(showError(new Stage5Error('S5_USAGE', 'x'), false).exitCode, 2)
  const bug = showError(new RangeError('oops'), false)
  assert.equal(bug.exitCode, 70)
  assert.match(bug.text, /^bug in stage5: RangeError: oops\n[\s\S]*please report/)
  assert.equal(showError(known, true).exitCode, 130)
})

test('a full disk and a forbidden file are no bugs', () => {
  const error = (code: string): Error => Object.assign(new Error(`${code}: no`), { code, path: '/x' })
  assert.match(showError(error('ENOSPC'), false).text, /S5_DISK_FULL/)
  assert.match(showError(error('EACCES'), false).text, /S5_FILE_FORBIDDEN/)
})

test('credentials and control characters do not reach the terminal', () => {
  const { text } = showError(new Stage5Error('S5_FETCH_FAILED', 'https://me:secret@host/x \x1b[2J'), false)
  assert.match(text, /https:\/\/\*\*\*@host\/x \\x1b\[2J/)
})

test('quantities are read as people type them, and refused with what was expected', () => {
  assert.deepEqual(
    ['128M', '1G', '64', '2048K', '96MiB'].map((text) => parseMemory('-m', text)),
    [128, 1024, 64, 2, 96],
  )
  for (const text of ['', '0', '1T', '-1', '1.5G', '64K'])
    assert.throws(() => parseMemory('-m', text), { code: 'S5_USAGE' }, text)
  assert.deepEqual(
    ['90', '90s', '2m', '1h'].map((text) => parseSeconds('-t', text)),
    [90, 90, 120, 3600],
  )
  for (const text of ['', '0s', '1d', '1.5s'])
    assert.throws(() => parseSeconds('-t', text), { code: 'S5_USAGE' }, text)
})

test('sizes are shown with one unit', () => {
  assert.deepEqual([0, 1023, 1024, 1 << 20, 1.5 * (1 << 20)].map(mebibytes), [
    '0 B',
    '1023 B',
    '1 KiB',
    '1.0 MiB',
    '1.5 MiB',
  ])
})

test('a digest is 64 hex digits behind its algorithm', () => {
  const text = `sha256:${'0a'.repeat(32)}`
  assert.equal(parseDigest(text), text)
  for (const bad of ['', 'sha256:', text.toUpperCase(), `${text}0`, text.slice(7)])
    assert.throws(() => parseDigest(bad), { code: 'S5_DIGEST_SYNTAX' }, bad)
})
