/** What Portage's reader demands of a gpkg, asked of ours with tools that are not ours: python's tarfile, tar, gpg, b2sum. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { findTool } from '../../src/host/run.ts'
import { packGpkg } from '../../src/repo/pack-gpkg.ts'
import { unpackGpkg } from '../../src/repo/unpack-gpkg.ts'
import { memoryBodies } from '../helpers/bodies.ts'
import { openKeys } from './keys.ts'

const TIME = 1_700_000_000
const LONG = `long${'-name'.repeat(20)}`
const absent = ['python3', 'zstd', 'tar', 'diff'].find((tool) => findTool(tool) === undefined)
const skip = absent === undefined ? false : `needs ${absent}`

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 's5-gpkg-readers-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Links of both kinds, an empty folder, and paths that ustar has no room for. */
function rootIn(directory: string): string {
  const root = join(directory, 'root')
  const deep = join(root, 'usr/share', 'd'.repeat(90), 'e'.repeat(90))
  for (const folder of ['etc', 'usr/bin', 'var/empty']) mkdirSync(join(root, folder), { recursive: true })
  mkdirSync(deep, { recursive: true })
  writeFileSync(join(deep, 'f'.repeat(120)), 'far below\n')
  writeFileSync(join(root, 'etc/a.conf'), 'a=1\n')
  linkSync(join(root, 'etc/a.conf'), join(root, 'etc/z.conf'))
  symlinkSync('../../etc/a.conf', join(root, 'usr/bin/conf'))
  symlinkSync(`/${'t'.repeat(140)}`, join(root, 'usr/bin/far'))
  writeFileSync(join(root, 'usr/bin/big'), Buffer.alloc(300_000, 'stage5 '))
  return root
}

async function packed(directory: string, name: string, sign?: string): Promise<string> {
  const made = await packGpkg(rootIn(directory), {
    ...{ name: `app-misc/${name}`, version: '1.2', build: 3, arch: 'amd64', use: '', iuse: '', slot: '0' },
    ...{ eapi: '8', keywords: '', license: '', depends: [], pdepend: [], conflicts: [], summary: '' },
    ...{ out: join(directory, 'pkgdir'), date: TIME, keepOwners: false, ...(sign && { sign }) },
  })
  return made.file
}

/** Each check stands for one that Portage makes before it believes a package, or takes it apart. */
const READER = `
import hashlib, io, os, subprocess, sys, tarfile
file, target, signed = sys.argv[1], sys.argv[2], sys.argv[3] == 'signed'
with open(file, 'rb') as raw:
    head = raw.read(512)
assert head[257:265] == b'ustar\\x0000' and head[156:157] == b'0', 'the container is plain ustar'
with tarfile.open(file, 'r') as container:
    members = container.getmembers()
    names = [member.name for member in members]
    assert all(member.isreg() for member in members), 'regular members only'
    assert os.path.basename(names[0]) == 'gpkg-1' and members[0].size == 0, 'the marker comes first'
    assert all(name.count('/') == 1 and not name.startswith('/') for name in names), 'one folder deep'
    folder = os.path.commonpath(names)
    assert folder != '' and len(set(names)) == len(names), 'one folder, each name once'
    short = [name[len(folder) + 1:] for name in names]
    plain = ['metadata.tar.zst', 'image.tar.zst']
    wanted = [each for name in plain for each in ([name, name + '.sig'] if signed else [name])]
    assert short == ['gpkg-1', *wanted, 'Manifest'], short
    metadata = members[1]
    assert metadata.offset_data + metadata.size + 10240 < 51200, 'metadata is in what is asked of a server first'
    data = {name: container.extractfile(names[at]).read() for at, name in enumerate(short)}
manifest = data.pop('Manifest').decode()
if signed:
    gpg = ['gpg', '--batch', '--no-tty', '--no-auto-check-trustdb', '--status-fd', '2', '--verify']
    def verified(arguments, given):
        done = subprocess.run([*gpg, *arguments], input=given, capture_output=True)
        assert done.returncode == 0 and b'[GNUPG:] GOODSIG' in done.stderr, done.stderr.decode()
        assert b'[GNUPG:] TRUST_ULTIMATE' in done.stderr
        return done.stdout
    manifest = verified(['--output', '-', '-'], manifest.encode()).decode()
    for name in plain:
        signature = os.path.join(target, 'sig')
        open(signature, 'wb').write(data[name + '.sig'])
        verified([signature, '-'], data[name])
        os.remove(signature)
listed = {}
for line in manifest.splitlines():
    kind, name, size, *sums = line.split()
    assert kind == 'DATA' and name not in listed
    listed[name] = dict(zip(sums[::2], sums[1::2]))
    assert int(size) == len(data[name])
    for algorithm, maker in (('BLAKE2B', hashlib.blake2b), ('SHA512', hashlib.sha512)):
        assert listed[name].pop(algorithm) == maker(data[name]).hexdigest()
    assert listed[name] == {}
assert listed.keys() == data.keys(), 'all are listed, all that is listed is there'

def inner(name):
    return subprocess.run(['zstd', '--long=31', '-dc'], input=data[name], capture_output=True, check=True).stdout
with tarfile.open(mode='r:', fileobj=io.BytesIO(inner('metadata.tar.zst'))) as metadata:
    assert all(member.isreg() and member.name.startswith('metadata/') for member in metadata.getmembers())
    values = {member.name[9:]: metadata.extractfile(member).read().decode('latin1') for member in metadata.getmembers()}
assert {'CATEGORY', 'PF', 'SLOT', 'EAPI', 'BUILD_ID', 'BUILD_TIME', 'USE', 'repository'} <= values.keys()
assert os.path.basename(file) == values['PF'].strip() + '-' + values['BUILD_ID'].strip() + '.gpkg.tar'
image = inner('image.tar.zst')
assert len(image) - len(image.rstrip(b'\\0')) < 65536, 'no more zeros behind the end than a pipe holds'
seen = []
with tarfile.open(mode='r|', fileobj=io.BytesIO(image)) as entries:
    for entry in entries:
        assert entry.name not in seen and not entry.name.startswith('/') and '..' not in entry.name.split('/')
        assert entry.name == 'image' or entry.name.startswith('image/')
        assert not entry.isdev()
        assert not entry.islnk() or entry.linkname in seen, 'a hard link follows its file'
        seen.append(entry.name)
        entries.extract(entry, path=target)
print(len(seen))
`

function readAs(file: string, target: string, kind: 'signed' | 'plain', home?: string): string {
  mkdirSync(target)
  const env = { ...process.env, ...(home !== undefined && { GNUPGHOME: home }) }
  const { status, stdout, stderr } = spawnSync('python3', ['-c', READER, file, target, kind], {
    encoding: 'utf8',
    env,
  })
  assert.equal(status, 0, stderr)
  return stdout.trim()
}

test('every check that Portage makes of a package holds for ours, and its image is the folder', {
  skip,
}, async (t) => {
  const directory = scratch(t)
  for (const name of ['demo', LONG]) {
    const file = await packed(join(directory, name), name)
    const target = join(directory, name, 'out')
    assert.equal(readAs(file, target, 'plain'), '15')
    execFileSync('diff', ['-r', '--no-dereference', join(directory, name, 'root'), join(target, 'image')])
    const bytes = readFileSync(file)
    if (name === 'demo')
      assert.ok(bytes.subarray(0, 100).includes('/gpkg-1\0'), 'file type by its first bytes')
    assert.equal(execFileSync('tar', ['-tf', file], { encoding: 'utf8' }).trim().split('\n').length, 4)
  }
})

const keys = openKeys()

test('a signed package is verified by gpg, and by our reader where signatures are required', {
  skip: keys ? skip : 'needs gpg and gpgv',
}, async (t) => {
  t.after(() => keys![Symbol.dispose]())
  const directory = scratch(t)
  const key = keys!.make('packer@example.org')
  const { GNUPGHOME } = process.env
  t.after(() => {
    if (GNUPGHOME === undefined) delete process.env['GNUPGHOME']
    else process.env['GNUPGHOME'] = GNUPGHOME
  })
  process.env['GNUPGHOME'] = keys!.folder
  execFileSync('gpg', ['--batch', '--check-trustdb'], { stdio: 'ignore' })
  const file = await packed(directory, 'demo', key)
  assert.equal(readAs(file, join(directory, 'out'), 'signed', keys!.folder), '15')
  const ring = join(directory, 'ring.gpg')
  writeFileSync(ring, keys!.export([key]))
  const { signal } = new AbortController()
  const trust = { signatures: 'require', keyrings: { files: [ring], blocks: [], fingerprints: [] } } as const
  const { tree } = await unpackGpkg(file, memoryBodies(), { label: 'demo', signal, trust })
  assert.ok(tree.names.some(({ path }) => path === 'etc/z.conf'))
  const bytes = readFileSync(file)
  const at = bytes.lastIndexOf('-----BEGIN PGP SIGNED MESSAGE') + 80
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  const other = join(directory, 'other.gpkg.tar')
  writeFileSync(other, bytes)
  await assert.rejects(unpackGpkg(other, memoryBodies(), { label: 'demo', signal, trust }), (error) =>
    isStage5Error(error, 'S5_SIGNATURE_BAD'),
  )
  await assert.rejects(packed(join(directory, 'more'), 'demo', 'nobody@example.org'), (error) =>
    isStage5Error(error, 'S5_TOOL_FAILED'),
  )
})
