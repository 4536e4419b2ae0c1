/**
 * One /usr: what lies in /bin, /sbin, /lib and /lib* moves below /usr, and symlinks stand in its place. Where Gentoo has
 * only one directory for programs, /sbin and /usr/sbin are /usr/bin.
 */
import { Stage5Error } from '../base/errors.ts'
import { entriesBelow } from '../tree/below.ts'
import { withEntries, withoutPaths } from '../tree/edit.ts'
import {
  comparePaths,
  type Entry,
  type Inode,
  lookup,
  parentOf,
  type Tree,
  type TreePath,
} from '../tree/tree.ts'
import type { PackageFacts } from './facts.ts'
import { asJson, maker, withTree } from './generated.ts'
import type { Stage } from './stage.ts'

/** Those that every merged root has, and those that only exist where a package brings them. */
const ALWAYS = ['bin', 'sbin', 'lib']
const WHERE_PRESENT = ['lib32', 'lib64', 'libx32', 'libo32']

/** Directories that move, and where to; none is below another one. */
type Moves = ReadonlyMap<TreePath, TreePath>

/** Whether baselayout was built for one directory of programs: it knows `split-usr`, and has it off. */
function hasOneBin(packages: readonly PackageFacts[]): boolean {
  const flags = (text: string | undefined): string[] =>
    (text ?? '').split(/\s+/).map((flag) => flag.replace(/^\+/, ''))
  return packages.some(
    ({ scheme, name, control }) =>
      scheme === 'ebuild' &&
      name === 'sys-apps/baselayout' &&
      flags(control['IUSE']).includes('split-usr') &&
      !flags(control['USE']).includes('split-usr'),
  )
}

export const usrmerge: Stage = {
  name: 'usrmerge',
  version: 2,
  pick: ({ packages, date }) => asJson({ oneBin: hasOneBin(packages), date }),
  async run(input, params, { contents }) {
    const { oneBin, date } = params as { readonly oneBin: boolean; readonly date: number }
    const make = maker('usrmerge', date, contents)
    const tops = [...ALWAYS, ...WHERE_PRESENT.filter((top) => lookup(input.tree, top))]
    const all = new Map(tops.map((top) => [top, `usr/${top}`]))
    if (oneBin) all.set('sbin', 'usr/bin').set('usr/sbin', 'usr/bin')
    const moves: Moves = new Map([...all].filter(([from, to]) => mustMove(input.tree, from, to)))
    if (moves.size === 0) return input
    const stays = withoutPaths(input.tree, moves.keys())
    const moved = moveInto(stays, input.tree, moves)
    for (const [from, to] of moves) {
      if (!moved.has(to) && !lookup(stays, to)) moved.set(to, make.dir(to))
      moved.set(from, make.link(from, from.includes('/') ? 'bin' : to))
    }
    return withTree(input, withEntries(stays, moved.values()))
  },
}

/** Whether there is a directory, or nothing. A link to where it would go stays. */
function mustMove(tree: Tree, from: TreePath, to: TreePath): boolean {
  const inode = lookup(tree, from)?.inode
  if (inode === undefined || inode.type === 'dir') return true
  if (inode.type === 'symlink' && /^(?:\/?usr\/[^/]+|bin)\/?$/.test(inode.target)) return false
  throw new Stage5Error(
    'S5_STAGE_INVALID',
    `usrmerge: /${from} is neither a directory nor a link into /usr, expected a link to /${to}`,
  )
}

/** The path after the move. */
function after(path: TreePath, moves: Moves): TreePath {
  for (const [from, to] of moves)
    if (path.startsWith(from) && (path.length === from.length || path.charCodeAt(from.length) === 47))
      return to + path.slice(from.length)
  return path
}

/** What moves, by path after the move, where it does not yield to what `stays`. */
function moveInto(stays: Tree, tree: Tree, moves: Moves): Map<TreePath, Entry> {
  const result = new Map<TreePath, Entry>()
  const changed = new Map<Inode, Inode>()
  const tops = [...moves.keys()].toSorted(comparePaths)
  const moving = tops.flatMap((top) => {
    const own = lookup(tree, top)
    return own ? [own, ...entriesBelow(tree, top)] : []
  })
  for (const { path, owner, inode } of moving) {
    const target = after(path, moves)
    let kept = changed.get(inode)
    if (!kept) {
      kept = inode.type === 'symlink' ? { ...inode, target: retarget(path, inode.target, moves) } : inode
      changed.set(inode, kept)
    }
    const entry: Entry = { path: target, owner, inode: kept }
    const old = result.get(target) ?? lookup(stays, target)
    const winner = old ? settle(entry, path, old, moves) : entry
    if (winner === entry) result.set(target, entry)
  }
  return result
}

/**
 * A relative target that leaves the directory that moves is written anew, so that it leads to the same name; everything
 * else stays as the package wrote it.
 */
function retarget(path: TreePath, target: string, moves: Moves): string {
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
  const goal = after(parts.join('/'), moves).split('/')
  const here = parentOf(after(path, moves)).split('/')
  let same = 0
  while (same < here.length && same < goal.length && here[same] === goal[same]) same++
  return [...here.slice(same).map(() => '..'), ...goal.slice(same)].join('/') || '.'
}

/** Of two entries for one path: equal ones are one, a link to the other one yields. */
function settle(moved: Entry, from: TreePath, stays: Entry, moves: Moves): Entry {
  const [a, b] = [moved.inode, stays.inode]
  if (a.type === 'dir' && b.type === 'dir') return stays
  if (leadsTo(moved, stays.path, moves)) return stays
  if (leadsTo(stays, stays.path, moves)) return moved
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
function leadsTo({ path, inode }: Entry, goal: TreePath, moves: Moves): boolean {
  if (inode.type !== 'symlink') return false
  const parts = inode.target.startsWith('/') ? [] : parentOf(path).split('/')
  for (const part of inode.target.split('/'))
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  return after(parts.join('/'), moves) === goal
}
