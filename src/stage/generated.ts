/** What stages write: entries with one owner label and one time, placed where a guest would find them. */
import { printable, Stage5Error } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import type { Contents } from '../tree/contents.ts'
import { withEntries } from '../tree/edit.ts'
import { resolvePath } from '../tree/resolve-path.ts'
import type { Removed, Root } from '../tree/root.ts'
import {
  type Entry,
  indexOf,
  joinPath,
  lookup,
  type Meta,
  parentOf,
  type Tree,
  type TreePath,
} from '../tree/tree.ts'

/** Facts as the JSON that memo keys are made of. */
export function asJson(value: unknown): Json {
  return value as Json
}

/** Text as the bytes of a file. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** A byte string as the bytes of a file. */
export function rawBytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1')
}

/** Bytes as a byte string. */
export function byteText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

/** Makes the entries of one stage: owner 0:0 and the usual modes unless told otherwise. */
export interface Maker {
  file(path: TreePath, content: Uint8Array | string, meta?: Partial<Meta>): Promise<Entry>
  dir(path: TreePath, meta?: Partial<Meta>): Entry
  link(path: TreePath, target: string): Entry
}

export function maker(stage: string, date: number, contents: Contents): Maker {
  const owner = `stage:${stage}`
  const usual = (mode: number, meta: Partial<Meta> = {}): Meta => ({
    mode,
    uid: 0,
    gid: 0,
    mtime: date,
    ...meta,
  })
  return {
    file: async (path, content, meta) => {
      const bytes = typeof content === 'string' ? utf8(content) : content
      return {
        path,
        owner,
        inode: {
          type: 'file',
          ...usual(0o644, meta),
          size: bytes.length,
          content: await contents.write(bytes),
        },
      }
    },
    dir: (path, meta) => ({ path, owner, inode: { type: 'dir', ...usual(0o755, meta) } }),
    link: (path, target) => ({ path, owner, inode: { type: 'symlink', ...usual(0o777), target } }),
  }
}

/**
 * Where a path of the guest really lies: symlinks among its parents are followed, the last part is not.
 * @param path with or without leading `/`
 * @throws S5_STAGE_INVALID when a parent is no directory or a link that leads nowhere
 */
export function landing(tree: Tree, path: string, stage: string): TreePath {
  const parts = path.split('/').filter((part) => part !== '')
  const last = parts.pop()
  let here: TreePath = ''
  for (const [at, part] of parts.entries()) {
    const next = joinPath(here, part)
    const entry = lookup(tree, next)
    if (!entry) return [here, ...parts.slice(at), last].filter((each) => each !== '').join('/')
    const found = entry.inode.type === 'symlink' ? resolvePath(tree, part, here) : entry
    if (!('inode' in found) || found.inode.type !== 'dir')
      throw new Stage5Error(
        'S5_STAGE_INVALID',
        `${stage}: cannot put ${path} there: /${next} (${entry.owner}) is no directory`,
        { data: { stage, path, parent: next, owner: entry.owner } },
      )
    here = found.path
  }
  return last === undefined ? '' : joinPath(here, last)
}

/**
 * The tree with more entries; missing parents are made with the entry's owner and `date`.
 * @throws S5_STAGE_INVALID when a parent is no directory, or a directory that holds something would become something else
 */
export function placed(tree: Tree, entries: readonly Entry[], date: number): Tree {
  const known = new Map<TreePath, Entry>()
  for (const entry of entries) known.set(entry.path, entry)
  const parents: Entry[] = []
  for (const entry of entries) {
    for (let path = parentOf(entry.path); path !== ''; path = parentOf(path)) {
      const above = known.get(path) ?? lookup(tree, path)
      if (above && above.inode.type !== 'dir')
        throw misplaced(entry, `/${path} (${above.owner}) is no directory`)
      if (above) break
      const made: Entry = {
        path,
        owner: entry.owner,
        inode: { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: date },
      }
      known.set(path, made)
      parents.push(made)
    }
    const old = entry.inode.type === 'dir' ? undefined : lookup(tree, entry.path)
    if (old?.inode.type === 'dir' && hasChildren(tree, entry.path))
      throw misplaced(entry, `there is a directory of ${old.owner} with files in it`)
  }
  return withEntries(tree, [...parents, ...entries])
}

function misplaced({ path, owner, inode }: Entry, why: string): Stage5Error {
  const stage = owner.replace(/^stage:/, '')
  return new Stage5Error(
    'S5_STAGE_INVALID',
    `${stage}: cannot put a ${inode.type} at /${printable(path)}: ${why}`,
    {
      data: { stage, path },
    },
  )
}

function hasChildren(tree: Tree, path: TreePath): boolean {
  return tree.names[indexOf(tree, path) + 1]?.path.startsWith(`${path}/`) === true
}

/** Directories that the base systems of distributions have and packages rely on; only missing ones are made. */
export function missing(tree: Tree, entries: readonly Entry[]): Entry[] {
  return entries.filter(({ path }) => !lookup(tree, path))
}

/** The root with another tree, and with what that took away. */
export function withTree(root: Root, tree: Tree, removed: readonly Removed[] = []): Root {
  return { tree, removed: removed.length === 0 ? root.removed : [...root.removed, ...removed] }
}

/** The record of a name that a stage takes out. */
export function removal(entry: Entry, rule: string): Removed {
  const { inode, path, owner } = entry
  return {
    path,
    owner,
    rule,
    size: inode.type === 'file' ? inode.size : 0,
    ...(inode.type === 'symlink' && { target: inode.target }),
  }
}
