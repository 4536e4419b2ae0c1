import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  holding,
  resetting,
  type Shadow,
  shadowsOf,
  shadowWords,
  type UpperEntry,
} from '../../src/fleet/shadow.ts'
import { digestOf } from '../../src/base/digest.ts'
import { type Entry, type Inode, type Tree, treeOf } from '../../src/tree/tree.ts'

const meta = { mode: 0o644, uid: 0, gid: 0, mtime: 1 }
const file = (text: string, more: Partial<Inode> = {}): Inode =>
  ({ type: 'file', ...meta, size: text.length, content: digestOf(text), ...more }) as Inode
const dir = (mode = 0o755): Inode => ({ type: 'dir', ...meta, mode })
const link = (target: string): Inode => ({ type: 'symlink', ...meta, mode: 0o777, target })

function tree(files: { readonly [path: string]: Inode }): Tree {
  return treeOf(Object.entries(files).map(([path, inode]): Entry => ({ path, owner: 'test', inode })))
}

const BEFORE = tree({ 'etc/a': file('a1'), 'etc/d/x': file('x1'), 'etc/d/y': file('y1'), 'etc/l': link('a') })
const SAME = BEFORE
const AFTER = tree({
  'etc/a': file('a2'),
  'etc/d/x': file('x2'),
  'etc/d/y': file('y1'),
  'etc/new': file('n2'),
})

function one(entry: UpperEntry, after = AFTER): string {
  const shadows = shadowsOf([entry], BEFORE, after)
  assert.ok(shadows.length <= 1)
  const [found] = shadows
  return found ? `${found.kind} ${found.base} ${found.conflict ? 'conflict ' : ''}${found.remedy}` : 'nothing'
}

test('what the guest did, against what the base does', () => {
  const cases: [what: string, entry: UpperEntry, after: Tree, expected: string][] = [
    [
      'touched, times apart',
      { path: 'etc/a', inode: file('a1', { mtime: 9 }) },
      AFTER,
      'touched changed reset',
    ],
    ['touched, base unchanged', { path: 'etc/a', inode: file('a1') }, SAME, 'touched none reset'],
    ['the same edit as the new base', { path: 'etc/a', inode: file('a2') }, AFTER, 'same changed reset'],
    ['edited, base unchanged', { path: 'etc/a', inode: file('mine') }, SAME, 'edited none keep'],
    ['edited, base changed', { path: 'etc/a', inode: file('mine') }, AFTER, 'edited changed conflict both'],
    [
      'mode changed',
      { path: 'etc/a', inode: file('a1', { mode: 0o600 }) },
      AFTER,
      'edited changed conflict both',
    ],
    ['owner changed', { path: 'etc/a', inode: file('a1', { uid: 7 }) }, SAME, 'edited none keep'],
    [
      'a capability',
      { path: 'etc/a', inode: file('a1', { xattrs: [['security.capability', 'x']] }) },
      SAME,
      'edited none keep',
    ],
    ['edited, base drops it', { path: 'etc/l', inode: link('b') }, AFTER, 'edited removed conflict keep'],
    ['touched, base drops it', { path: 'etc/l', inode: link('a') }, AFTER, 'touched removed reset'],
    ['own file', { path: 'etc/mine', inode: file('m') }, AFTER, 'nothing'],
    ['own file, base brings one', { path: 'etc/new', inode: file('m') }, AFTER, 'own added conflict both'],
    ['own file, base brings the same', { path: 'etc/new', inode: file('n2') }, AFTER, 'same added reset'],
    ['removed, base unchanged', { path: 'etc/a' }, SAME, 'removed none keep'],
    ['removed, base changed', { path: 'etc/a' }, AFTER, 'removed changed conflict keep'],
    ['removed by both', { path: 'etc/l' }, AFTER, 'same removed reset'],
    ['whiteout of nothing', { path: 'etc/gone' }, AFTER, 'same none reset'],
    ['whiteout of a new file', { path: 'etc/new' }, AFTER, 'removed added conflict keep'],
    ['removed directory', { path: 'etc/d' }, AFTER, 'removed changed conflict keep'],
    ['removed directory, base unchanged', { path: 'etc/d' }, SAME, 'removed none keep'],
    [
      'opaque directory',
      { path: 'etc/d', inode: dir(), opaque: true },
      AFTER,
      'opaque changed conflict keep',
    ],
    [
      'opaque directory, base unchanged',
      { path: 'etc/d', inode: dir(), opaque: true },
      SAME,
      'opaque none keep',
    ],
    ['shared directory', { path: 'etc/d', inode: dir() }, AFTER, 'nothing'],
    ['shared directory with another mode', { path: 'etc/d', inode: dir(0o700) }, AFTER, 'edited none keep'],
    [
      'renamed directory',
      { path: 'etc/e', inode: dir(), redirect: '/etc/d' },
      SAME,
      'redirected none conflict keep',
    ],
    ['file over a directory', { path: 'etc/d', inode: file('f') }, AFTER, 'replaced changed conflict keep'],
    ['directory over a file', { path: 'etc/a', inode: dir() }, AFTER, 'replaced changed conflict keep'],
    ['link over a file', { path: 'etc/a', inode: link('x') }, SAME, 'replaced none keep'],
  ]
  for (const [what, entry, after, expected] of cases) assert.equal(one(entry, after), expected, what)
})

test('a hidden directory names what changes below it, and nothing else', () => {
  const [found] = shadowsOf([{ path: 'etc/d', inode: dir(), opaque: true }], BEFORE, AFTER)
  assert.deepEqual(found?.below, ['etc/d/x'])
  assert.equal(
    shadowWords(found as Shadow),
    'conflict: directory replaced as a whole; the new base changes it, 1 name below',
  )
})

test('policies: warn holds nobody, hold everyone who hides a change, reset-unmodified only for what is lost', () => {
  const upper: UpperEntry[] = [
    { path: 'etc/a', inode: file('a1') },
    { path: 'etc/d/y', inode: file('mine') },
    { path: 'etc/l', inode: link('b') },
    { path: 'etc/new', inode: file('n2') },
  ]
  const shadows = shadowsOf(upper, BEFORE, AFTER)
  const paths = (policy: 'warn' | 'hold' | 'reset-unmodified') =>
    holding(shadows, policy).map(({ path }) => path)
  assert.deepEqual(paths('warn'), [])
  assert.deepEqual(paths('hold'), ['etc/a', 'etc/l'])
  assert.deepEqual(paths('reset-unmodified'), ['etc/l'])
  assert.deepEqual(
    resetting(shadows).map(({ path }) => path),
    ['etc/a'],
  )
  assert.deepEqual(resetting(shadowsOf(upper, BEFORE, SAME)), [], 'what hides no change is left alone')
})

test('a directory is reset only where all that is in it may go', () => {
  const told = (upper: readonly UpperEntry[], after: Tree): string[] =>
    shadowsOf(upper, BEFORE, after).map(
      ({ path, kind, conflict, remedy }) => `${path} ${kind} ${conflict ? 'conflict ' : ''}${remedy}`,
    )
  const without = tree({ 'etc/a': file('a1') })
  const replaced = tree({ 'etc/a': file('a1'), 'etc/d': file('a file') })
  const touched = { path: 'etc/d/x', inode: file('x1') }
  const dropped = [{ path: 'etc/d', inode: dir() }, touched]
  assert.deepEqual(told(dropped, without), ['etc/d touched reset', 'etc/d/x touched reset'])
  const withOwn = [...dropped, { path: 'etc/d/mine', inode: file('m') }]
  assert.deepEqual(told(withOwn, without), ['etc/d/x touched reset'])
  assert.deepEqual(told(withOwn, replaced), ['etc/d touched conflict keep', 'etc/d/x touched reset'])
  assert.deepEqual(
    holding(shadowsOf(withOwn, BEFORE, replaced), 'reset-unmodified').map(({ path }) => path),
    ['etc/d'],
  )
})
