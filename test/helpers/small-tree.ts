/** Trees from a short literal: `'etc/x': 'text'`, `'lib/y': link('y.1')`, `'bin/z': file(bytes, 0o755)`. */
import type { Contents } from '../../src/tree/contents.ts'
import { type Entry, type Inode, type Tree, treeOf } from '../../src/tree/tree.ts'

export type Leaf =
  | string
  | { readonly link: string }
  | { readonly dir: number }
  | { readonly bytes: Uint8Array; readonly mode: number }

export const link = (target: string): Leaf => ({ link: target })
export const dir = (mode = 0o755): Leaf => ({ dir: mode })
export const program = (bytes: Uint8Array | string, mode = 0o755): Leaf => ({
  bytes: typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes,
  mode,
})

/** Owner label of each name is `owner`. Parents are made. */
export async function smallTree(
  contents: Contents,
  leaves: { readonly [path: string]: Leaf },
  owner = 'pkg_1',
): Promise<Tree> {
  const entries: Entry[] = []
  for (const [path, leaf] of Object.entries(leaves)) {
    const meta = { uid: 0, gid: 0, mtime: 1 }
    let inode: Inode
    if (typeof leaf === 'object' && 'link' in leaf)
      inode = { ...meta, mode: 0o777, type: 'symlink', target: leaf.link }
    else if (typeof leaf === 'object' && 'dir' in leaf) inode = { ...meta, mode: leaf.dir, type: 'dir' }
    else {
      const bytes = typeof leaf === 'string' ? Buffer.from(leaf, 'latin1') : leaf.bytes
      const content = await contents.write(bytes)
      const mode = typeof leaf === 'string' ? 0o644 : leaf.mode
      inode = { ...meta, mode, type: 'file', size: bytes.length, content }
    }
    entries.push({ path, owner, inode })
  }
  return treeOf(entries)
}
