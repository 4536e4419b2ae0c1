/** Gentoo packages that `stage5 pack` makes, and the index of a PKGDIR: read back by tar, b2sum and our own readers. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { zstdDecompressSync } from 'node:zlib'
import { isStage5Error } from '../../src/base/errors.ts'
import { findTool } from '../../src/host/run.ts'
import { parseGentooIndex } from '../../src/format/gentoo-index.ts'
import { indexPkgdir } from '../../src/repo/index-pkgdir.ts'
import { packGpkg, type PackGpkgOptions } from '../../src/repo/pack-gpkg.ts'
import { readBuildInfo, unpackGentoo } from '../../src/repo/unpack-gentoo.ts'
import { entriesOf } from '../../src/tree/tree.ts'
import { memoryBodies } from '../helpers/bodies.ts'
import { makeElf } from '../helpers/make-elf.ts'

const TIME = 1_700_000_000
const { signal } = new AbortController()

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'gpost-pack-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

function write(directory: string, files: { readonly [path: string]: string | Uint8Array }): string {
  for (const [path, data] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), data)
  }
  return directory
}

/** A library, a program that needs it, a hard link, a symlink, and a name of 120 bytes. */
function demo(directory: string): string {
  write(directory, {
    'usr/bin/demo': makeElf({ needed: ['libdemo.so.1', 'libc.so.6'] }),
    'usr/lib64/libdemo.so.1': makeElf({ soname: 'libdemo.so.1' }),
    'etc/demo.conf': 'a=1\n',
    [`usr/share/${'x'.repeat(120)}`]: 'long',
  })
  chmodSync(join(directory, 'usr/bin/demo'), 0o755)
  symlinkSync('demo', join(directory, 'usr/bin/alias'))
  linkSync(join(directory, 'etc/demo.conf'), join(directory, 'etc/twin.conf'))
  for (const path of ['etc/demo.conf', 'usr/bin/demo']) utimesSync(join(directory, path), TIME - 5, TIME - 5)
  return directory
}

function options(out: string, more: Partial<PackGpkgOptions> = {}): PackGpkgOptions {
  return {
    name: 'app-misc/demo',
    version: '1.2.3_rc1-r2',
    build: 3,
    arch: 'amd64',
    use: 'ssl -ldap',
    iuse: '+ssl ldap debug',
    slot: '0/1',
    eapi: '8',
    keywords: '',
    license: 'MIT',
    depends: ['>=dev-libs/openssl-3:0/3=', 'ssl? ( app-misc/ca-certificates )'],
    pdepend: ['app-misc/late'],
    conflicts: ['app-misc/other'],
    summary: 'A "demo" of $things',
    out,
    date: TIME,
    keepOwners: false,
    ...more,
  }
}

test('a gpkg is what GLEP 78 says, byte for byte the same each time', async (t) => {
  const top = scratch(t)
  const folder = demo(join(top, 'root'))
  const made = await packGpkg(folder, options(join(top, 'a')))
  assert.equal(made.file, join(top, 'a/app-misc/demo/demo-1.2.3_rc1-r2-3.gpkg.tar'))
  const bytes = readFileSync(made.file)
  assert.equal(bytes.length, made.size)
  assert.deepEqual(readFileSync((await packGpkg(folder, options(join(top, 'b')))).file), bytes)
  assert.deepEqual(readdirSync(join(top, 'a')), ['app-misc'])
  const out = join(top, 'out')
  mkdirSync(out)
  const listed = execFileSync('tar', ['-tvf', made.file, '--numeric-owner'], { encoding: 'utf8' })
  assert.deepEqual(
    listed
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^(\S+ \S+).* (\S+)$/, '$1 $2')),
    ['gpkg-1', 'metadata.tar.zst', 'image.tar.zst', 'Manifest'].map(
      (name) => `-rw-r--r-- 0/0 demo-1.2.3_rc1-r2-3/${name}`,
    ),
  )
  execFileSync('tar', ['-xf', made.file, '-C', out, '--strip-components=1'])
  const lines = readFileSync(join(out, 'Manifest'), 'utf8').trimEnd().split('\n')
  for (const line of lines) {
    const [kind, name = '', size, , sha512, , blake2b] = line.split(' ')
    assert.equal(kind, 'DATA')
    assert.equal(readFileSync(join(out, name)).length, Number(size))
    for (const [tool, sum] of [
      ['b2sum', blake2b],
      ['sha512sum', sha512],
    ] as const)
      assert.equal(execFileSync(tool, [join(out, name)], { encoding: 'utf8' }).split(' ')[0], sum)
  }
  assert.equal(lines.length, 3)
  const image = join(out, 'image.tar')
  writeFileSync(image, zstdDecompressSync(readFileSync(join(out, 'image.tar.zst'))))
  const names = execFileSync('tar', ['-tf', image], { encoding: 'utf8' }).trimEnd().split('\n')
  assert.equal(names[0], 'image/')
  assert.ok(names.every((name) => name.startsWith('image/')))
  assert.ok(names.includes('image/usr/bin/alias'))
})

/** Opens a package with the module that Portage reads packages with, and checks what GLEP 78 says of names and sums. */
const GLEP78 = `
import hashlib, io, subprocess, sys, tarfile
with tarfile.open(sys.argv[1], 'r:') as container:
    names = container.getnames()
    assert len({name.split('/')[0] for name in names}) == 1
    assert all(name.count('/') == 1 and not name.startswith('/') for name in names)
    data = {name.split('/')[1]: container.extractfile(name).read() for name in names}
manifest = data.pop('Manifest').decode()
for line in manifest.splitlines():
    kind, name, size, *sums = line.split()
    bytes = data.pop(name)
    assert kind == 'DATA' and len(bytes) == int(size)
    for algorithm, value in zip(sums[::2], sums[1::2]):
        made = hashlib.new({'BLAKE2B': 'blake2b', 'SHA512': 'sha512'}[algorithm], bytes)
        assert made.hexdigest() == value
    if name.startswith(('metadata', 'image')):
        inner = subprocess.run(['zstd', '-dc'], input=bytes, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(inner), mode='r|') as members:
            print(name, *sorted(member.name for member in members))
assert data == {}, data
`

test("python's tarfile, with which Portage reads, finds what GLEP 78 asks for", async (t) => {
  if (findTool('python3') === undefined || findTool('zstd') === undefined)
    return t.skip('needs python3 and zstd')
  const top = scratch(t)
  const root = write(join(top, 'root'), { 'usr/share/one': '1' })
  const made = await packGpkg(
    root,
    options(join(top, 'a'), {
      depends: [],
      conflicts: [],
      pdepend: [],
      license: '',
      summary: '',
      iuse: '',
      use: '',
    }),
  )
  const said = execFileSync('python3', ['-c', GLEP78, made.file], { encoding: 'utf8' })
  const keys =
    'BUILD_ID BUILD_TIME CATEGORY CHOST DEFINED_PHASES EAPI KEYWORDS PF SIZE SLOT USE demo-1.2.3_rc1-r2.ebuild environment.bz2 repository'
  assert.deepEqual(said.trimEnd().split('\n'), [
    `metadata.tar.zst ${keys
      .split(' ')
      .map((key) => `metadata/${key}`)
      .join(' ')}`,
    'image.tar.zst image image/usr image/usr/share image/usr/share/one',
  ])
})

test('its build-info says what Portage needs', async (t) => {
  const top = scratch(t)
  const made = await packGpkg(demo(join(top, 'root')), options(join(top, 'a')))
  const info = await readBuildInfo(made.file, { label: 'demo', signal })
  const value = (key: string): string | undefined => info[key]?.trimEnd()
  const wanted: { readonly [key: string]: string } = {
    BUILD_ID: '3',
    BUILD_TIME: String(TIME),
    CATEGORY: 'app-misc',
    CHOST: 'x86_64-pc-linux-gnu',
    DEFINED_PHASES: '-',
    EAPI: '8',
    IUSE: '+ssl debug ldap',
    KEYWORDS: 'amd64',
    PDEPEND: 'app-misc/late',
    PF: 'demo-1.2.3_rc1-r2',
    PROVIDES: 'x86_64: libdemo.so.1',
    RDEPEND: '>=dev-libs/openssl-3:0/3= ssl? ( app-misc/ca-certificates ) !app-misc/other',
    REQUIRES: 'x86_64: libc.so.6',
    SLOT: '0/1',
    USE: 'amd64 elibc_glibc kernel_linux ssl',
  }
  for (const [key, text] of Object.entries(wanted)) assert.equal(value(key), text, key)
  const script = `${execFileSync('bzip2', ['-dc'], { input: Buffer.from(info['environment.bz2'] ?? '', 'latin1'), encoding: 'utf8' })}\nprintf '%s|' "$PN" "$PV" "$PR" "$DESCRIPTION" "$USE"`
  assert.equal(
    execFileSync('bash', ['-c', script], { encoding: 'utf8' }),
    'demo|1.2.3_rc1|r2|A "demo" of $things|amd64 elibc_glibc kernel_linux ssl|',
  )
  const ebuild = `${info['demo-1.2.3_rc1-r2.ebuild']}\nprintf '%s|' "$EAPI" "$DESCRIPTION" "$RDEPEND"`
  assert.match(
    execFileSync('bash', ['-c', ebuild], { encoding: 'utf8' }),
    /^8\|A "demo" of \$things\|>=dev-libs/,
  )
  const tree = (await unpackGentoo(made.file, memoryBodies(), { label: 'demo', signal })).tree
  const entries = new Map([...entriesOf(tree)].map((entry) => [entry.path, entry]))
  assert.equal(entries.get('etc/demo.conf')?.inode, entries.get('etc/twin.conf')?.inode)
  assert.equal(entries.get('usr/bin/demo')?.inode.mode, 0o755)
  assert.ok(entries.has(`usr/share/${'x'.repeat(120)}`))
})

test('what cannot be a Gentoo package is refused with the reason', async (t) => {
  const top = scratch(t)
  const folder = demo(join(top, 'root'))
  for (const [more, message] of [
    [{ name: 'demo' }, /expected a name such as dev-lang\/php, found "demo"/],
    [{ name: 'a/b/c' }, /expected a name/],
    [{ version: '1.2.3-beta' }, /expected a version of ebuilds/],
    [{ slot: 'a/b/c' }, /expected a slot/],
    [{ eapi: '9' }, /expected an EAPI from 0 to 8/],
    [{ arch: 'any' }, /expected an architecture of amd64, .*, found "any"/],
    [{ use: 'ssl ssl' }, /expected words for --use, each once/],
    [{ use: 'gtk' }, /the flag gtk of --use is not in --iuse/],
    [{ keywords: '~~x' }, /expected words for --keywords/],
    [{ depends: ['dev-libs/openssl ('] }, /--depends "dev-libs\/openssl \("/],
    [{ depends: ['nonsense'] }, /--depends "nonsense"/],
    [{ summary: 'a\nb' }, /expected one line for DESCRIPTION/],
  ] as const)
    await assert.rejects(packGpkg(folder, options(join(top, 'a'), more)), (error: unknown) => {
      assert.ok(isStage5Error(error, 'S5_PACKAGE_INVALID'), String(error))
      assert.match(error.message, message)
      return true
    })
})

test('the index of a PKGDIR says what packages say, and changes only when they do', async (t) => {
  const top = scratch(t)
  const folder = demo(join(top, 'root'))
  const out = join(top, 'pkgdir')
  for (const build of [1, 2])
    await packGpkg(folder, options(out, { build, use: build === 1 ? 'ssl' : 'ldap' }))
  const plain = {
    name: 'dev-libs/plain',
    version: '1',
    slot: '0',
    iuse: '',
    depends: [],
    pdepend: [],
    conflicts: [],
  }
  await packGpkg(folder, options(out, plain))
  const made = await indexPkgdir(out)
  assert.deepEqual(made, { packages: 3, file: join(out, 'Packages') })
  const first = readFileSync(made.file)
  const index = parseGentooIndex('Packages', first)
  assert.equal(index.timestamp, TIME)
  const entries = [...index.entries()].map(({ fields }) => fields)
  assert.deepEqual(
    entries.map((fields) => ['CPV', 'BUILD_ID', 'SLOT', 'PATH'].map((key) => fields.get(key))),
    [
      ['app-misc/demo-1.2.3_rc1-r2', '1', '0/1', 'app-misc/demo/demo-1.2.3_rc1-r2-1.gpkg.tar'],
      ['app-misc/demo-1.2.3_rc1-r2', '2', '0/1', 'app-misc/demo/demo-1.2.3_rc1-r2-2.gpkg.tar'],
      ['dev-libs/plain-1', '3', undefined, 'dev-libs/plain/plain-1-3.gpkg.tar'],
    ],
  )
  const file = join(out, entries[0]?.get('PATH') ?? '')
  assert.equal(entries[0]?.get('SIZE'), String(readFileSync(file).length))
  assert.equal(execFileSync('md5sum', [file], { encoding: 'utf8' }).split(' ')[0], entries[0]?.get('MD5'))
  assert.equal(execFileSync('sha1sum', [file], { encoding: 'utf8' }).split(' ')[0], entries[0]?.get('SHA1'))
  assert.deepEqual(execFileSync('gzip', ['-dc', join(out, 'Packages.gz')]), first)
  await indexPkgdir(out)
  assert.deepEqual(readFileSync(made.file), first)
  rmSync(file)
  writeFileSync(
    made.file,
    first.toString().replace('\nARCH: amd64\n', '\nARCH: amd64\nURI: https://example.org/x\n'),
  )
  await indexPkgdir(out)
  const after = parseGentooIndex('Packages', readFileSync(made.file))
  assert.deepEqual(
    [after.size, after.timestamp, after.header.get('URI')],
    [2, TIME + 1, 'https://example.org/x'],
  )
  writeFileSync(join(out, 'broken.gpkg.tar'), 'x')
  await assert.rejects(indexPkgdir(out), (error) => isStage5Error(error, 'S5_ARCHIVE_REFUSED'))
  await assert.rejects(indexPkgdir(join(top, 'gone')), (error) => isStage5Error(error, 'S5_FILE_MISSING'))
})
