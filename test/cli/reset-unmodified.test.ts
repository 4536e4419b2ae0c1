/** `shadows: reset-unmodified`: what a guest only touched is reset on its way to another base, and what is its own holds it. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import type { Observed } from '../../src/deploy/driver.ts'
import { findGuest, generationFor } from '../../src/cli/guests.ts'
import { loadGroups } from '../../src/cli/groups.ts'
import { gatedDriver } from '../../src/cli/shadow-gate.ts'
import { openWorld, type World } from '../../src/cli/world.ts'
import { until } from '../helpers/fd-contract.ts'
import { missing, openShop, type Shop } from '../helpers/rs-shop.ts'

const FIRST = { edited: 'one', touched: 'one', again: 'one', calm: 'one' }
const SECOND = { edited: 'two', touched: 'two', again: 'two', calm: 'one' }
const PLAN = '/etc/conf/touched: only touched, same content as the base; the new base changes it'

test('a rollout resets what was only touched, names what is the guest’s own, and leaves that alone', async (t) => {
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  await using shop = await openShop(FIRST, SECOND)
  const { must, say, start, inside, own } = shop
  const kept = (name: string): boolean => existsSync(own.file('data/conf/upper/etc/conf', name))
  shop.group('shadows: reset-unmodified\n')
  await start('--generation', 'shop/g1')
  await inside('/bin/busybox touch touched again calm; echo mine >edited; echo mine >own')

  const plan = await say('rollout', 'plan', 'shops', '--to', 'g2')
  assert.equal(plan.code, 1)
  assert.deepEqual(
    plan.text.split('\n').filter((line) => line.startsWith('resets: ')),
    [`resets: shop-1: ${PLAN.replace('touched', 'again')}`, `resets: shop-1: ${PLAN}`],
  )
  assert.match(
    plan.text,
    /^cannot begin: shop-1: \/etc\/conf\/edited: conflict: edited; the new base changes it$/m,
  )
  const held = await say('rollout', 'start', 'shops', '--to', 'g2')
  assert.match(held.text, /shop-1: \/etc\/conf\/edited: conflict[^]*S5_ROLLOUT_REFUSED/)
  assert.ok(kept('touched'), 'nothing is reset before the guest moves')

  await must('guest', 'stop', 'shop-1')
  await must('guest', 'reset', 'shop-1', '/etc/conf/edited')
  await start()
  const moved = await must('rollout', 'start', 'shops', '--to', 'g2', '--wait')
  assert.deepEqual(
    moved.split('\n').filter((line) => line.startsWith('reset: ')),
    [`reset: shop-1: ${PLAN.replace('touched', 'again')}`, `reset: shop-1: ${PLAN}`],
  )
  assert.match(own.pointer('good'), /^g2-/)
  const now = await inside('for f in edited touched again calm own; do read -r text <$f; echo $f $text; done')
  assert.deepEqual(now.trim().split('\n'), ['edited two', 'touched two', 'again two', 'calm one', 'own mine'])
  assert.deepEqual(['touched', 'again', 'calm', 'own'].map(kept), [false, false, true, true])
})

/** The project as a controller sees it, and what that says. */
function worldOf({ directory }: Shop, told: string[], signal: AbortSignal): World {
  return openWorld(
    { directory, offline: true, locked: false, threads: 1, store: join(directory, '.store') },
    (event) => told.push('text' in event ? event.text : event.kind),
    signal,
  )
}

/** The guest and its driver as a controller has them. */
async function openControlled(shop: Shop, signal: AbortSignal) {
  const told: string[] = []
  const world = worldOf(shop, told, signal)
  const { group, guest } = findGuest(world, await loadGroups(world), 'shop-1')
  return {
    told,
    guest,
    driver: gatedDriver(world, group),
    first: await generationFor(world, group, 'shop/g1'),
    second: await generationFor(world, group, 'shop/g2'),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  }
}

/** Whether the guest serves on a generation. */
const runs = (manifest: string) => (seen: Observed) => seen.health === 'pass' && seen.digest === manifest

test('what a guest only touches after it was prepared holds it at the switch, in a group that holds', async (t) => {
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  await using shop = await openShop(FIRST, SECOND)
  const { start, inside, own } = shop
  shop.group('shadows: hold\n')
  await start('--generation', 'shop/g1')
  await inside('echo mine >own')
  await using controlled = await openControlled(shop, t.signal)
  const { told, driver, guest, first, second } = controlled
  await driver.prepare(guest, second, t.signal)
  await inside('/bin/busybox touch touched')
  await assert.rejects(driver.switchTo(guest, second, 1, 3, t.signal), (error) => {
    assert.ok(isStage5Error(error, 'S5_ROLLOUT_REFUSED'))
    assert.deepEqual(error.data['hidden'], [`shop-1: ${PLAN}`])
    return true
  })
  assert.deepEqual(told, [`shop-1 stays as it is: shop-1: ${PLAN}`])
  await until({ driver, guest }, runs(first.manifest), t.signal)
  await driver.stop(guest, t.signal)
  await shop.must('guest', 'reset', 'shop-1', '/etc/conf/touched')
  await driver.switchTo(guest, second, 2, 3, t.signal)
  await until({ driver, guest }, runs(second.manifest), t.signal)
  assert.equal(await inside('read -r text <touched; echo $text'), 'two\n')
  assert.ok(existsSync(own.file('data/conf/upper/etc/conf/own')))
})

test('what a guest edits after it was prepared takes its switch back, and nothing of it is reset', async (t) => {
  if (missing !== undefined) return t.skip(`needs ${missing}`)
  await using shop = await openShop(FIRST, SECOND)
  const { start, inside, own } = shop
  shop.group('shadows: reset-unmodified\n')
  await start('--generation', 'shop/g1')
  await inside('/bin/busybox touch touched again')
  await using controlled = await openControlled(shop, t.signal)
  const { told, driver, guest, first, second } = controlled
  await driver.prepare(guest, second, t.signal)
  await inside('echo late >again')
  await assert.rejects(driver.switchTo(guest, second, 1, 3, t.signal), (error) => {
    assert.ok(isStage5Error(error, 'S5_ROLLOUT_REFUSED'))
    assert.deepEqual(error.data['hidden'], [
      'shop-1: /etc/conf/again: conflict: edited; the new base changes it',
    ])
    return true
  })
  assert.deepEqual(told, [
    'shop-1 stays as it is: shop-1: /etc/conf/again: conflict: edited; the new base changes it',
  ])
  await until({ driver, guest }, runs(first.manifest), t.signal)
  assert.ok(existsSync(own.file('data/conf/upper/etc/conf/touched')))
  assert.equal(await inside('read -r text <again; echo $text'), 'late\n')
  await inside('echo one >again')
  await driver.switchTo(guest, second, 2, 3, t.signal)
  await until({ driver, guest }, runs(second.manifest), t.signal)
  assert.equal(await inside('read -r a <again; read -r b <touched; echo $a $b'), 'two two\n')
})
