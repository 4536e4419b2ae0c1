/** Change inodes, each once however many names it has: hard links stay hard links. */
import type { Contents } from './contents.ts'
import type { FileInode, Inode, Name, Tree } from './tree.ts'

/** Applies `change` to every inode; `name` is its first name. */
export function mapInodes(tree: Tree, change: (inode: Inode, name: Name) => Inode): Tree {
  const first = firstNames(tree)
  return { inodes: tree.inodes.map((inode, at) => change(inode, first[at] as Name)), names: tree.names }
}

/** Rewrites the bodies of the files that `pick` accepts; unchanged bytes keep their digest. */
export async function mapContents(
  tree: Tree,
  contents: Contents,
  pick: (inode: FileInode, name: Name) => boolean,
  change: (bytes: Uint8Array, name: Name) => Uint8Array | Promise<Uint8Array>,
): Promise<Tree> {
  const first = firstNames(tree)
  const inodes: Inode[] = []
  for (const [at, inode] of tree.inodes.entries()) {
    const name = first[at] as Name
    if (inode.type !== 'file' || !pick(inode, name)) {
      inodes.push(inode)
      continue
    }
    const bytes = await change(await contents.read(inode.content), name)
    inodes.push({ ...inode, size: bytes.length, content: await contents.write(bytes) })
  }
  return { inodes, names: tree.names }
}

function firstNames(tree: Tree): readonly (Name | undefined)[] {
  const first: (Name | undefined)[] = new Array<undefined>(tree.inodes.length)
  for (const name of tree.names) first[name.inode] ??= name
  return first
}
