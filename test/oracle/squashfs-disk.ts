/** Real directories as trees, trees as real images: what the squashfs oracles and the bench share. */
import { execFileSync } from 'node:child_process'
import { type FileHandle, open, readFile } from 'node:fs/promises'
import type { Digest } from '../../src/base/digest.ts'
import type { Sink } from '../../src/emit/emitter.ts'
import type { RangedContents } from '../../src/emit/squashfs.ts'
import { type Entry, type Inode, type Tree, treeOf } from '../../src/tree/tree.ts'

/** One line per name as Python's own stat and hashlib see it; strings are byte strings. */
export interface DiskEntry {
  path: string
  type: 'dir' | 'file' | 'symlink' | 'char' | 'block' | 'fifo' | 'socket'
  mode: number
  uid: number
  gid: number
  mtime: number
  size: number
  links: number
  ino: number
  sha256: string
  target: string
  major: number
  minor: number
  blocks: number
  xattrs: [string, string][]
}

const LIST = `
import os, sys, stat, json, hashlib
root = os.fsencode(sys.argv[1])
one = os.lstat(root).st_dev
hashed = {}
def text(b): return b.decode('latin-1')
def entry(path, rel):
    s = os.lstat(path)
    kinds = {stat.S_IFDIR:'dir', stat.S_IFREG:'file', stat.S_IFLNK:'symlink', stat.S_IFCHR:'char', stat.S_IFBLK:'block', stat.S_IFIFO:'fifo', stat.S_IFSOCK:'socket'}
    kind = kinds[stat.S_IFMT(s.st_mode)]
    digest = ''
    if kind == 'file':
        digest = hashed.get(s.st_ino)
        if digest is None:
            with open(path, 'rb') as f: digest = hashlib.file_digest(f, 'sha256').hexdigest()
            hashed[s.st_ino] = digest
    try: names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError: names = []
    xattrs = [[n, text(os.getxattr(path, n, follow_symlinks=False))] for n in names]
    print(json.dumps(dict(path=text(rel), type=kind, mode=stat.S_IMODE(s.st_mode), uid=s.st_uid, gid=s.st_gid,
        mtime=int(s.st_mtime), size=s.st_size if kind == 'file' else 0, links=s.st_nlink, ino=s.st_ino, sha256=digest,
        target=text(os.readlink(path)) if kind == 'symlink' else '', major=os.major(s.st_rdev), minor=os.minor(s.st_rdev),
        blocks=s.st_blocks, xattrs=xattrs)))
    if kind == 'dir' and s.st_dev == one:
        for name in sorted(os.listdir(path)):
            entry(os.path.join(path, name), name if rel == b'' else rel + b'/' + name)
sys.setrecursionlimit(10000)
entry(root, b'')
`

/** Everything below a directory; needs python3. */
export function listDisk(directory: string): DiskEntry[] {
  const text = execFileSync('python3', ['-c', LIST, directory], { encoding: 'utf8', maxBuffer: 2 ** 30 })
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as DiskEntry)
}

/** Hard links by inode number; sockets and all, times in whole seconds. */
export function treeOfDisk(
  listed: readonly DiskEntry[],
  ownerOf: (path: string) => string = (path) => path.split('/', 1)[0] ?? '',
): Tree {
  const inodes = new Map<number, Inode>()
  const entries = listed.map((entry): Entry => {
    let inode = entry.type === 'dir' ? undefined : inodes.get(entry.ino)
    if (!inode) {
      inode = inodeOf(entry)
      inodes.set(entry.ino, inode)
    }
    return { path: entry.path, owner: ownerOf(entry.path), inode }
  })
  return treeOf(entries)
}

function inodeOf(entry: DiskEntry): Inode {
  const { mode, uid, gid, mtime, type, major, minor, target, size } = entry
  const meta = { mode, uid, gid, mtime, ...(entry.xattrs.length > 0 ? { xattrs: entry.xattrs } : {}) }
  switch (type) {
    case 'file':
      return { ...meta, type, size, content: `sha256:${entry.sha256}` }
    case 'symlink':
      return { ...meta, type, target }
    case 'char':
    case 'block':
      return { ...meta, type, major, minor }
    case 'dir':
      return { ...meta, type }
    case 'fifo':
    case 'socket':
      return { ...meta, type }
  }
}

/** One path, as a byte string, for each content. */
export function pathsOfDisk(directory: string, listed: readonly DiskEntry[]): ReadonlyMap<Digest, string> {
  const paths = new Map<Digest, string>()
  for (const { type, sha256, path } of listed)
    if (type === 'file') paths.set(`sha256:${sha256}`, `${directory}/${path}`)
  return paths
}

/** Reads bodies where they lie on the disk. */
export function contentsOfDisk(paths: ReadonlyMap<Digest, string>): RangedContents {
  const pathOf = (content: Digest): Buffer => {
    const path = paths.get(content)
    if (path === undefined) throw new Error(`no file has ${content}`)
    return Buffer.from(path, 'latin1')
  }
  return {
    read: (content) => readFile(pathOf(content)),
    write: () => Promise.reject(new Error('these contents are read-only')),
    readPart: async (content, offset, length) => {
      await using file = await open(pathOf(content))
      const bytes = Buffer.allocUnsafeSlow(length)
      const { bytesRead } = await file.read(bytes, 0, length, offset)
      return bytes.subarray(0, bytesRead)
    },
  }
}

/** A file as a sink. */
export async function fileSink(path: string): Promise<Sink & AsyncDisposable> {
  const file: FileHandle = await open(path, 'w')
  return {
    write: async (bytes) => void (await file.write(bytes)),
    patch: async (offset, bytes) => void (await file.write(bytes, 0, bytes.length, offset)),
    [Symbol.asyncDispose]: () => file.close(),
  }
}
