/** Trees to directories and back, by links and by copies. */
import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { digestOf } from '../../src/base/digest.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory, type TemporaryDirectory } from '../../src/host/temp.ts'
import { checkout } from '../../src/store/checkout.ts'
import { readDirectory } from '../../src/store/directory.ts'
import { openStore, type Store } from '../../src/store/store.ts'
import { parseXattrs } from '../../src/store/xattrs.ts'
import { printTree } from '../../src/tree/text.ts'
import { type FileInode, type Tree, treeOf } from '../../src/tree/tree.ts'
import { fileOf, problemsOf, someBytes } from './workload.ts'

const isRoot = process.getuid?.() === 0
const MINE = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
const TIME = 1_600_000_000

/** Small, large, empty and setuid files, hard links, odd names, a directory that nobody may write to. */
async function sample(store: Store): Promise<Tree> {
  const file = async (size: number, mode = 0o644): Promise<FileInode> => {
    const content = await store.write(someBytes(`sample ${size}`, size))
    return { ...fileOf(content, size), ...MINE, mode, mtime: TIME + size }
  }
  const dir = (mode: number) => ({ type: 'dir', mode, ...MINE, mtime: TIME }) as const
  const link = (target: string) =>
    ({ type: 'symlink', mode: 0o777, ...MINE, mtime: TIME + 5, target }) as const
  const hard = await file(100)
  const large = await file(200_000)
  return treeOf([
    { path: '', owner: '', inode: dir(0o755) },
    { path: 'locked', owner: '', inode: dir(0o555) },
    { path: 'locked/first', owner: '', inode: hard },
    { path: 'locked/sub', owner: '', inode: dir(0o1777) },
    { path: 'locked/sub/second', owner: '', inode: hard },
    { path: 'large', owner: '', inode: large },
    { path: 'large-too', owner: '', inode: large },
    { path: 'large-private', owner: '', inode: { ...large, mode: 0o600 } },
    { path: 'large-later', owner: '', inode: { ...large, mtime: TIME - 1 } },
    { path: 'empty', owner: '', inode: await file(0) },
    { path: 'setuid', owner: '', inode: await file(300, 0o4755) },
    { path: 'secret', owner: '', inode: await file(400, 0o000) },
    { path: 'caf\xc3\xa9', owner: '', inode: await file(10) },
    { path: 'not utf-8 \xff\n', owner: '', inode: await file(11) },
    { path: 'absolute', owner: '', inode: link('/etc/passwd') },
    { path: 'raw', owner: '', inode: link('\xfe\xff') },
  ])
}

interface Place extends AsyncDisposable {
  readonly directory: TemporaryDirectory
  readonly store: Store
  at(name: string): string
}

async function place(parent?: string): Promise<Place> {
  const directory = temporaryDirectory(parent)
  const store = await openStore(join(directory.path, 'store'))
  return {
    directory,
    store,
    at: (name) => join(directory.path, name),
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]()
      directory[Symbol.dispose]()
    },
  }
}

async function reread(store: Store, directory: string): Promise<Tree> {
  await using transaction = store.begin()
  return readDirectory(directory, transaction.bodies)
}

for (const how of ['link', 'copy'] as const) {
  test(`a tree checked out by ${how} reads back as the same tree`, async () => {
    await using here = await place()
    const tree = await sample(here.store)
    for (const name of ['one', 'two']) {
      const { skipped } = await checkout(here.store, tree, here.at(name), { how })
      assert.deepEqual(skipped, [])
      assert.equal(printTree(await reread(here.store, here.at(name))), printTree(tree))
    }
    assert.deepEqual(
      readdirSync(here.directory.path).sort((a, b) => (a < b ? -1 : 1)),
      ['one', 'store', 'two'],
    )
    assert.deepEqual(await problemsOf(here.store), [])
  })
}

test('checkouts by link share inodes, checkouts by copy do not', async () => {
  await using here = await place()
  const tree = await sample(here.store)
  const first = await checkout(here.store, tree, here.at('one'), { how: 'link' })
  const second = await checkout(here.store, tree, here.at('two'), { how: 'link' })
  const copied = await checkout(here.store, tree, here.at('copy'), { how: 'copy' })
  assert.deepEqual([first.linked, first.copied, first.bytes], [12, 1, 0])
  assert.deepEqual(second, first)
  assert.deepEqual([copied.linked, copied.copied, copied.bytes], [0, 9, 600_821])
  for (const name of ['large', 'setuid', 'raw', 'locked/first'])
    assert.equal(lstatSync(here.at(`one/${name}`)).ino, lstatSync(here.at(`two/${name}`)).ino, name)
  assert.notEqual(statSync(here.at('one/large')).ino, statSync(here.at('copy/large')).ino)
  assert.equal(statSync(here.at('copy/large')).ino, statSync(here.at('copy/large-too')).ino)
  assert.equal(statSync(here.at('copy/large')).nlink, 2)
})

test('empty files are never linked to the store', async () => {
  await using here = await place()
  await checkout(here.store, await sample(here.store), here.at('one'), { how: 'link' })
  assert.equal(statSync(here.at('one/empty')).nlink, 1)
})

test('the bytes of a large object exist once for its first metadata, and equal bytes with other metadata stay apart', async () => {
  await using here = await place()
  const tree = await sample(here.store)
  await checkout(here.store, tree, here.at('one'), { how: 'link' })
  const object = here.store.locate(digestOf(someBytes('sample 200000', 200_000)))?.path as string
  const inodes = ['large', 'large-private', 'large-later'].map((name) => statSync(here.at(`one/${name}`)).ino)
  assert.equal(new Set(inodes).size, 3)
  assert.ok(inodes.includes(statSync(object).ino))
  assert.deepEqual(
    ['large', 'large-private'].map((name) => statSync(here.at(`one/${name}`)).mode & 0o777),
    [0o644, 0o600],
  )
})

test('link gives a file of exactly this content and metadata, the same each time', async () => {
  await using here = await place()
  const inode = { ...fileOf(await here.store.write(Buffer.from('#!/bin/sh\n')), 10), ...MINE, mode: 0o755 }
  const path = await here.store.link(inode)
  const stats = statSync(path)
  assert.equal(readFileSync(path, 'utf8'), '#!/bin/sh\n')
  assert.deepEqual([stats.mode & 0o7777, stats.mtimeMs / 1000], [0o755, inode.mtime])
  assert.equal(await here.store.link(inode), path)
  const others = [{ mode: 0o700 }, { mtime: 5 }, ...(isRoot ? [{ uid: 1 }, { gid: 1 }] : [])]
  for (const other of others)
    assert.notEqual(statSync(await here.store.link({ ...inode, ...other })).ino, stats.ino)
  await using again = await openStore(here.at('store'))
  assert.equal(await again.link(inode), path)
})

test('what a guest changes in one root by writing in place does not reach later roots', async () => {
  await using here = await place()
  const tree = await sample(here.store)
  await checkout(here.store, tree, here.at('one'), { how: 'link' })
  chmodSync(here.at('one/locked/first'), 0o644)
  writeFileSync(here.at('one/locked/first'), someBytes('evil', 100))
  await checkout(here.store, tree, here.at('two'), { how: 'link' })
  assert.equal(printTree(await reread(here.store, here.at('two'))), printTree(tree))
  assert.equal((await problemsOf(here.store)).length, 1)
})

test('a large object that a guest has changed is refused and found, never copied on', async () => {
  await using here = await place()
  const tree = await sample(here.store)
  await checkout(here.store, tree, here.at('one'), { how: 'link' })
  for (const name of ['large', 'large-private', 'large-later']) {
    chmodSync(here.at(`one/${name}`), 0o600)
    writeFileSync(here.at(`one/${name}`), someBytes('evil', 200_000))
  }
  await assert.rejects(checkout(here.store, tree, here.at('two'), { how: 'link' }), {
    code: 'S5_STORE_DAMAGED',
  })
  assert.equal(existsSync(here.at('two')), false)
  const problems = await problemsOf(here.store)
  assert.ok(problems.some((problem) => problem.startsWith(digestOf(someBytes('sample 200000', 200_000)))))
})

test('checkout refuses what is not empty and leaves nothing half made', async () => {
  await using here = await place()
  const tree = await sample(here.store)
  mkdirSync(here.at('full'))
  writeFileSync(here.at('full/mine'), 'x')
  writeFileSync(here.at('file'), 'x')
  symlinkSync('full', here.at('link'))
  for (const name of ['full', 'file', 'link'])
    await assert.rejects(checkout(here.store, tree, here.at(name), { how: 'link' }), {
      code: 'S5_DIRECTORY_EXISTS',
    })
  assert.deepEqual(readdirSync(here.at('full')), ['mine'])
  mkdirSync(here.at('empty'))
  await checkout(here.store, tree, here.at('empty'), { how: 'link' })
  const stop = AbortSignal.abort(new Error('stopped'))
  await assert.rejects(
    checkout(here.store, tree, here.at('stopped'), { how: 'copy', signal: stop }),
    /stopped/,
  )
  const missing = treeOf([{ path: 'a', owner: '', inode: { ...fileOf(digestOf('nowhere'), 7), ...MINE } }])
  for (const how of ['link', 'copy'] as const)
    await assert.rejects(checkout(here.store, missing, here.at('missing'), { how }), {
      code: 'S5_STORE_DAMAGED',
    })
  assert.deepEqual(
    readdirSync(here.directory.path).sort((a, b) => (a < b ? -1 : 1)),
    ['empty', 'file', 'full', 'link', 'store'],
  )
})

test('a tree with names that climb is refused', async () => {
  await using here = await place()
  const inode = { type: 'symlink', mode: 0o777, ...MINE, mtime: 0, target: 'x' } as const
  for (const path of ['../out', 'a/../../out', 'a//b', './a', 'a/.'])
    await assert.rejects(
      checkout(here.store, treeOf([{ path, owner: '', inode }]), here.at('tree'), { how: 'copy' }),
      RangeError,
      path,
    )
  assert.deepEqual(readdirSync(here.directory.path), ['store'])
})

test('checkout copies to another file system', async (t) => {
  if (!existsSync('/dev/shm') || statSync('/dev/shm').dev === statSync(temporaryParent()).dev) {
    t.skip('needs a second file system at /dev/shm')
    return
  }
  await using here = await place()
  using far = temporaryDirectory('/dev/shm')
  const tree = await sample(here.store)
  const { linked, copied } = await checkout(here.store, tree, join(far.path, 'one'), { how: 'link' })
  assert.deepEqual([linked, copied], [0, 9])
  assert.equal(printTree(await reread(here.store, join(far.path, 'one'))), printTree(tree))
  assert.equal(here.store.stats().links, 0)
})

function temporaryParent(): string {
  using directory = temporaryDirectory()
  return join(directory.path, '..')
}

test('owners, devices and pipes are made as root', async (t) => {
  if (!isRoot) {
    t.skip('needs root')
    return
  }
  await using here = await place()
  const meta = { mode: 0o640, uid: 42, gid: 43, mtime: TIME }
  const content = await here.store.write(Buffer.from('x'))
  const tree = treeOf([
    { path: 'dev', owner: '', inode: { type: 'dir', ...meta, mode: 0o2750 } },
    { path: 'dev/null', owner: '', inode: { type: 'char', ...meta, major: 1, minor: 3 } },
    { path: 'dev/disk', owner: '', inode: { type: 'block', ...meta, major: 259, minor: 70_000 } },
    { path: 'dev/pipe', owner: '', inode: { type: 'fifo', ...meta } },
    { path: 'link', owner: '', inode: { type: 'symlink', ...meta, mode: 0o777, target: 'x' } },
    { path: 'setgid', owner: '', inode: { type: 'file', ...meta, mode: 0o6755, size: 1, content } },
    { path: 'socket', owner: '', inode: { type: 'socket', ...meta } },
  ])
  const root = { ...(tree.inodes[0] as (typeof tree.inodes)[0]) }
  const { skipped } = await checkout(here.store, tree, here.at('one'), { how: 'link' })
  const noSocket = { ...tree, names: tree.names.filter(({ path }) => path !== 'socket') }
  assert.deepEqual(skipped, ['/socket: a socket cannot be made'])
  assert.equal(root.mtime, 0)
  assert.equal(printTree(await reread(here.store, here.at('one'))), printTree(noSocket))
})

test('users get their own files and a list of what was lost', async (t) => {
  if (!isRoot || findTool('setpriv') === undefined) {
    t.skip('needs root and setpriv')
    return
  }
  using directory = temporaryDirectory()
  chmodSync(directory.path, 0o777)
  const code = `
    const { openStore } = await import(${JSON.stringify(new URL('../../src/store/store.ts', import.meta.url).href)})
    const { checkout } = await import(${JSON.stringify(new URL('../../src/store/checkout.ts', import.meta.url).href)})
    const { treeOf } = await import(${JSON.stringify(new URL('../../src/tree/tree.ts', import.meta.url).href)})
    const store = await openStore('store')
    const file = async (text, mode) => ({ type: 'file', mode, uid: 0, gid: 0, mtime: 5, size: text.length, content: await store.write(Buffer.from(text)) })
    const large = 'x'.repeat(100_000)
    const tree = treeOf([
      { path: 'su', owner: '', inode: await file('su', 0o4755) },
      { path: 'hidden', owner: '', inode: await file(large, 0o000) },
      { path: 'null', owner: '', inode: { type: 'char', mode: 0o666, uid: 0, gid: 0, mtime: 0, major: 1, minor: 3 } },
    ])
    const first = await checkout(store, tree, 'one', { how: 'link' })
    const second = await checkout(store, tree, 'two', { how: 'link' })
    await store[Symbol.asyncDispose]()
    console.log(JSON.stringify([first, second]))`
  const { stdout } = await run(
    [
      'setpriv',
      '--reuid',
      '65534',
      '--regid',
      '65534',
      '--clear-groups',
      process.execPath,
      '--input-type=module',
      '-e',
      code,
    ],
    { cwd: directory.path, env: { HOME: '/nonexistent' } },
  )
  const [first, second] = JSON.parse(stdout.toString()) as { linked: number; skipped: string[] }[]
  assert.deepEqual(first, second)
  assert.equal(first?.linked, 2)
  assert.deepEqual(first?.skipped, [
    '/: owner 0:0 cannot be given',
    '/hidden: owner 0:0 cannot be given',
    '/null: a char device needs root',
    '/null: owner 0:0 cannot be given',
    '/su: owner 0:0 cannot be given',
  ])
  const su = statSync(join(directory.path, 'one/su'))
  assert.deepEqual([su.mode & 0o7777, su.uid, su.nlink], [0o755, 65_534, 3])
})

test('readDirectory keeps hard links, odd names and times, and follows nothing', async () => {
  await using here = await place()
  mkdirSync(here.at('in'))
  writeFileSync(here.at('in/a'), 'same')
  linkSync(here.at('in/a'), here.at('in/b'))
  symlinkSync('/', here.at('in/root'))
  writeFileSync(Buffer.concat([Buffer.from(here.at('in/')), Buffer.from([0xff])]), '')
  utimesSync(here.at('in/a'), 5.75, 5.75)
  await using transaction = here.store.begin()
  const tree = readDirectory(here.at('in'), transaction.bodies, { owner: 'me' })
  await transaction.commit()
  assert.deepEqual(
    tree.names.map(({ path }) => path),
    ['', 'a', 'b', 'root', '\xff'],
  )
  assert.equal(tree.names[1]?.inode, tree.names[2]?.inode)
  const a = tree.inodes[tree.names[1]?.inode as number]
  assert.deepEqual([a?.type, a?.mtime, tree.names[1]?.owner], ['file', 5, 'me'])
  assert.equal(readlinkSync(here.at('in/root')), '/')
  assert.equal(Buffer.from(await here.store.read(digestOf('same'))).toString(), 'same')
})

test('the output of getfattr is read with its escapes', () => {
  const found = parseXattrs(
    '# file: .\nuser.top=0x31\n\n# file: a\\012b\\134c\nuser.z=0x00ff\nsecurity.capability=0x01\nuser.none=\n\n',
  )
  assert.deepEqual(
    [...found],
    [
      ['', [['user.top', '1']]],
      [
        'a\nb\\c',
        [
          ['security.capability', '\x01'],
          ['user.none', ''],
          ['user.z', '\0\xff'],
        ],
      ],
    ],
  )
})

test('file capabilities are given by link and by copy', async (t) => {
  if (!isRoot || findTool('setfattr') === undefined || findTool('getfattr') === undefined) {
    t.skip('needs root and the package attr')
    return
  }
  const { readXattrs } = await import('../../src/store/xattrs.ts')
  await using here = await place()
  const capability = '\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00'
  const content = await here.store.write(Buffer.from('ping'))
  const inode: FileInode = { ...fileOf(content, 4), xattrs: [['security.capability', capability]] }
  const tree = treeOf([
    { path: 'plain', owner: '', inode: fileOf(content, 4) },
    { path: 'odd\n\xff', owner: '', inode },
  ])
  for (const how of ['link', 'copy'] as const) {
    assert.deepEqual((await checkout(here.store, tree, here.at(how), { how })).skipped, [])
    const xattrs = await readXattrs(here.at(how))
    await using transaction = here.store.begin()
    assert.equal(
      printTree(readDirectory(here.at(how), transaction.bodies, { xattrs })).includes('security.capability'),
      true,
    )
    assert.deepEqual([...xattrs], [['odd\n\xff', inode.xattrs]])
  }
})
