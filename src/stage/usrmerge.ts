/** One /usr: what lies in /bin, /sbin, /lib and /lib* moves below /usr, and symlinks stand in its place. */
import { Stage5Error } from '../base/errors.ts'
import {
  type Entry,
  entriesOf,
  type Inode,
  lookup,
  parentOf,
  type Tree,
  type TreePath,
  treeOf,
} from '../tree/tree.ts'
import { asJson, maker, withTree } from './generated.ts'
import type { Stage } from './stage.ts'

/** Those that every merged root has, and those that only exist where a package brings them. */
const ALWAYS = ['bin', 'sbin', 'lib']
const WHERE_PRESENT = ['lib32', 'lib64', 'libx32', 'libo32']

export const usrmerge: Stage = {
  name: 'usrmerge',
  version: 1,
  pick: ({ date }) => asJson({ date }),
  async run(input, params, { contents }) {
    const { date } = params as { readonly date: number }
    const make = maker('usrmerge', date, contents)
    const tops = [...ALWAYS, ...WHERE_PRESENT.filter((top) => lookup(input.tree, top))]
    const moving = tops.filter((top) => {
      const inode = lookup(input.tree, top)?.inode
      if (inode === undefined || inode.type === 'dir') return true
      if (inode.type === 'symlink' && /^\/?usr\/[^/]+\/?$/.test(inode.target)) return false
      throw new Stage5Error(
        'S5_STAGE_INVALID',
        `usrmerge: /${top} is neither a directory nor a link into /usr`,
      )
    })
    if (moving.length === 0) return input
    const moved = moveInto(input.tree, moving)
    for (const top of moving) {
      moved.set(top, make.link(top, `usr/${top}`))
      if (!moved.has(`usr/${top}`)) moved.set(`usr/${top}`, make.dir(`usr/${top}`))
    }
    return withTree(input, treeOf(moved.values()))
  },
}

/** The entries by path after the move; the directories themselves are gone. */
function moveInto(tree: Tree, tops: readonly string[]): Map<TreePath, Entry> {
  const result = new Map<TreePath, Entry>()
  const changed = new Map<Inode, Inode>()
  const late: Entry[] = []
  for (const entry of entriesOf(tree)) {
    const top = entry.path.split('/', 1)[0] as string
    if (!tops.includes(top)) result.set(entry.path, entry)
    else late.push(entry)
  }
  for (const { path, owner, inode } of late) {
    const target = `usr/${path}`
    let kept = changed.get(inode)
    if (!kept) {
      kept = inode.type === 'symlink' ? { ...inode, target: retarget(path, inode.target, tops) } : inode
      changed.set(inode, kept)
    }
    const entry: Entry = { path: target, owner, inode: kept }
    const old = result.get(target)
    const winner = old ? settle(entry, path, old, tops) : entry
    result.set(target, winner)
  }
  return result
}

/**
 * A relative target that leaves the directory that moves is written anew, so that it leads to the same name; everything
 * else stays as the package wrote it.
 */
function retarget(path: TreePath, target: string, tops: readonly string[]): string {
  if (target.startsWith('/')) return target
  const parts = path.split('/').slice(0, -1)
  let left = false
  for (const part of target.split('/')) {
    if (part === '..') {
      parts.pop()
      if (parts.length === 0) left = true
    } else if (part !== '' && part !== '.') parts.push(part)
  }
  if (!left) return target
  const goal = tops.includes(parts[0] ?? '') ? ['usr', ...parts] : parts
  const here = `usr/${parentOf(path)}`.split('/')
  let same = 0
  while (same < here.length && same < goal.length && here[same] === goal[same]) same++
  return [...here.slice(same).map(() => '..'), ...goal.slice(same)].join('/') || '.'
}

/** Of two entries for one path: equal ones are one, a link to the other one yields. */
function settle(moved: Entry, from: TreePath, stays: Entry, tops: readonly string[]): Entry {
  const [a, b] = [moved.inode, stays.inode]
  if (a.type === 'dir' && b.type === 'dir') return stays
  if (leadsTo(moved, stays.path, tops)) return stays
  if (leadsTo(stays, stays.path, tops)) return moved
  const same =
    (a.type === 'file' && b.type === 'file' && a.content === b.content && a.mode === b.mode) ||
    (a.type === 'symlink' && b.type === 'symlink' && a.target === b.target)
  if (same) return stays
  throw new Stage5Error(
    'S5_COLLISION',
    `/${from} (${moved.owner}) and /${stays.path} (${stays.owner}) differ, and become one path when /usr is merged`,
    { data: { paths: [from, stays.path], owners: [moved.owner, stays.owner] } },
  )
}

/** Whether an entry is a symlink to the path at which it stands itself after the move. */
function leadsTo({ path, inode }: Entry, goal: TreePath, tops: readonly string[]): boolean {
  if (inode.type !== 'symlink') return false
  const parts = inode.target.startsWith('/') ? [] : parentOf(path).split('/')
  for (const part of inode.target.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  const absolute = tops.includes(parts[0] ?? '') ? ['usr', ...parts] : parts
  return absolute.join('/') === goal
}
