/**
 * What goes onto a data disk, as a value: which files, and the commands for debugfs(8) that put them there with their
 * owners, modes, times and attributes, so that nobody needs root or a mount.
 */
import { type Digest, digestOf } from '../base/digest.ts'
import { printable, Stage5Error } from '../base/errors.ts'
import { FILE_TYPE } from '../format/file-type.ts'
import {
  baseOf,
  comparePaths,
  type Entry,
  entriesOf,
  type FileInode,
  lookup,
  parentOf,
  type Tree,
  type TreePath,
} from '../tree/tree.ts'
import type { Contents } from '../tree/contents.ts'

export type { Contents, Digest, Tree }

/** The part of a profile's data area that matters here. */
export interface DataDiskArea {
  /** ext4 label, at most 16 bytes. */
  readonly label: string
  /** Bytes. */
  readonly size: number
  /** Absolute directories of the guest; on the disk they have the same paths. */
  readonly paths: readonly string[]
}

interface DataDiskPlan {
  readonly label: string
  /** Bytes, whole blocks. */
  readonly size: number
  /** By path, parents first, without the root directory. */
  readonly entries: readonly Entry[]
  /** Each content once, in the order of its first path. */
  readonly files: readonly FileInode[]
}

const DATA_BLOCK = 4096
/** The smallest ext4 that has a journal: 2048 blocks. */
const SMALLEST = 2048 * DATA_BLOCK
/** debugfs reads its commands in lines of BUFSIZ bytes. */
const LINE_MAX = 8000

/**
 * The content of one data area: its directories as they are in the root, and the directories above them.
 * @throws S5_IMAGE_INPUT when the area is too small, or a name cannot be told to debugfs
 */
export function planDataDisk(area: DataDiskArea, root: Tree): DataDiskPlan {
  const size = area.size - (area.size % DATA_BLOCK)
  if (size < SMALLEST) throw input(area, `expected a size of at least ${SMALLEST} bytes, found ${area.size}`)
  const wanted = area.paths.map((path) => path.replace(/^\/+|\/+$/g, ''))
  const chosen = new Map<TreePath, Entry>()
  for (const path of wanted) {
    for (let above = path; above !== ''; above = parentOf(above))
      chosen.set(above, directoryAt(area, root, above))
  }
  const below = (path: TreePath) => wanted.some((top) => top === '' || path.startsWith(`${top}/`))
  for (const entry of entriesOf(root)) if (below(entry.path)) chosen.set(entry.path, entry)
  const entries = [...chosen.values()]
    .filter((entry) => entry.path !== '')
    .sort((a, b) => comparePaths(a.path, b.path))
  const files = new Map<Digest, FileInode>()
  const inodes = new Set(entries.map(({ inode }) => inode))
  let bytes = 0
  for (const inode of inodes) {
    if (inode.type !== 'file') continue
    bytes += inode.size
    files.set(inode.content, inode)
  }
  if (bytes > size) throw input(area, `its content of ${bytes} bytes does not fit into ${size}`)
  return { label: area.label, size, entries, files: [...files.values()] }
}

function directoryAt(area: DataDiskArea, root: Tree, path: TreePath): Entry {
  const found = lookup(root, path)
  if (!found) {
    return { path, owner: '', inode: { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: 0 } }
  }
  if (found.inode.type !== 'dir')
    throw input(area, `expected a directory at /${printable(path)}, found a ${found.inode.type}`)
  return found
}

function input(area: { readonly label: string }, message: string): Stage5Error {
  return new Stage5Error('S5_IMAGE_INPUT', `data area ${area.label}: ${message}`, {
    data: { label: area.label, format: 'ext4' },
  })
}

/**
 * A UUID made from a seed and a name: the same for the same seed, another for any other.
 * @see RFC 9562, 5.8 (version 8: custom)
 */
export function seededUuid(seed: string, name: string): string {
  const hex = digestOf(`${seed}\0${name}`).slice(7, 39)
  const variant = ((Number.parseInt(hex[16] as string, 16) & 3) | 8).toString(16)
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    variant + hex.slice(17, 20),
    hex.slice(20),
  ].join('-')
}

/** The arguments of mke2fs(8) for an empty disk; the result does not depend on any mke2fs.conf. */
export function mke2fsArguments(plan: DataDiskPlan, seed: string, target: string): string[] {
  const features =
    'none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,' +
    'huge_file,dir_nlink,extra_isize,metadata_csum'
  const extended = `hash_seed=${seededUuid(seed, 'hash')},root_owner=0:0,nodiscard,lazy_itable_init=1,lazy_journal_init=1`
  return [
    ...['mke2fs', '-q', '-F', '-t', 'ext4', '-b', `${DATA_BLOCK}`, '-I', '256', '-i', '16384', '-m', '0'],
    ...['-O', features, '-E', extended, '-U', seededUuid(seed, 'uuid'), '-L', plan.label],
    ...[target, `${plan.size / DATA_BLOCK}`],
  ]
}

/**
 * Commands for `debugfs -w -f`, one per line, as a byte string.
 *
 * First everything is made, then hard links are added (debugfs does not enlarge a directory for `ln`, so we do), then
 * owners, modes and times are set, since making a name touches its directory.
 * @param fileOf the host's path of a content, and of the value of an attribute
 * @throws S5_IMAGE_INPUT
 */
export function debugfsScript(plan: DataDiskPlan, fileOf: (content: Digest | XattrValue) => string): string {
  const lines: string[] = []
  const say = (...words: string[]): void => {
    const line = words.join(' ')
    if (/[\n\0]/.test(line) || line.length > LINE_MAX)
      throw input(plan, `a name cannot be written by debugfs: ${printable(line)}`)
    lines.push(line)
  }
  // Of all commands only mknod takes a name in the current directory and no path.
  const makeNode = (path: TreePath, ...what: string[]): void => {
    say('cd', quoted(`/${parentOf(path)}`))
    say('mknod', quoted(baseOf(path)), ...what)
    say('cd', '/')
  }
  const first = new Map<Entry['inode'], TreePath>()
  const links: Entry[] = []
  for (const entry of plan.entries) {
    const { inode, path } = entry
    if (inode.type !== 'dir' && first.has(inode)) {
      links.push(entry)
      continue
    }
    first.set(inode, path)
    const name = quoted(`/${path}`)
    switch (inode.type) {
      case 'dir':
        say('mkdir', name)
        break
      case 'file':
        say('write', quoted(fileOf(inode.content)), name)
        break
      case 'symlink':
        say('symlink', name, quoted(inode.target))
        break
      case 'fifo':
        makeNode(path, 'p')
        break
      case 'char':
      case 'block':
        makeNode(path, inode.type === 'char' ? 'c' : 'b', `${inode.major}`, `${inode.minor}`)
        break
      case 'socket':
        throw input(plan, `/${printable(path)} is a socket`)
    }
  }
  const room = new Map<TreePath, number>()
  for (const { inode, path } of links) {
    const directory = parentOf(path)
    // ext4 directory entry: 8 bytes and the name, in multiples of 4; a block ends with a checksum of 12 bytes.
    const need = 8 + 4 * Math.ceil((path.length - directory.length) / 4)
    let free = room.get(directory) ?? 0
    if (free < need) {
      say('expand_dir', quoted(`/${directory}`))
      free = DATA_BLOCK - 12
    }
    room.set(directory, free - need)
    say('ln', quoted(`/${first.get(inode)}`), quoted(`/${path}`))
  }
  const names = new Map<Entry['inode'], number>()
  for (const { inode } of plan.entries) names.set(inode, (names.get(inode) ?? 0) + 1)
  for (const [inode, path] of first) {
    const name = quoted(`/${path}`)
    const set = (field: string, value: string) => say('set_inode_field', name, field, value)
    for (const [attribute, value] of inode.xattrs ?? [])
      say('ea_set', '-f', quoted(fileOf({ value })), name, quoted(attribute))
    if (inode.type !== 'dir' && names.get(inode) !== 1) set('links_count', `${names.get(inode)}`)
    set('mode', `0${(FILE_TYPE[inode.type] | inode.mode).toString(8)}`)
    set('uid', `${inode.uid}`)
    set('gid', `${inode.gid}`)
    for (const field of ['atime', 'ctime', 'mtime', 'crtime']) set(field, `@${inode.mtime}`)
  }
  return lines.map((line) => `${line}\n`).join('')
}

/** The value of an extended attribute, as a byte string. */
interface XattrValue {
  readonly value: string
}

/** A word for debugfs: in double quotes, where only a double quote needs care and is written twice. */
function quoted(word: string): string {
  return `"${word.replaceAll('"', '""')}"`
}
