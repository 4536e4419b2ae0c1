import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isStage5Error } from '../../src/base/errors.ts'
import { copyDataDisk, makeDataDisk } from '../../src/deploy/data-disk.ts'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { memoryContents } from '../../src/tree/contents.ts'
import { type Entry, type Inode, type Tree, treeOf } from '../../src/tree/tree.ts'

const MIB = 1024 * 1024
const skip = findTool('mke2fs') && findTool('debugfs') && findTool('e2fsck') ? false : 'needs e2fsprogs'
const contents = memoryContents()
const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 1_600_000_000 }
const options = { date: 1_700_000_000, seed: 'test', signal: new AbortController().signal }
const area = { label: 'www', size: 64 * MIB, paths: ['/var/www', '/var/log'] }
const entry = (path: string, inode: Inode): Entry => ({ path, owner: '', inode })

async function file(text: string, more: Partial<Inode> = {}): Promise<Inode> {
  const bytes = Buffer.from(text, 'latin1')
  return { type: 'file', ...meta, size: bytes.length, content: await contents.write(bytes), ...more } as Inode
}

const CAPABILITY = '\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

async function root(): Promise<Tree> {
  const twin = await file('twin', { uid: 33, gid: 70_001 } as Partial<Inode>)
  const entries = [
    entry('var/log', { type: 'dir', ...meta, mode: 0o2775, gid: 43 }),
    entry('var/www', { type: 'dir', ...meta, mode: 0o750, uid: 33 }),
    entry('var/www/a "quoted" name', await file('q')),
    entry('var/www/caf\xe9', await file('latin1 name')),
    entry('var/www/empty', await file('')),
    entry('var/www/big', await file('0123456789abcdef'.repeat(100_000))),
    entry('var/www/link', { type: 'symlink', ...meta, mode: 0o777, target: '../some where' }),
    entry('var/www/null', { type: 'char', ...meta, mode: 0o666, major: 1, minor: 3 }),
    entry(
      'var/www/ping',
      await file('p', { xattrs: [['security.capability', CAPABILITY]] } as Partial<Inode>),
    ),
    entry('var/www/pipe', { type: 'fifo', ...meta }),
    entry('var/www/setuid', await file('s', { mode: 0o6755 })),
  ]
  for (let count = 0; count < 400; count++)
    entries.push(entry(`var/www/hard/${'long-name-'.repeat(8)}${count}`, twin))
  return treeOf(entries)
}

async function inspect(image: string, request: string): Promise<string> {
  return (await run(['debugfs', '-R', request, image])).stdout.toString('latin1')
}

test('the disk is a clean ext4 with the content, owners, modes and times of the root', { skip }, async () => {
  using folder = temporaryDirectory()
  const image = join(folder.path, 'data.img')
  await makeDataDisk(area, await root(), contents, image, options)
  const check = await run(['e2fsck', '-fn', image])
  assert.match(check.stdout.toString(), /^www: \d+\/4096 files/m)
  assert.doesNotMatch(check.stdout.toString(), /Fix|ERROR|WARNING/)
  assert.ok(statSync(image).blocks * 512 < 4 * MIB, 'sparse')
  assert.equal(statSync(image).size, 64 * MIB)

  const stat = (path: string) => inspect(image, `stat "${path}"`)
  assert.match(await stat('/var/www'), /Mode: {2}0750.*\nGeneration.*\nUser: +33 +Group: +0 /)
  assert.match(await stat('/var/log'), /Mode: {2}02775.*\n.*\nUser: +0 +Group: +43 /)
  assert.match(await stat('/var/www/setuid'), /Mode: {2}06755/)
  const hard = await stat(`/var/www/hard/${'long-name-'.repeat(8)}7`)
  assert.match(hard, /User: +33 +Group: +70001 /)
  assert.match(hard, /Links: 400 /)
  for (const time of ['ctime', 'atime', 'mtime', 'crtime'])
    assert.match(hard, new RegExp(`${time}: 0x5f5e1000:0{8}`), time)
  assert.match(await stat('/var/www/link'), /Type: symlink[^]*Fast link dest: "\.\.\/some where"/)
  assert.match(await stat('/var/www/null'), /Type: character special[^]*Device major\/minor number: 01:03/)
  assert.match(await stat('/var/www/pipe'), /Type: FIFO/)
  assert.match(await inspect(image, 'ea_get -x "/var/www/ping" security.capability'), /01 00 00 02 00 04 00/)
  assert.equal(await inspect(image, 'cat "/var/www/a ""quoted"" name"'), 'q')
  assert.equal((await inspect(image, 'cat /var/www/big')).length, 1_600_000)
  assert.equal(await inspect(image, `cat /var/www/hard/${'long-name-'.repeat(8)}399`), 'twin')
  assert.match(await inspect(image, 'ls /var/www'), / caf\\xe9 /)
})

test('equal arguments give equal bytes, and the seed changes the UUID', { skip }, async () => {
  using folder = temporaryDirectory()
  const [first, second, other] = ['1', '2', '3'].map((name) => join(folder.path, name)) as [
    string,
    string,
    string,
  ]
  const tree = await root()
  await makeDataDisk(area, tree, contents, first, options)
  await new Promise((later) => setTimeout(later, 1100))
  const zone = process.env['TZ']
  process.env['TZ'] = 'Asia/Kolkata'
  try {
    await makeDataDisk(area, tree, contents, second, options)
  } finally {
    if (zone === undefined) delete process.env['TZ']
    else process.env['TZ'] = zone
  }
  assert.ok(readFileSync(first).equals(readFileSync(second)))
  await makeDataDisk(area, tree, contents, other, { ...options, seed: 'other' })
  const uuid = async (image: string) => /UUID: +(\S+)/.exec(await inspect(image, 'show_super_stats -h'))?.[1]
  assert.ok(await uuid(first))
  assert.notEqual(await uuid(first), await uuid(other))
})

test('an area that cannot hold its content leaves nothing behind', { skip }, async () => {
  using folder = temporaryDirectory()
  const image = join(folder.path, 'data.img')
  const tree = treeOf([entry('var/www/big', await file('x'.repeat(7 * MIB)))])
  await assert.rejects(
    makeDataDisk({ ...area, size: 8 * MIB }, tree, contents, image, options),
    (error) => isStage5Error(error, 'S5_TOOL_FAILED') && /debugfs could not fill/.test(error.message),
  )
  assert.equal(existsSync(image), false)
})

test('a copy has the same bytes and the same holes', { skip }, async () => {
  using folder = temporaryDirectory()
  const [image, copy] = [join(folder.path, 'data.img'), join(folder.path, '-copy')]
  await makeDataDisk(area, await root(), contents, image, options)
  await copyDataDisk(image, copy, options.signal)
  assert.ok(readFileSync(image).equals(readFileSync(copy)))
  assert.ok(statSync(copy).blocks * 512 < 4 * MIB, 'sparse')
})

test('an existing file is not overwritten', { skip }, async () => {
  using folder = temporaryDirectory()
  const image = join(folder.path, 'data.img')
  await makeDataDisk(area, treeOf([]), contents, image, options)
  await assert.rejects(
    makeDataDisk(area, treeOf([]), contents, image, options),
    (error) => (error as NodeJS.ErrnoException).code === 'EEXIST',
  )
  assert.equal(existsSync(image), true)
})
