/** Gentoo binhosts: real files, a real web server, real signatures. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { gzipSync } from 'node:zlib'
import { isStage5Error } from '../../src/base/errors.ts'
import type { Event } from '../../src/base/events.ts'
import { openFetcher } from '../../src/host/fetch.ts'
import type { Index, Package } from '../../src/pkg/package.ts'
import { parseGentooIndex } from '../../src/format/gentoo-index.ts'
import { openBinhost } from '../../src/repo/binhost.ts'
import { indexTableOf, parseIndexTable, printIndexTable } from '../../src/repo/index-table.ts'
import type { Repository } from '../../src/repo/repository.ts'
import type { Locked } from '../../src/resolve/lock.ts'
import type { GentooSpec, RepositorySpec } from '../../src/resolve/profile.ts'
import { packed } from '../helpers/pack.ts'
import {
  BINHOST_TIME,
  type BinhostPackage,
  type BinhostSpec,
  makeBinhost,
  type Signer,
  writeBinhost,
} from '../helpers/gentoo-packages.ts'
import { openSite, type Site } from '../host/site.ts'
import { openKeys } from './keys.ts'

const signal = new AbortController().signal
const ALL = { include: [], exclude: [] }
const NOW = BINHOST_TIME + 3600
const DEMO: BinhostPackage = {
  cpv: 'app-misc/demo-1.0',
  files: [{ name: 'usr/' }, { name: 'usr/a', data: 'alpha' }],
}
const OTHER: BinhostPackage = { cpv: 'app-misc/other-2.0-r1', format: 'xpak', slot: '0/2' }

function scratch(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 's5-binhost-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

interface Opened {
  readonly repository: Repository
  readonly events: Event[]
  readonly index: () => Promise<Index>
  readonly warnings: () => string[]
}

function open(
  cache: string,
  gentoo: Partial<GentooSpec> & { uri?: string },
  world: { offline?: boolean; now?: number; root?: string; builder?: string[] } = {},
): Opened {
  const { uri, ...rest } = gentoo
  const spec: RepositorySpec = {
    name: 'gentoo',
    kind: 'gentoo',
    from: 'listed',
    sources: [],
    suites: [],
    components: [],
    checkValidUntil: true,
    url: '',
    file: join(cache, 'repos/gentoo.yaml'),
    ...(world.builder && { builder: world.builder }),
    gentoo: {
      from: 'listed',
      config: '/etc/portage',
      binhosts: uri === undefined ? [] : [{ name: '', uri, priority: 0, index: '', ...ALL }],
      signatures: 'off',
      isPolicyWritten: false,
      keyring: [],
      checkTimestamp: true,
      ...rest,
    },
  }
  const events: Event[] = []
  const report = (event: Event): void => void events.push(event)
  const repository = openBinhost(spec, {
    fetcher: openFetcher({ offline: world.offline ?? false, report, retryDelayMs: 1, attempts: 2 }),
    directory: join(cache, 'cache'),
    now: () => (world.now ?? NOW) * 1000,
    report,
    ...(world.root === undefined ? {} : { aptRoot: world.root }),
  })
  return {
    repository,
    events,
    index: () => repository.index('amd64', signal),
    warnings: () => events.flatMap((event) => (event.kind === 'warning' ? [event.message] : [])),
  }
}

function serveBinhost(site: Site, spec: BinhostSpec, base = ''): void {
  const { files, index } = makeBinhost(spec)
  for (const [path, bytes] of files) site.files.set(`${base}/${path}`, bytes)
  site.files.set(`${base}/Packages.gz`, gzipSync(index))
}

function locked(pkg: Package, sha256 = ''): Locked {
  const { scheme, name, version, arch, repo, slot, use, buildId, file } = pkg
  const because: string[] = []
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
    sha256: `sha256:${sha256}`,
    installedSize: 0,
    because,
  }
}

async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'accepted'
  } catch (error) {
    assert.ok(isStage5Error(error), String(error))
    const { reason, status } = error.data as { reason?: string; status?: number }
    return `${error.code} ${reason ?? status ?? ''}`.trim()
  }
}

const names = (index: Index): string[] => index.packages.map(({ name, version }) => `${name}-${version}`)
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

test('a PKGDIR is read: packages with slots, builds, flags and sums', async (t) => {
  const folder = scratch(t)
  writeBinhost(join(folder, 'pkgdir'), {
    packages: [{ ...DEMO, use: 'ssl', iuse: '+ssl doc', build: 3 }, OTHER],
  })
  for (const uri of ['../pkgdir', join(folder, 'pkgdir'), `file://${folder}/pkgdir/`]) {
    const index = await open(folder, { uri }).index()
    assert.deepEqual(names(index), ['app-misc/demo-1.0', 'app-misc/other-2.0-r1'])
    assert.equal(index.kind, 'gentoo')
    assert.equal(index.date, BINHOST_TIME)
    assert.equal(index.signatures, 'off')
    const [demo, other] = index.packages as [Package, Package]
    assert.equal(demo.buildId, 3)
    assert.deepEqual(demo.use, ['abi_x86_64', 'amd64', 'elibc_glibc', 'kernel_linux', 'ssl'])
    for (const flag of ['doc', 'elibc_musl', 'arm64', 'prefix', 'abi_x86_64'])
      assert.ok(demo.iuse.includes(flag), flag)
    assert.equal(demo.file.path, 'app-misc/demo/demo-1.0-3.gpkg.tar')
    assert.match(demo.file.sums.sha1 ?? '', /^[0-9a-f]{40}$/)
    assert.deepEqual([other.slot, other.subslot, other.arch], ['0', '2', 'amd64'])
  }
})

test('indexes are looked for as gz, then plain; xz and zst where the repository says so', async (t) => {
  for (const [indexes, index, expected] of [
    [['', '.gz'], '', 'Packages.gz'],
    [[''], '', 'Packages'],
    [['.xz', ''], 'Packages.xz', 'Packages.xz'],
    [['.zst', ''], 'Packages.zst', 'Packages.zst'],
    [[''], 'Packages.zst', 'Packages'],
    [['.xz'], '', 'S5_FETCH_FAILED 404'],
  ] as const) {
    const folder = scratch(t)
    writeBinhost(join(folder, 'pkgdir'), { packages: [DEMO], indexes })
    const opened = open(folder, { binhosts: [{ name: 'a', uri: '../pkgdir', priority: 0, index, ...ALL }] })
    if (expected.startsWith('S5')) assert.equal(await reasonOf(opened.index()), expected)
    else {
      assert.equal((await opened.index()).packages.length, 1)
      const fetched = opened.events.find((event) => event.kind === 'index.fetched')
      assert.equal(fetched?.kind === 'index.fetched' && fetched.name, `a ${expected}`)
    }
  }
})

test('entries that cannot be used are told and left out, the others stay', async (t) => {
  const bad: readonly (readonly [string, { readonly [key: string]: string | undefined }, string])[] = [
    ['climbs', { PATH: '../../etc/passwd' }, 'index-path'],
    ['climbs inside', { PATH: 'a/../../b' }, 'index-path'],
    ['is absolute', { PATH: '/etc/passwd' }, 'index-path'],
    ['is an address', { PATH: 'https://host/x' }, 'index-path'],
    ['is encoded', { PATH: 'a/%2e%2e/b' }, 'index-path'],
    ['has a backslash', { PATH: 'a\\b' }, 'index-path'],
    ['has a NUL', { PATH: 'a\u0001b' }, 'index-path'],
    ['is a directory', { PATH: 'app-misc/demo/' }, 'index-path'],
    ['no SIZE', { SIZE: undefined }, 'missing-metadata'],
    ['SIZE in words', { SIZE: 'big' }, 'bad-metadata'],
    ['a negative SIZE', { SIZE: '-1' }, 'bad-metadata'],
    ['no hashes', { MD5: undefined, SHA1: undefined }, 'weak-digest'],
    ['a short hash', { MD5: 'abc' }, 'bad-metadata'],
    ['BUILD_ID in words', { BUILD_ID: 'one' }, 'bad-metadata'],
    ['a CPV without category', { CPV: 'demo-1.0' }, 'bad-metadata'],
    ['a CPV without version', { CPV: 'app-misc/demo' }, 'bad-metadata'],
    ['a CPV that climbs', { CPV: '../demo-1.0' }, 'bad-metadata'],
    ['no CPV', { CPV: undefined }, 'bad-metadata'],
    ['a SLOT that is none', { SLOT: 'a b' }, 'bad-metadata'],
  ]
  for (const [name, listed, reason] of bad) {
    const folder = scratch(t)
    writeBinhost(join(folder, 'pkgdir'), { packages: [{ ...DEMO, listed }, OTHER] })
    const opened = open(folder, { uri: '../pkgdir' })
    assert.deepEqual(names(await opened.index()), ['app-misc/other-2.0-r1'], name)
    const warnings = opened.warnings()
    assert.equal(warnings.length, 1, name)
    assert.match(warnings[0] as string, new RegExp(`^gentoo: ${reason}: `), name)
    assert.match(warnings[0] as string, /^[\x20-\x7e]+$/, name)
  }
})

test('of forty refused entries the first ten are named', async (t) => {
  const folder = scratch(t)
  const packages = Array.from({ length: 40 }, (_, at) => ({
    cpv: `a/b${at}x-1`,
    listed: { SIZE: undefined },
  }))
  writeBinhost(folder, { packages: [...packages, DEMO] })
  const opened = open(folder, { uri: folder })
  assert.equal((await opened.index()).packages.length, 1)
  assert.equal(opened.warnings().length, 11)
  assert.equal(opened.warnings().at(-1), 'gentoo: 30 more entries were refused')
})

test('PATH may be missing, FETCHCOMMAND and unknown keys are of no meaning, one hash is enough', async (t) => {
  const folder = scratch(t)
  writeBinhost(folder, {
    packages: [{ ...DEMO, listed: { PATH: undefined, SHA1: undefined, STRANGE: 'x' } }],
    header: { FETCHCOMMAND: 'false', STRANGE: '{"a": 1}' },
  })
  const [pkg] = (await open(folder, { uri: folder }).index()).packages
  assert.equal(pkg?.file.path, 'app-misc/demo-1.0.tbz2')
})

test('the FETCHCOMMAND of an index is never run', async (t) => {
  const folder = scratch(t)
  const command = `touch ${join(folder, 'was-here')}`
  writeBinhost(folder, {
    packages: [DEMO],
    header: { FETCHCOMMAND: command, RESUMECOMMAND: command, FETCHCOMMAND_FILE: command },
  })
  const { repository, index } = open(folder, { uri: folder })
  const [demo] = (await index()).packages as [Package]
  const digest = await repository.pin!(locked(demo), signal)
  await repository.fetch(locked(demo, digest.slice(7)), signal)
  assert.ok(!existsSync(join(folder, 'was-here')))
})

test('one build listed twice is taken once; two that differ are told', async (t) => {
  const folder = scratch(t)
  writeBinhost(folder, { packages: [DEMO, DEMO] })
  const same = open(folder, { uri: folder })
  assert.equal((await same.index()).packages.length, 1)
  assert.equal(same.warnings().length, 1, 'build times differ by one second')
  assert.match(same.warnings()[0] as string, /duplicate: app-misc\/demo 1\.0 1 is listed twice and differs/)
  const time = { BUILD_TIME: '1' }
  writeBinhost(folder, {
    packages: [
      { ...DEMO, listed: time },
      { ...DEMO, listed: { ...time, PATH: 'x/y.gpkg.tar' } },
    ],
  })
  const equal = open(scratch(t), { uri: folder })
  const index = await equal.index()
  assert.deepEqual(
    [index.packages.length, index.packages[0]?.file.path],
    [1, 'app-misc/demo/demo-1.0-1.gpkg.tar'],
  )
  assert.deepEqual(equal.warnings(), [])
})

/** Its checksum is wrong. */
function brokenGzip(text: string): Buffer {
  const bytes = gzipSync(text)
  return bytes.fill(1, bytes.length - 8, bytes.length - 4)
}

test('what is no index is refused, and the accepted one stays', async (t) => {
  const folder = scratch(t)
  const pkgdir = join(folder, 'pkgdir')
  writeBinhost(pkgdir, { packages: [DEMO], indexes: [''] })
  const { index: text } = makeBinhost({ packages: [DEMO] })
  const rows: readonly (readonly [string, string | Uint8Array, string])[] = [
    ['HTML', '<html>404</html>\n', 'magic'],
    ['cut', text.slice(0, -40), 'truncated'],
    ['fewer entries than announced', text.replace('PACKAGES: 1', 'PACKAGES: 2'), 'truncated'],
    ['a newer version', text.replace('VERSION: 0', 'VERSION: 7'), 'version'],
    ['no time', text.replace(/TIMESTAMP: \d+\n/, ''), 'bad-metadata'],
    ['of the future', text.replace(/TIMESTAMP: \d+/, `TIMESTAMP: ${NOW + 3600}`), 'stale'],
    ['older than before', text.replace(/TIMESTAMP: \d+/, `TIMESTAMP: ${BINHOST_TIME - 1}`), 'rollback'],
    ['of another architecture', text.replace('ARCH: amd64', 'ARCH: arm64'), 'mismatch'],
    ['a cut gzip', gzipSync(text).subarray(0, -10), 'truncated'],
    ['a broken gzip', brokenGzip(text), 'decompress'],
  ]
  assert.equal((await open(folder, { uri: pkgdir }).index()).packages.length, 1)
  const before = readdirSync(join(folder, 'cache/indexes')).map((name) =>
    readFileSync(join(folder, 'cache/indexes', name), 'latin1'),
  )
  for (const [name, bytes, reason] of rows) {
    writeFileSync(join(pkgdir, 'Packages'), bytes)
    assert.equal(await reasonOf(open(folder, { uri: pkgdir }).index()), `S5_INDEX_REFUSED ${reason}`, name)
  }
  const after = readdirSync(join(folder, 'cache/indexes')).map((name) =>
    readFileSync(join(folder, 'cache/indexes', name), 'latin1'),
  )
  assert.deepEqual(after, before)
  for (const at of [5, 6])
    await t.test(`${rows[at]?.[0]} is taken when the repository says so`, async () => {
      writeFileSync(join(pkgdir, 'Packages'), rows[at]?.[1] as string)
      const index = await open(folder, { uri: pkgdir, checkTimestamp: false }).index()
      assert.equal(index.packages.length, 1)
    })
})

test('over HTTP the index is asked for conditionally, not at all within its TTL, and works offline', async (t) => {
  await using site = await openSite()
  const folder = scratch(t)
  serveBinhost(site, { packages: [DEMO], header: { TTL: '600' } })
  const requests = (): number => site.requests.splice(0).length
  const offline = await reasonOf(open(folder, { uri: site.url }, { offline: true }).index())
  assert.equal(offline, 'S5_OFFLINE')
  const first = await open(folder, { uri: site.url }).index()
  assert.equal(requests(), 1)
  const second = await open(folder, { uri: site.url }, { now: NOW + 599 }).index()
  assert.equal(requests(), 0, 'within the TTL')
  assert.equal(second.snapshot, first.snapshot)
  await open(folder, { uri: site.url }, { now: NOW + 601 }).index()
  const [request] = site.requests
  assert.ok(request?.headers['if-none-match'])
  assert.equal(requests(), 1)
  await open(folder, { uri: site.url }, { now: NOW + 1200 }).index()
  assert.equal(requests(), 0, 'unchanged starts the TTL anew')
  await open(folder, { uri: site.url }, { now: NOW - 100 }).index()
  assert.equal(requests(), 1, 'a clock that went back does not make it fresh')
  const last = await open(folder, { uri: site.url }, { offline: true, now: NOW + 9e6 }).index()
  assert.equal(requests(), 0)
  assert.deepEqual(names(last), names(first))
})

test('a frozen binhost is asked once', async (t) => {
  await using site = await openSite()
  const root = scratch(t)
  serveBinhost(site, { packages: [DEMO] })
  writeFileSync(join(root, 'a.conf'), `[a]\nsync-uri = ${site.url}\nfrozen = true\n`)
  for (let turn = 0; turn < 2; turn++)
    await open(root, { from: 'binrepos', config: join(root, 'a.conf') }, { now: NOW + turn * 9e6 }).index()
  assert.equal(site.requests.length, 1)
})

test('a folder without an index has no packages yet where a builder makes them', async (t) => {
  const folder = scratch(t)
  const uri = join(folder, 'pkgdir')
  const builder = ['true']
  assert.equal(await reasonOf(open(folder, { uri }).index()), 'S5_FETCH_FAILED 404')
  const packagesNow = async (): Promise<string[]> => names(await open(folder, { uri }, { builder }).index())
  assert.deepEqual(await packagesNow(), [])
  writeBinhost(uri, { packages: [DEMO] })
  assert.deepEqual(await packagesNow(), ['app-misc/demo-1.0'])
  rmSync(uri, { recursive: true })
  assert.deepEqual(await packagesNow(), [], 'what was cleared away is no older index')
  writeBinhost(uri, { packages: [OTHER], header: { TIMESTAMP: String(BINHOST_TIME - 9) } })
  const older = open(folder, { uri }, { builder })
  assert.equal(
    await reasonOf(older.index()),
    'S5_INDEX_REFUSED rollback',
    'what was accepted before is remembered',
  )
})

test('an endless TTL keeps an index for a day', async (t) => {
  await using site = await openSite()
  const folder = scratch(t)
  serveBinhost(site, { packages: [DEMO], header: { TTL: '999999999' } })
  await open(folder, { uri: site.url }).index()
  await open(folder, { uri: site.url }, { now: NOW + 86_399 }).index()
  assert.equal(site.requests.length, 1)
  await open(folder, { uri: site.url }, { now: NOW + 86_401 }).index()
  assert.equal(site.requests.length, 2)
})

test('a damaged cache of an index is fetched again', async (t) => {
  await using site = await openSite()
  const folder = scratch(t)
  serveBinhost(site, { packages: [DEMO], header: { TTL: '600' } })
  await open(folder, { uri: site.url }).index()
  const cache = join(folder, 'cache/indexes')
  const text = readdirSync(cache).find((name) => name.endsWith('.packages')) as string
  writeFileSync(join(cache, text), 'VERSION: 0\nTIMESTAMP: 1\n')
  assert.equal((await open(folder, { uri: site.url }).index()).packages.length, 1)
  assert.equal(site.requests.length, 2)
})

test('where entries stand is kept, and found again when what was kept is damaged', async (t) => {
  const folder = scratch(t)
  writeBinhost(join(folder, 'pkgdir'), { packages: [DEMO, OTHER, { cpv: 'app-misc/demo-1.1' }] })
  const read = async (): Promise<string> => {
    const index = await open(folder, { uri: join(folder, 'pkgdir') }).index()
    const names = [...(index.byName?.names() ?? [])]
    return JSON.stringify([names, index.packages], (_, value: unknown) =>
      typeof value === 'function' ? undefined : value,
    )
  }
  const first = await read()
  const cache = join(folder, 'cache/indexes')
  const file = join(cache, readdirSync(cache).find((name) => name.endsWith('.table')) as string)
  const kept = readFileSync(file)
  assert.equal(await read(), first)
  const flipped = Buffer.from(kept)
  flipped[kept.length - 20] = (kept.at(-20) as number) ^ 1
  const fewer = Buffer.from(kept.toString('latin1').replace(/"count":(\d)/, '"count":1'), 'latin1')
  assert.notDeepEqual(fewer, kept)
  const none = [kept.subarray(0, -1), Buffer.from('{"format":0}\n'), Buffer.alloc(0)]
  for (const damaged of [flipped, fewer, ...none]) {
    writeFileSync(file, damaged)
    assert.equal(parseIndexTable(damaged), undefined)
    assert.equal(await read(), first)
    assert.deepEqual(readFileSync(file), kept)
  }
  const bytes = Buffer.from(
    'VERSION: 0\nTIMESTAMP: 1\n\nCPV: a/b-1\n\nCPV: odd\nUSE: x\n\nCPV: a/b-2-r3\n\nCPV: c/d-1\n',
  )
  const index = parseGentooIndex('Packages', bytes)
  const table = parseIndexTable(Buffer.from(printIndexTable(indexTableOf(index))))
  assert.deepEqual(
    [table?.names.list, [...(table?.names.of ?? [])]],
    [
      ['a/b', 'c/d'],
      [1, 0, 1, 2],
    ],
  )
  const again = parseGentooIndex('Packages', bytes, table?.blocks)
  const entries = (one: typeof index): unknown[] =>
    [...one.entries()].map(({ fields, line }) => [line, [...fields]])
  assert.deepEqual(entries(again), entries(index))
})

test('packages come from the URI of the header, else from beside the index', async (t) => {
  await using site = await openSite()
  for (const [base, header, expected] of [
    ['/own', {}, '/own'],
    ['/own', { URI: `${site.url}/pool/` }, '/pool'],
    ['/own', { URI: 'file:///etc' }, '/own'],
    ['/own', { URI: 'ssh://host/x' }, '/own'],
  ] as const) {
    const folder = scratch(t)
    site.files.clear()
    serveBinhost(site, { packages: [DEMO], header }, base)
    if (expected !== base)
      for (const [path, bytes] of [...site.files])
        if (!path.endsWith('.gz')) {
          site.files.delete(path)
          site.files.set(path.replace(base, expected), bytes)
        }
    const { repository, index } = open(folder, { uri: `${site.url}${base}` })
    const [pkg] = (await index()).packages as [Package]
    site.requests.length = 0
    const digest = await repository.pin!(locked(pkg), signal)
    const path = `${expected}/app-misc/demo/demo-1.0-1.gpkg.tar`
    assert.deepEqual(
      site.requests.map((request) => request.path),
      [path],
    )
    assert.equal(digest, `sha256:${sha256(site.files.get(path) as Uint8Array)}`)
    // On another machine nothing is known but the lock.
    const fresh = open(scratch(t), { uri: `${site.url}${base}` })
    const file = await fresh.repository.fetch(locked(pkg, digest.slice(7)), signal)
    assert.equal(sha256(readFileSync(file)), digest.slice(7))
  }
})

test('a package is pinned once, and fetched by its pin', async (t) => {
  await using site = await openSite()
  const folder = scratch(t)
  serveBinhost(site, { packages: [DEMO, OTHER] })
  const { repository, index } = open(folder, { uri: site.url })
  const [demo, other] = (await index()).packages as [Package, Package]
  site.requests.length = 0
  const pin = await repository.pin!(locked(demo), signal)
  assert.equal(site.requests.length, 1)
  assert.equal(
    await open(folder, { uri: site.url }, { offline: true }).repository.pin!(locked(demo), signal),
    pin,
  )
  assert.equal(
    await repository.fetch(locked(demo, pin.slice(7)), signal),
    join(folder, 'cache/packages', `${pin.slice(7)}.gpkg.tar`),
  )
  assert.equal(site.requests.length, 1)
  const xpak = await repository.pin!(locked(other), signal)
  assert.match(await repository.fetch(locked(other, xpak.slice(7)), signal), /\.xpak$/)
  assert.deepEqual(
    readdirSync(join(folder, 'cache/packages')).sort(),
    [`${pin.slice(7)}.gpkg.tar`, `${xpak.slice(7)}.xpak`].sort(),
  )
})

test('a package that is absent, damaged or another one is an error of that package alone', async (t) => {
  await using site = await openSite()
  const folder = scratch(t)
  serveBinhost(site, { packages: [DEMO, OTHER] })
  const { repository, index } = open(folder, { uri: site.url })
  const [demo, other] = (await index()).packages as [Package, Package]
  const path = `/${demo.file.path}`
  const bytes = site.files.get(path) as Uint8Array
  const pin = (pkg: Package) => reasonOf(repository.pin!(locked(pkg), signal))
  site.files.delete(path)
  assert.equal(await pin(demo), 'S5_FETCH_FAILED 404')
  site.files.set(path, bytes.subarray(0, -512))
  assert.equal(await pin(demo), 'S5_DIGEST_MISMATCH size')
  site.files.set(path, Buffer.from(bytes).fill(1, 700, 701))
  assert.equal(await pin(demo), 'S5_DIGEST_MISMATCH digest')
  assert.equal(await pin(other), 'accepted')
  assert.equal(readdirSync(join(folder, 'cache/packages')).length, 1)
  const climbing = { ...demo, file: { ...demo.file, path: '../x' } }
  assert.equal(
    await reasonOf(repository.pin!(locked({ ...climbing, use: [] }), signal)),
    'S5_INDEX_REFUSED index-path',
  )
  site.files.set(path, bytes)
  assert.equal(await pin(demo), 'accepted')
})

test('an interrupted package is resumed', async (t) => {
  await using site = await openSite()
  const folder = scratch(t)
  const data = Buffer.alloc(400_000, 'x')
  serveBinhost(site, { packages: [{ ...DEMO, files: [{ name: 'big', data }], packing: 'none' }] })
  const { repository, index } = open(folder, { uri: site.url })
  const [demo] = (await index()).packages as [Package]
  const path = `/${demo.file.path}`
  site.next(path, (_request, response, body) => {
    response.writeHead(200, { 'content-length': body!.length, etag: '"1"' })
    response.write(body!.subarray(0, 100_000), () => setTimeout(() => response.destroy(), 50))
  })
  site.requests.length = 0
  await repository.pin!(locked(demo), signal)
  assert.match(String(site.requests[1]?.headers.range), /^bytes=\d+-$/)
})

test('a package that lies in its form is refused when it is pinned', async (t) => {
  const folder = scratch(t)
  writeBinhost(folder, { packages: [DEMO] })
  const { index } = makeBinhost({ packages: [DEMO] })
  const file = join(folder, 'app-misc/demo/demo-1.0-1.gpkg.tar')
  const bytes = Buffer.from('<html>'.repeat(200))
  writeFileSync(file, bytes)
  const sum = (name: string): string => createHash(name).update(bytes).digest('hex')
  const lying = index
    .replace(/MD5: .*/, `MD5: ${sum('md5')}`)
    .replace(/SHA1: .*/, `SHA1: ${sum('sha1')}`)
    .replace(/\nSIZE: .*/, `\nSIZE: ${bytes.length}`)
  writeFileSync(join(folder, 'Packages'), lying)
  rmSync(join(folder, 'Packages.gz'))
  const opened = open(folder, { uri: folder })
  const [demo] = (await opened.index()).packages as [Package]
  assert.equal(await reasonOf(opened.repository.pin!(locked(demo), signal)), 'S5_ARCHIVE_REFUSED magic')
  await assert.rejects(
    opened.repository.pin!(locked(demo), signal),
    /^Stage5Error: app-misc\/demo_1\.0_b1 \(demo-1\.0-1\.gpkg\.tar\): magic: /,
  )
  assert.deepEqual(readdirSync(join(folder, 'cache/packages')), [])
})

test('several binhosts: the preferred one lists first, flags of all headers are known', async (t) => {
  const folder = scratch(t)
  const shared = { ...DEMO, listed: { BUILD_TIME: '5' } }
  writeBinhost(join(folder, 'one'), { packages: [shared], header: { IUSE_IMPLICIT: 'uno' } })
  writeBinhost(join(folder, 'two'), {
    packages: [shared, OTHER],
    header: { IUSE_IMPLICIT: 'due', TIMESTAMP: String(BINHOST_TIME + 5) },
  })
  const { repository, index } = open(folder, {
    binhosts: [
      { name: 'one', uri: '../one', priority: 1, index: '', ...ALL },
      { name: 'two', uri: '../two', priority: 2, index: '', ...ALL },
    ],
  })
  const { packages, date } = await index()
  assert.deepEqual(
    packages.map(({ name, file }) => [name, file.origin]),
    [
      ['app-misc/demo', 'two'],
      ['app-misc/other', 'two'],
    ],
  )
  assert.equal(date, BINHOST_TIME + 5)
  for (const flag of ['uno', 'due']) assert.ok(packages[0]?.iuse.includes(flag), flag)
  const gone = {
    ...locked(packages[0] as Package),
    file: { ...(packages[0] as Package).file, origin: 'three' },
  }
  assert.equal(await reasonOf(repository.pin!(gone, signal)), 'S5_SOURCES_MISSING')
})

test('binrepos.conf of a machine says where binhosts are', async (t) => {
  const root = scratch(t)
  writeBinhost(join(root, 'pkgdir'), { packages: [DEMO] })
  writeBinhost(join(root, 'other'), { packages: [OTHER] })
  const shipped = join(root, 'usr/share/portage/config')
  const etc = join(root, 'etc/portage/binrepos.conf')
  for (const folder of [shipped, etc]) mkdirSync(folder, { recursive: true })
  writeFileSync(join(shipped, 'binrepos.conf'), '[DEFAULT]\nverify-signature = false\n')
  writeFileSync(join(etc, 'a.conf'), `[a]\nsync-uri = file://${root}/pkgdir\npriority = 1\n`)
  writeFileSync(
    join(etc, 'b.conf'),
    `[b]\nsync-uri = ${root}/other\npriority = 2\n[c]\nsync-uri = ssh://host/\n`,
  )
  writeFileSync(join(etc, '.hidden'), 'nonsense')
  const cache = scratch(t)
  const opened = open(cache, { from: 'binrepos' }, { root })
  assert.deepEqual(names(await opened.index()), ['app-misc/demo-1.0', 'app-misc/other-2.0-r1'])
  assert.match(opened.warnings().join('\n'), /\[c\]: cannot fetch from ssh:/)
  const alone = open(cache, { from: 'binrepos', config: join(etc, 'a.conf') })
  assert.deepEqual(names(await alone.index()), ['app-misc/demo-1.0'])
  const missing = open(cache, { from: 'binrepos', config: join(root, 'nowhere') })
  assert.equal(await reasonOf(missing.index()), 'S5_FILE_MISSING')
  writeFileSync(join(root, 'empty.conf'), '[x]\n')
  assert.equal(
    await reasonOf(open(cache, { from: 'binrepos', config: join(root, 'empty.conf') }).index()),
    'S5_SOURCES_MISSING',
  )
})

test('a binhost gives only what is asked of it: getbinpkg-include and getbinpkg-exclude', async (t) => {
  const folder = scratch(t)
  writeBinhost(join(folder, 'pkgdir'), { packages: [DEMO, OTHER] })
  const of = (include: readonly string[], exclude: readonly string[]) =>
    open(scratch(t), {
      binhosts: [{ name: 'a', uri: join(folder, 'pkgdir'), priority: 0, index: '', include, exclude }],
    }).index()
  const all = await of([], [])
  const some = await of(['app-misc/o*'], [])
  assert.deepEqual(names(some), ['app-misc/other-2.0-r1'])
  assert.notEqual(some.snapshot, all.snapshot, 'a lock of one is not current for the other')
  assert.deepEqual(names(await of([], ['app-misc/demo:0'])), ['app-misc/other-2.0-r1'])
  assert.deepEqual(names(await of([], ['app-misc/demo:9'])), names(all))
  assert.deepEqual(names(await of(['*/*'], ['app-misc/other'])), ['app-misc/demo-1.0'])
  assert.deepEqual(names(await of(['app-misc/none'], [])), [])
})

test('a machine names binhosts in PORTAGE_BINHOST too', async (t) => {
  const root = scratch(t)
  writeBinhost(join(root, 'one'), { packages: [DEMO] })
  writeBinhost(join(root, 'two'), { packages: [DEMO, OTHER] })
  const etc = join(root, 'etc/portage')
  mkdirSync(join(etc, 'make.conf'), { recursive: true })
  writeFileSync(join(etc, 'make.conf/a'), `HERE="${root}"\nPORTAGE_BINHOST="\${HERE}/one/ \${HERE}/two"\n`)
  const words = await open(scratch(t), { from: 'binrepos' }, { root }).index()
  assert.deepEqual(
    words.headers?.map(({ origin }) => origin),
    ['binhost2', 'binhost1'],
  )
  assert.deepEqual(names(words), ['app-misc/demo-1.0', 'app-misc/other-2.0-r1'])
  assert.equal(words.packages[0]?.file.origin, 'binhost2', 'the first word is preferred')
  writeFileSync(
    join(etc, 'binrepos.conf'),
    `[two]\nsync-uri = ${root}/two/\npriority = 7\ngetbinpkg-exclude = app-misc/demo =app\n`,
  )
  const opened = open(scratch(t), { from: 'binrepos' }, { root })
  const both = await opened.index()
  assert.deepEqual(
    both.packages.map(({ name, file }) => [name, file.origin]),
    [
      ['app-misc/demo', 'binhost1'],
      ['app-misc/other', 'two'],
    ],
  )
  assert.match(opened.warnings().join(), /\[two\]: getbinpkg-exclude: =app is no atom/)
})

const keys = openKeys()

test('signatures of a binhost, by policy', { skip: keys ? false : 'needs gpg and gpgv' }, async (t) => {
  t.after(() => keys![Symbol.dispose]())
  const folder = scratch(t)
  const key = keys!.make('binhost@example.org')
  const sign: Signer = {
    manifest: (text) => keys!.sign(text, [key]),
    member: (bytes) => keys!.detach(bytes, key, { armor: true }),
  }
  mkdirSync(join(folder, 'repos'))
  writeFileSync(join(folder, 'repos/keys.asc'), keys!.export([key], { armor: true }))
  writeBinhost(join(folder, 'signed'), { packages: [DEMO, OTHER], sign })
  writeBinhost(join(folder, 'unsigned'), { packages: [DEMO] })
  const keyring = ['keys.asc']

  const strict = open(folder, { uri: '../signed', signatures: 'require', keyring })
  const index = await strict.index()
  assert.deepEqual(names(index), ['app-misc/demo-1.0', 'app-misc/other-2.0-r1'])
  const kept = index.packages.map((pkg) => pkg.gentoo?.isUnsigned)
  assert.deepEqual(kept, [false, true], 'an xpak has no signature')
  assert.equal(index.signatures, 'require')
  assert.match(strict.warnings().join(), /unsigned: 1 packages that are no \.gpkg\.tar are not used/)
  const [demo] = index.packages as [Package]
  assert.equal(await reasonOf(strict.repository.pin!(locked(demo), signal)), 'accepted')
  const trust = await strict.repository.trust!(locked(demo))
  assert.deepEqual([trust.signatures, trust.keyrings.files], ['require', [join(folder, 'repos/keys.asc')]])
  assert.equal(await strict.repository.policy!(), 'require')

  const bare = open(scratch(t), {
    uri: join(folder, 'unsigned'),
    signatures: 'require',
    keyring: [join(folder, 'repos/keys.asc')],
  })
  const [unsigned] = (await bare.index()).packages as [Package]
  assert.equal(await reasonOf(bare.repository.pin!(locked(unsigned), signal)), 'S5_SIGNATURE_BAD unsigned')

  const loose = open(scratch(t), {
    uri: join(folder, 'unsigned'),
    signatures: 'if-present',
    keyring: [join(folder, 'repos/keys.asc')],
  })
  assert.equal(
    await reasonOf(
      loose.index().then(({ packages }) => loose.repository.pin!(locked(packages[0] as Package), signal)),
    ),
    'accepted',
  )

  const root = scratch(t)
  mkdirSync(join(root, 'etc/portage/gnupg'), { recursive: true })
  writeFileSync(join(root, 'etc/portage/gnupg/pubring.kbx'), keys!.export([key]))
  writeFileSync(
    join(root, 'etc/portage/binrepos.conf'),
    `[a]\nsync-uri = ${folder}/signed\nverify-signature = true\n`,
  )
  const machine = open(scratch(t), { from: 'binrepos' }, { root })
  const found = await machine.index()
  assert.equal(found.signatures, 'require')
  assert.equal(
    await reasonOf(machine.repository.pin!(locked(found.packages[0] as Package), signal)),
    'accepted',
  )
  for (const [features, verify, policy] of [
    ['getbinpkg binpkg-request-signature', 'false', 'require'],
    ['binpkg-request-signature -binpkg-request-signature', 'false', 'off'],
    ['binpkg-ignore-signature', 'true', 'off'],
  ] as const) {
    writeFileSync(join(root, 'etc/portage/make.conf'), `FEATURES="${features}"\n`)
    writeFileSync(
      join(root, 'etc/portage/binrepos.conf'),
      `[a]\nsync-uri = ${folder}/signed\nverify-signature = ${verify}\n`,
    )
    assert.equal(await open(scratch(t), { from: 'binrepos' }, { root }).repository.policy!(), policy)
  }
})

test('a builder of packages makes indexes that are read in any compression', async (t) => {
  await using site = await openSite()
  const { index } = makeBinhost({ packages: [DEMO] })
  for (const kind of ['none', 'gz', 'xz', 'zst', 'bz2'] as const) {
    site.files.set('/Packages.gz', packed(Buffer.from(index), kind))
    assert.equal((await open(scratch(t), { uri: site.url }).index()).packages.length, 1, kind)
  }
})
