import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { treeProblems } from '../../src/tree/check.ts'
import { diffTrees } from '../../src/tree/diff.ts'
import { mergeTrees } from '../../src/tree/merge.ts'
import { follow, resolvePath } from '../../src/tree/resolve-path.ts'
import { EMPTY, lookup, type Tree, treeOf } from '../../src/tree/tree.ts'
import { dir, file, link, treeArbitrary } from '../helpers/trees.ts'

const paths = (tree: Tree): string[] => tree.names.map(({ path }) => path)

test('the empty tree is the unit of merging', () => {
  fc.assert(
    fc.property(treeArbitrary, (tree) => {
      assert.deepEqual(mergeTrees([tree, EMPTY]), tree)
      assert.deepEqual(mergeTrees([tree, tree]), tree)
      assert.deepEqual(treeProblems(mergeTrees([tree])), [])
    }),
  )
})

test('equal files of two packages are one name of the first owner', () => {
  const tree = mergeTrees([
    treeOf([file('etc/x', '1', {}, 'a_1')]),
    treeOf([file('etc/x', '1', { mtime: 9 }, 'b_1')]),
  ])
  assert.equal(lookup(tree, 'etc/x')?.owner, 'a_1')
  assert.equal(lookup(tree, 'etc/x')?.inode.mtime, 0)
})

test('different files collide and both owners are named', () => {
  const trees = [treeOf([file('etc/x', '1', {}, 'a_1')]), treeOf([file('etc/x', '2', {}, 'b_1')])]
  assert.throws(() => mergeTrees(trees), { code: 'S5_COLLISION', message: /\/etc\/x: a_1 and b_1/ })
})

test('the same bytes with another mode collide', () => {
  const trees = [treeOf([file('x', '1', {}, 'a_1')]), treeOf([file('x', '1', { mode: 0o755 }, 'b_1')])]
  assert.throws(() => mergeTrees(trees), { code: 'S5_COLLISION' })
})

for (const [owner, content] of [
  ['a', '1'],
  ['b', '2'],
  ['b_1', '2'],
] as const)
  test(`a rule for ${owner} decides a collision`, () => {
    const trees = [treeOf([file('etc/x', '1', {}, 'a_1')]), treeOf([file('etc/x', '2', {}, 'b_1')])]
    const found = lookup(mergeTrees(trees, [{ path: '/etc/x', owner }]), 'etc/x')?.inode
    assert.deepEqual(found, file('etc/x', content).inode)
  })

test('a directory is shared; special bits and owners win over plain ones', () => {
  const trees = [
    treeOf([dir('tmp', {}, 'a_1')]),
    treeOf([dir('tmp', { mode: 0o1777 }, 'b_1')]),
    treeOf([dir('tmp', {}, 'c_1')]),
  ]
  assert.equal(lookup(mergeTrees(trees.slice(0, 2)), 'tmp')?.inode.mode, 0o1777)
  assert.equal(lookup(mergeTrees(trees.slice(1)), 'tmp')?.inode.mode, 0o1777)
  const later = treeOf([dir('tmp', { mode: 0o700 }, 'd_1')])
  assert.equal(lookup(mergeTrees([...trees, later]), 'tmp')?.inode.mode, 0o1777)
})

test('a directory against a file is refused with both owners', () => {
  const trees = [treeOf([dir('x', {}, 'a_1')]), treeOf([file('x', '1', {}, 'b_1')])]
  assert.throws(() => mergeTrees(trees), {
    code: 'S5_MERGE_TYPE',
    message: '/x is a dir in a_1 and a file in b_1',
  })
})

test('names below a directory that another package links elsewhere move to where the link points', () => {
  const linked = treeOf([link('lib', 'usr/lib'), dir('usr/lib')])
  for (const trees of [
    [linked, treeOf([file('lib/x', '1')])],
    [treeOf([file('lib/x', '1')]), linked],
  ]) {
    const tree = mergeTrees(trees)
    assert.deepEqual(paths(tree), ['', 'lib', 'usr', 'usr/lib', 'usr/lib/x'])
    assert.deepEqual(treeProblems(tree), [])
  }
})

test('links to directories that lead in a circle are refused', () => {
  const trees = [treeOf([link('a', 'b'), dir('b')]), treeOf([dir('a'), link('b', 'a')])]
  assert.throws(() => mergeTrees(trees), { code: 'S5_MERGE_TYPE' })
})

test('a path is followed inside the root', () => {
  const tree = treeOf([
    link('bin', 'usr/bin'),
    file('usr/bin/sh', '1'),
    link('etc/up', '../../../usr'),
    link('loop', 'loop'),
    link('a', 'b'),
    link('b', 'bin'),
  ])
  assert.equal(follow(tree, '/bin/sh')?.path, 'usr/bin/sh')
  assert.equal(follow(tree, '/etc/up/bin/../bin/sh')?.path, 'usr/bin/sh')
  assert.equal(follow(tree, '../bin', 'etc')?.path, 'usr/bin')
  assert.equal(follow(tree, '/a/sh')?.path, 'usr/bin/sh')
  assert.deepEqual(resolvePath(tree, '/bin/none/x'), { missing: 'usr/bin/none', loop: false })
  assert.deepEqual(resolvePath(tree, '/bin/sh/x'), { missing: 'usr/bin/sh/x', loop: false })
  assert.deepEqual(resolvePath(tree, '/loop'), { missing: 'loop', loop: true })
})

test('a difference names what changed and counts bytes', () => {
  const before = treeOf([file('a', '12'), file('b', '1'), file('c', '1')])
  const after = treeOf([file('b', '123'), file('c', '1', { mode: 0o600, uid: 3 }), file('d', '1234')])
  const diff = diffTrees(before, after)
  assert.deepEqual(
    diff.added.map(({ path }) => path),
    ['d'],
  )
  assert.deepEqual(
    diff.removed.map(({ path }) => path),
    ['a'],
  )
  assert.deepEqual(
    diff.changed.map(({ path, aspects }) => ({ path, aspects })),
    [
      { path: 'b', aspects: ['content'] },
      { path: 'c', aspects: ['mode', 'owner'] },
    ],
  )
  assert.deepEqual(diff.bytes, { added: 4, removed: 2, changed: 3 })
})

test('a tree differs from itself in nothing, and from another in exactly what changed back', () => {
  fc.assert(
    fc.property(treeArbitrary, treeArbitrary, (left, right) => {
      const same = diffTrees(left, left, true)
      assert.equal(same.added.length + same.removed.length + same.changed.length, 0)
      const there = diffTrees(left, right)
      const back = diffTrees(right, left)
      assert.deepEqual(
        there.added.map(({ path }) => path),
        back.removed.map(({ path }) => path),
      )
      assert.deepEqual(
        there.changed.map(({ path }) => path),
        back.changed.map(({ path }) => path),
      )
    }),
  )
})
