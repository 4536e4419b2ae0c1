/** A mirror fed by changes says what a list says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KEYS } from '../../src/fleet/documents.ts'
import { documentMirror, documentReader, type Entry } from '../../src/fleet/read.ts'

const KEY = fc.constantFrom(
  KEYS.guest('a'),
  KEYS.guest('b'),
  KEYS.group('a'),
  KEYS.rollout('r1'),
  KEYS.deadline('a'),
  KEYS.deadline('b'),
  KEYS.soak('r1'),
  KEYS.leader,
  KEYS.store,
)
const REVISION = fc.uniqueArray(
  fc.record({ key: KEY, value: fc.option(fc.constantFrom('{}', '{"why":"x"}')) }),
  {
    selector: ({ key }) => key,
    minLength: 1,
    maxLength: 4,
  },
)

test('a mirror that was listed once says after every change what a list would say', () => {
  fc.assert(
    fc.property(fc.array(REVISION, { maxLength: 20 }), fc.nat(20), (revisions, listedAfter) => {
      const store = new Map<string, Entry>()
      const list = (): Entry[] => [...store.values()]
      const mirror = documentMirror()
      for (const [at, changes] of revisions.entries()) {
        const modRevision = BigInt(at + 1)
        for (const { key, value } of changes)
          if (value === null) store.delete(key)
          else store.set(key, { key, value, modRevision })
        if (at < listedAfter) continue
        if (at === listedAfter) mirror.reset(list())
        else
          mirror.apply(
            changes.map(({ key, value }) => ({ key, modRevision, ...(value !== null && { value }) })),
          )
        assert.deepEqual(mirror.documents(), documentReader()(list()))
      }
    }),
  )
})

test('what did not change is the same document after another list', () => {
  const mirror = documentMirror()
  const entry = { key: KEYS.guest('a'), value: '{"state":"staged"}', modRevision: 3n }
  mirror.reset([entry])
  const before = mirror.documents().guests.get('a')
  mirror.apply([{ key: KEYS.guest('b'), value: '{}', modRevision: 4n }])
  mirror.reset([entry])
  assert.equal(mirror.documents().guests.get('a'), before)
  assert.equal(mirror.documents().guests.has('b'), false)
  mirror.apply([{ ...entry, value: '{"state":"granted"}', modRevision: 5n }])
  assert.equal(mirror.documents().guests.get('a')?.document.state, 'granted')
})
