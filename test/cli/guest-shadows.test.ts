/** Overlays of a guest that lives in a root of its own: compared, held, rebased and reset by words, and kept over bases. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { missing, openShop, waitFor } from '../helpers/rs-shop.ts'

const FIRST = { edited: 'one', touched: 'one', plain: 'one', removed: 'one', late: 'one' }
const SECOND = { edited: 'two', touched: 'two', plain: 'two', removed: 'two', late: 'two', own: 'two' }

const MAIN = resolve(import.meta.dirname, '../../src/main.js')

test('a guest keeps what it changed over another base, and nothing that changed there is hidden unsaid', async (t) => {
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  await using shop = await openShop(FIRST, SECOND)
  const { directory: here, own, say, must, start, inside } = shop
  const shadows = (text: string): string[] =>
    text
      .split('\n')
      .filter((line) => line.startsWith('/'))
      .map((line) => line.replace(/ {2,}/g, '  '))
  await start('--generation', 'shop/g1')
  await inside(
    'b=/bin/busybox; echo mine >edited; $b touch touched; $b rm removed; echo mine >own; echo kept >/var/keep/k',
  )
  const live = await must('guest', 'status', 'shop-1')
  assert.deepEqual(shadows(live), [
    '/etc/conf/edited  conf  conflict: edited; the new base changes it',
    '/etc/conf/own  conf  conflict: own file in the place of one that is new in the base; the new base brings it',
    '/etc/conf/removed  conf  conflict: removed; the new base changes it',
    '/etc/conf/touched  conf  only touched, same content as the base; the new base changes it',
  ])
  assert.doesNotMatch(live, /may be missing/)
  assert.match((await say('guest', 'rebase', 'shop-1')).text, /shop-1 is running[^]*S5_GUEST_RUNNING/)
  assert.match(
    await must('rollout', 'plan', 'shops', '--to', 'g2'),
    /^hidden: shop-1: \/etc\/conf\/edited: conflict: edited; the new base changes it$/m,
  )
  shop.group('shadows: hold\n')
  const held = await say('rollout', 'start', 'shops', '--to', 'g2')
  assert.match(held.text, /shop-1: \/etc\/conf\/edited: conflict[^]*S5_ROLLOUT_REFUSED/)
  assert.match(await inside('read -r text <plain; echo $text'), /^one$/m, 'it was left alone')

  await must('guest', 'stop', 'shop-1')
  const rebased = await say('guest', 'rebase', 'shop-1')
  assert.match(rebased.text, /1 reset, 2 kept with the new default beside them, 1 left to you/)
  assert.equal(await must('guest', 'reset', 'shop-1', '/etc/conf/removed'), 'reset  /etc/conf/removed\n')
  const nothing = await say('guest', 'reset', 'shop-1', '/etc/conf/plain')
  assert.match(nothing.text, /shop-1 keeps nothing of its own at \/etc\/conf\/plain/)
  await start()
  await must('rollout', 'start', 'shops', '--to', 'g2')
  await inside('echo late >late')
  const controller = spawn(process.execPath, [MAIN, 'rollout', 'run'], {
    cwd: here,
    env: { ...process.env, STAGE5_STORE: join(here, '.store') },
    stdio: 'ignore',
  })
  const gone = once(controller, 'exit')
  try {
    const seen = await waitFor(
      () => say('rollout', 'status', 'r1'),
      ({ code }) => code !== 3,
    )
    assert.match(seen.text, /shop-1: \/etc\/conf\/late: conflict: edited; the new base changes it/)
  } finally {
    controller.kill('SIGTERM')
    await gone
  }
  assert.match(own.pointer('good'), /^g1-/)
  await must('guest', 'stop', 'shop-1')
  await must('guest', 'reset', 'shop-1', '/etc/conf/late')
  await start()
  await must('rollout', 'start', 'shops', '--to', 'g2', '--wait')
  const now = await inside(
    'for f in edited edited.stage5-new own own.stage5-new touched removed plain late /var/keep/k; do read -r text <$f; echo $f $text; done',
  )
  assert.deepEqual(now.trim().split('\n'), [
    'edited mine',
    'edited.stage5-new two',
    'own mine',
    'own.stage5-new two',
    'touched two',
    'removed two',
    'plain two',
    'late two',
    '/var/keep/k kept',
  ])
  await inside('echo later >late')
  const byHand = await must('guest', 'start', 'shop-1', '--generation', 'shop/g1')
  assert.match(byHand, /shop-1: \/etc\/conf\/late: conflict: edited; the new base changes it/)
  assert.ok(!existsSync(own.file('data/conf/upper/etc/conf/plain')))
})
