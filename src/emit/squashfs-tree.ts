/** A squashfs image back as a tree, for `diff` and for tests: the digests are taken from the bytes in the image. */
import { type Digest, digester } from '../base/digest.ts'
import { NO_BODY } from '../format/squashfs/image.ts'
import type { SquashfsImage } from '../format/squashfs/read.ts'
import type { Inode, Tree } from '../tree/tree.ts'

/** Owners are `''`: an image does not say who brought a file. Files that share their bytes are hashed once. */
export async function treeOfSquashfs(image: SquashfsImage): Promise<Tree> {
  const known = new Map<string, Digest>()
  const inodes: Inode[] = []
  for (const [number, inode] of image.inodes.entries()) {
    if (inode.type !== 'file') {
      inodes.push(inode)
      continue
    }
    const { start, sizes, fragment, offset } = image.bodies.get(number) ?? NO_BODY
    const place = [start, fragment, offset, inode.size, ...Array.from(sizes)].join()
    let content = known.get(place)
    if (content === undefined) {
      const sum = digester()
      for await (const bytes of image.readBody(number)) sum.update(bytes)
      content = sum.digest()
      known.set(place, content)
    }
    inodes.push({ ...inode, content })
  }
  return { inodes, names: image.names.map((name) => ({ ...name, owner: '' })) }
}
