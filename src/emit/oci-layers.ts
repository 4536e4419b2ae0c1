/**
 * A root cut into layers by the packages that own its names: equal packages make equal layers in every image of a fleet,
 * so that a registry or a node has each of them once.
 */
import { type Entry, entriesOf, parentOf, type Tree, treeOf, type TreePath } from '../tree/tree.ts'

interface Layer {
  /** Owners, such as `libc6_2.36-9`. */
  readonly owners: readonly string[]
  readonly tree: Tree
}

/** Packages below this many bytes share a layer: a request for each would cost more than it saves. A guess. */
const LEAST = 256 * 1024
/** Docker's overlayfs takes 127 layers; room is left for those that others put on top. */
const MOST = 100

/**
 * One layer for each large package, by name; one for the small ones together; at last one for what stages and profile
 * made, which every image has for itself. Names of one inode stay together. Every layer has the directories above its
 * names, with the metadata that they have in the root.
 */
export function layersOf(tree: Tree): readonly Layer[] {
  const entries = [...entriesOf(tree)]
  const home = new Map<Entry['inode'], string>()
  const bytes = new Map<string, number>()
  for (const { inode, owner } of entries) {
    if (home.has(inode)) continue
    home.set(inode, owner)
    bytes.set(owner, (bytes.get(owner) ?? 0) + (inode.type === 'file' ? inode.size : 0))
  }
  const packages = [...bytes].filter(([owner]) => isPackage(owner))
  const large = packages
    .filter(([, size]) => size >= LEAST)
    .sort(([a, left], [b, right]) => right - left || (a < b ? -1 : 1))
    .slice(0, MOST)
    .map(([owner]) => owner)
    .sort((a, b) => (a < b ? -1 : 1))
  const own = new Set(large)
  const groups = new Map<string, Entry[]>([...large, SMALL, MADE].map((name) => [name, []]))
  for (const entry of entries) {
    const owner = home.get(entry.inode) as string
    const group = own.has(owner) ? owner : isPackage(owner) ? SMALL : MADE
    groups.get(group)?.push(entry)
  }
  const directories = new Map(
    entries.filter(({ inode }) => inode.type === 'dir').map((one) => [one.path, one]),
  )
  return [...groups.values()]
    .filter((group) => group.length > 0)
    .map((group) => ({
      owners: [...new Set(group.map(({ owner }) => owner))].sort((a, b) => (a < b ? -1 : 1)),
      tree: treeOf(withParents(group, directories)),
    }))
}

const SMALL = 'small packages'
const MADE = 'made'

/** Owners of files that no package brought are written `stage:NAME`, `profile` or not at all. */
function isPackage(owner: string): boolean {
  return owner.includes('_') && !owner.startsWith('stage:')
}

function withParents(group: readonly Entry[], directories: ReadonlyMap<TreePath, Entry>): Entry[] {
  const found = new Map(group.map((entry) => [entry.path, entry]))
  for (const { path } of group)
    for (let above = path; above !== ''; ) {
      above = parentOf(above)
      const directory = directories.get(above)
      if (found.has(above) || !directory) break
      found.set(above, directory)
    }
  return [...found.values()]
}
