import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import type { Stage5Error } from '../../src/base/errors.ts'
import type { Event } from '../../src/base/events.ts'
import { openFetcher } from '../../src/host/fetch.ts'
import type { Index, Package } from '../../src/pkg/package.ts'
import type { Locked } from '../../src/resolve/lock.ts'
import type { RepositorySpec } from '../../src/resolve/profile.ts'
import { openArchive } from '../../src/repo/archive.ts'
import type { Repository } from '../../src/repo/repository.ts'
import { openSite, status, type Site } from '../host/site.ts'
import {
  makeDeb,
  onWire,
  poolPath,
  publish,
  rfc2822,
  sha256,
  stanzaOf,
  TOOLS_MISSING,
  type ArchiveOptions,
} from './archive-fixture.ts'
import { openKeys } from './keys.ts'

const signal = new AbortController().signal
const DATE = Date.UTC(2026, 6, 11) / 1000
const NOW = DATE + 86_400
const keys = TOOLS_MISSING ? undefined : openKeys()
const LONG_AGO = { at: '20200101T000000' }
const key = keys?.make('Archive', LONG_AGO) ?? ''
after(() => keys?.[Symbol.dispose]())
const skip = keys ? false : TOOLS_MISSING

const APP =
  keys &&
  makeDeb('app', '1:1.0+dfsg~rc1-1', { Depends: 'lib (>= 1.0), other | else', Provides: 'httpd (= 2)' })
const LIB =
  keys &&
  makeDeb('lib', '1.0', { 'Multi-Arch': 'same', Architecture: 'amd64', Description: 'grün und schön' })

interface Bench {
  readonly site: Site
  readonly folder: string
  readonly events: Event[]
  /** Publishes below /debian at the site; suite `stable` with app and lib when not said otherwise. */
  publish(options?: Partial<ArchiveOptions>, base?: string): void
  open(
    spec?: Partial<RepositorySpec>,
    world?: { offline?: boolean; now?: number; aptRoot?: string },
  ): Repository
  index(spec?: Partial<RepositorySpec>, world?: { offline?: boolean; now?: number }): Promise<Index>
  warnings(): string[]
  asked(): string[]
}

async function bench(t: TestContext): Promise<Bench> {
  const site = await openSite()
  const folder = mkdtempSync(join(tmpdir(), 's5a-'))
  const events: Event[] = []
  const closers: (() => Promise<void>)[] = []
  t.after(async () => {
    await site[Symbol.asyncDispose]()
    for (const close of closers) await close()
    rmSync(folder, { recursive: true })
  })
  const ring = join(folder, 'ring.gpg')
  if (keys) writeFileSync(ring, keys.export([key]))
  const report = (event: Event): void => void events.push(event)
  const open: Bench['open'] = (spec = {}, { offline = false, now = NOW, aptRoot } = {}) => {
    const fetcher = openFetcher({ offline, report, retryDelayMs: 1 })
    closers.push(() => fetcher.close())
    const whole: RepositorySpec = {
      name: 'test',
      kind: 'debian',
      from: 'listed',
      sources: [
        { uri: `${site.url}/debian`, suites: ['stable'], components: ['main'], signedBy: ['ring.gpg'] },
      ],
      suites: [],
      components: [],
      checkValidUntil: true,
      url: '',
      file: join(folder, 'test.yaml'),
      ...spec,
    }
    const world = { fetcher, directory: join(folder, 'cache'), now: () => now * 1000, report }
    return openArchive(whole, aptRoot === undefined ? world : { ...world, aptRoot })
  }
  return {
    site,
    folder,
    events,
    open,
    publish: (options, base = '/debian') => {
      if (!keys || !APP || !LIB) throw new Error('the tools are missing')
      publish(site.files, base, keys, { suite: 'stable', date: DATE, debs: [APP, LIB], key, ...options })
    },
    index: (spec, world) => open(spec, world).index('amd64', signal),
    warnings: () => events.flatMap((event) => (event.kind === 'warning' ? [event.message] : [])),
    asked: () => site.requests.map(({ path }) => path),
  }
}

function lockedOf(pkg: Package | undefined): Locked {
  assert.ok(pkg)
  const { scheme, name, version, arch, repo, slot, use, buildId, file, installedSize } = pkg
  const sum = `sha256:${file.sums.sha256}` as const
  return {
    scheme,
    name,
    version,
    arch,
    repo,
    slot,
    use,
    buildId,
    file,
    installedSize,
    sha256: sum,
    because: [],
  }
}

const find = (index: Index, name: string): Package | undefined =>
  index.packages.find((pkg) => pkg.name === name)

async function refused(work: Promise<unknown>, code: string, reason?: string): Promise<Stage5Error> {
  const error = await work.then(
    () => assert.fail('expected a refusal'),
    (thrown: unknown) => thrown as Stage5Error,
  )
  assert.equal(error.code, code, String(error))
  if (reason !== undefined) assert.equal(error.data['reason'], reason, String(error))
  return error
}

test('from signature to package file', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  const repository = b.open()
  const index = await repository.index('amd64', signal)
  assert.deepEqual([index.repo, index.kind, index.date], ['test', 'debian', DATE])
  assert.match(index.snapshot, /^sha256:[0-9a-f]{64}$/)
  const app = find(index, 'app')
  assert.equal(index.packages.length, 2)
  assert.deepEqual(app?.provides, [{ name: 'httpd', version: '2' }])
  assert.equal(JSON.stringify(app?.needs).includes('"name":"lib"'), true)
  assert.equal(find(index, 'lib')?.summary, 'grün und schön')
  assert.deepEqual(find(index, 'lib')?.file.origin, 'stable')
  assert.ok(APP)
  const file = await repository.fetch(lockedOf(app), signal)
  assert.deepEqual(readFileSync(file), APP.bytes)
  assert.ok(b.asked().includes('/debian/pool/main/a/app_1.0%2bdfsg%7erc1-1_all.deb'))
  assert.ok(
    b.asked().some((path) => path.startsWith('/debian/dists/stable/main/binary-amd64/by-hash/SHA256/')),
  )
  assert.ok(!b.asked().some((path) => path.endsWith('/Packages.xz')))
  const fetched = b.events.find((event) => event.kind === 'package.fetched')
  assert.deepEqual(fetched, {
    kind: 'package.fetched',
    name: 'app_1:1.0+dfsg~rc1-1',
    bytes: APP.bytes.length,
    fromCache: false,
  })
  assert.deepEqual(b.warnings(), [])
})

test('a second run asks whether something is new and parses nothing', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  const first = await b.index()
  const asked = b.asked().length
  const second = await b.index()
  assert.deepEqual(b.asked().slice(asked), ['/debian/dists/stable/InRelease'])
  assert.ok(b.site.requests.at(-1)?.headers['if-none-match'])
  assert.deepEqual(JSON.parse(JSON.stringify(second)), JSON.parse(JSON.stringify(first)))
  const fetched = b.events.filter((event) => event.kind === 'index.fetched').at(-1)
  assert.ok(fetched?.kind === 'index.fetched' && fetched.fromCache)
})

test('a new release replaces what was kept of the old one', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  const first = await b.index()
  b.publish({ date: DATE + 60, debs: LIB ? [LIB] : [] })
  const second = await b.index()
  assert.equal(second.packages.length, 1)
  assert.notEqual(second.snapshot, first.snapshot)
  assert.equal(second.date, DATE + 60)
  assert.equal(readdirSync(join(b.folder, 'cache/indexes')).length, 1)
  assert.equal(readdirSync(join(b.folder, 'cache/parsed')).length, 1)
})

test('a damaged cache of parsed indexes is made anew', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  const first = await b.index()
  const folder = join(b.folder, 'cache/parsed')
  const file = join(folder, readdirSync(folder)[0] as string)
  const whole = readFileSync(file)
  for (const damaged of [
    whole.subarray(0, whole.length - 1),
    Buffer.from(whole.toString('latin1').replace('httpd', 'httpx'), 'latin1'),
    Buffer.from('x'),
    Buffer.alloc(0),
  ]) {
    writeFileSync(file, damaged)
    const again = await b.index()
    assert.deepEqual(JSON.parse(JSON.stringify(again.packages)), JSON.parse(JSON.stringify(first.packages)))
    assert.deepEqual(readFileSync(file), whole)
  }
})

test('suites at several addresses are one repository; each package comes from its own', {
  skip,
}, async (t) => {
  const b = await bench(t)
  await using other = await openSite()
  assert.ok(keys && APP && LIB)
  const fix = makeDeb('lib', '1.0+security1')
  b.publish()
  publish(other.files, '/security', keys, { suite: 'stable-security', date: DATE + 5, debs: [fix], key })
  const repository = b.open({
    sources: [
      { uri: `${b.site.url}/debian/`, suites: ['stable'], components: ['main'], signedBy: ['ring.gpg'] },
      {
        uri: `${other.url}/security`,
        suites: ['stable-security'],
        components: ['main'],
        signedBy: ['ring.gpg'],
      },
    ],
  })
  const index = await repository.index('amd64', signal)
  assert.equal(index.date, DATE + 5)
  const fixed = index.packages.find((pkg) => pkg.version === '1.0+security1')
  assert.equal(fixed?.file.origin, 'stable-security')
  assert.deepEqual(readFileSync(await repository.fetch(lockedOf(fixed), signal)), fix.bytes)
  await repository.fetch(lockedOf(find(index, 'app')), signal)
  assert.equal(other.requests.filter(({ path }) => path.includes('/pool/')).length, 1)
})

test('a second mirror of a suite is asked where the first has not got the file', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  b.publish({}, '/mirror')
  assert.ok(APP)
  b.site.files.delete(onWire(`/debian/${poolPath(APP)}`))
  const source = { suites: ['stable'], components: ['main'], signedBy: ['ring.gpg'] }
  const repository = b.open({
    sources: ['debian', 'mirror'].map((path) => ({ ...source, uri: `${b.site.url}/${path}` })),
  })
  const index = await repository.index('amd64', signal)
  assert.equal(index.packages.length, 2)
  assert.deepEqual(readFileSync(await repository.fetch(lockedOf(find(index, 'app')), signal)), APP.bytes)
})

test('a listed package that is absent is an error of that package only', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  assert.ok(APP)
  b.site.files.delete(onWire(`/debian/${poolPath(APP)}`))
  const repository = b.open()
  const index = await repository.index('amd64', signal)
  const error = await refused(repository.fetch(lockedOf(find(index, 'app')), signal), 'S5_FETCH_FAILED')
  assert.match(error.message, /^app_1:1\.0\+dfsg~rc1-1: http.*status 404$/)
  await repository.fetch(lockedOf(find(index, 'lib')), signal)
})

test('a package with other bytes than its index promises is refused', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  assert.ok(LIB)
  const bytes = Buffer.from(LIB.bytes)
  bytes[100] = (bytes[100] as number) ^ 1
  b.site.files.set(onWire(`/debian/${poolPath(LIB)}`), bytes)
  const repository = b.open()
  const lib = lockedOf(find(await repository.index('amd64', signal), 'lib'))
  await refused(repository.fetch(lib, signal), 'S5_DIGEST_MISMATCH', 'digest')
  b.site.files.set(onWire(`/debian/${poolPath(LIB)}`), bytes.subarray(1))
  await refused(repository.fetch(lib, signal), 'S5_DIGEST_MISMATCH', 'size')
  assert.deepEqual(readdirSync(join(b.folder, 'cache/packages')), [])
})

test('a lock cannot lead out of the archive, nor to a suite that is no source', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  const repository = b.open()
  const lib = lockedOf(find(await repository.index('amd64', signal), 'lib'))
  const climbing = { ...lib, file: { ...lib.file, path: '../../etc/passwd' } }
  await refused(repository.fetch(climbing, signal), 'S5_INDEX_REFUSED', 'index-path')
  const gone = { ...lib, file: { ...lib.file, origin: 'old' } }
  await refused(repository.fetch(gone, signal), 'S5_SOURCES_MISSING')
})

test('by hash, then by name; by name alone where hashes are not offered', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  for (const path of b.site.files.keys()) if (path.includes('/by-hash/')) b.site.files.delete(path)
  assert.equal((await b.index()).packages.length, 2)
  assert.equal(b.asked().filter((path) => path.includes('/by-hash/')).length, 1)
  assert.equal(b.asked().at(-1), '/debian/dists/stable/main/binary-amd64/Packages.xz')
  b.publish({ byHash: false, date: DATE + 1, debs: [] })
  const asked = b.asked().length
  await b.index()
  assert.ok(
    !b
      .asked()
      .slice(asked)
      .some((path) => path.includes('/by-hash/')),
  )
})

test('xz before gz before plain, among what is listed', { skip }, async (t) => {
  const b = await bench(t)
  for (const [at, endings] of ([['.gz', ''], ['']] as const).entries()) {
    b.publish({ byHash: false, endings, date: DATE + at })
    if (at === 0) rmSync(join(b.folder, 'cache'), { recursive: true, force: true })
    rmSync(join(b.folder, 'cache/parsed'), { recursive: true, force: true })
    assert.equal((await b.index()).packages.length, 2)
    assert.ok(b.asked().at(-1)?.endsWith(`/Packages${endings[0]}`), b.asked().at(-1))
  }
})

test('an index with other bytes than its release lists is refused, compressed or not', {
  skip,
}, async (t) => {
  const b = await bench(t)
  const path = '/debian/dists/stable/main/binary-amd64/Packages'
  b.publish({ byHash: false })
  const right = b.site.files.get(`${path}.xz`) as Uint8Array
  b.site.files.set(
    `${path}.xz`,
    right.map((byte, at) => (at === 40 ? byte ^ 1 : byte)),
  )
  await refused(b.index(), 'S5_DIGEST_MISMATCH', 'digest')
  b.site.files.set(`${path}.xz`, Buffer.concat([right, right]))
  await refused(b.index(), 'S5_DIGEST_MISMATCH', 'size')
  b.site.files.set(`${path}.xz`, right)
  const lie = (from: RegExp, to: string) => (lines: string[]) =>
    lines.map((line) => (line.endsWith('/Packages') ? line.replace(from, to) : line))
  b.publish({ byHash: false, sums: lie(/^ [0-9a-f]{8}/, ' 00000000') })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'digest')
  b.publish({ byHash: false, sums: lie(/ (\d+) main/, ' 9$1 main') })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'size')
  b.publish({ byHash: false, sums: lie(/ \d+ main/, ' 10 main') })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'too-big')
  b.publish({ byHash: false, sums: lie(/ \d+ main/, ' 999999999999 main') })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'too-big')
})

test('unsigned, by an unknown key, changed: refused, and nothing of it is kept', { skip }, async (t) => {
  const b = await bench(t)
  assert.ok(keys)
  const stranger = keys.make('Stranger', LONG_AGO)
  b.publish({ key: stranger })
  await refused(b.index(), 'S5_SIGNATURE_BAD', 'unknown-key')
  b.publish()
  const path = '/debian/dists/stable/InRelease'
  const right = Buffer.from(b.site.files.get(path) as Uint8Array).toString('latin1')
  b.site.files.set(path, Buffer.from(right.replace('Origin: Test', 'Origin: Text'), 'latin1'))
  await refused(b.index(), 'S5_SIGNATURE_BAD', 'bad')
  b.site.files.set(path, Buffer.from('<html>please log in</html>'))
  await refused(b.index(), 'S5_SIGNATURE_BAD', 'unsigned')
  b.site.files.set(path, Buffer.from(`Suite: evil\n${right}`, 'latin1'))
  await refused(b.index(), 'S5_SIGNATURE_BAD', 'outside-text')
  assert.deepEqual(readdirSync(b.folder), ['ring.gpg'])
  b.publish()
  assert.equal((await b.index()).packages.length, 2)
})

test('what was accepted stays usable when the server then sends rubbish', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  await b.index()
  b.site.files.set('/debian/dists/stable/InRelease', Buffer.from('rubbish'))
  await refused(b.index(), 'S5_SIGNATURE_BAD')
  assert.equal((await b.index({}, { offline: true })).packages.length, 2)
})

test('Valid-Until is respected, unless the repository file says otherwise', { skip }, async (t) => {
  const b = await bench(t)
  b.publish({ fields: { 'Valid-Until': rfc2822(DATE + 1000) } })
  assert.equal((await b.index({}, { now: DATE + 1000 })).packages.length, 2)
  const error = await refused(b.index({}, { now: DATE + 1001 }), 'S5_INDEX_REFUSED', 'stale')
  assert.match(
    error.message,
    /^test stable: stale: valid until 2026-07-11T00:16:40Z, and it is 2026-07-11T00:16:41Z$/,
  )
  assert.equal((await b.index({ checkValidUntil: false }, { now: DATE + 1001 })).packages.length, 2)
})

test('a Date or a signature of the future is refused beyond ten seconds', { skip }, async (t) => {
  const b = await bench(t)
  b.publish({ signedAt: '20260710T000000' })
  assert.equal((await b.index({}, { now: DATE - 10 })).packages.length, 2)
  await refused(b.index({}, { now: DATE - 11 }), 'S5_INDEX_REFUSED', 'stale')
  b.publish({ signedAt: '20260720T000000' })
  await refused(b.index({}, { now: DATE + 5 * 86_400 }), 'S5_INDEX_REFUSED', 'stale')
  await b.index({}, { now: DATE + 10 * 86_400 })
})

test('an older release than the last accepted one is a rollback', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  await b.index()
  b.publish({ date: DATE - 1 })
  const error = await refused(b.index(), 'S5_INDEX_REFUSED', 'rollback')
  assert.match(error.message, /2026-07-10T23:59:59Z, but one of 2026-07-11T00:00:00Z was accepted/)
  await refused(b.index({ checkValidUntil: false }), 'S5_INDEX_REFUSED', 'rollback')
  b.publish()
  await b.index()
})

test('another suite under the name that was asked is refused', { skip }, async (t) => {
  const b = await bench(t)
  b.publish({ fields: { Suite: 'unstable', Codename: 'sid' } })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'mismatch')
  b.publish({ fields: { Suite: 'oldstable', Codename: 'stable' } })
  await b.index()
  b.publish({ fields: { Suite: undefined, Codename: undefined }, date: DATE + 1 })
  await b.index()
})

test('a release without usable sums or dates is refused', { skip }, async (t) => {
  const b = await bench(t)
  b.publish({ sumsField: 'MD5Sum' })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'weak-digest')
  b.publish({ fields: { Date: undefined } })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'missing-metadata')
  b.publish({ fields: { Date: 'yesterday' } })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'bad-metadata')
  b.publish({ fields: { 'Valid-Until': 'Sat, 31 Feb 2027 00:00:00 UTC' } })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'bad-metadata')
  b.publish({ sums: (lines) => [...lines, ' abc 12 main/x'] })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'bad-metadata')
  b.publish({ fields: { Date: `${rfc2822(DATE)}\n\nOther: paragraph` } })
  await refused(b.index(), 'S5_INDEX_REFUSED', 'bad-metadata')
})

test('entries that cannot be used are left out and told of', { skip }, async (t) => {
  const b = await bench(t)
  assert.ok(LIB && APP)
  const lib = stanzaOf(LIB)
  const cases: readonly (readonly [reason: string, stanza: string])[] = [
    ['index-path', lib.replace(/Filename: .*/, 'Filename: ../../etc/passwd')],
    ['index-path', lib.replace(/Filename: .*/, 'Filename: pool/../../x.deb')],
    ['index-path', lib.replace(/Filename: .*/, 'Filename: /etc/passwd')],
    ['index-path', lib.replace(/Filename: .*/, 'Filename: http://elsewhere/x.deb')],
    ['index-path', lib.replace(/Filename: .*/, 'Filename: pool/%2e%2e/x.deb')],
    ['index-path', lib.replace(/Filename: .*/, 'Filename: pool\\..\\x.deb')],
    ['index-path', lib.replace(/Filename: .*/, 'Filename: pool/main/')],
    ['index-path', lib.replace(/Filename: .*\n/, '')],
    ['weak-digest', lib.replace(/SHA256: .*\n/, `MD5sum: ${'0'.repeat(32)}\n`)],
    ['bad-metadata', lib.replace(/SHA256: .*\n/, `SHA256: ${'0'.repeat(63)}\n`)],
    ['bad-metadata', lib.replace(/Size: .*\n/, 'Size: many\n')],
    ['bad-metadata', lib.replace(/Size: .*\n/, '')],
    ['bad-metadata', lib.replace(/Version: .*\n/, 'Version: 1 0\n')],
    ['bad-metadata', lib.replace(/Package: .*\n/, '')],
    ['bad-metadata', lib.replace(/Package: .*\n/, 'Package: ../lib\n')],
    ['bad-metadata', lib.replace(/Description: .*\n/, 'Description: a\x1fb\n')],
    ['mismatch', lib.replace(/Architecture: .*\n/, 'Architecture: arm64\n')],
    ['duplicate', stanzaOf(APP).replace(/SHA256: .*/, `SHA256: ${'0'.repeat(64)}`)],
  ]
  for (const [at, [reason, stanza]] of cases.entries()) {
    b.events.length = 0
    b.publish({ packages: [stanzaOf(APP), stanza].join('\n'), date: DATE + at })
    const { packages } = await b.index()
    assert.deepEqual(
      packages.map(({ name }) => name),
      ['app'],
      stanza,
    )
    assert.equal(b.warnings().length, 1, `${reason}: ${b.warnings().join()}`)
    assert.match(b.warnings()[0] as string, new RegExp(`^test stable: ${reason}: `), stanza)
  }
  b.events.length = 0
  b.publish({ packages: `${stanzaOf(APP)}\n${stanzaOf(APP)}`, date: DATE + 100 })
  assert.equal((await b.index()).packages.length, 1)
  const many = Array.from({ length: 30 }, (_, at) => lib.replace('Package: lib', `Package: lib${at}`))
  b.publish({ packages: many.join('\n').replaceAll('pool/', '../'), date: DATE + 101 })
  assert.equal((await b.index()).packages.length, 0)
  assert.equal(b.warnings().length, 11)
  assert.match(b.warnings()[10] as string, /20 more entries/)
  assert.doesNotMatch(b.warnings().join(), /\x1f/)
})

test('what is no index at all is refused as a whole', { skip }, async (t) => {
  const b = await bench(t)
  for (const [at, packages] of ['<html>\n', 'Package: a\nPackage: b\n', '\0\x01\x02'].entries()) {
    b.publish({ packages, date: DATE + at })
    await refused(b.index(), 'S5_INDEX_REFUSED', 'bad-metadata')
  }
})

test('components and architectures that are not there', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  const source = { uri: `${b.site.url}/debian`, suites: ['stable'], signedBy: ['ring.gpg'] }
  const spec = { sources: [{ ...source, components: ['main', 'extra'] }] }
  await refused(b.index(spec), 'S5_INDEX_REFUSED', 'missing-member')
  await refused(b.open().index('arm64', signal), 'S5_INDEX_REFUSED', 'missing-member')
  assert.deepEqual(b.warnings(), ['test stable: has no packages for the architecture arm64'])
})

test('binary-all is read where the release says that it is not in the others', { skip }, async (t) => {
  const b = await bench(t)
  assert.ok(APP && LIB && keys)
  const site = new Map<string, Uint8Array>()
  publish(site, '/debian', keys, { suite: 'stable', date: DATE, debs: [APP], key, arch: 'all' })
  const all = Buffer.from(site.get('/debian/dists/stable/InRelease') as Uint8Array).toString()
  const lines = all.split('\n').filter((line) => line.includes('binary-all'))
  const fields = { 'No-Support-for-Architecture-all': undefined }
  b.publish({ debs: [LIB], fields, sums: (own) => [...own, ...lines] })
  for (const [path, bytes] of site) if (!path.endsWith('InRelease')) b.site.files.set(path, bytes)
  assert.deepEqual((await b.index()).packages.map(({ name }) => name).sort(), ['app', 'lib'])
  b.publish({ debs: [LIB], date: DATE + 1, sums: (own) => [...own, ...lines] })
  assert.deepEqual(
    (await b.index()).packages.map(({ name }) => name),
    ['lib'],
  )
})

test('Release with Release.gpg where there is no InRelease', { skip }, async (t) => {
  const b = await bench(t)
  b.publish({ detached: true })
  assert.equal((await b.index()).packages.length, 2)
  assert.equal((await b.index({}, { offline: true })).packages.length, 2)
  b.site.files.set('/debian/dists/stable/Release.gpg', Buffer.from('no signature'))
  await refused(b.index(), 'S5_SIGNATURE_BAD', 'unsigned')
  b.site.files.delete('/debian/dists/stable/Release.gpg')
  const error = await refused(b.index(), 'S5_FETCH_FAILED')
  assert.match(error.message, /InRelease.*status 404/)
})

test('flat archives', { skip }, async (t) => {
  const b = await bench(t)
  b.publish({ suite: './' })
  const source = { uri: `${b.site.url}/debian`, suites: ['./'], components: ['main'], signedBy: ['ring.gpg'] }
  const repository = b.open({ sources: [source] })
  const index = await repository.index('amd64', signal)
  assert.equal(index.packages.length, 2)
  assert.equal(find(index, 'app')?.file.origin, './')
  await repository.fetch(lockedOf(find(index, 'app')), signal)
  assert.ok(b.asked().includes('/debian/InRelease'))
})

test('offline: from what was fetched; what has expired meanwhile is a warning', { skip }, async (t) => {
  const b = await bench(t)
  b.publish({ fields: { 'Valid-Until': rfc2822(DATE + 1000) } })
  await refused(b.index({}, { offline: true }), 'S5_OFFLINE')
  const online = b.open({}, { now: DATE })
  const index = await online.index('amd64', signal)
  await online.fetch(lockedOf(find(index, 'app')), signal)
  const asked = b.asked().length
  const offline = b.open({}, { offline: true, now: DATE + 2000 })
  const again = await offline.index('amd64', signal)
  assert.equal(again.snapshot, index.snapshot)
  assert.match(b.warnings().at(-1) as string, /used offline although it was valid until/)
  await offline.fetch(lockedOf(find(again, 'app')), signal)
  await refused(offline.fetch(lockedOf(find(again, 'lib')), signal), 'S5_OFFLINE')
  rmSync(join(b.folder, 'cache/parsed'), { recursive: true })
  assert.equal((await b.index({}, { offline: true, now: DATE })).packages.length, 2)
  assert.equal(b.asked().length, asked)
})

test('a server that is busy for a moment is waited for', { skip }, async (t) => {
  const b = await bench(t)
  b.publish()
  b.site.next('/debian/dists/stable/InRelease', status(503), status(502))
  assert.equal((await b.index()).packages.length, 2)
})

test('sources of apt: http and file, narrowed down by the repository file', { skip }, async (t) => {
  const b = await bench(t)
  assert.ok(keys && LIB && APP)
  const root = join(b.folder, 'root')
  const write = (path: string, bytes: string | Uint8Array): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), bytes)
  }
  const local = new Map<string, Uint8Array>()
  publish(local, '/srv/archive', keys, { suite: 'local', date: DATE, debs: [LIB], key, byHash: false })
  for (const [path, bytes] of local) write(decodeURIComponent(path), bytes)
  b.publish({ debs: [APP] })
  write('usr/share/keyrings/test.gpg', keys.export([key]))
  const inline = keys
    .export([key], { armor: true })
    .toString()
    .trimEnd()
    .replaceAll(/^$/gm, '.')
    .replaceAll('\n', '\n ')
  write(
    'etc/apt/sources.list.d/test.sources',
    `Types: deb deb-src\nURIs: ${b.site.url}/debian\nSuites: stable\nComponents: main extra\nSigned-By:\n ${inline}\n`,
  )
  write(
    'etc/apt/sources.list',
    `deb [signed-by=/usr/share/keyrings/test.gpg] file:${root}/srv/archive local main\ndeb cdrom:[x]/ y main\n`,
  )
  const spec = { from: 'apt', sources: [], components: ['main'] } as const
  const repository = b.open(spec, { aptRoot: root })
  const index = await repository.index('amd64', signal)
  assert.deepEqual(index.packages.map(({ name, file }) => `${name} ${file.origin}`).sort(), [
    'app stable',
    'lib local',
  ])
  for (const pkg of index.packages) await repository.fetch(lockedOf(pkg), signal)
  assert.match(b.warnings().join(), /sources\.list: line 2: .*only http, https and file/)
  const narrow = await b
    .open({ ...spec, suites: ['local'] }, { aptRoot: root, offline: true })
    .index('amd64', signal)
  assert.deepEqual(
    narrow.packages.map(({ name }) => name),
    ['lib'],
  )
  await refused(
    b.open({ ...spec, suites: ['sid'] }, { aptRoot: root }).index('amd64', signal),
    'S5_SOURCES_MISSING',
  )
  assert.equal(sha256(LIB.bytes), find(narrow, 'lib')?.file.sums.sha256)
})
