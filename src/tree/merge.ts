/** Packages into a root: one tree out of many, with every collision decided or named. */
import { printable, Stage5Error } from '../base/errors.ts'
import {
  type Entry,
  entriesOf,
  type Inode,
  joinPath,
  parentOf,
  type Tree,
  type TreePath,
  treeOfMap,
} from './tree.ts'

/** The profile's word on a path that two packages bring: the package (name or label) whose file stays. */
interface CollisionRule {
  /** Absolute path in the guest. */
  readonly path: string
  readonly owner: string
}

const MAX_ROUNDS = 16

/**
 * Merges trees in order.
 *
 * One directory in several trees is no collision: the first that gives it special bits or an owner other than root
 * keeps its metadata, else the first. Equal files (content and metadata but mtime) are no collision either: the first
 * owner stays. A directory of one tree that is a symlink in another is followed inside the root, as dpkg does: what is
 * below it moves to where the link points.
 * @throws S5_COLLISION when two trees bring different content for one path and no rule decides
 * @throws S5_MERGE_TYPE when a path is a directory in one tree and something that cannot hold names in another
 */
export function mergeTrees(trees: readonly Tree[], rules: readonly CollisionRule[] = []): Tree {
  let entries = trees.flatMap((tree) => [...entriesOf(tree)])
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const moves = linkedDirectories(entries)
    if (moves.size === 0) return treeOfMap(decide(entries, rules))
    entries = entries.map((entry) => move(entry, moves)).filter((entry) => entry !== undefined)
  }
  throw new Stage5Error('S5_MERGE_TYPE', 'symlinks to directories lead around in a circle')
}

/** Paths that are a directory in one tree and a symlink in another, with where the link points. */
function linkedDirectories(entries: readonly Entry[]): Map<TreePath, TreePath> {
  const directories = new Set<TreePath>()
  for (const { path, inode } of entries) if (inode.type === 'dir') directories.add(path)
  const moves = new Map<TreePath, TreePath>()
  for (const { path, inode } of entries)
    if (inode.type === 'symlink' && directories.has(path) && !moves.has(path))
      moves.set(path, targetOf(path, inode.target))
  return moves
}

function targetOf(path: TreePath, target: string): TreePath {
  let here: TreePath = target.startsWith('/') ? '' : parentOf(path)
  for (const part of target.split('/')) {
    if (part === '' || part === '.') continue
    here = part === '..' ? (here === '' ? '' : parentOf(here)) : joinPath(here, part)
  }
  return here
}

function move(entry: Entry, moves: ReadonlyMap<TreePath, TreePath>): Entry | undefined {
  const { path, inode } = entry
  if (inode.type === 'dir' && moves.has(path)) return { ...entry, path: moves.get(path) as TreePath }
  for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
    const to = moves.get(path.slice(0, slash))
    if (to !== undefined) return { ...entry, path: joinPath(to, path.slice(slash + 1)) }
  }
  return entry
}

function decide(entries: readonly Entry[], rules: readonly CollisionRule[]): Map<TreePath, Entry> {
  const wanted = new Map(rules.map(({ path, owner }) => [path.replace(/^\/+/, ''), owner]))
  const kept = new Map<TreePath, Entry>()
  const clashes: { path: TreePath; owners: string[] }[] = []
  for (const entry of entries) {
    const standing = kept.get(entry.path)
    if (!standing) kept.set(entry.path, entry)
    else if (standing.inode.type === 'dir' && entry.inode.type === 'dir') {
      if (!isSpecial(standing.inode) && isSpecial(entry.inode)) kept.set(entry.path, entry)
    } else if (standing.inode.type === 'dir' || entry.inode.type === 'dir') throw mixed(standing, entry)
    else if (!sameFile(standing.inode, entry.inode)) {
      const owner = wanted.get(entry.path)
      if (owner !== undefined && isOwner(entry, owner)) kept.set(entry.path, entry)
      else if (owner === undefined || !isOwner(standing, owner))
        clashes.push({ path: entry.path, owners: [standing.owner, entry.owner] })
    }
  }
  if (clashes.length > 0) throw collision(clashes)
  return kept
}

function isSpecial({ mode, uid, gid }: Inode): boolean {
  return mode !== 0o755 || uid !== 0 || gid !== 0
}

function isOwner({ owner }: Entry, wanted: string): boolean {
  return owner === wanted || owner.slice(0, owner.indexOf('_')) === wanted
}

function sameFile(left: Inode, right: Inode): boolean {
  if (
    left.type !== right.type ||
    left.mode !== right.mode ||
    left.uid !== right.uid ||
    left.gid !== right.gid
  )
    return false
  if (JSON.stringify(left.xattrs ?? []) !== JSON.stringify(right.xattrs ?? [])) return false
  if (left.type === 'file' && right.type === 'file') return left.content === right.content
  if (left.type === 'symlink' && right.type === 'symlink') return left.target === right.target
  if ((left.type === 'char' || left.type === 'block') && left.type === right.type)
    return left.major === right.major && left.minor === right.minor
  return true
}

function mixed(standing: Entry, entry: Entry): Stage5Error {
  return new Stage5Error(
    'S5_MERGE_TYPE',
    `/${printable(entry.path)} is a ${standing.inode.type} in ${standing.owner} and a ${entry.inode.type} in ${entry.owner}`,
    { data: { path: entry.path, owners: [standing.owner, entry.owner] } },
  )
}

function collision(clashes: readonly { path: TreePath; owners: string[] }[]): Stage5Error {
  const shown = clashes
    .slice(0, 20)
    .map(({ path, owners }) => `  /${printable(path)}: ${owners.join(' and ')}`)
  const more = clashes.length > 20 ? [`  and ${clashes.length - 20} more`] : []
  const first = clashes[0] as { path: TreePath; owners: string[] }
  return new Stage5Error(
    'S5_COLLISION',
    [`${clashes.length} path(s) with different content in two packages`, ...shown, ...more].join('\n'),
    {
      hint: `in the profile: collisions: [{path: /${printable(first.path)}, owner: ${first.owners[0]?.split('_')[0]}}]`,
      data: { clashes: clashes.map(({ path, owners }) => ({ path, owners })) },
    },
  )
}
