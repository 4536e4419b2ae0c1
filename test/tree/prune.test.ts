import assert from 'node:assert/strict'
import { test } from 'node:test'
import { treeProblems } from '../../src/tree/check.ts'
import { pruning } from '../../src/tree/prune.ts'
import { printTree } from '../../src/tree/text.ts'
import { entriesOf, type Tree, type TreePath, treeOf } from '../../src/tree/tree.ts'

const META = { mode: 0o755, uid: 0, gid: 0, mtime: 0 }

/** Numbers below `limit`, the same in every run. */
function numbers(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return (state >> 8) % limit
  }
}

function randomTree(next: (limit: number) => number): Tree {
  const directories: TreePath[] = ['']
  const entries = [{ path: '', owner: 'a', inode: { type: 'dir', ...META } as const }]
  const result = [...Array(60).keys()].map((at) => {
    const parent = directories[next(directories.length)] as TreePath
    // Some sort between a directory and what is in it.
    const path = `${parent === '' ? '' : `${parent}/`}${'ab'[next(2)]}${['', '-', '.'][next(3)]}${at}`
    if (next(3) === 0) directories.push(path)
    const isDirectory = directories.includes(path)
    const inode = isDirectory
      ? ({ type: 'dir', ...META } as const)
      : ({ type: 'symlink', ...META, target: path } as const)
    return { path, owner: 'a', inode }
  })
  return treeOf([...entries, ...result])
}

/** The same by its definition: again and again, until no directory goes any more. */
function plainly(
  tree: Tree,
  going: ReadonlySet<TreePath>,
  goes: (path: TreePath, isEmptied: boolean) => boolean,
) {
  const left = new Map([...entriesOf(tree)].map((entry) => [entry.path, entry]))
  const removed = new Set<TreePath>()
  const holds = (directory: TreePath, paths: Iterable<TreePath>): boolean =>
    [...paths].some((path) => path !== directory && path.startsWith(directory === '' ? '' : `${directory}/`))
  for (const path of going) if (left.delete(path)) removed.add(path)
  for (let before = -1; before < removed.size; ) {
    before = removed.size
    for (const [path, { inode }] of left)
      if (inode.type === 'dir' && !holds(path, left.keys()) && goes(path, holds(path, removed))) {
        left.delete(path)
        removed.add(path)
      }
  }
  return { left: treeOf(left.values()), removed }
}

test('steps of a pruning take what going through the whole tree again and again would take', () => {
  for (let seed = 1; seed <= 60; seed++) {
    const next = numbers(seed)
    let expected = randomTree(next)
    const steps = pruning(expected)
    for (let step = 0; step < 4; step++) {
      const places = [...steps.names.keys()].filter(
        (at) => steps.isLeft(at) && steps.entryAt(at).inode.type !== 'dir' && next(3) === 0,
      )
      const parity = next(2)
      const goes = (path: TreePath, isEmptied: boolean): boolean =>
        path !== '' &&
        ((isEmptied && path.length % 3 > 0) || (path.includes('-') && path.length % 2 === parity))
      const going = new Set(places.map((at) => steps.entryAt(at).path))
      const { left, removed } = plainly(expected, going, goes)
      const order = expected.names.map(({ path }) => path).filter((path) => removed.has(path))
      const gone = steps.remove(places, ({ path }, isEmptied) => goes(path, isEmptied))
      assert.deepEqual(
        gone.map(({ path }) => path),
        order,
        `seed ${seed}, step ${step}`,
      )
      assert.equal(printTree(steps.tree()), printTree(left))
      assert.deepEqual(treeProblems(steps.tree()), [])
      expected = left
    }
  }
})

test('a step that takes nothing leaves the tree as it is', () => {
  const tree = treeOf([{ path: 'a/b', owner: 'a', inode: { type: 'symlink', ...META, target: 'c' } }])
  const steps = pruning(tree)
  assert.deepEqual(
    steps.remove([], () => true),
    [],
  )
  assert.equal(steps.tree(), tree)
})
