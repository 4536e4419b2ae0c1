import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { entriesBelow, namesBelow, namesIn } from '../../src/tree/below.ts'
import { treeProblems } from '../../src/tree/check.ts'
import { withEntries, withoutPaths } from '../../src/tree/edit.ts'
import { mapInodes } from '../../src/tree/map.ts'
import { compact, selectNames } from '../../src/tree/select.ts'
import { parseTree, printTree, treeDigest } from '../../src/tree/text.ts'
import { comparePaths, EMPTY, type Entry, entriesOf, lookup, type Tree, treeOf } from '../../src/tree/tree.ts'
import { dir, file, link, treeArbitrary } from '../helpers/trees.ts'

const paths = (tree: Tree): string[] => tree.names.map(({ path }) => path)

test('paths sort bytewise with the slash below every byte', () => {
  const sorted = ['', 'a', 'a/b', 'a/b/c', 'a\x01', 'a-', 'a.', 'a0', 'aa', 'b', '\xff']
  for (const [at, left] of sorted.entries())
    for (const [to, right] of sorted.entries())
      assert.equal(Math.sign(comparePaths(left, right)), Math.sign(at - to), `${left} and ${right}`)
})

test('random trees keep the invariants and survive print and parse', () => {
  fc.assert(
    fc.property(treeArbitrary, (tree) => {
      assert.deepEqual(treeProblems(tree), [])
      assert.deepEqual(parseTree(printTree(tree)), tree)
    }),
  )
})

test('a tree is the same from shuffled entries', () => {
  fc.assert(
    fc.property(
      treeArbitrary,
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      (tree, keys) => {
        const shuffled = [...entriesOf(tree)].map((entry) => ({ entry, key: keys.next().value as number }))
        shuffled.sort((a, b) => a.key - b.key)
        assert.equal(treeDigest(treeOf(shuffled.map(({ entry }) => entry))), treeDigest(tree))
      },
    ),
  )
})

test('the canonical text of a small tree', () => {
  const shared = file('usr/bin/x', 'hello', { mode: 0o4755 })
  const tree = treeOf([shared, { ...shared, path: 'usr/bin/y z' }, link('bin', 'usr/bin', 'b_2')])
  assert.equal(
    printTree(tree),
    [
      'stage5-tree 1',
      'o ',
      'o b_2',
      'o a_1',
      'd 755 0 0 0 0 /',
      's 777 0 0 0 1 /bin usr/bin',
      'd 755 0 0 0 2 /usr',
      'd 755 0 0 0 2 /usr/bin',
      'f 4755 0 0 0 2 /usr/bin/x 5 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
      'h 4 2 /usr/bin/y\\x20z',
      '',
    ].join('\n'),
  )
})

test('damaged tree text is refused', () => {
  for (const text of [
    '',
    'stage5-tree 2\n',
    'stage5-tree 1\nq 1\n',
    'stage5-tree 1\nf x y\n',
    'stage5-tree 1\nx a 00\n',
  ])
    assert.throws(() => parseTree(text), { code: 'S5_STORE_DAMAGED' }, JSON.stringify(text))
})

test('selecting keeps the parents of what is kept and drops unused inodes', () => {
  const tree = treeOf([file('a/b/c', '1'), file('a/d', '2'), dir('e')])
  const some = selectNames(tree, ({ path }) => path === 'a/b/c')
  assert.deepEqual(paths(some), ['', 'a', 'a/b', 'a/b/c'])
  assert.equal(some.inodes.length, 4)
  assert.deepEqual(treeProblems(some), [])
})

test('selecting everything changes nothing', () => {
  fc.assert(
    fc.property(treeArbitrary, (tree) =>
      assert.deepEqual(
        selectNames(tree, () => true),
        tree,
      ),
    ),
  )
})

test('removing a directory removes what is below it and nothing beside it', () => {
  const tree = treeOf([file('a/b', '1'), file('ab', '2'), file('a.b', '3')])
  assert.deepEqual(paths(withoutPaths(tree, ['a'])), ['', 'a.b', 'ab'])
})

test('a replaced directory keeps its children', () => {
  const tree = withEntries(treeOf([file('a/b', '1')]), [dir('a', { mode: 0o700 })])
  assert.equal(lookup(tree, 'a')?.inode.mode, 0o700)
  assert.ok(lookup(tree, 'a/b'))
})

test('entries added to a tree make what a tree of all of them would be', () => {
  fc.assert(
    fc.property(treeArbitrary, treeArbitrary, fc.nat(), (tree, other, nth) => {
      const own = [...entriesOf(tree)]
      const linked = { ...(own[nth % own.length] as Entry), path: 'a/linked' }
      const entries = [...[...entriesOf(other)].filter(({ path }) => path.includes('/')), linked]
      const made = withEntries(tree, entries)
      const ordered = compact(made.inodes, made.names)
      assert.deepEqual(ordered, treeOf([...own, ...entries]))
      assert.equal(made.inodes.length, ordered.inodes.length, 'each inode has a name')
    }),
  )
})

test('mapping inodes keeps hard links', () => {
  const shared = file('a', 'x')
  const tree = mapInodes(treeOf([shared, { ...shared, path: 'b' }]), (inode) => ({ ...inode, mtime: 7 }))
  assert.equal(tree.names[1]?.inode, tree.names[2]?.inode)
  assert.equal(lookup(tree, 'b')?.inode.mtime, 7)
})

test('the empty tree is a root directory', () => {
  assert.deepEqual(treeProblems(EMPTY), [])
  assert.deepEqual(treeOf([]), EMPTY)
})

test('what lies below a directory is one run of names', () => {
  fc.assert(
    fc.property(treeArbitrary, (tree) => {
      for (const { path: directory } of tree.names) {
        const prefix = directory === '' ? '' : `${directory}/`
        const below = tree.names.filter(({ path }) => path !== '' && path.startsWith(prefix))
        assert.deepEqual(namesBelow(tree, directory), below)
        const inside = below.filter(({ path }) => !path.slice(prefix.length).includes('/'))
        assert.deepEqual(namesIn(tree, directory), inside)
        assert.deepEqual(entriesBelow(tree, directory), [...entriesOf({ inodes: tree.inodes, names: below })])
      }
      assert.deepEqual(namesBelow(tree, 'no such directory'), [])
    }),
  )
})
