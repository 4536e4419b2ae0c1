/** What the modules of one kernel release say: read from `.modinfo` of every file, or from the text files of depmod. */
import { digestOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { type BuiltinInfo, type Modinfo, parseBuiltinModinfo, parseModinfo } from '../format/modinfo.ts'
import { entriesBelow, namesIn } from '../tree/below.ts'
import type { Contents } from '../tree/contents.ts'
import { baseOf, type Entry, lookup, type Tree, type TreePath } from '../tree/tree.ts'
import { remembered } from './known-facts.ts'

export interface ModuleFact {
  /** With `_` for every `-`: the name by which the kernel knows it. */
  readonly name: string
  readonly path: TreePath
  /**
   * Names of modules, with `_`; what it needs directly or, when read from modules.dep, altogether. In the order in which
   * the module's symbol table first asks for them.
   */
  readonly depends: readonly string[]
  readonly aliases: readonly string[]
  readonly softdeps: readonly string[]
  readonly exports: readonly string[]
}

export interface ModuleIndex {
  /** `usr/lib/modules/RELEASE`, or `lib/modules/RELEASE` before the merge of /usr. */
  readonly directory: TreePath
  /** By name. In the order of `modules.order`, then by path. */
  readonly modules: ReadonlyMap<string, ModuleFact>
  /** Names of `modules.builtin`, with `_`, in its order. */
  readonly builtin: ReadonlySet<string>
  /** What `modules.builtin.modinfo` says. */
  readonly builtinInfo: readonly BuiltinInfo[]
}

/** Raise when the same modules say something else than before. */
const MODULE_FACTS = 'kernel modules 1'

const PARENTS: readonly TreePath[] = ['lib/modules', 'usr/lib/modules']

/** Directories `…/modules/RELEASE` of a tree, by release. */
export function moduleDirectories(tree: Tree): ReadonlyMap<string, TreePath> {
  const found = new Map<string, TreePath>()
  for (const { path, inode } of PARENTS.flatMap((parent) => namesIn(tree, parent)))
    if (tree.inodes[inode]?.type === 'dir' && !found.has(baseOf(path))) found.set(baseOf(path), path)
  return found
}

/** `virtio-blk`, `virtio_blk.ko` and `kernel/…/virtio_blk.ko.xz` are one module to the kernel: `virtio_blk`. */
export function moduleName(text: string): string {
  return baseOf(text)
    .replace(/\.ko(?:\.[a-z0-9]+)?$/, '')
    .replaceAll('-', '_')
}

/** Module files below a release directory, in the order of `modules.order` and then by path. */
export async function moduleFiles(
  tree: Tree,
  contents: Contents,
  directory: TreePath,
): Promise<readonly Entry[]> {
  const order = new Map<string, number>()
  const lines = await textLines(tree, contents, `${directory}/modules.order`)
  for (const [at, line] of lines.entries()) order.set(`${directory}/${line}`, at)
  const files = entriesBelow(tree, directory).filter(
    ({ path, inode }) => inode.type === 'file' && /\.ko(\.(xz|zst|gz))?$/.test(path),
  )
  const rank = ({ path }: Entry): number => order.get(path) ?? lines.length
  return files.toSorted((a, b) => rank(a) - rank(b))
}

/**
 * Reads every module file of a release.
 * @throws S5_STAGE_INVALID when the release has modules that cannot be read: compressed ones, or no modules at all
 */
export async function readModules(tree: Tree, contents: Contents, directory: TreePath): Promise<ModuleIndex> {
  const files = await moduleFiles(tree, contents, directory)
  const list = files.map(({ path, inode }) => `${path} ${inode.type === 'file' ? inode.content : ''}`)
  const key = `${MODULE_FACTS} ${digestOf(list.join('\n'))}`
  const facts = await remembered(contents, key, () => readFiles(contents, files))
  const modules = new Map(facts.map((fact) => [fact.name, fact]))
  return { directory, modules, ...(await readBuiltin(tree, contents, directory)) }
}

async function readFiles(contents: Contents, files: readonly Entry[]): Promise<readonly ModuleFact[]> {
  const read = new Map<string, { readonly path: TreePath; readonly info: Modinfo }>()
  const owners = new Map<string, string>()
  for (const { path, inode } of files) {
    const info = inode.type === 'file' ? parseModinfo(await contents.read(inode.content)) : undefined
    if (!info)
      throw new Stage5Error('S5_STAGE_INVALID', `modules: /${path} is not an uncompressed kernel module`, {
        data: { stage: 'modules', path },
      })
    const name = moduleName(path)
    if (read.has(name)) continue
    read.set(name, { path, info })
    for (const symbol of info.exports) owners.set(symbol, name)
  }
  return [...read].map(([name, { path, info }]) => {
    const depends = new Set<string>()
    for (const symbol of info.imports) {
      const owner = owners.get(symbol)
      if (owner !== undefined && owner !== name) depends.add(owner)
    }
    for (const dependency of info.depends) depends.add(moduleName(dependency))
    const { aliases, softdeps, exports } = info
    return { name, path, depends: [...depends], aliases, softdeps, exports }
  })
}

/** The same out of `modules.dep`, `modules.alias` and `modules.softdep`: no module is opened. */
export async function readDepmodFiles(
  tree: Tree,
  contents: Contents,
  directory: TreePath,
): Promise<ModuleIndex> {
  const aliases = await pairs(tree, contents, `${directory}/modules.alias`, 'alias')
  const softdeps = await pairs(tree, contents, `${directory}/modules.softdep`, 'softdep')
  const modules = new Map<string, ModuleFact>()
  for (const line of await textLines(tree, contents, `${directory}/modules.dep`)) {
    const colon = line.indexOf(':')
    if (colon < 0) continue
    const path = `${directory}/${line.slice(0, colon)}`
    const name = moduleName(path)
    if (!lookup(tree, path)) continue
    modules.set(name, {
      name,
      path,
      depends: line
        .slice(colon + 1)
        .split(' ')
        .filter((part) => part !== '')
        .map(moduleName)
        .reverse(),
      aliases: aliases.get(name) ?? [],
      softdeps: softdeps.get(name) ?? [],
      exports: [],
    })
  }
  return { directory, modules, ...(await readBuiltin(tree, contents, directory)) }
}

async function readBuiltin(
  tree: Tree,
  contents: Contents,
  directory: TreePath,
): Promise<Pick<ModuleIndex, 'builtin' | 'builtinInfo'>> {
  const lines = await textLines(tree, contents, `${directory}/modules.builtin`)
  const info = lookup(tree, `${directory}/modules.builtin.modinfo`)
  return {
    builtin: new Set(lines.map(moduleName)),
    builtinInfo:
      info?.inode.type === 'file' ? parseBuiltinModinfo(await contents.read(info.inode.content)) : [],
  }
}

/** Lines `alias PATTERN MODULE` or `softdep MODULE TEXT`: patterns or texts by module. */
async function pairs(
  tree: Tree,
  contents: Contents,
  path: TreePath,
  word: 'alias' | 'softdep',
): Promise<ReadonlyMap<string, readonly string[]>> {
  const byModule = new Map<string, string[]>()
  for (const line of await textLines(tree, contents, path)) {
    const [first, ...rest] = line.split(' ')
    if (first !== word || rest.length < 2) continue
    const name = moduleName(word === 'alias' ? (rest.pop() as string) : (rest.shift() as string))
    const known = byModule.get(name)
    if (known) known.push(rest.join(' '))
    else byModule.set(name, [rest.join(' ')])
  }
  return byModule
}

/** Lines of a file as byte strings; none when there is no such file. */
export async function textLines(tree: Tree, contents: Contents, path: TreePath): Promise<readonly string[]> {
  const entry = lookup(tree, path)
  if (entry?.inode.type !== 'file') return []
  const text = Buffer.from(await contents.read(entry.inode.content)).toString('latin1')
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}
