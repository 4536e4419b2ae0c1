/** The archives of an initrd as the tree that the kernel makes of them: a later archive wins, name by name. */
import { printable, refuse } from '../base/errors.ts'
import type { CpioEntry } from '../format/cpio.ts'
import { fileTypeOf } from '../format/file-type.ts'
import type { Contents } from '../tree/contents.ts'
import { type Entry, type Inode, parentOf, type Tree, treeOf, type TreePath } from '../tree/tree.ts'

/** As in Linux (path_resolution(7)). */
const MAX_LINKS = 40

/**
 * @param segments in the order of the file
 * @throws S5_ARCHIVE_REFUSED `traversal`, `bad-type`, `bad-parent`, `too-long`
 */
export async function treeOfArchives(
  segments: readonly (readonly CpioEntry[])[],
  contents: Contents,
  file: string,
): Promise<Tree> {
  const entries = new Map<TreePath, Entry>()
  for (const [nth, segment] of segments.entries()) {
    const linked = new Map<number, CpioEntry[]>()
    for (const member of segment) {
      const type = fileTypeOf(member.mode)
      if (!type)
        throw refuse('bad-type', file, `${printable(member.name)} has mode ${member.mode.toString(8)}`)
      const path = placeOf(member.name, entries, file)
      if (path === '' && type !== 'dir') throw refuse('bad-type', file, 'the root is no directory')
      const inode = await inodeOf(type, member, contents)
      clear(entries, path, inode.type, file)
      entries.set(path, { path, owner: `archive ${nth + 1}`, inode })
      if (type === 'file' && member.nlink > 1) {
        const group = linked.get(member.ino) ?? []
        linked.set(member.ino, [...group, { ...member, name: path }])
      }
    }
    for (const group of linked.values()) joinLinks(entries, group)
  }
  return treeOf(entries.values())
}

/** Names of one file share the inode; the kernel takes the body from the name that has one. */
function joinLinks(entries: Map<TreePath, Entry>, group: readonly CpioEntry[]): void {
  const withBody = group.findLast(({ size }) => size > 0) ?? group.at(-1)
  const inode = withBody && entries.get(withBody.name)?.inode
  if (!inode) return
  for (const { name } of group) {
    const entry = entries.get(name)
    if (entry?.inode.type === 'file') entries.set(name, { ...entry, inode })
  }
}

/** What stands at a path makes room, as `clean_path` of the kernel does it: another type is removed. */
function clear(entries: Map<TreePath, Entry>, path: TreePath, type: Inode['type'], file: string): void {
  const old = entries.get(path)
  if (old?.inode.type !== 'dir' || type === 'dir') return
  for (const name of entries.keys())
    if (name.startsWith(`${path}/`))
      throw refuse(
        'bad-parent',
        file,
        `${printable(path)} is a directory that is not empty, and then a ${type}`,
      )
}

/** The place of a name: symlinks to directories above it are followed inside the tree. */
function placeOf(name: string, entries: ReadonlyMap<TreePath, Entry>, file: string): TreePath {
  const pending = name.split('/').reverse()
  let here: TreePath = ''
  let links = 0
  while (pending.length > 0) {
    const part = pending.pop() as string
    if (part === '' || part === '.') continue
    if (part === '..') {
      if (links === 0) throw refuse('traversal', file, printable(name))
      here = parentOf(here)
      continue
    }
    const next = here === '' ? part : `${here}/${part}`
    const isLast = pending.every((rest) => rest === '' || rest === '.')
    const inode = entries.get(next)?.inode
    if (inode?.type === 'symlink' && !isLast) {
      if (++links > MAX_LINKS) throw refuse('too-long', file, `${printable(name)}: too many symlinks`)
      if (inode.target.startsWith('/')) here = ''
      pending.push(...inode.target.split('/').reverse())
      continue
    }
    if (inode && inode.type !== 'dir' && !isLast)
      throw refuse('bad-parent', file, `${printable(name)}: ${printable(next)} is a ${inode.type}`)
    here = next
  }
  return here
}

async function inodeOf(type: Inode['type'], member: CpioEntry, contents: Contents): Promise<Inode> {
  const { mode, uid, gid, mtime, body, size, rdevMajor, rdevMinor } = member
  const meta = { mode: mode & 0o7777, uid, gid, mtime }
  switch (type) {
    case 'file':
      return { type, ...meta, size, content: await contents.write(body) }
    case 'symlink':
      return { type, ...meta, target: Buffer.from(body).toString('latin1') }
    case 'char':
    case 'block':
      return { type, ...meta, major: rdevMajor, minor: rdevMinor }
    case 'dir':
    case 'fifo':
    case 'socket':
      return { type, ...meta }
  }
}
