/** The driver `pull`: it sees what guests say, believes no nonsense, and moves nobody. */
import assert from 'node:assert/strict'
import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/base/digest.ts'
import { openDriver } from '../../src/deploy/drivers/open.ts'
import { openFileServer } from '../../src/host/file-server.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import type { Group, HealthCheck } from '../../src/resolve/group.ts'
import { addGeneration, hasTools, newGuest, newWeb, pointTo } from '../helpers/fp-guest.ts'

const GUEST = { name: 'web-1', group: 'web', values: {} }
const REPORT = {
  stage5: 1,
  guest: 'web-1',
  manifest: digestOf('x'),
  bootId: 'b-1',
  pointer: 'trial',
  triesLeft: 2,
  why: 'on trial',
}

function groupOf(health: readonly HealthCheck[] = []): Group {
  return {
    name: 'web',
    line: 'web',
    driver: { kind: 'pull', options: { reports: 'said', silence: 60 } },
    health,
  } as never
}

test('the last report, as far as it is one', async () => {
  using folder = temporaryDirectory()
  const open = (health?: readonly HealthCheck[]) =>
    openDriver(groupOf(health), { directory: folder.path, checkout: () => assert.fail() })
  const status = (health?: readonly HealthCheck[]) => open(health).status(GUEST, AbortSignal.timeout(60_000))
  const path = join(folder.path, 'said', 'web-1.json')
  assert.deepEqual((await status()).power, 'unknown')
  mkdirSync(join(folder.path, 'said'))
  writeFileSync(path, JSON.stringify(REPORT))
  assert.deepEqual(await status(), {
    ...{ power: 'on', bootId: 'b-1', digest: digestOf('x'), pointer: 'trial', triesLeft: 2, token: 0 },
    ...{ health: 'pass', detail: 'on trial' },
  })
  const closed = createServer().listen(0, '127.0.0.1')
  await new Promise((done) => closed.once('listening', done))
  const { port } = closed.address() as { port: number }
  await new Promise((done) => closed.close(done))
  const red = await status([{ kind: 'tcp', address: `127.0.0.1:${port}`, timeoutMs: 5000 }])
  assert.deepEqual([red.health, red.digest], ['fail', digestOf('x')])
  for (const wrong of [
    { guest: 'web-2' },
    { manifest: 'sha256:1' },
    { bootId: '../x' },
    { pointer: 'other' },
    { triesLeft: '2' },
    { stage5: 2 },
  ]) {
    writeFileSync(path, JSON.stringify({ ...REPORT, ...wrong }))
    const seen = await status()
    assert.deepEqual(
      [seen.power, seen.digest, seen.health],
      ['unknown', '', 'inconclusive'],
      JSON.stringify(wrong),
    )
    assert.match(seen.detail, /^its report is /)
  }
  for (const text of ['', '[]', 'null', '{']) {
    writeFileSync(path, text)
    assert.equal((await status()).power, 'unknown')
  }
  writeFileSync(path, JSON.stringify(REPORT))
  utimesSync(path, new Date(0), new Date(0))
  const old = await status()
  assert.deepEqual([old.power, old.health], ['unknown', 'inconclusive'])
  assert.match(old.detail, /^silent for \d+ s$/)
})

test('nothing here switches or stops such a guest', async () => {
  using folder = temporaryDirectory()
  const driver = openDriver(groupOf(), { directory: folder.path, checkout: () => assert.fail() })
  const signal = AbortSignal.timeout(60_000)
  const generation = { line: 'web', seq: 1, name: 'g1-0', manifest: digestOf('x'), directory: '/' }
  const refused = { code: 'S5_DRIVER_NONE' }
  await assert.rejects(driver.prepare(GUEST, generation, signal), refused)
  await assert.rejects(driver.switchTo(GUEST, generation, 1, 3, signal), refused)
  await assert.rejects(driver.commit(GUEST, generation, 1, signal), refused)
  await assert.rejects(driver.rollback(GUEST, generation, 1, signal), refused)
  await assert.rejects(driver.stop(GUEST, signal), refused)
})

test('what the agent of a guest reports is what the driver sees', async (t) => {
  if (!hasTools) return t.skip('needs busybox, signify-openbsd and openssl')
  using folder = temporaryDirectory()
  const said = join(folder.path, 'said')
  mkdirSync(said)
  const web = newWeb(join(folder.path, 'site'))
  const report = async (guest: string, text: string): Promise<void> =>
    writeFileSync(join(said, `${guest}.json`), text)
  await using server = await openFileServer({ directory: web.folder, host: '127.0.0.1', port: 0, report })
  pointTo(web, addGeneration(web, 1, 'an image'))
  const guest = newGuest(web, server.address, folder.path)
  for (const action of ['once', 'boot', 'healthy'] as const) await guest.run(action)
  const driver = openDriver(groupOf(), { directory: folder.path, checkout: () => assert.fail() })
  const seen = await driver.status(GUEST, AbortSignal.timeout(60_000))
  assert.deepEqual(
    [seen.power, seen.digest, seen.pointer, seen.health],
    ['on', digestOf('an image'), 'good', 'pass'],
  )
  assert.match(seen.bootId, /^[0-9a-f-]{36}$/)
  rmSync(join(said, 'web-1.json'))
})
