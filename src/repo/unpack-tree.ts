/**
 * From the entries of one package's tar archive to a tree, refusing every entry that another reader might put elsewhere.
 *
 * Nothing here looks at a disk: a link target counts only if this archive made it.
 */
import { type Refusal, refuse } from '../base/errors.ts'
import type { TarEntry, TarHandler } from '../format/tar.ts'
import type { Bodies, Body } from '../tree/bodies.ts'
import {
  type Entry,
  type Inode,
  type Meta,
  parentOf,
  type Tree,
  type TreePath,
  treeOf,
} from '../tree/tree.ts'

/** PATH_MAX and NAME_MAX of Linux; the depth is a guess far above real trees. */
const MAX_PATH = 4096
const MAX_COMPONENT = 255
const MAX_DEPTH = 1024
/** Directories that only their children speak of cost the archive nothing; real packages list all of theirs. */
const MAX_IMPLIED = 100_000

interface TreeBuilder extends TarHandler {
  /** The tree of all entries so far. */
  tree(): Tree
  /** Throws away a body that was begun. */
  abort(): void
}

/**
 * A tar handler that makes a tree.
 * @param file names the archive in errors
 * @param label owner of every name
 * @param below only what is below this folder of the archive belongs to the tree; '' for everything
 * @throws S5_ARCHIVE_REFUSED from its methods
 */
export function treeBuilder(file: string, label: string, bodies: Bodies, below = ''): TreeBuilder {
  const entries = new Map<TreePath, Entry>()
  /** Directories that only their children speak of. */
  const implied = new Set<TreePath>()
  let current: { header: TarEntry; path: TreePath; body: Body } | undefined

  const fail = (reason: Refusal, message: string, header: TarEntry) =>
    refuse(reason, file, message, { entry: header.path })

  function entry(header: TarEntry): void {
    const path = treePath(header)
    if (header.type === 'hardlink') return add({ path, owner: label, inode: linked(header) }, header)
    const { mode, uid, gid, mtime, xattrs } = header
    const meta: Meta = { mode, uid, gid, mtime, ...(xattrs.length > 0 ? { xattrs } : {}) }
    switch (header.type) {
      case 'dir':
        return add({ path, owner: label, inode: { type: 'dir', ...meta } }, header)
      case 'symlink':
        checkTarget(header)
        return add(
          { path, owner: label, inode: { type: 'symlink', ...meta, target: header.linkname } },
          header,
        )
      case 'file':
        checkPlace(path, header)
        current = { header, path, body: bodies.open(header.size) }
        return
      case 'char':
      case 'block':
      case 'fifo':
        throw fail('special-file', `a package may not bring a ${header.type} file`, header)
    }
  }

  function close(): void {
    if (!current) return
    const { header, path, body } = current
    current = undefined
    const { mode, uid, gid, mtime, xattrs, size } = header
    const meta: Meta = { mode, uid, gid, mtime, ...(xattrs.length > 0 ? { xattrs } : {}) }
    const inode: Inode = { type: 'file', ...meta, size, content: body.close() }
    entries.set(path, { path, owner: label, inode })
  }

  function add(made: Entry, header: TarEntry): void {
    const isDirectory = made.inode.type === 'dir'
    if (isDirectory && sameDirectory(entries.get(made.path)?.inode, made.inode)) return
    checkPlace(made.path, header)
    entries.set(made.path, made)
  }

  /** Whether `path` is free and all above it are directories, as far as this archive says. */
  function checkPlace(path: TreePath, header: TarEntry): void {
    if (entries.has(path)) throw fail('duplicate', 'the archive has this name twice', header)
    if (header.type !== 'dir') {
      if (path === '') throw fail('bad-parent', 'the root of the archive is not a directory', header)
      if (implied.has(path))
        throw header.type === 'symlink'
          ? fail('beneath-symlink', 'earlier entries are beneath this symlink', header)
          : fail('bad-parent', 'earlier entries are beneath this file', header)
    }
    implied.delete(path)
    for (let above = path; above !== ''; ) {
      above = parentOf(above)
      const parent = entries.get(above)?.inode.type
      if (parent === 'symlink')
        throw fail('beneath-symlink', 'a parent of it is a symlink of this archive', header)
      if (parent !== undefined && parent !== 'dir')
        throw fail('bad-parent', 'a parent of it is a file of this archive', header)
      // What is known already was checked up to the root.
      if (parent === 'dir' || implied.has(above)) return
      implied.add(above)
      if (implied.size > MAX_IMPLIED)
        throw fail('too-big', `more than ${MAX_IMPLIED} directories that are not in the archive`, header)
    }
  }

  /** A byte string without `.`, `//` and `./`, below the wanted folder. */
  function treePath(header: TarEntry): TreePath {
    if (header.type !== 'dir' && /\/\.?$/.test(header.path))
      throw fail('bad-name', `the name of a ${header.type} ends with a slash`, header)
    const path = normalized(header.path, header, 'name')
    if (below === '') return path
    if (path === below) return ''
    if (!path.startsWith(`${below}/`)) throw fail('layout', `expected only ${below}/ here`, header)
    return path.slice(below.length + 1)
  }

  function normalized(written: string, header: TarEntry, what: 'name' | 'link target'): TreePath {
    const bad = (reason: Refusal, message: string) =>
      fail(what === 'name' || reason === 'too-long' ? reason : 'hardlink-target', message, header)
    if (written === '') throw bad('bad-name', `an empty ${what}`)
    if (written.length > MAX_PATH) throw bad('too-long', `a ${what} of ${written.length} bytes`)
    if (written.startsWith('/')) throw bad('absolute-path', `an absolute ${what}`)
    const parts = written.split('/').filter((part) => part !== '' && part !== '.')
    if (parts.includes('..')) throw bad('traversal', `a ${what} with ".."`)
    if (parts.length > MAX_DEPTH) throw bad('too-long', `a ${what} of ${parts.length} components`)
    for (const part of parts)
      if (part.length > MAX_COMPONENT)
        throw bad('too-long', `a component of ${part.length} bytes in a ${what}`)
    return parts.join('/')
  }

  function checkTarget(header: TarEntry): void {
    const { length } = header.linkname
    if (length === 0) throw fail('bad-name', 'a symlink without a target', header)
    if (length >= MAX_PATH) throw fail('too-long', `a symlink target of ${length} bytes`, header)
  }

  /** The inode a hard link shares: of a file or symlink that this archive has made before. */
  function linked(header: TarEntry): Inode {
    const target = normalized(header.linkname, header, 'link target')
    const prefix = below === '' ? '' : `${below}/`
    const inode = target.startsWith(prefix) ? entries.get(target.slice(prefix.length))?.inode : undefined
    if (inode === undefined || inode.type === 'dir' || header.linkname.endsWith('/'))
      throw fail('hardlink-target', 'no earlier file of this archive is the target of this hard link', header)
    return inode
  }

  return {
    entry,
    data: (bytes) => current?.body.write(bytes),
    close,
    tree: () => treeOf(entries.values()),
    abort: () => {
      current?.body.abort()
      current = undefined
    },
  }
}

function sameDirectory(known: Inode | undefined, made: Inode): boolean {
  return (
    known?.type === 'dir' &&
    known.mode === made.mode &&
    known.uid === made.uid &&
    known.gid === made.gid &&
    known.mtime === made.mtime &&
    JSON.stringify(known.xattrs) === JSON.stringify(made.xattrs)
  )
}
