/** The checker sees what was planted, and nothing in a history that is clean. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KEYS } from '../../src/fleet/documents.ts'
import { historyChecker } from '../../src/fleet/checker.ts'
import type { HistoryChange, HistoryLine } from '../../src/fleet/history.ts'
import { group } from '../helpers/fr-fleet.ts'
import { scene } from '../helpers/fr-scene.ts'

type Values = Record<string, unknown>

const { toy, until } = scene(
  [group('a', 4, { waves: [{ percent: 100 }], maxUnavailable: { count: 1 }, allowedFailures: { count: 2 } })],
  (guest, generation) => (guest === 'a-2' && generation === 'g2-new' ? 'falls-back' : 'none'),
)
until('completed')
const HISTORY: readonly HistoryLine[] = toy.history

function problemsOf(lines: readonly HistoryLine[], isOver = true): readonly string[] {
  const checker = historyChecker()
  for (const line of lines) checker.line(JSON.stringify(line))
  return checker.end(isOver).problems
}

/** The history with one change of one key written otherwise, and cut after it. */
function planted(
  key: string,
  where: (value: Values) => boolean,
  edit: (value: Values) => Values | undefined,
): readonly HistoryLine[] {
  let isDone = false
  const lines: HistoryLine[] = []
  for (const line of HISTORY) {
    if (isDone) break
    if (!('changes' in line)) {
      lines.push(line)
      continue
    }
    const changes = line.changes.flatMap((change): HistoryChange['changes'] => {
      const value = change.value?.startsWith('{') ? (JSON.parse(change.value) as Values) : undefined
      if (isDone || change.key !== key || !value || !where(value)) return [change]
      isDone = true
      const next = edit(value)
      return next ? [{ key, value: JSON.stringify(next) }] : []
    })
    lines.push({ ...line, changes })
  }
  assert.ok(isDone, 'nothing was planted')
  return lines
}

function sees(lines: readonly HistoryLine[], pattern: RegExp): void {
  const problems = problemsOf(lines, false)
  assert.ok(
    problems.some((problem) => pattern.test(problem)),
    `${pattern} is not among:\n${problems.join('\n')}`,
  )
}

const isState =
  (state: string) =>
  (value: Values): boolean =>
    value['state'] === state

test('a history of a controller has no problems', () => {
  assert.deepEqual(problemsOf(HISTORY), [])
})

const PLANTED: readonly (readonly [string, readonly HistoryLine[], RegExp])[] = [
  [
    'a write of an older leader',
    planted(KEYS.guest('a-1'), isState('granted'), (value) => ({ ...value, epoch: '0' })),
    /guest a-1 was written by epoch 0 while \d+ leads: a write got past the fence/,
  ],
  [
    'a rollout written by an older leader',
    planted(KEYS.rollout('r1'), isState('soak'), (value) => ({ ...value, epoch: '0' })),
    /rollout r1 was written by epoch 0/,
  ],
  [
    'a guest that is committed without having soaked',
    planted(
      KEYS.guest('a-1'),
      (value) => value['extended'] === true,
      (value) => ({
        ...value,
        state: 'steady',
        extended: false,
        good: 'g2-new',
        want: '',
      }),
    ),
    /a-1 was committed to g2-new without having soaked/,
  ],
  [
    'a step that is none',
    planted(KEYS.guest('a-1'), isState('granted'), (value) => ({ ...value, state: 'verifying' })),
    /a-1 went from staged to verifying/,
  ],
  [
    'a generation offered to a guest where it fell back',
    planted(KEYS.guest('a-3'), isState('offered'), (value) => ({ ...value, bad: ['g2-new'] })),
    /a-3 was offered g2-new, which fell back there before/,
  ],
  [
    'more holders than slots',
    planted(
      KEYS.group('a'),
      (value) => Object.keys(value['holders'] as object).length === 1,
      (value) => ({
        ...value,
        holders: {
          ...(value['holders'] as object),
          x: { token: 77, epoch: '1' },
          y: { token: 78, epoch: '1' },
        },
      }),
    ),
    /3 guests of a hold a slot, 1 may/,
  ],
  [
    'a slot that was freed while its guest may be away',
    planted(
      KEYS.group('a'),
      (value) => Object.keys(value['holders'] as object).length === 1,
      (value) => ({
        ...value,
        holders: {},
      }),
    ),
    /a-\d is granted without a slot of a/,
  ],
  [
    'a slot that is kept by who is steady',
    planted(
      KEYS.group('a'),
      (value) => value['seq'] === 2,
      (value) => ({
        ...value,
        holders: { ...(value['holders'] as object), ...firstHolder() },
      }),
    ),
    /is steady and still holds a slot|hold a slot, 1 may/,
  ],
  [
    'tokens that go back',
    planted(
      KEYS.group('a'),
      (value) => value['seq'] === 3,
      (value) => ({ ...value, seq: 1 }),
    ),
    /tokens of group a fell from 2 to 1/,
  ],
  [
    'a grant without a new token',
    planted(KEYS.guest('a-1'), isState('granted'), (value) => ({ ...value, token: 0 })),
    /a-1 was granted a slot without a new token/,
  ],
  [
    'a guest that forgets what fell back',
    [...HISTORY, change(KEYS.guest('a-2'), (value) => ({ ...value, bad: [] }))],
    /a-2 forgot a generation that fell back/,
  ],
  [
    'a guest that changes by itself',
    [...HISTORY, change(KEYS.guest('a-1'), (value) => ({ ...value, good: 'g9-other' }))],
    /a-1 runs g9-other instead of g2-new without an update/,
  ],
  [
    'a rollout that ended and goes on',
    [...HISTORY, change(KEYS.rollout('r1'), (value) => ({ ...value, state: 'wave' }))],
    /rollout r1 went from completed to wave/,
  ],
  [
    'a rollout with another target',
    [...HISTORY, change(KEYS.rollout('r1'), (value) => ({ ...value, to: 'g3-newer' }))],
    /rollout r1 changed its target/,
  ],
  [
    'revisions out of order',
    [...HISTORY, HISTORY.at(-1) as HistoryLine],
    /is followed by revision \d+: the history is not one/,
  ],
]

function firstHolder(): object {
  for (const line of HISTORY)
    if ('changes' in line)
      for (const { key, value } of line.changes)
        if (key === KEYS.group('a') && value !== undefined) {
          const { holders } = JSON.parse(value) as { holders: object }
          if (Object.keys(holders).length > 0) return holders
        }
  assert.fail('nobody held a slot')
}

/** A revision after the last in which a document is written otherwise. */
function change(key: string, edit: (value: Values) => Values): HistoryChange {
  let last = ''
  let revision = 0n
  for (const line of HISTORY)
    if ('changes' in line) {
      revision = BigInt(line.revision)
      for (const one of line.changes) if (one.key === key) last = one.value ?? ''
    }
  return {
    revision: String(revision + 1n),
    changes: [{ key, value: JSON.stringify(edit(JSON.parse(last) as Values)) }],
  }
}

for (const [name, lines, pattern] of PLANTED) test(`the checker sees ${name}`, () => sees(lines, pattern))

test('a grant without a deadline is seen', () => {
  const lines = HISTORY.map((line) =>
    'changes' in line
      ? { ...line, changes: line.changes.filter(({ key }) => !key.startsWith(KEYS.deadlines)) }
      : line,
  )
  sees(lines, /is granted without a deadline/)
})

test('what is left on the way is seen at the end, and only then', () => {
  const at = HISTORY.findIndex(
    (line) => 'changes' in line && line.changes.some(({ value }) => value?.includes('"granted"')),
  )
  const cut = HISTORY.slice(0, at + 1)
  assert.deepEqual(problemsOf(cut, false), [])
  assert.match(problemsOf(cut, true).join('\n'), /a-\d was left granted[^]*rollout r1 was left wave/)
})

test('text that is no history is a problem, and no crash', () => {
  const checker = historyChecker()
  checker.line('{')
  checker.line('{"what":1}')
  const { problems } = checker.end(true)
  assert.deepEqual(problems, [
    'line 1 is not JSON',
    'line 2 is neither a start, a configuration nor a change',
    'the history has no first line',
  ])
})
