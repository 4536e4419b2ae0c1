/** Kernel modules: which ones a name stands for, what they need, and a root that has those and no others. */
import { Stage5Error } from '../base/errors.ts'
import { compileGlobs } from '../base/glob.ts'
import { nearest } from '../base/near.ts'
import type { Profile } from '../resolve/profile.ts'
import { entriesBelow, namesBelow } from '../tree/below.ts'
import type { Contents } from '../tree/contents.ts'
import { withEntries, withoutPaths } from '../tree/edit.ts'
import type { Removed, Root } from '../tree/root.ts'
import { type Entry, lookup, parentOf, type Tree, type TreePath } from '../tree/tree.ts'
import { depmodFiles } from './depmod.ts'
import { asJson, maker, removal, withTree } from './generated.ts'
import {
  type ModuleFact,
  type ModuleIndex,
  moduleDirectories,
  moduleFiles,
  moduleName,
  readDepmodFiles,
  readModules,
  textLines,
} from './module-index.ts'
import type { Stage, StageWorld } from './stage.ts'

/**
 * What every guest needs to find its base and its data on the devices that a virtual machine has. A module that the
 * kernel has built in is fine.
 */
export const BOOT_MODULES: readonly string[] = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'squashfs',
  'overlay',
  'ext4',
  'loop',
]

/** The boot path of one profile: what its images need comes with the devices. */
export function bootModules({
  images,
  kernel,
  boot,
  data,
}: Pick<Profile, 'images' | 'kernel' | 'boot' | 'data'>): readonly string[] {
  const has = (...formats: readonly string[]): boolean =>
    images.some(({ format }) => formats.includes(format))
  return [
    ...BOOT_MODULES,
    ...(has('verity', 'disk', 'qcow2', 'vhd', 'containerdisk')
      ? ['dm_mod', 'dm_verity', 'sha256_generic']
      : []),
    ...(has('erofs') ? ['erofs'] : []),
    // zram asks for its compressor by name when there is no modprobe yet: it is loaded before.
    ...(boot.root?.kind === 'zram' ? [boot.root.compressor, 'zram'] : []),
    ...(boot.root?.kind !== 'zram' && data.some(({ kind }) => kind === 'zram') ? ['lzo-rle', 'zram'] : []),
    ...kernel.modules,
  ]
}

/** The kernel releases that a tree has modules for, the newest last. */
export function kernelReleases(tree: Tree): readonly string[] {
  return [...moduleDirectories(tree).keys()].sort(compareReleases)
}

/** By runs of digits as numbers and runs of other characters as text. */
export function compareReleases(left: string, right: string): number {
  const a = left.match(/\d+|\D+/g) ?? []
  const b = right.match(/\d+|\D+/g) ?? []
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const [one, two] = [a[at] as string, b[at] as string]
    if (one === two) continue
    const numbers = /^\d/.test(one) && /^\d/.test(two)
    if (numbers && Number(one) !== Number(two)) return Number(one) - Number(two)
    return one < two ? -1 : 1
  }
  return a.length - b.length
}

interface ModuleClosure {
  /** Files in the order in which they can be loaded: what a module needs comes before it. Built-in ones are left out. */
  readonly order: readonly TreePath[]
  /** Names, of those asked for or needed by one, that are neither a file nor built in. */
  readonly missing: readonly string[]
}

/**
 * The files that loading these modules takes. `-` and `_` are equal in names; an alias such as `fs-ext4` stands for
 * every module that claims it. Soft dependencies count as far as they exist. Reads the files of depmod when the tree
 * has them, else `.modinfo` of every module (0.3 s for 1 100 modules).
 * @throws S5_STAGE_INVALID when the tree has no modules of this release, or they are compressed and not indexed
 */
export async function moduleClosure(
  tree: Tree,
  contents: Contents,
  release: string,
  names: readonly string[],
): Promise<ModuleClosure> {
  const directory = moduleDirectories(tree).get(release)
  if (directory === undefined)
    throw new Stage5Error('S5_STAGE_INVALID', `modules: the root has no modules of kernel ${release}`, {
      data: { stage: 'modules', release, known: kernelReleases(tree) },
    })
  const indexed = lookup(tree, `${directory}/modules.dep`) !== undefined
  const index = await (indexed ? readDepmodFiles : readModules)(tree, contents, directory)
  return closureIn(index, names)
}

function closureIn(index: ModuleIndex, names: readonly string[]): ModuleClosure {
  const find = finder(index)
  const order: TreePath[] = []
  const missing = new Set<string>()
  const seen = new Set<string>()
  const softly = (list: readonly string[]): void => {
    for (const name of list) for (const module of find(name)) visit(module)
  }
  const firmly = (name: string): void => {
    const found = find(name)
    for (const module of found) visit(module)
    if (found.length === 0 && !index.builtin.has(moduleName(name)) && !builtinAliases().has(name))
      missing.add(name)
  }
  let aliases: ReadonlySet<string> | undefined
  const builtinAliases = (): ReadonlySet<string> =>
    (aliases ??= new Set(index.builtinInfo.flatMap((info) => info.aliases)))
  const visit = (module: ModuleFact): void => {
    if (seen.has(module.name)) return
    seen.add(module.name)
    const soft = module.softdeps.map(softDependencies)
    for (const { pre } of soft) softly(pre)
    for (const name of module.depends) firmly(name)
    order.push(module.path)
    for (const { post } of soft) softly(post)
  }
  for (const name of names) firmly(name)
  return { order: inLoadOrder(index, order), missing: [...missing] }
}

/**
 * Depth first leaves dependencies before their users, but for one case: a soft dependency that needs the module which
 * asks for it is reached while its user is still open. A second walk over hard dependencies alone mends that.
 */
function inLoadOrder(index: ModuleIndex, paths: readonly TreePath[]): readonly TreePath[] {
  const chosen = new Set(paths)
  const order = new Set<TreePath>()
  const open = new Set<TreePath>()
  const walk = (path: TreePath): void => {
    if (order.has(path) || open.has(path)) return
    open.add(path)
    for (const name of index.modules.get(moduleName(path))?.depends ?? []) {
      const dependency = index.modules.get(name)
      if (dependency && chosen.has(dependency.path)) walk(dependency.path)
    }
    order.add(path)
  }
  for (const path of paths) walk(path)
  return [...order]
}

/** Modules by name, else by what they say they serve. */
function finder(index: ModuleIndex): (name: string) => readonly ModuleFact[] {
  let served: ReadonlyMap<string, ModuleFact[]> | undefined
  const patterns: { readonly module: ModuleFact; readonly matches: (name: string) => boolean }[] = []
  const prepare = (): ReadonlyMap<string, ModuleFact[]> => {
    const exact = new Map<string, ModuleFact[]>()
    for (const module of index.modules.values())
      for (const alias of module.aliases) {
        if (/[*?[]/.test(alias))
          patterns.push({ module, matches: (name) => compileGlobs([`/${alias}`]).matches(name) })
        else exact.set(alias, [...(exact.get(alias) ?? []), module])
      }
    return exact
  }
  return (name) => {
    const direct = index.modules.get(moduleName(name))
    if (direct) return [direct]
    served ??= prepare()
    const found = served.get(name) ?? []
    return name.includes(':')
      ? [...found, ...patterns.filter(({ matches }) => matches(name)).map(({ module }) => module)]
      : found
  }
}

/** `pre: a b post: c` in its two parts; words before any label count as `pre`. */
function softDependencies(line: string): { readonly pre: string[]; readonly post: string[] } {
  const parts = { pre: [] as string[], post: [] as string[] }
  let where: 'pre' | 'post' = 'pre'
  for (const word of line.split(/\s+/)) {
    if (word === 'pre:') where = 'pre'
    else if (word === 'post:') where = 'post'
    else if (word !== '') parts[where].push(word)
  }
  return parts
}

interface Params {
  readonly wanted: boolean
  readonly names: readonly string[]
  readonly date: number
}

/**
 * Keeps the modules of the boot path and of the profile with what they need, and writes the files of depmod for them;
 * without a kernel all modules go. Removed names carry the rule `kernel-modules`.
 */
export const modules: Stage = {
  name: 'modules',
  version: 1,
  pick: ({ profile, date }) =>
    asJson({ wanted: profile.kernel.wanted, names: [...bootModules(profile)], date }),
  async run(input, params, world) {
    const { wanted, names, date } = params as unknown as Params
    let root = input
    for (const [release, directory] of moduleDirectories(input.tree))
      root = wanted
        ? await keepClosure(root, { release, directory, names, date }, world)
        : without(root, directory, () => true)
    return root
  },
}

interface Release {
  readonly release: string
  readonly directory: TreePath
  readonly names: readonly string[]
  readonly date: number
}

async function keepClosure(root: Root, wanted: Release, world: StageWorld): Promise<Root> {
  const { directory, date } = wanted
  const index = await readModules(root.tree, world.contents, directory)
  if (index.modules.size === 0 && index.builtin.size === 0) return root
  const { order, missing } = closureIn(index, wanted.names)
  complain(index, wanted, missing)
  const kept = new Set(order)
  const files = new Set((await moduleFiles(root.tree, world.contents, directory)).map(({ path }) => path))
  const smaller = without(root, directory, (path) => files.has(path) && !kept.has(path))
  const small = { ...index, modules: new Map([...index.modules].filter(([, { path }]) => kept.has(path))) }
  const made = new Map(depmodFiles(small))
  if (lookup(root.tree, `${directory}/modules.order`)) {
    const lines = await textLines(root.tree, world.contents, `${directory}/modules.order`)
    const left = lines.filter((line) => kept.has(`${directory}/${line}`))
    made.set('modules.order', Buffer.from(left.map((line) => `${line}\n`).join(''), 'latin1'))
  }
  const make = maker('modules', date, world.contents)
  const entries: Entry[] = []
  for (const [name, bytes] of made) entries.push(await make.file(`${directory}/${name}`, bytes))
  return { ...smaller, tree: withEntries(smaller.tree, entries) }
}

/** Boot modules may be missing here: the initramfs, which needs them, says so; what the profile names may not. */
function complain(index: ModuleIndex, { release, names }: Release, missing: readonly string[]): void {
  const asked = missing.filter((name) => names.includes(name) && !BOOT_MODULES.includes(name))
  if (asked.length === 0) return
  const known = [...index.modules.keys(), ...index.builtin]
  const words = asked.map((name) => {
    const near = nearest(moduleName(name), known, 1)[0]
    return near === undefined ? name : `${name} (did you mean ${near}?)`
  })
  throw new Stage5Error('S5_STAGE_INVALID', `modules: kernel ${release} has no module ${words.join(', ')}`, {
    hint: 'correct kernel: {modules: [...]} in the profile',
    data: { stage: 'modules', release, missing: asked },
  })
}

/** The root without those names below a directory that go, and without the directories that this leaves empty. */
function without(root: Root, directory: TreePath, goes: (path: TreePath) => boolean): Root {
  const removed: Removed[] = []
  const paths: TreePath[] = []
  const kept = new Set<TreePath>()
  const emptied = new Set<TreePath>()
  // What a directory holds comes before it.
  for (const entry of entriesBelow(root.tree, directory).toReversed()) {
    const { path, inode } = entry
    const isDirectory = inode.type === 'dir'
    const stays = isDirectory && kept.has(path) ? true : !goes(path) && !(isDirectory && emptied.has(path))
    const parents = stays ? kept : emptied
    parents.add(parentOf(path))
    if (stays) continue
    paths.push(path)
    if (!isDirectory) removed.push(removal(entry, 'kernel-modules'))
  }
  for (let top = directory; top !== '' && (paths.length > 0 || goes(top)); top = parentOf(top)) {
    if (namesBelow(root.tree, top).length > paths.length) break
    paths.push(top)
  }
  return withTree(root, withoutPaths(root.tree, paths), removed.toReversed())
}
