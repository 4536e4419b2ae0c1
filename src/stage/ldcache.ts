/** What ldconfig would do: symlinks by soname where they are missing, and /etc/ld.so.cache. */
import { compareLibraryNames, type LdCacheEntry, ldCacheFlags, writeLdCache } from '../format/ldcache.ts'
import { namesIn } from '../tree/below.ts'
import { withEntries } from '../tree/edit.ts'
import { follow } from '../tree/resolve-path.ts'
import {
  baseOf,
  type Entry,
  entriesOf,
  joinPath,
  lookup,
  parentOf,
  type Tree,
  type TreePath,
} from '../tree/tree.ts'
import { asJson, maker, withTree } from './generated.ts'
import {
  compiledInDirectories,
  configuredDirectories,
  type ElfReader,
  elfReader,
  loadersOf,
} from './libraries.ts'
import type { Stage, StageWorld } from './stage.ts'

interface Library {
  readonly soname: string
  /** File name within the directory. */
  readonly name: string
  readonly flags: number
  /** Whether it is a symlink that bears the name by which it is asked for. */
  readonly isLink: boolean
  readonly littleEndian: boolean
}

interface Directory {
  /** As the cache names it. */
  readonly written: string
  readonly path: TreePath
  readonly hwcaps?: string
}

/** Only where the root has a glibc; other loaders know no cache. */
export const ldcache: Stage = {
  name: 'ldcache',
  version: 1,
  pick: ({ date }) => asJson({ date }),
  async run(input, params, world) {
    const { date } = params as { readonly date: number }
    const directories = await searchDirectories(input.tree, world)
    if (!directories) return input
    const make = maker('ldcache', date, world.contents)
    const elfs = elfReader(world.contents)
    await elfs.prepare([...entriesOf(input.tree)].filter(({ path }) => baseOf(path).includes('.so')))
    const entries: LdCacheEntry[] = []
    const links: Entry[] = []
    let little = true
    const children = childrenByDirectory(input.tree)
    for (const directory of directories) {
      world.signal.throwIfAborted()
      const inside = children.get(directory.path) ?? []
      const libraries = await librariesIn(input.tree, inside, elfs)
      for (const { soname, name, flags, isLink, littleEndian } of libraries) {
        little &&= littleEndian
        const { hwcaps } = directory
        const file = hwcaps === undefined ? soname : name
        entries.push({
          name: soname,
          path: `${directory.written === '/' ? '' : directory.written}/${file}`,
          flags,
          ...(hwcaps === undefined ? {} : { hwcaps }),
        })
        const link = joinPath(directory.path, soname)
        if (hwcaps === undefined && !isLink && soname !== name && !lookup(input.tree, link))
          links.push(make.link(link, name))
      }
    }
    const cache = await make.file('etc/ld.so.cache', writeLdCache(entries, little))
    return withTree(input, withEntries(input.tree, [...links, cache]))
  },
}

/**
 * Directories in the order in which ldconfig reads them, each once however often it is named: those of ld.so.conf, then
 * those of the loader itself; before each of them its `glibc-hwcaps`.
 * @returns undefined when the root has no glibc
 */
async function searchDirectories(
  tree: Tree,
  { contents }: StageWorld,
): Promise<readonly Directory[] | undefined> {
  const builtin: string[] = []
  for (const { inode } of loadersOf(tree))
    builtin.push(...compiledInDirectories(await contents.read(inode.content)))
  if (builtin.length === 0) return undefined
  const seen = new Set<TreePath>()
  const plain: Directory[] = []
  for (const written of [...(await configuredDirectories(tree, contents)), ...builtin]) {
    const found = follow(tree, written)
    if (found?.inode.type !== 'dir' || seen.has(found.path)) continue
    seen.add(found.path)
    plain.push({ written, path: found.path })
  }
  const hwcaps = plain.flatMap(({ written, path }) => {
    return namesIn(tree, joinPath(path, 'glibc-hwcaps'))
      .filter((name) => tree.inodes[name.inode]?.type === 'dir')
      .map((name) => ({
        written: `${written}/glibc-hwcaps/${baseOf(name.path)}`,
        path: name.path,
        hwcaps: baseOf(name.path),
      }))
  })
  return [...plain, ...hwcaps]
}

function childrenByDirectory(tree: Tree): ReadonlyMap<TreePath, readonly TreePath[]> {
  const children = new Map<TreePath, TreePath[]>()
  for (const { path } of tree.names) {
    if (!baseOf(path).includes('.so')) continue
    const parent = parentOf(path)
    const known = children.get(parent)
    if (known) known.push(path)
    else children.set(parent, [path])
  }
  return children
}

/**
 * One library for each soname: a file is taken rather than a link, else the one whose name has the higher version.
 *
 * A link that is not named by its soname stands for what it leads to, unless it is `libx.so` for the soname `libx.so.1`:
 * that one is for the linker and counts under its own name.
 */
async function librariesIn(
  tree: Tree,
  paths: readonly TreePath[],
  elfs: ElfReader,
): Promise<readonly Library[]> {
  const libraries = new Map<string, Library>()
  for (const path of paths) {
    const name = baseOf(path)
    if (!/^(?:lib|ld-)/.test(name) || isTemporary(name)) continue
    const file = follow(tree, path)
    if (file?.inode.type !== 'file') continue
    const elf = await elfs.elfOf(file.inode)
    const flags = elf && ldCacheFlags(elf)
    if (!elf?.dynamic || flags === undefined || elf.type !== 'shared') continue
    const own = elf.soname === undefined || elf.soname === '' ? name : baseOf(elf.soname)
    const isLink =
      lookup(tree, path)?.inode.type === 'symlink' &&
      (name === own || (name.endsWith('.so') && own.startsWith(name)))
    const soname = isLink ? name : own
    const known = libraries.get(soname)
    const better =
      known === undefined ||
      (!isLink && known.isLink) ||
      (isLink === known.isLink && compareLibraryNames(known.name, name) < 0)
    if (better) libraries.set(soname, { soname, name, flags, isLink, littleEndian: elf.littleEndian })
  }
  return [...libraries.values()]
}

/** Names that prelink, dpkg and rpm use while they replace a library. */
function isTemporary(name: string): boolean {
  return /\.#prelink#(?:\.[A-Za-z0-9]{6})?$|\.dpkg-(?:new|tmp)$|;[0-9a-f]{8}$/.test(name)
}
