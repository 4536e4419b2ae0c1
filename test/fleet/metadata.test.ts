/** Metadata of what is published: what a client believes, and every attack of TUF that it must refuse. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { canonicalize } from '@tufjs/canonical-json'
import fc from 'fast-check'
import { Updater } from 'tuf-js'
import { digestOf, hexOf } from '../../src/base/digest.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import {
  canonicalJson,
  metadataName,
  type MetadataProblem,
  type Role,
  type Targets,
  type Timestamp,
} from '../../src/fleet/metadata.ts'
import {
  mustHoldRoot,
  targetOf,
  targetPath,
  type Trusted,
  trustRoot,
  updateRoot,
  updateSnapshot,
  updateTargets,
  updateTimestamp,
} from '../../src/fleet/metadata-client.ts'
import { LIFETIMES, nextRoot } from '../../src/fleet/publication.ts'
import {
  newSigner,
  newSite,
  NOW,
  publish,
  signedFile,
  type Site,
  verifySignature,
} from '../helpers/fp-keys.ts'

type Files = ReadonlyMap<string, Uint8Array>

/** What a guest does: everything there is, in order. */
function refresh(before: Trusted, files: Files, now: number = NOW + 60): Trusted {
  const rules = { verify: verifySignature, now }
  const file = (role: Role, version: number): Uint8Array =>
    files.get(metadataName(role, version)) ?? new Uint8Array(0)
  let trusted = before
  for (let next; (next = files.get(metadataName('root', trusted.root.version + 1))); )
    trusted = updateRoot(trusted, next, rules)
  mustHoldRoot(trusted, rules)
  const fresh = updateTimestamp(trusted, file('timestamp', 0), rules)
  if (fresh === trusted) return trusted
  trusted = updateSnapshot(
    fresh,
    file('snapshot', fresh.timestamp?.meta['snapshot.json'].version ?? 0),
    rules,
  )
  for (const role of ['targets', 'channels'] as const)
    trusted = updateTargets(
      trusted,
      role,
      file(role, trusted.snapshot?.meta[`${role}.json`]?.version ?? 0),
      rules,
    )
  return trusted
}

const firstTrust = (site: Site): Trusted =>
  trustRoot(site.files.get('1.root.json') as Uint8Array, { verify: verifySignature })

const target = (text: string) => ({ length: text.length, hashes: { sha256: hexOf(digestOf(text)) } })

function refused(problem: MetadataProblem, work: () => unknown, message: RegExp = /./): void {
  assert.throws(work, (error) => {
    assert.ok(isStage5Error(error, 'S5_METADATA_REFUSED'), String(error))
    assert.equal(error.data['problem'], problem, error.message)
    assert.match(error.message, message)
    return true
  })
}

/** A site, a guest that has seen it, and the files as they were then. */
function seen(): { site: Site; guest: Trusted; old: Files } {
  const site = newSite()
  publish(site, { targets: { 'generations/web/g1.json': target('one') } })
  const guest = refresh(firstTrust(site), site.files)
  return { site, guest, old: new Map(site.files) }
}

test('a guest follows from its root to what is signed, step by step', () => {
  const { site, guest } = seen()
  assert.deepEqual(guest, site.trusted)
  assert.equal(targetOf(guest, 'generations/web/g1.json').length, 3)
  assert.equal(
    targetPath('generations/web/g1.json', target('one')),
    `targets/generations/web/${hexOf(digestOf('one'))}.g1.json`,
  )
  publish(site, { channels: { 'channels/web.json': target('head') } }, NOW + 10)
  const later = refresh(guest, site.files)
  assert.equal(targetOf(later, 'channels/web.json').length, 4)
  assert.equal(later.timestamp?.issued, NOW + 10)
  assert.equal(refresh(later, site.files), later, 'an equal timestamp is no news')
})

test('older metadata is refused: timestamp, snapshot, targets', () => {
  const { site, guest, old } = seen()
  publish(site, { targets: {} }, NOW + 5)
  const later = refresh(guest, site.files)
  refused('rollback', () => refresh(later, old), /timestamp\.json.*expected version 3 or later, found 2/)
  const timestamp = site.trusted.timestamp as Timestamp
  const [online] = site.signers.online as [ReturnType<typeof newSigner>]
  const backwards: Timestamp = { ...timestamp, version: 9, meta: (guest.timestamp as Timestamp).meta }
  refused(
    'rollback',
    () => refresh(later, new Map(site.files).set('timestamp.json', signedFile(backwards, online))),
    /expected a snapshot of version 3 or later, found 2/,
  )
  const files = new Map(site.files)
  const meta = { ...later.snapshot?.meta, 'targets.json': guest.snapshot?.meta['targets.json'] } as never
  const snapshot = signedFile({ ...(later.snapshot as never as object), version: 4, meta } as never, online)
  const named = { version: 4, length: snapshot.length, hashes: { sha256: hexOf(digestOf(snapshot)) } }
  files.set('4.snapshot.json', snapshot)
  files.set(
    'timestamp.json',
    signedFile({ ...timestamp, version: 9, meta: { 'snapshot.json': named } }, online),
  )
  refused('rollback', () => refresh(later, files), /expected targets\.json of version 3 or later, found 2/)
})

test('expired metadata is refused, each role at its own time; what was trusted stays', () => {
  const { site, guest } = seen()
  publish(site, {}, NOW + 5)
  const before = structuredClone(guest)
  refused('expired', () => refresh(guest, site.files, NOW + LIFETIMES.timestamp + 5), /timestamp/)
  refused('expired', () => refresh(guest, site.files, NOW + LIFETIMES.root), /root/)
  assert.deepEqual(guest, before)
  assert.equal(refresh(guest, site.files, NOW + LIFETIMES.timestamp + 4).timestamp?.version, 3)
})

test('unsigned, tampered and foreign metadata is refused', () => {
  const { site, guest } = seen()
  publish(site, {}, NOW + 5)
  const timestamp = site.trusted.timestamp as Timestamp
  const withTimestamp = (bytes: Uint8Array): Files => new Map(site.files).set('timestamp.json', bytes)
  const [online] = site.signers.online as [ReturnType<typeof newSigner>]
  const [release] = site.signers.release as [ReturnType<typeof newSigner>]
  refused('unsigned', () => refresh(guest, withTimestamp(signedFile(timestamp))), /found 0/)
  refused('unsigned', () => refresh(guest, withTimestamp(signedFile(timestamp, newSigner()))))
  refused('unsigned', () => refresh(guest, withTimestamp(signedFile(timestamp, release))), /1 of the 1 keys/)
  const signed = Buffer.from(signedFile(timestamp, online)).toString()
  refused('unsigned', () =>
    refresh(guest, withTimestamp(Buffer.from(signed.replace('"version":3', '"version":7')))),
  )
  refused('malformed', () => refresh(guest, withTimestamp(Buffer.from(signed.slice(1)))))
  refused('malformed', () => refresh(guest, withTimestamp(site.files.get('2.targets.json') as Uint8Array)))
  for (const name of ['2.snapshot.json', '2.targets.json', '1.channels.json']) {
    const bytes = Buffer.from(site.files.get(name) as Uint8Array)
    bytes.writeUInt8((bytes.at(-9) as number) ^ 1, bytes.length - 9)
    refused('mismatch', () => refresh(firstTrust(site), new Map(site.files).set(name, bytes)))
  }
})

test('the online key cannot stand for releases, nor the channels for anything but channels', () => {
  const { site, guest } = seen()
  const [online] = site.signers.online as [ReturnType<typeof newSigner>]
  const forged: Targets = {
    ...(site.trusted.targets as Targets),
    version: 3,
    targets: { 'generations/web/g9.json': target('bad') },
  }
  const files = new Map(site.files)
  const bytes = signedFile(forged, online)
  const meta = {
    ...site.trusted.snapshot?.meta,
    'targets.json': { version: 3, length: bytes.length, hashes: { sha256: hexOf(digestOf(bytes)) } },
  } as never
  const snapshot = signedFile(
    { ...(site.trusted.snapshot as never as object), version: 3, meta } as never,
    online,
  )
  const named = { version: 3, length: snapshot.length, hashes: { sha256: hexOf(digestOf(snapshot)) } }
  files.set('3.targets.json', bytes).set('3.snapshot.json', snapshot)
  files.set(
    'timestamp.json',
    signedFile(
      { ...(site.trusted.timestamp as Timestamp), version: 3, meta: { 'snapshot.json': named } },
      online,
    ),
  )
  refused('unsigned', () => refresh(guest, files), /3\.targets\.json/)
  publish(site, { channels: { 'generations/web/g9.json': target('bad') } }, NOW + 5)
  refused('mismatch', () => targetOf(refresh(guest, site.files), 'generations/web/g9.json'))
})

test('mix and match: targets of one time under the snapshot of another', () => {
  const { site, guest, old } = seen()
  publish(site, { targets: { 'generations/web/g2.json': target('two') } }, NOW + 5)
  const mixed = new Map(site.files).set('3.targets.json', old.get('2.targets.json') as Uint8Array)
  refused('mismatch', () => refresh(guest, mixed), /3\.targets\.json/)
})

test('a root is replaced by those who were trusted and those who will be; versions one by one', () => {
  const { site, guest } = seen()
  const fresh = [newSigner(), newSigner()]
  const publics = {
    release: site.signers.release.map((one) => one.public),
    online: site.signers.online.map((one) => one.public),
  }
  const wish = { root: fresh, threshold: 2, ...publics }
  const next = nextRoot(wish, { root: site.trusted.root, signers: site.root }, NOW, LIFETIMES)
  assert.equal(refresh(guest, new Map(site.files).set(next.name, next.bytes)).root.version, 2)
  const withRoot = (bytes: Uint8Array): Files => new Map(site.files).set('2.root.json', bytes)
  refused('unsigned', () => refresh(guest, withRoot(signedFile(next.root, ...fresh))), /2 of the 3 keys/)
  refused('unsigned', () => refresh(guest, withRoot(signedFile(next.root, ...site.root))), /2 of the 2 keys/)
  const [one] = site.root as [ReturnType<typeof newSigner>]
  refused('unsigned', () => refresh(guest, withRoot(signedFile(next.root, ...fresh, one, one))), /found 1/)
  refused('rollback', () =>
    refresh(guest, withRoot(signedFile({ ...next.root, version: 3 }, ...fresh, ...site.root))),
  )
  assert.throws(
    () => nextRoot(wish, { root: site.trusted.root, signers: [one] }, NOW, LIFETIMES),
    /2 of the 3 keys/,
  )
  assert.throws(() => nextRoot({ ...wish, threshold: 3 }, undefined, NOW, LIFETIMES), /threshold/)
})

test('versions that a thief of the online key raised are forgotten with its key', () => {
  const { site, guest } = seen()
  const [stolen] = site.signers.online as [ReturnType<typeof newSigner>]
  const far = signedFile({ ...(site.trusted.timestamp as Timestamp), version: 2 ** 40 }, stolen)
  const caught = refresh(guest, new Map(site.files).set('timestamp.json', far))
  assert.equal(caught.timestamp?.version, 2 ** 40)
  publish(site, {}, NOW + 5)
  refused('rollback', () => refresh(caught, site.files))
  const online = newSigner()
  const wish = {
    root: site.root,
    threshold: 2,
    release: site.signers.release.map((one) => one.public),
    online: [online.public],
  }
  const next = nextRoot(wish, { root: site.trusted.root, signers: site.root }, NOW, LIFETIMES)
  site.files.set(next.name, next.bytes)
  site.trusted = { ...site.trusted, root: next.root }
  const healed: Site = { ...site, signers: { release: site.signers.release, online: [online] } }
  publish(healed, { delegate: [online.public] }, NOW + 9)
  assert.equal(refresh(caught, healed.files).timestamp?.version, 4)
  refused('unsigned', () => refresh(caught, new Map(healed.files).set('timestamp.json', far)))
})

test('nothing is signed by keys that the root does not name', () => {
  const site = newSite()
  const other: Site = { ...site, signers: { release: [newSigner()], online: site.signers.online } }
  assert.throws(() => publish(other, { targets: {} }), /keys that the root names for the role targets/)
  const strange: Site = { ...site, signers: { release: [], online: [newSigner()] } }
  assert.throws(() => publish(strange, {}), /for the role timestamp/)
})

test('canonical JSON is that of tuf-js', () => {
  assert.equal(
    canonicalJson({ b: ['x', 1, null, true], a: '"\\é\n' }),
    canonicalize({ b: ['x', 1, null, true], a: '"\\é\n' }),
  )
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
      const whole = JSON.parse(
        JSON.stringify(value, (_, one: unknown) =>
          typeof one === 'number' ? Math.trunc(one % 1e9) || 0 : one,
        ),
      ) as never
      assert.equal(canonicalJson(whole), canonicalize(whole))
    }),
    { numRuns: 200 },
  )
  assert.throws(() => canonicalJson(1.5), RangeError)
})

test('the updater of tuf-js, another implementation, comes to the same', async () => {
  const now = Math.floor(Date.now() / 1000)
  const site = newSite(now)
  const body = '{"stage5":1}'
  publish(
    site,
    { targets: { 'generations/web/g1.json': target(body) }, channels: { 'channels/web.json': target(body) } },
    now,
  )
  const served = new Map([...site.files].map(([name, bytes]) => [`/metadata/${name}`, bytes]))
  const path = targetPath('generations/web/g1.json', target(body))
  served.set(`/${path}`, Buffer.from(body))
  served.set(`/${targetPath('channels/web.json', target(body))}`, Buffer.from(body))
  const server = createServer(({ url }, response) => {
    const bytes = served.get(url ?? '')
    response.writeHead(bytes ? 200 : 404).end(bytes)
  }).listen(0, '127.0.0.1')
  const folder = mkdtempSync(join(tmpdir(), 'stage5-tuf-'))
  try {
    await new Promise((done) => server.once('listening', done))
    const { port } = server.address() as { port: number }
    const updaterOf = (name: string): Updater => {
      const own = join(folder, name)
      mkdirSync(join(own, 'targets'), { recursive: true })
      writeFileSync(join(own, 'root.json'), site.files.get('1.root.json') as Uint8Array)
      const base = `http://127.0.0.1:${port}`
      return new Updater({
        metadataDir: own,
        targetDir: join(own, 'targets'),
        metadataBaseUrl: `${base}/metadata`,
        targetBaseUrl: `${base}/targets`,
      })
    }
    const updater = updaterOf('a')
    await updater.refresh()
    for (const name of ['generations/web/g1.json', 'channels/web.json']) {
      const found = await updater.getTargetInfo(name)
      assert.ok(found, name)
      assert.match(await updater.downloadTarget(found), /json$/)
    }
    served.set('/metadata/timestamp.json', signedFile(site.trusted.timestamp as Timestamp, newSigner()))
    await assert.rejects(() => updaterOf('b').refresh())
  } finally {
    server.close()
    rmSync(folder, { recursive: true })
  }
})
