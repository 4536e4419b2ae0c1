/** A folder of this machine as a tree, and its files as contents: for tests on real packages. */
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type Digest, digestOf } from '../../src/base/digest.ts'
import type { Contents } from '../../src/tree/contents.ts'
import { type Entry, type Inode, joinPath, type Tree, treeOf, type TreePath } from '../../src/tree/tree.ts'

/** Reads everything below `directory`; owner labels are given by `ownerOf`. */
export async function readDiskTree(
  directory: string,
  contents: Contents,
  ownerOf: (path: TreePath) => string = () => 'test',
): Promise<Tree> {
  const entries: Entry[] = []
  const links = new Map<string, Inode>()
  const digests = new Map<string, Digest>()
  const walk = async (path: TreePath): Promise<void> => {
    const real = Buffer.from(`${directory}/${path}`, 'latin1')
    const stat = lstatSync(real)
    const meta = {
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      mtime: Math.floor(stat.mtimeMs / 1000),
    }
    const key = `${stat.dev}:${stat.ino}`
    let inode: Inode | undefined = stat.isFile() ? links.get(key) : undefined
    if (stat.isDirectory()) inode = { ...meta, type: 'dir' }
    else if (stat.isSymbolicLink())
      inode = { ...meta, type: 'symlink', target: readlinkSync(real, 'latin1' as BufferEncoding) }
    else if (stat.isFile() && !inode) {
      const bytes = readFileSync(real)
      const content = digests.get(key) ?? (await contents.write(bytes))
      digests.set(key, content)
      if (content !== digestOf(bytes)) throw new Error('contents lie')
      inode = { ...meta, type: 'file', size: bytes.length, content }
      links.set(key, inode)
    }
    if (!inode) return
    entries.push({ path, owner: ownerOf(path), inode })
    if (inode.type === 'dir')
      for (const name of readdirSync(real, 'latin1' as BufferEncoding).sort())
        await walk(joinPath(path, name))
  }
  await walk('')
  return treeOf(entries)
}

/** Writes a tree into an empty folder: types, contents, modes and hard links; not owners, times or devices. */
export async function writeDiskTree(tree: Tree, contents: Contents, directory: string): Promise<void> {
  const written = new Map<number, Buffer>()
  for (const { path, inode: number } of tree.names) {
    const inode = tree.inodes[number] as Inode
    const real = Buffer.from(path === '' ? directory : `${directory}/${path}`, 'latin1')
    const first = written.get(number)
    if (inode.type === 'dir') mkdirSync(real, { recursive: true })
    else if (inode.type === 'symlink') symlinkSync(Buffer.from(inode.target, 'latin1'), real)
    else if (inode.type === 'file' && first) linkSync(first, real)
    else if (inode.type === 'file') {
      writeFileSync(real, await contents.read(inode.content))
      chmodSync(real, inode.mode)
      written.set(number, real)
    }
  }
}
