/** Real packages against other readers: dpkg-deb opens them, the `tar` package lists them, md5sums vouch for the bytes. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { Parser, type ReadEntry } from 'tar'
import { unpackDeb, unpackNative } from '../../src/repo/unpack.ts'
import { entriesOf, lookup, type Tree } from '../../src/tree/tree.ts'
import { memoryBodies } from '../helpers/bodies.ts'
import { makeDeb, makeNative } from '../helpers/pack.ts'

const signal = new AbortController().signal
const directory = mkdtempSync(join(tmpdir(), 's5-unpack-'))
after(() => rmSync(directory, { recursive: true }))

const REAL = [
  'base-files',
  'base-passwd',
  'busybox-static',
  'ca-certificates',
  'dash',
  'libc6',
  'libpam-modules',
  'mawk',
  'media-types',
  'nginx-common',
  'openssl',
  'passwd',
  'perl-base',
  'procps',
  'tzdata',
  'util-linux',
]

/** Packages of this machine's own apt; undefined when there is none, or no network. */
function download(names: readonly string[]): string[] | undefined {
  const folder = join(directory, 'real')
  mkdirSync(folder)
  const { status } = spawnSync('apt-get', ['download', '-q', ...names], { cwd: folder, timeout: 120_000 })
  return status === 0 ? readdirSync(folder).map((name) => join(folder, name)) : undefined
}

/** What dpkg-deb and the `tar` package say is in a package, one line each. */
async function told(file: string): Promise<string[]> {
  const { stdout, status } = spawnSync('dpkg-deb', ['--fsys-tarfile', file], { maxBuffer: 2 ** 30 })
  assert.equal(status, 0)
  const lines: string[] = []
  const parser = new Parser({ strict: true, maxMetaEntrySize: 2 ** 20 })
  parser.on('entry', (entry: ReadEntry) => {
    const sum = createHash('sha256')
    entry.on('data', (piece: Buffer) => sum.update(piece))
    entry.on('end', () => {
      const path = clean(entry.path)
      const meta = `${path} ${((entry.mode ?? 0) & 0o7777).toString(8)} ${entry.uid}:${entry.gid} ${Number(entry.mtime) / 1000}`
      if (entry.type === 'File' || entry.type === 'OldFile')
        lines.push(`file ${meta} ${entry.size} ${sum.digest('hex')}`)
      else if (entry.type === 'Directory') lines.push(`dir ${meta}`)
      else if (entry.type === 'SymbolicLink') lines.push(`symlink ${meta} ${entry.linkpath}`)
      else if (entry.type === 'Link') lines.push(`link ${path} ${clean(entry.linkpath ?? '')}`)
      else assert.fail(`${entry.path} is a ${entry.type}`)
    })
  })
  const ended = new Promise((resolve, reject) => parser.on('end', resolve).on('error', reject))
  parser.end(stdout)
  await ended
  return lines.sort()
}

function clean(path: string): string {
  return path.replace(/^\.\//, '').replace(/\/$/, '')
}

/** The same lines from our tree; of the names of one inode the one that has a body in the archive comes from `bodies`. */
function ours(tree: Tree, links: ReadonlyMap<string, string>): string[] {
  return [...entriesOf(tree)]
    .map(({ path, inode }) => {
      const text = Buffer.from(path, 'latin1').toString()
      const target = links.get(text)
      if (target !== undefined) {
        assert.equal(lookup(tree, Buffer.from(target).toString('latin1'))?.inode, inode, path)
        return `link ${text} ${target}`
      }
      const meta = `${text} ${inode.mode.toString(8)} ${inode.uid}:${inode.gid} ${inode.mtime}`
      if (inode.type === 'file') return `file ${meta} ${inode.size} ${inode.content.slice(7)}`
      if (inode.type === 'symlink') return `symlink ${meta} ${Buffer.from(inode.target, 'latin1').toString()}`
      return `${inode.type} ${meta}`
    })
    .sort()
}

test('real packages unpack to what dpkg-deb says is in them', async (t) => {
  const files = download(REAL)
  if (!files) return t.skip('needs apt-get and its archive')
  assert.equal(files.length, REAL.length)
  let sums = 0
  for (const file of files) {
    const bodies = memoryBodies()
    const { tree, control } = await unpackDeb(file, bodies, { label: 'real', signal })
    const expected = await told(file)
    const links = new Map(
      expected
        .filter((line) => line.startsWith('link '))
        .map((line) => line.slice(5).split(' ') as [string, string]),
    )
    assert.deepEqual(ours(tree, links), expected, file)
    for (const line of (control['md5sums'] ?? '').split('\n').filter(Boolean)) {
      const entry = lookup(tree, line.slice(34))
      assert.ok(entry?.inode.type === 'file', line)
      const bytes = bodies.kept.get(entry.inode.content)
      assert.ok(bytes)
      assert.equal(createHash('md5').update(bytes).digest('hex'), line.slice(0, 32), line)
      sums++
    }
    const { stdout } = spawnSync('dpkg-deb', ['--field', file, 'Package'], { encoding: 'utf8' })
    assert.ok(control['control']?.startsWith(`Package: ${stdout}`))
  }
  assert.ok(sums > 1000)
})

test('what GNU tar packs with capabilities, long and odd names comes out the same', async (t) => {
  const source = join(directory, 'gnu')
  mkdirSync(join(source, 'root'), { recursive: true })
  const long = 'l'.repeat(200)
  writeFileSync(join(source, 'package.yaml'), 'name: app/demo\n')
  writeFileSync(join(source, 'root', 'ping'), 'elf', { mode: 0o755 })
  writeFileSync(join(source, 'root', long), 'long')
  writeFileSync(Buffer.from(`${source}/root/caf\xe9\n`, 'latin1'), 'odd')
  symlinkSync('/'.padEnd(300, 't'), join(source, 'root', 'link'))
  const { status: set } = spawnSync('setcap', ['cap_net_bind_service=ep', join(source, 'root', 'ping')])
  if (set !== 0) return t.skip('needs root and setcap')
  const { stdout, status } = spawnSync(
    'tar',
    ['--xattrs', '--xattrs-include=*', '--format=pax', '-C', source, '-c', 'package.yaml', 'root'],
    { maxBuffer: 2 ** 20 },
  )
  assert.equal(status, 0)
  const file = join(directory, 'gnu.tar.zst')
  writeFileSync(file, zstdCompressSync(stdout))
  const { tree } = await unpackNative(file, memoryBodies(), { label: 'x', signal })
  assert.deepEqual(lookup(tree, 'ping')?.inode.xattrs, [
    // VFS_CAP_REVISION_2 and its effective bit, permitted and inheritable of the low 32, then of the high 32
    ['security.capability', '\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0'],
  ])
  assert.equal(lookup(tree, long)?.inode.type, 'file')
  assert.equal(lookup(tree, 'caf\xe9\n')?.inode.type, 'file')
  const link = lookup(tree, 'link')?.inode
  assert.ok(link?.type === 'symlink')
  assert.equal(link.target.length, 300)
  const { mtimeMs } = statSync(join(source, 'root', 'ping'))
  assert.equal(lookup(tree, 'ping')?.inode.mtime, Math.floor(mtimeMs / 1000))
})

test('a package keeps owners, modes, hard links and its control members', async () => {
  const file = join(directory, 'demo.deb')
  writeFileSync(
    file,
    makeDeb({
      packing: 'gz',
      control: { postinst: '#!/bin/sh\nexit 0\n', conffiles: '/etc/caf\xe9\n' },
      data: [
        { name: './usr/', mode: 0o2775, gid: 50, mtime: 7 },
        { name: './usr/sudo', data: 'suid', mode: 0o4755, uid: 1000, gid: 33, mtime: 8 },
        { name: './usr/sudoedit', type: '1', link: './usr/sudo', mode: 0o600 },
        { name: './tmp/', mode: 0o1777 },
        { name: './lib', type: '2', link: 'usr/lib', mode: 0o777 },
        { name: './opt/app/x' },
      ],
    }),
  )
  const bodies = memoryBodies()
  const { tree, control } = await unpackDeb(file, bodies, {
    label: 'demo_1.0-1',
    signal,
    expect: { name: 'demo', version: '1.0-1', arch: 'all' },
  })
  assert.deepEqual(control, {
    conffiles: '/etc/caf\xe9\n',
    control: 'Package: demo\nVersion: 1.0-1\nArchitecture: all\n',
    postinst: '#!/bin/sh\nexit 0\n',
  })
  assert.deepEqual(
    tree.names.map(({ path }) => path),
    ['', 'lib', 'opt', 'opt/app', 'opt/app/x', 'tmp', 'usr', 'usr/sudo', 'usr/sudoedit'],
  )
  assert.ok(tree.names.every(({ owner }) => owner === 'demo_1.0-1'))
  const meta = (path: string) => {
    const inode = lookup(tree, path)?.inode
    return inode && [inode.type, inode.mode, inode.uid, inode.gid, inode.mtime]
  }
  assert.deepEqual(meta('usr'), ['dir', 0o2775, 0, 50, 7])
  assert.deepEqual(meta('usr/sudo'), ['file', 0o4755, 1000, 33, 8])
  assert.deepEqual(meta('tmp'), ['dir', 0o1777, 0, 0, 1_700_000_000])
  assert.deepEqual(meta('opt/app'), ['dir', 0o755, 0, 0, 0])
  assert.equal(lookup(tree, 'usr/sudoedit')?.inode, lookup(tree, 'usr/sudo')?.inode)
  assert.equal(bodies.kept.size, 2)
})

test('a file that is not there is named', async () => {
  await assert.rejects(unpackDeb('/nowhere/x.deb', memoryBodies(), { label: 'x_1', signal }), {
    code: 'S5_FILE_MISSING',
  })
})

test('an aborted signal ends unpacking with its reason and leaves no body open', async () => {
  const file = join(directory, 'large.tar.zst')
  writeFileSync(
    file,
    makeNative([{ name: 'root/a', data: readFileSync(process.execPath).subarray(0, 20_000_000) }]),
  )
  const stop = new AbortController()
  const bodies = memoryBodies()
  const slow = {
    open: (size: number) => {
      const body = bodies.open(size)
      return {
        ...body,
        write: (bytes: Uint8Array) => {
          stop.abort('enough')
          body.write(bytes)
        },
      }
    },
  }
  await assert.rejects(
    unpackNative(file, slow, { label: 'x', signal: stop.signal }),
    (error) => error === 'enough',
  )
  assert.equal(bodies.unfinished(), 0)
  await assert.rejects(
    unpackNative(file, bodies, { label: 'x', signal: AbortSignal.abort('before') }),
    (error) => error === 'before',
  )
})
