/** What guests keep when a rollout has ended. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pLimit from 'p-limit'
import { collectOld } from '../../src/deploy/collector.ts'
import { type GuestDocument, NEW_GUEST, type RolloutDocument } from '../../src/fleet/documents.ts'
import type { Stored } from '../../src/fleet/view.ts'
import { group, rollout } from '../helpers/fr-fleet.ts'
import { generationsOf } from '../helpers/fr-truth.ts'

const NAMES = ['g1-a', 'g2-b', 'g3-c', 'g4-d', 'g5-e']
const web = group('web', 3)
const groups = new Map([['web', web]])

async function kept(states: readonly RolloutDocument['state'][]): Promise<Map<string, readonly string[]>> {
  const found = new Map<string, readonly string[]>()
  const collector = collectOld({
    collect: async (guest, keep) => {
      assert.ok(!found.has(guest), `${guest} is tidied twice`)
      found.set(guest, keep)
      if (guest === 'web-1') throw new Error('the disk is away')
    },
    limit: pLimit(1),
    isPinned: (name) => name === 'g1-a',
  })
  const guest = (change: Partial<GuestDocument>): Stored<GuestDocument> => ({
    document: { ...NEW_GUEST, group: 'web', ...change },
    revision: 1n,
  })
  const guests = new Map([
    ['web-1', guest({ good: 'g4-d', previous: 'g2-b' })],
    ['web-2', guest({ good: 'g3-c' })],
    ['web-3', guest({ good: 'g4-d', state: 'lost' })],
  ])
  for (const state of states)
    collector.look(
      {
        groups,
        guests,
        rollouts: new Map([['r1', { document: rollout(['web'], { state }), revision: 1n }]]),
      },
      generationsOf(...NAMES),
    )
  await collector.idle()
  return found
}

test('a guest keeps what it runs, the one before, pinned and newer ones; once for each rollout', async () => {
  const found = await kept(['wave', 'soak', 'completed', 'completed'])
  assert.deepEqual(found.get('web-1'), ['g1-a', 'g2-b', 'g4-d', 'g5-e'])
  assert.deepEqual(found.get('web-2'), ['g1-a', 'g3-c', 'g4-d', 'g5-e'])
  assert.equal(found.has('web-3'), false, 'a guest that is not steady keeps everything')
})

test('nothing is dropped while a rollout is at work, was aborted, or had ended before this controller', async () => {
  assert.equal((await kept(['wave', 'paused'])).size, 0)
  assert.equal((await kept(['wave', 'aborted'])).size, 0)
  assert.equal((await kept(['completed'])).size, 0)
  assert.equal((await kept(['rolling-back', 'rolled-back'])).size, 2)
})
