/** Upper layers that a kernel wrote, read and mended on a disk and in a folder: both say the same. */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/base/digest.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { folderLayer } from '../../src/deploy/upper-folder.ts'
import type { UpperLayer } from '../../src/deploy/upper-layer.ts'
import { diskLayer } from '../../src/deploy/upper.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { readXattrs, setXattrs } from '../../src/store/xattrs.ts'
import { lookup, type Tree, treeOf } from '../../src/tree/tree.ts'
import { resetting, shadowsOf } from '../../src/fleet/shadow.ts'

const XATTRS = { read: readXattrs, set: setXattrs }

/** What a guest did in its /etc, in a shell whose current folder that is. */
const GUEST = `
echo mine >edited; touch touched; rm removed; rm -r d; mkdir d; echo own >d/own
ln -s target link; ln -s ${'t'.repeat(80)} long-link; mkfifo pipe; mknod disk b 7 300
mkdir -p deep/er; echo new >deep/er/file; chown 7:8 deep/er/file; chmod 4750 deep/er/file
setfattr -n user.colour -v 0x00ff10 deep/er/file; printf 'x' >"$(printf 'b\\351 "q" \\\\')"
`

interface Layers {
  readonly folder: UpperLayer
  readonly disk: UpperLayer
  readonly path: string
  readonly image: string
}

async function mounted(t: TestContext, path: string): Promise<Layers | undefined> {
  const tool = ['unshare', 'setfattr', 'getfattr', 'mke2fs', 'debugfs', 'e2fsck'].find(
    (name) => findTool(name) === undefined,
  )
  const missing = process.getuid?.() !== 0 ? 'root' : tool
  if (missing !== undefined) {
    t.skip(`needs ${missing}`)
    return undefined
  }
  for (const name of ['base/d', 'disk/upper/etc', 'work', 'merged'])
    mkdirSync(join(path, name), { recursive: true })
  for (const name of ['edited', 'touched', 'removed', 'plain', 'd/x'])
    writeFileSync(join(path, 'base', name), `base ${name}\n`)
  const mount =
    'mount -t overlay -o lowerdir=base,upperdir=disk/upper/etc,workdir=work,redirect_dir=off,metacopy=off,index=off o merged'
  const { code, stderr } = await run(
    ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', `${mount}\ncd merged\n${GUEST}`],
    { cwd: path, accept: 'any' },
  )
  if (code !== 0 && /^mount:/m.test(stderr)) {
    t.skip(`needs a kernel that mounts overlays here: ${stderr.trim()}`)
    return undefined
  }
  assert.equal(code, 0, stderr)
  const image = join(path, 'image')
  await run(['mke2fs', '-q', '-F', '-t', 'ext4', '-d', 'disk', image, '8M'], { cwd: path })
  return { folder: folderLayer(join(path, 'disk/upper'), XATTRS), disk: diskLayer(image), path, image }
}

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 0 }
function base(version: string): Tree {
  const names = ['edited', 'touched', 'removed', 'plain', 'd/x']
  return treeOf(
    names.map((name) => {
      const text = `${version} ${name}\n`
      const inode = { type: 'file' as const, ...meta, size: text.length, content: digestOf(text) }
      return { path: `etc/${name}`, owner: 'test', inode }
    }),
  )
}

test('what a guest did is read in a folder as on a disk, and means what it did', async (t) => {
  using place = temporaryDirectory()
  const layers = await mounted(t, place.path)
  if (!layers) return
  const [before, after] = [base('base'), base('next')]
  const isCompared = (path: string): boolean => lookup(before, path) !== undefined
  await layers.disk.settle(t.signal)
  const inFolder = await layers.folder.read(['etc'], isCompared, t.signal)
  const onDisk = await layers.disk.read(['etc'], isCompared, t.signal)
  assert.deepEqual(inFolder, onDisk)
  assert.deepEqual(
    inFolder.map(({ path, inode }) => `${path} ${inode?.type ?? 'gone'}`),
    [
      'etc/b\xe9 "q" \\ file',
      'etc/d dir',
      'etc/d/own file',
      'etc/deep dir',
      'etc/deep/er dir',
      'etc/deep/er/file file',
      'etc/disk block',
      'etc/edited file',
      'etc/link symlink',
      'etc/long-link symlink',
      'etc/pipe fifo',
      'etc/removed gone',
      'etc/touched file',
    ],
  )
  const file = inFolder.find(({ path }) => path === 'etc/deep/er/file')?.inode
  assert.deepEqual([file?.mode, file?.uid, file?.gid], [0o4750, 7, 8])
  assert.deepEqual(file?.xattrs, [['user.colour', '\x00\xff\x10']])
  const device = inFolder.find(({ path }) => path === 'etc/disk')?.inode
  assert.ok(device && 'major' in device)
  assert.deepEqual([device.major, device.minor], [7, 300])
  assert.deepEqual(
    shadowsOf(inFolder, before, after).map(({ path, kind, remedy }) => `${path} ${kind} ${remedy}`),
    ['etc/d opaque keep', 'etc/edited edited both', 'etc/removed removed keep', 'etc/touched touched reset'],
  )
})

/** cap_net_bind_service, permitted. @see capabilities(7) */
const CAPABILITY = ['security.capability', `\x01\0\0\x02\0\x04${'\0'.repeat(14)}`] as const

test('names taken out and files put beside are the same in a folder and on a disk', async (t) => {
  using place = temporaryDirectory()
  const layers = await mounted(t, place.path)
  if (!layers) return
  const bytes = Buffer.from('new default\n')
  const inode = {
    type: 'file',
    mode: 0o2755,
    uid: 3,
    gid: 4,
    mtime: 86_400,
    size: bytes.length,
    content: digestOf(bytes),
  } as const
  const seen: unknown[] = []
  for (const layer of [layers.folder, layers.disk]) {
    const upper = await layer.read(['etc'], () => false, t.signal)
    const add = [{ path: 'etc/edited.stage5-new', inode, bytes }]
    for (let times = 0; times < 2; times++)
      await layer.mend(
        times === 0 ? upper : await layer.read(['etc'], () => false, t.signal),
        ['etc/removed', 'etc/d', 'etc/deep/er'],
        add,
        t.signal,
      )
    const now = await layer.read(['etc'], () => true, t.signal)
    assert.ok(!now.some(({ path }) => /^etc\/(?:removed|d|deep\/er)(?:\/|$)/.test(path)))
    assert.deepEqual(now.find(({ path }) => path.endsWith('stage5-new'))?.inode, { ...inode, mtime: 0 })
    seen.push(now)
  }
  assert.deepEqual(seen[0], seen[1])
  await run(['e2fsck', '-f', '-n', layers.image])
  assert.equal(statSync(join(layers.path, 'disk/upper/etc/edited.stage5-new')).mtimeMs, 86_400_000)
  assert.equal(
    readFileSync(join(layers.path, 'disk/upper/etc/edited'), 'utf8'),
    'mine\n',
    'others are left alone',
  )
  const capable = { ...inode, xattrs: [CAPABILITY] }
  const add = [{ path: 'etc/capable', inode: capable, bytes }]
  await layers.folder.mend([], [], add, t.signal)
  const found = await layers.folder.read(['etc'], () => true, t.signal)
  assert.deepEqual(found.find(({ path }) => path === 'etc/capable')?.inode, { ...capable, mtime: 0 })
})

test('what was only touched goes, in a folder as on a disk, and a second time there is nothing to do', async (t) => {
  using place = temporaryDirectory()
  const layers = await mounted(t, place.path)
  if (!layers) return
  const [before, after] = [base('base'), base('next')]
  const isCompared = (path: string): boolean => lookup(before, path) !== undefined
  for (const layer of [layers.folder, layers.disk]) {
    const names: string[][] = []
    const gone: string[][] = []
    for (let times = 0; times < 2; times++) {
      const upper = await layer.read(['etc'], isCompared, t.signal)
      const paths = resetting(shadowsOf(upper, before, after)).map(({ path }) => path)
      await layer.mend(upper, paths, [], t.signal)
      gone.push(paths)
      names.push(upper.map(({ path }) => path))
    }
    assert.deepEqual(gone, [['etc/touched'], []])
    assert.deepEqual(
      names[1],
      names[0]?.filter((path) => path !== 'etc/touched'),
      'all else stays',
    )
  }
})

test('a disk that could not be mended to the end is as it was', async (t) => {
  using place = temporaryDirectory()
  const layers = await mounted(t, place.path)
  if (!layers) return
  const killed = join(place.path, '.image.0.mended')
  writeFileSync(killed, 'of a program that was killed')
  const before = readFileSync(layers.image)
  const upper = await layers.disk.read(['etc'], () => false, t.signal)
  const stale = upper.filter(({ path }) => path !== 'etc/deep/er/file')
  await assert.rejects(layers.disk.mend(stale, ['etc/touched', 'etc/deep'], [], t.signal), (error) =>
    isStage5Error(error, 'S5_TOOL_FAILED'),
  )
  assert.ok(readFileSync(layers.image).equals(before))
  assert.deepEqual(
    readdirSync(place.path).filter((name) => name.includes('mended')),
    [],
  )
  await layers.disk.mend(upper, ['etc/touched', 'etc/deep'], [], t.signal)
  assert.ok(!readFileSync(layers.image).equals(before))
})

test('a folder is read while its guest makes and takes names', async (t) => {
  using place = temporaryDirectory()
  const layers = await mounted(t, place.path)
  if (!layers) return
  const busy = run(
    [
      'sh',
      '-c',
      'while [ ! -e stop ]; do for n in 1 2 3 4; do echo $n >disk/upper/etc/t$n; rm disk/upper/etc/t$n; done; done',
    ],
    { cwd: place.path, signal: t.signal },
  )
  try {
    for (let times = 0; times < 20; times++) {
      const seen = await layers.folder.read(['etc'], () => true, t.signal)
      assert.ok(seen.some(({ path }) => path === 'etc/edited'))
    }
  } finally {
    writeFileSync(join(place.path, 'stop'), '')
    await busy
  }
})

test('who is not root is told so, and sees no half of it', async (t) => {
  using place = temporaryDirectory()
  const euid = process.geteuid
  if (process.getuid?.() !== 0 || !euid) return t.skip('needs root')
  mkdirSync(join(place.path, 'upper'))
  process.seteuid?.(65_534)
  try {
    await assert.rejects(
      folderLayer(join(place.path, 'upper'), XATTRS).read(['etc'], () => true, t.signal),
      (error) => isStage5Error(error, 'S5_FILE_FORBIDDEN'),
    )
  } finally {
    process.seteuid?.(0)
  }
  assert.ok(!existsSync(join(place.path, 'upper/etc')))
})
