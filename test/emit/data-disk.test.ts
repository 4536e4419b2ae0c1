import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/base/digest.ts'
import { isStage5Error } from '../../src/base/errors.ts'
import { debugfsScript, mke2fsArguments, planDataDisk, seededUuid } from '../../src/emit/data-disk.ts'
import { type Entry, type Inode, treeOf } from '../../src/tree/tree.ts'

const MIB = 1024 * 1024
const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 5 }
const area = { label: 'www', size: 16 * MIB, paths: ['/var/www', '/var/log/nginx/'] }

function file(text: string, more: Partial<Inode> = {}): Inode {
  return { type: 'file', ...meta, size: text.length, content: digestOf(text), ...more } as Inode
}
const entry = (path: string, inode: Inode): Entry => ({ path, owner: 'test', inode })
const refused = (message: RegExp) => (error: unknown) =>
  isStage5Error(error, 'S5_IMAGE_INPUT') && message.test(error.message)

test('the plan holds the directories, what is above and what is below them, and nothing else', () => {
  const same = file('x')
  const root = treeOf([
    entry('etc/passwd', file('root')),
    entry('var', { type: 'dir', ...meta, mode: 0o751 }),
    entry('var/www/b', same),
    entry('var/www/a', same),
    entry('var/www2/no', file('no')),
    entry('var/lib/no', file('no')),
  ])
  const plan = planDataDisk(area, root)
  assert.deepEqual(
    plan.entries.map(({ path }) => path),
    ['var', 'var/log', 'var/log/nginx', 'var/www', 'var/www/a', 'var/www/b'],
  )
  assert.equal(plan.entries[0]?.inode.mode, 0o751)
  assert.deepEqual(
    plan.files.map(({ content }) => content),
    [digestOf('x')],
  )
})

test('sizes are whole blocks, and too small areas are refused', () => {
  const root = treeOf([])
  assert.equal(planDataDisk({ ...area, size: 16 * MIB + 4095 }, root).size, 16 * MIB)
  assert.equal(planDataDisk({ ...area, size: 8 * MIB }, root).size, 8 * MIB)
  assert.throws(
    () => planDataDisk({ ...area, size: 8 * MIB - 1 }, root),
    refused(/data area www: expected a size/),
  )
  const big = treeOf([entry('var/www/big', file('x', { size: 17 * MIB } as Partial<Inode>))])
  assert.throws(() => planDataDisk(area, big), refused(/does not fit/))
})

test('a data directory that is something else in the root is refused', () => {
  const root = treeOf([entry('var/log', { type: 'symlink', ...meta, target: '/data/log' })])
  assert.throws(
    () => planDataDisk(area, root),
    refused(/expected a directory at \/var\/log, found a symlink/),
  )
})

test('commands make everything first, then hard links, then metadata', () => {
  const twin = file('x', { uid: 70_000, gid: 33, mode: 0o4755, mtime: -1 })
  const root = treeOf([
    entry('var/www/a "b"', twin),
    entry('var/www/c', twin),
    entry('var/www/l', { type: 'symlink', ...meta, mode: 0o777, target: '../x' }),
  ])
  const script = debugfsScript(planDataDisk({ ...area, paths: ['/var/www'] }, root), () => '/tmp/0')
  assert.deepEqual(script.split('\n').slice(0, 6), [
    'mkdir "/var"',
    'mkdir "/var/www"',
    'write "/tmp/0" "/var/www/a ""b"""',
    'symlink "/var/www/l" "../x"',
    'expand_dir "/var/www"',
    'ln "/var/www/a ""b""" "/var/www/c"',
  ])
  const about = script.split('\n').filter((line) => line.startsWith('set_inode_field "/var/www/a ""b""" '))
  assert.deepEqual(
    about.map((line) => line.split('" ').at(-1)),
    [
      'links_count 2',
      'mode 0104755',
      'uid 70000',
      'gid 33',
      'atime @-1',
      'ctime @-1',
      'mtime @-1',
      'crtime @-1',
    ],
  )
})

test('names that debugfs would misread are refused', () => {
  const line = treeOf([entry('var/www/a\nrm /x', file('x'))])
  assert.throws(() => debugfsScript(planDataDisk(area, line), () => '/tmp/0'), refused(/cannot be written/))
  const socket = treeOf([entry('var/www/s', { type: 'socket', ...meta })])
  assert.throws(() => debugfsScript(planDataDisk(area, socket), () => '/tmp/0'), refused(/is a socket/))
})

test('UUIDs follow from seed and name and are of version 8', () => {
  const one = seededUuid('seed', 'uuid')
  assert.match(one, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.equal(seededUuid('seed', 'uuid'), one)
  assert.notEqual(seededUuid('seed', 'hash'), one)
  assert.notEqual(seededUuid('seed2', 'uuid'), one)
  const argv = mke2fsArguments(planDataDisk(area, treeOf([])), 'seed', '/t')
  assert.ok(argv.includes(one))
  assert.deepEqual(argv.slice(-2), ['/t', '4096'])
})
