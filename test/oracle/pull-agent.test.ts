/** The agent in a guest: what it takes, in which order, and everything that it must refuse. Real busybox, signify, openssl. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { digestOf, hexOf } from '../../src/base/digest.ts'
import { isDue } from '../../src/fleet/channel.ts'
import type { Snapshot, Targets, Timestamp } from '../../src/fleet/metadata.ts'
import { LIFETIMES, nextRoot } from '../../src/fleet/publication.ts'
import { printDelta } from '../../src/format/delta.ts'
import { type FileServer, openFileServer } from '../../src/host/file-server.ts'
import { type TemporaryDirectory, temporaryDirectory } from '../../src/host/temp.ts'
import {
  addGeneration,
  hasTools,
  newGuest,
  newWeb,
  pointTo,
  type PullGuest,
  put,
  type Said,
  type Web,
  writeSite,
} from '../helpers/fp-guest.ts'
import { newSigner, publish, signedFile, type Site } from '../helpers/fp-keys.ts'

interface Scene extends AsyncDisposable {
  readonly web: Web
  readonly address: string
  readonly folder: string
  readonly reports: Map<string, string>
  /** Runs g1, which is good. */
  readonly guest: PullGuest
  readonly first: string
}

const BASE = 'the first image\n'.repeat(4000)

async function scene(): Promise<Scene> {
  const folder: TemporaryDirectory = temporaryDirectory()
  const reports = new Map<string, string>()
  const web = newWeb(join(folder.path, 'site'))
  const report = async (guest: string, text: string): Promise<void> => void reports.set(guest, text)
  const server: FileServer = await openFileServer({
    directory: web.folder,
    host: '127.0.0.1',
    port: 0,
    report,
  })
  const first = addGeneration(web, 1, BASE)
  pointTo(web, first)
  const guest = newGuest(web, server.address, folder.path)
  const said = await guest.run('once')
  assert.equal(said.code, 0, said.stderr)
  await guest.run('boot')
  await guest.run('healthy')
  return {
    ...{ web, address: server.address, folder: folder.path, reports, guest, first },
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

function needsTools(t: TestContext): boolean {
  if (!hasTools) t.skip('needs busybox, signify-openbsd and openssl')
  return hasTools
}

/** Refused with this word; it stays on its first generation and would start from it. */
async function refuses({ guest, first }: Scene, word: RegExp, said: Said): Promise<void> {
  assert.equal(said.code, 3, said.stderr)
  assert.match(said.stderr, word)
  assert.deepEqual([guest.state('good'), guest.state('trial')], [first, ''])
  assert.match((await guest.run('boot')).stdout, new RegExp(`slots/${first}$`))
}

const [fileOf, sum] = [
  (bytes: Uint8Array) => ({ length: bytes.length, hashes: { sha256: hexOf(digestOf(bytes)) } }),
  (text: string) => hexOf(digestOf(text)),
]

/** Metadata as a thief of the online key would make it: whatever is given, under a new snapshot and timestamp. */
function forge(web: Web, role: 'targets' | 'channels', signed: Targets, bytes: Uint8Array): void {
  const online = web.site.signers.online
  const { snapshot, timestamp } = web.site.trusted as { snapshot: Snapshot; timestamp: Timestamp }
  const version = snapshot.version + 1
  const meta = { ...snapshot.meta, [`${role}.json`]: { version: signed.version, ...fileOf(bytes) } }
  const next = signedFile({ ...snapshot, version, meta }, ...online)
  put(web, `metadata/${signed.version}.${role}.json`, bytes)
  put(web, `metadata/${version}.snapshot.json`, next)
  const named = { 'snapshot.json': { version, ...fileOf(next) } } as const
  put(
    web,
    'metadata/timestamp.json',
    signedFile({ ...timestamp, version: timestamp.version + 1, meta: named }, ...online),
  )
}

test('a guest follows the channel: fetched, proved, on trial, good; what it says of itself', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  assert.equal(s.guest.state('good'), s.first)
  assert.equal(s.guest.base(s.first), BASE.trim())
  const second = addGeneration(s.web, 2, 'the second image')
  pointTo(s.web, second)
  assert.equal((await s.guest.run('once')).code, 0)
  assert.deepEqual([s.guest.state('good'), s.guest.state('trial')], [s.first, second])
  assert.match((await s.guest.run('boot')).stdout, new RegExp(`slots/${second}$`))
  const onTrial = JSON.parse((await s.guest.run('status')).stdout) as Record<string, unknown>
  assert.deepEqual(
    [onTrial['running'], onTrial['manifest'], onTrial['pointer'], onTrial['triesLeft']],
    [second, digestOf('the second image'), 'trial', 2],
  )
  await s.guest.run('healthy')
  const said = JSON.parse(s.reports.get('web-1') ?? '') as Record<string, unknown>
  assert.deepEqual(
    [said['good'], said['trial'], said['pointer'], said['why']],
    [second, '', 'good', `${second} is good`],
  )
})

test('a trial that never becomes good is given up after its tries, and never taken again', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const second = addGeneration(s.web, 2, 'panics')
  pointTo(s.web, second)
  await s.guest.run('once')
  const started: string[] = []
  for (let start = 0; start < 5; start++) started.push((await s.guest.run('boot')).stdout.replace(/.*\//, ''))
  assert.deepEqual(started, [second, second, second, s.first, s.first])
  const said = await s.guest.run('once')
  assert.deepEqual([said.code, s.guest.state('trial')], [0, ''])
  assert.match(said.stderr, /fell back here and is not tried again/)
  const third = addGeneration(s.web, 3, 'mended')
  pointTo(s.web, third)
  await s.guest.run('once')
  assert.equal(s.guest.state('trial'), third)
})

test('a start clears what a power cut left behind: process numbers come again', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const left = join(s.folder, 'web-1/state/tmp.376')
  mkdirSync(left)
  writeFileSync(join(left, 'delta'), 'half of it')
  assert.match((await s.guest.run('boot')).stdout, new RegExp(`slots/${s.first}$`))
  assert.ok(!existsSync(left))
})

test('a trial that cannot be gone over to is not called good by the base that goes on', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const second = addGeneration(s.web, 2, 'the second image')
  pointTo(s.web, second)
  await s.guest.run('once')
  const started = await s.guest.run('start')
  assert.equal(started.code, 1)
  assert.match(started.stderr, /no generation could be started: this base goes on/)
  await s.guest.run('healthy')
  assert.deepEqual([s.guest.state('good'), s.guest.state('trial')], [s.first, second])
})

test('openssl verifies as signify does', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const other = newGuest(s.web, s.address, s.folder, 'web-2', 'openssl')
  assert.equal((await other.run('once')).code, 0)
  assert.equal(other.base(s.first), BASE.trim())
  publish(s.web.site, {}, s.web.now)
  put(s.web, 'metadata/timestamp.json', signedFile(s.web.site.trusted.timestamp as Timestamp, newSigner()))
  assert.match((await other.run('once')).stderr, /timestamp\.json: unsigned/)
})

test('attacks on metadata are refused by name, and the guest stays up', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const { web, guest } = s
  const path = join(web.folder, 'metadata/timestamp.json')
  const replayed = readFileSync(path)
  const oldTargets = web.site.files.get(`${web.site.trusted.targets?.version}.targets.json`) as Uint8Array
  const second = addGeneration(web, 2, 'the second image')
  pointTo(web, second, { waves: [] })
  assert.match((await guest.run('once')).stderr, /the wave of this guest has not come/)
  const { timestamp, targets, channels } = web.site.trusted as {
    timestamp: Timestamp
    targets: Targets
    channels: Targets
  }

  await t.test('replayed', async () => {
    writeFileSync(path, replayed)
    await refuses(s, /timestamp\.json: rollback: expected version \d+ or later/, await guest.run('once'))
  })
  await t.test('expired, also for a clock that stands still', async () => {
    writeSite(web)
    await refuses(
      s,
      /timestamp\.json: expired/,
      await guest.run('once', `BUILT=${web.now + LIFETIMES.timestamp}`),
    )
    await refuses(s, /root\.json: expired/, await guest.run('once', `BUILT=${web.now + LIFETIMES.root}`))
    assert.equal((await guest.run('once')).code, 0)
  })
  await t.test('unsigned, signed by others, changed, no metadata', async () => {
    const next = { ...timestamp, version: timestamp.version + 1 }
    for (const signers of [[], [newSigner()], web.site.signers.release]) {
      writeFileSync(path, signedFile(next, ...signers))
      await refuses(
        s,
        /timestamp\.json: unsigned: expected 1 keys of its role, found 0/,
        await guest.run('once'),
      )
    }
    const text = Buffer.from(signedFile(next, ...web.site.signers.online)).toString()
    writeFileSync(path, text.replace(`"version":${next.version}}}`, `"version":${next.version + 1}}}`))
    await refuses(s, /timestamp\.json: unsigned/, await guest.run('once'))
    for (const bad of [
      '{}',
      '<html>',
      '',
      text.slice(1),
      `${text}{}`,
      '{"signatures":[],"signed":{"a":"\\u0041"}}',
    ]) {
      writeFileSync(path, bad)
      assert.notEqual((await guest.run('once')).code, 0, bad)
      assert.equal(guest.state('trial'), '')
    }
    writeSite(web)
  })
  await t.test('mix and match', async () => {
    const file = `metadata/${targets.version}.targets.json`
    put(web, file, oldTargets)
    rmSync(join(s.folder, 'web-1/state/trusted/targets.json'))
    await refuses(s, /targets\.json: mismatch/, await guest.run('once'))
    writeSite(web)
  })
  await t.test('generations signed by the online key', async () => {
    const forged: Targets = { ...targets, version: targets.version + 1 }
    forge(web, 'targets', forged, signedFile(forged, ...web.site.signers.online))
    await refuses(s, /targets\.json: unsigned/, await guest.run('once'))
    writeSite(web)
  })
  await t.test('a channel that points to what the release keys did not sign', async () => {
    pointTo(web, 'g9-000000000000')
    await refuses(
      s,
      /generations\/web\/g9-000000000000\.json: mismatch: nobody signed for it/,
      await guest.run('once'),
    )
    assert.equal(channels.version + 1, web.site.trusted.channels?.version)
  })
  await t.test('a root that the keys of the root did not sign', async () => {
    const { root } = web.site.trusted
    const thief = newSigner()
    const wish = { root: [thief], threshold: 1, release: [thief.public], online: [thief.public] }
    const own = nextRoot(wish, undefined, web.now, LIFETIMES).root
    put(
      web,
      'metadata/2.root.json',
      signedFile({ ...own, version: 2 }, thief, web.site.root[0] as typeof thief),
    )
    await refuses(s, /2\.root\.json: unsigned: expected 2 keys of its role, found 1/, await guest.run('once'))
    assert.equal(root.version, 1)
    rmSync(join(web.folder, 'metadata/2.root.json'))
  })
  await t.test('and after all that, what is right is taken', async () => {
    pointTo(web, second)
    assert.equal((await guest.run('once')).code, 0)
    assert.equal(guest.state('trial'), second)
  })
})

test('raised versions of a stolen online key are forgotten with a new root', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const { web, guest } = s
  const far = { ...(web.site.trusted.timestamp as Timestamp), version: 1e12 }
  put(web, 'metadata/timestamp.json', signedFile(far, ...web.site.signers.online))
  assert.equal((await guest.run('once')).code, 0)
  const second = addGeneration(web, 2, 'the second image')
  await refuses(s, /timestamp\.json: rollback/, await guest.run('once'))
  const online = newSigner()
  const wish = {
    root: web.site.root,
    threshold: 2,
    release: web.site.signers.release.map((one) => one.public),
    online: [online.public],
  }
  const next = nextRoot(wish, { root: web.site.trusted.root, signers: web.site.root }, web.now, LIFETIMES)
  const site: Site = {
    ...web.site,
    signers: { ...web.site.signers, online: [online] },
    trusted: { ...web.site.trusted, root: next.root },
  }
  site.files.set(next.name, next.bytes)
  publish(site, { delegate: [online.public] }, web.now)
  pointTo({ ...web, site }, second)
  const said = await guest.run('once')
  assert.deepEqual([said.code, guest.state('trial')], [0, second], said.stderr)
})

test('attacks on images are refused; a cut connection is resumed', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const { web, guest } = s
  const text = 'the second image\n'.repeat(5000)
  const second = addGeneration(web, 2, text)
  pointTo(web, second)
  put(web, 'web/web_2.squashfs', text.replace('image', 'imagf'))
  await refuses(s, /web_2\.squashfs: mismatch/, await guest.run('once'))
  put(web, 'web/web_2.squashfs', `${text}more than was signed for`)
  await refuses(s, /web_2\.squashfs: mismatch/, await guest.run('once'))
  put(web, 'web/web_2.squashfs', text.slice(0, 30_000))
  const early = await guest.run('once')
  assert.deepEqual([early.code, guest.state('trial')], [1, ''], early.stderr)
  put(web, 'web/web_2.squashfs', `${'x'.repeat(30_000)}${text.slice(30_000)}`)
  const resumed = await guest.run('once')
  assert.deepEqual([resumed.code, guest.state('trial')], [0, second], 'only the end was fetched')
  assert.ok(guest.base(second) === text.trim())
})

test('nothing below the floor is taken, also when the channel lowers it; going back above it is', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const { web, guest, first } = s
  const second = addGeneration(web, 2, 'the second image')
  pointTo(web, second)
  await guest.run('once')
  await guest.run('boot')
  await guest.run('healthy')
  pointTo(web, first)
  assert.equal((await guest.run('once')).code, 0)
  assert.equal(guest.state('trial'), first)
  pointTo(web, second, { floor: 2 })
  await guest.run('once')
  pointTo(web, first, { floor: 0 })
  const said = await guest.run('once')
  assert.equal(said.code, 3)
  assert.match(said.stderr, /rollback: nothing below g2 is taken any more/)
})

test('a delta is used where its base is here, and a bad one costs no more than its bytes', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const { web, guest, first } = s
  const text = `${BASE.slice(0, 40_000)}new in the middle\n${BASE.slice(40_000)}`
  const head = printDelta({
    old: { size: BASE.length, digest: digestOf(BASE) },
    new: { size: text.length, digest: digestOf(text) },
    operations: [
      { offset: 0, length: 40_000 },
      { length: 18 },
      { offset: 40_000, length: BASE.length - 40_000 },
    ],
  })
  const delta = Buffer.concat([head, Buffer.from('new in the middle\n')])
  const entry = {
    role: 'delta',
    name: 'web_1-2.delta',
    size: delta.length,
    sha256: hexOf(digestOf(delta)),
    makes: 'base',
    from: first,
    base: sum(BASE),
  }
  const second = addGeneration(web, 2, text, [entry])
  put(web, 'web/web_1-2.delta', delta)
  rmSync(join(web.folder, 'web/web_2.squashfs'))
  pointTo(web, second)
  const said = await guest.run('once')
  assert.match(said.stderr, new RegExp(`by a delta of ${delta.length} bytes instead of ${text.length}`))
  assert.ok(guest.base(second) === text.trim())
  const other = newGuest(web, s.address, s.folder, 'web-2')
  put(web, 'web/web_2.squashfs', text)
  put(web, 'web/web_1-2.delta', delta.fill(0, delta.length - 4))
  assert.equal((await other.run('once')).code, 0, 'it never had the first')
  assert.ok(other.base(second) === text.trim())
  rmSync(join(s.folder, 'web-1/state/slots', second), { recursive: true })
  rmSync(join(s.folder, 'web-1/state/trial'))
  const whole = await guest.run('once')
  assert.equal(whole.code, 0, whole.stderr)
  assert.doesNotMatch(whole.stderr, /by a delta/)
  assert.ok(guest.base(second) === text.trim())
})

test('waves: each guest comes when the channel says, as the pure function has it', async (t) => {
  if (!needsTools(t)) return
  await using s = await scene()
  const { web } = s
  const second = addGeneration(web, 2, 'the second image')
  const waves = [
    { ppm: 400_000, after: web.now - 10 },
    { ppm: 1_000_000, after: web.now + 100_000 },
  ]
  const channel = pointTo(web, second, { rollout: 'spread', waves })
  const names = Array.from({ length: 8 }, (_, at) => `web-${at + 10}`)
  const taken = await Promise.all(
    names.map(async (name) => {
      const guest = newGuest(web, s.address, s.folder, name)
      await guest.run('once')
      return guest.state('trial') === second
    }),
  )
  assert.deepEqual(
    taken,
    names.map((name) => isDue(channel, name, web.now)),
  )
  assert.ok(taken.includes(true) && taken.includes(false))
  pointTo(web, second, { paused: true })
  assert.match((await s.guest.run('once')).stderr, /paused/)
})
