import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Stage5Error } from '../../src/base/errors.ts'
import type { Event } from '../../src/base/events.ts'
import { openFetcher } from '../../src/host/fetch.ts'
import type { Index, Package } from '../../src/pkg/package.ts'
import { indexDirectory } from '../../src/repo/index-directory.ts'
import { openNative } from '../../src/repo/native.ts'
import { packDirectory, type PackOptions } from '../../src/repo/pack.ts'
import type { Repository } from '../../src/repo/repository.ts'
import { unpackNative } from '../../src/repo/unpack.ts'
import { memoryBodies } from '../helpers/bodies.ts'
import type { Locked } from '../../src/resolve/lock.ts'
import type { RepositorySpec } from '../../src/resolve/profile.ts'
import { openSite } from '../host/site.ts'
import { openKeys } from './keys.ts'

const signal = new AbortController().signal
const DATE = 1_700_000_000

interface Bench {
  readonly folder: string
  readonly packages: string
  readonly events: Event[]
  pack(options?: Partial<PackOptions>): ReturnType<typeof packDirectory>
  open(spec?: Partial<RepositorySpec>, options?: { offline?: boolean }): Repository
  warnings(): string[]
}

function bench(t: TestContext): Bench {
  const folder = mkdtempSync(join(tmpdir(), 's5n-'))
  const events: Event[] = []
  const closers: (() => Promise<void>)[] = []
  t.after(async () => {
    for (const close of closers) await close()
    rmSync(folder, { recursive: true })
  })
  const root = join(folder, 'root')
  mkdirSync(join(root, 'usr/bin'), { recursive: true })
  writeFileSync(join(root, 'usr/bin/shop'), '#!/bin/sh\necho shop\n', { mode: 0o755 })
  const packages = join(folder, 'packages')
  return {
    folder,
    packages,
    events,
    pack: (options) =>
      packDirectory(root, { name: 'app/shop', version: '2.1.0', out: packages, date: DATE, ...options }),
    open(spec = {}, { offline = false } = {}) {
      const report = (event: Event): void => void events.push(event)
      const fetcher = openFetcher({ offline, report, retryDelayMs: 1 })
      closers.push(() => fetcher.close())
      const whole: RepositorySpec = {
        name: 'team',
        kind: 'native',
        from: 'listed',
        sources: [],
        suites: [],
        components: [],
        checkValidUntil: true,
        url: 'packages',
        file: join(folder, 'team.yaml'),
        ...spec,
      }
      return openNative(whole, { fetcher, directory: join(folder, 'cache'), now: () => 0, report })
    },
    warnings: () => events.flatMap((event) => (event.kind === 'warning' ? [event.message] : [])),
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

const named = (index: Index): string[] =>
  index.packages.map(({ name, version, buildId }) => `${name} ${version} ${buildId}`)

async function refused(work: Promise<unknown>, code: string, reason?: string): Promise<Stage5Error> {
  const error = await work.then(
    () => assert.fail('expected a refusal'),
    (thrown: unknown) => thrown as Stage5Error,
  )
  assert.equal(error.code, code, String(error))
  if (reason !== undefined) assert.equal(error.data['reason'], reason, String(error))
  return error
}

test('pack, index, read back, fetch', async (t) => {
  const b = bench(t)
  const packed = await b.pack({
    build: 2,
    arch: 'amd64',
    use: 'ssl -ldap',
    depends: ['app/lib ^1.2 [ssl]', 'deb:libssl3 (>= 3.0)', 'app/a | app/b >=2'],
    conflicts: ['app/old'],
    provides: ['app/api 1.2.0', 'deb:httpd'],
    summary: 'a shop: "ours"',
  })
  assert.equal(packed.file, join(b.packages, 'app-shop-2.1.0-2.tar.zst'))
  assert.equal(packed.size, statSync(packed.file).size)
  await b.pack({ version: '2.0.0-rc.1+git.5' })
  await b.pack({ version: '2.1.0', build: 1, use: 'ldap -ssl', arch: 'arm64' })
  const made = await indexDirectory(b.packages)
  assert.deepEqual(made, { packages: 3, file: join(b.packages, 'index.yaml') })
  const repository = b.open()
  const index = await repository.index('amd64', signal)
  assert.deepEqual(named(index), ['app/shop 2.0.0-rc.1+git.5 0', 'app/shop 2.1.0 2'])
  assert.deepEqual([index.repo, index.kind, index.date], ['team', 'native', DATE])
  const shop = index.packages[1]
  assert.deepEqual(shop, {
    scheme: 'semver',
    name: 'app/shop',
    version: '2.1.0',
    arch: 'amd64',
    repo: 'team',
    slot: '0',
    subslot: '0',
    use: ['ssl'],
    iuse: ['ldap', 'ssl'],
    buildId: 2,
    buildTime: DATE,
    provides: [{ name: 'app/api', version: '1.2.0' }, { name: 'httpd' }],
    needs: {
      all: [
        {
          need: {
            name: 'app/lib',
            text: 'app/lib ^1.2 [ssl]',
            version: { range: '^1.2' },
            use: [{ flag: 'ssl', state: 'on' }],
          },
        },
        { need: { name: 'libssl3', text: 'deb:libssl3 (>= 3.0)', version: { op: '>=', version: '3.0' } } },
        {
          any: [
            { need: { name: 'app/a', text: 'app/a' } },
            { need: { name: 'app/b', text: 'app/b >=2', version: { range: '>=2' } } },
          ],
        },
        { block: { name: 'app/old', text: 'app/old' }, strong: true },
      ],
    },
    recommends: { all: [] },
    essential: false,
    multiArch: 'no',
    installedSize: 20,
    summary: 'a shop: "ours"',
    file: {
      path: 'app-shop-2.1.0-2.tar.zst',
      origin: '',
      size: packed.size,
      sums: { sha256: packed.sha256.slice(7) },
    },
  })
  const file = await repository.fetch(lockedOf(shop), signal)
  assert.deepEqual(readFileSync(file), readFileSync(packed.file))
  const odd = await repository.fetch(lockedOf(index.packages[0]), signal)
  assert.equal(statSync(odd).size, index.packages[0]?.file.size)
  assert.deepEqual(named(await repository.index('arm64', signal)), [
    'app/shop 2.0.0-rc.1+git.5 0',
    'app/shop 2.1.0 1',
  ])
  assert.deepEqual(b.warnings(), [])
})

test('equal content gives equal bytes, whatever the order, the times and the umask', async (t) => {
  const b = bench(t)
  const sums: string[] = []
  for (const [at, names] of [
    ['a', 'Z', 'b', '.h'],
    ['.h', 'b', 'Z', 'a'],
  ].entries()) {
    const root = join(b.folder, `tree${at}`)
    const umask = process.umask(at === 0 ? 0o022 : 0o077)
    mkdirSync(root, { mode: 0o755 })
    chmodSync(root, 0o755)
    for (const name of names) {
      writeFileSync(join(root, name), name)
      chmodSync(join(root, name), 0o644)
      utimesSync(join(root, name), DATE + at, (name === 'Z' ? DATE - 1000 : DATE + 1000) + 0.25 + at / 4)
    }
    symlinkSync('./a', join(root, 'link'))
    linkSync(join(root, 'a'), join(root, 'hard'))
    const packed = await packDirectory(root, {
      name: 'app/x',
      version: '1.0.0',
      out: join(b.folder, `out${at}`),
      date: DATE,
    })
    process.umask(umask)
    assert.equal(statSync(packed.file).mode & 0o777, 0o644 & ~(at === 0 ? 0o022 : 0o077))
    sums.push(packed.sha256)
    assert.deepEqual(readdirSync(join(b.folder, `out${at}`)), ['app-x-1.0.0.tar.zst'])
  }
  assert.equal(sums[0], sums[1])
  const tar = zstdDecompressSync(readFileSync(join(b.folder, 'out0/app-x-1.0.0.tar.zst')))
  const listed = spawnSync('tar', ['tvf', '-', '--utc', '--full-time'], { input: tar }).stdout.toString()
  assert.match(listed, /2023-11-14 21:56:40 root\/Z\n/)
  assert.match(listed, /2023-11-14 22:13:20 root\/a\n/)
})

test('of extended attributes only capabilities are packed', async (t) => {
  const b = bench(t)
  const set = `import os; os.setxattr(${JSON.stringify(join(b.folder, 'root/usr/bin/shop'))}, 'user.note', b'private')`
  if (spawnSync('python3', ['-c', set]).status !== 0) return t.skip('needs python3 and user xattrs')
  const { file } = await b.pack()
  assert.ok(!zstdDecompressSync(readFileSync(file)).includes('private'))
  return undefined
})

test('the tar holds package.yaml first, then the root as it is', async (t) => {
  const b = bench(t)
  const root = join(b.folder, 'root')
  linkSync(join(root, 'usr/bin/shop'), join(root, 'usr/bin/store'))
  symlinkSync('./shop', join(root, 'usr/bin/.s'))
  chmodSync(join(root, 'usr/bin/shop'), 0o4755)
  writeFileSync(Buffer.from(`${root}/caf\xe9`, 'latin1'), 'x')
  writeFileSync(join(root, `${'n'.repeat(150)}`), 'x')
  mkdirSync(join(root, 'd'.repeat(120)))
  writeFileSync(join(root, 'd'.repeat(120), 'e'.repeat(120)), 'x')
  const isRoot = process.getuid?.() === 0
  const hasCapabilities =
    isRoot && spawnSync('setcap', ['cap_net_raw=ep', join(root, 'usr/bin/shop')]).status === 0
  const packed = await b.pack()
  const tar = zstdDecompressSync(readFileSync(packed.file))
  const listed = spawnSync('tar', ['tvf', '-', '--full-time', '--xattrs', '--quoting-style=escape'], {
    input: tar,
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
  })
  const lines = listed.stdout.toString('latin1').trimEnd().split('\n')
  const names = lines.map((line) => line.replace(/^.*\d\d:\d\d:\d\d /, ''))
  assert.deepEqual(names, [
    'package.yaml',
    'root/',
    'root/caf\\351',
    `root/${'d'.repeat(120)}/`,
    `root/${'d'.repeat(120)}/${'e'.repeat(120)}`,
    `root/${'n'.repeat(150)}`,
    'root/usr/',
    'root/usr/bin/',
    'root/usr/bin/.s -> ./shop',
    'root/usr/bin/shop',
    'root/usr/bin/store link to root/usr/bin/shop',
  ])
  for (const line of lines) assert.match(line, / 0\/0 .* 2023-11-14 22:13:20 /)
  assert.match(lines[9] as string, /^-rws/)
  assert.equal(tar.includes('SCHILY.xattr.security.capability='), hasCapabilities)
  const { tree } = await unpackNative(packed.file, memoryBodies(), { label: 'app/shop', signal })
  const unpacked = names
    .slice(1)
    .map((line) => line.replace(/^root\/?|\/$| (->|link to) .*/g, '').replace('\\351', '\xe9'))
  assert.deepEqual(tree.names.map(({ path }) => path).sort(), [...new Set(unpacked)].sort())
  const at = (path: string) => tree.inodes[tree.names.find((name) => name.path === path)?.inode ?? -1]
  assert.equal(at('usr/bin/shop'), at('usr/bin/store'))
  assert.equal(at('usr/bin/shop')?.xattrs?.length ?? 0, hasCapabilities ? 1 : 0)
  if (isRoot) {
    const other = join(root, 'usr/bin/.s')
    spawnSync('chown', ['-h', '12:34', other])
    const kept = await b.pack({ keepOwners: true, build: 7 })
    const text = spawnSync('tar', ['tvf', '-'], {
      input: zstdDecompressSync(readFileSync(kept.file)),
    }).stdout.toString()
    assert.match(text, / 12\/34 .*root\/usr\/bin\/\.s/)
  }
})

test('without a date the youngest file dates the package', async (t) => {
  const b = bench(t)
  const root = join(b.folder, 'root')
  for (const path of ['usr/bin/shop', 'usr/bin', 'usr', '.']) utimesSync(join(root, path), 1, 1_600_000_000)
  utimesSync(join(root, 'usr/bin'), 1, 1_650_000_000)
  await b.pack({ date: 0 })
  await indexDirectory(b.packages)
  assert.equal((await b.open().index('amd64', signal)).date, 1_650_000_000)
})

test('what cannot be a package is refused, and nothing is left', async (t) => {
  const b = bench(t)
  const cases: readonly Partial<PackOptions>[] = [
    { name: 'shop' },
    { name: 'App/shop' },
    { name: 'app/../shop' },
    { version: '2.1' },
    { version: 'v2.1.0' },
    { use: 'ssl --ldap' },
    { use: 'ssl -ssl' },
    { depends: ['app/lib ^^1'] },
    { depends: ['libssl3'] },
    { conflicts: ['?'] },
    { provides: ['a b c'] },
    { arch: 'x 86' },
  ]
  for (const options of cases) {
    const error = await refused(b.pack(options), 'S5_PACKAGE_INVALID')
    assert.ok(error.message.length > 10)
  }
  await refused(
    packDirectory(join(b.folder, 'none'), { name: 'a/b', version: '1.0.0', out: b.packages, date: 0 }),
    'S5_FILE_MISSING',
  )
  spawnSync('mkfifo', [join(b.folder, 'root/fifo')])
  await refused(b.pack(), 'S5_ARCHIVE_REFUSED', 'special-file')
  assert.deepEqual(readdirSync(b.folder).sort(), ['root'])
})

test('indexing refuses packages that are no packages or bear another name', async (t) => {
  const b = bench(t)
  const { file } = await b.pack()
  const wrong = join(b.packages, 'app-other-2.1.0.tar.zst')
  renameSync(file, wrong)
  await refused(indexDirectory(b.packages), 'S5_ARCHIVE_REFUSED', 'mismatch')
  const tar = zstdDecompressSync(readFileSync(wrong))
  writeFileSync(wrong, zstdCompressSync(tar.subarray(1536)))
  await refused(indexDirectory(b.packages), 'S5_ARCHIVE_REFUSED', 'missing-member')
  writeFileSync(
    wrong,
    zstdCompressSync(Buffer.from(tar.toString('latin1').replace('version: 2', 'version: x'), 'latin1')),
  )
  await refused(indexDirectory(b.packages), 'S5_ARCHIVE_REFUSED', 'bad-metadata')
  writeFileSync(wrong, 'rubbish')
  await refused(indexDirectory(b.packages), 'S5_ARCHIVE_REFUSED')
  assert.ok(!readdirSync(b.packages).includes('index.yaml'))
  await refused(indexDirectory(join(b.folder, 'none')), 'S5_FILE_MISSING')
})

test('entries that cannot be used are left out and told of', async (t) => {
  const b = bench(t)
  await b.pack()
  const { file } = await indexDirectory(b.packages)
  const right = readFileSync(file, 'utf8')
  const cases: readonly (readonly [reason: string, from: RegExp, to: string])[] = [
    ['weak-digest', /sha256: .*/, 'md5: 0'],
    ['weak-digest', /sha256: .*/, 'sha256: abc'],
    ['size', / size: .*/, ' size: -1'],
    ['size', / size: .*\n/, ' x: y\n'],
    ['index-path', /file: .*/, 'file: ../x.tar.zst'],
    ['index-path', /file: .*/, 'file: /x.tar.zst'],
    ['index-path', /file: .*/, 'file: http://elsewhere/x'],
    ['index-path', /file: .*\n/, 'x: y\n'],
    ['bad-metadata', /version: .*/, 'version: 1.5'],
    ['bad-metadata', /version: .*/, 'version: one'],
    ['bad-metadata', /name: .*/, 'name: shop'],
    ['bad-metadata', /arch: .*/, 'depends: [x]'],
    ['bad-metadata', /arch: .*/, 'depends: x'],
    ['bad-metadata', /arch: .*/, 'use: [ssl]\n    iuse: [ldap]'],
  ]
  for (const [reason, from, to] of cases) {
    b.events.length = 0
    writeFileSync(file, right.replace(from, to))
    assert.deepEqual(named(await b.open().index('amd64', signal)), [], to)
    assert.match(b.warnings().join(), new RegExp(`^team index.yaml: ${reason}: package 1`), to)
  }
  const entry = right.slice(right.indexOf('  - name'))
  writeFileSync(file, `${right.replace('count: 1', 'count: 2')}${entry}`)
  assert.deepEqual(named(await b.open().index('amd64', signal)), ['app/shop 2.1.0 0'])
})

test('an index that is no index, cut, or newer is refused as a whole', async (t) => {
  const b = bench(t)
  await b.pack()
  await b.pack({ build: 1 })
  const { file } = await indexDirectory(b.packages)
  const right = readFileSync(file, 'utf8')
  const cut = right.slice(0, right.lastIndexOf('  - name'))
  const cases = [
    ['truncated', cut],
    ['bad-metadata', '<html>It works!</html>'],
    ['bad-metadata', ''],
    ['bad-metadata', 'stage5: 1\npackages: {}\n'],
    ['bad-metadata', 'a: [\n'],
    ['bad-metadata', 'stage5: 1\ncount: &a 1\npackages: [*a]\n'],
    ['version', right.replace('stage5: 1', 'stage5: 2')],
  ] as const
  for (const [reason, text] of cases) {
    writeFileSync(file, text)
    await refused(b.open().index('amd64', signal), 'S5_INDEX_REFUSED', reason)
  }
})

test('over HTTP: conditional, checked, and from the cache when offline', async (t) => {
  const b = bench(t)
  await using site = await openSite()
  const packed = await b.pack({ version: '1.0.0+x.1' })
  const { file } = await indexDirectory(b.packages)
  site.files.set('/team/index.yaml', readFileSync(file))
  site.files.set('/team/app-shop-1.0.0%2bx.1.tar.zst', readFileSync(packed.file))
  const spec = { url: `${site.url}/team/` }
  await refused(b.open(spec, { offline: true }).index('amd64', signal), 'S5_OFFLINE')
  const repository = b.open(spec)
  const first = await repository.index('amd64', signal)
  const second = await repository.index('amd64', signal)
  assert.deepEqual(second, first)
  const fetched = b.events.filter((event) => event.kind === 'index.fetched').map((event) => event.fromCache)
  assert.deepEqual(fetched, [false, true])
  await repository.fetch(lockedOf(first.packages[0]), signal)
  const offline = b.open(spec, { offline: true })
  assert.deepEqual(await offline.index('amd64', signal), first)
  await offline.fetch(lockedOf(first.packages[0]), signal)
  assert.equal(site.requests.length, 3)
  const elsewhere = b.open({ url: `${site.url}/other` }, { offline: true })
  await refused(elsewhere.index('amd64', signal), 'S5_OFFLINE')
  rmSync(join(b.folder, 'cache/packages'), { recursive: true })
  const bytes = Buffer.from(readFileSync(packed.file))
  bytes[50] = (bytes[50] as number) ^ 1
  site.files.set('/team/app-shop-1.0.0%2bx.1.tar.zst', bytes)
  await refused(repository.fetch(lockedOf(first.packages[0]), signal), 'S5_DIGEST_MISMATCH', 'digest')
})

test('with a keyring the index must be signed', async (t) => {
  const keys = openKeys()
  if (!keys) return t.skip('needs gpg and gpgv')
  t.after(() => keys[Symbol.dispose]())
  const b = bench(t)
  await b.pack()
  const { file } = await indexDirectory(b.packages)
  const good = keys.make('Team')
  writeFileSync(join(b.folder, 'team.asc'), keys.export([good], { armor: true }))
  const spec = { sources: [{ uri: '', suites: [], components: [], signedBy: ['team.asc'] }] }
  await refused(b.open(spec).index('amd64', signal), 'S5_SIGNATURE_BAD', 'unsigned')
  writeFileSync(`${file}.sig`, keys.detach(readFileSync(file), keys.make('Stranger')))
  await refused(b.open(spec).index('amd64', signal), 'S5_SIGNATURE_BAD', 'unknown-key')
  writeFileSync(`${file}.sig`, keys.detach(readFileSync(file), good))
  assert.equal((await b.open(spec).index('amd64', signal)).packages.length, 1)
  writeFileSync(file, readFileSync(file, 'utf8').replace('time: 17', 'time: 16'))
  await refused(b.open(spec).index('amd64', signal), 'S5_SIGNATURE_BAD', 'bad')
  return undefined
})
