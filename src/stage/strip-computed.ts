/** Strip rules that no pattern can express: they look into files and at what else the root holds. */
import { bufferOf } from '../base/bytes.ts'
import { isElf } from '../format/elf.ts'
import { type Contents, headOf } from '../tree/contents.ts'
import { resolvePath } from '../tree/resolve-path.ts'
import type { Removed } from '../tree/root.ts'
import { baseOf, type Entry, entriesOf, parentOf, type Tree, type TreePath } from '../tree/tree.ts'
import { linkChain } from './links.ts'
import { factsOfFiles } from './known-facts.ts'
import { mayBeScript, missingFor, shebangsOf } from './shebang.ts'

export interface ComputedFacts {
  readonly timezone: string
}

interface Question {
  readonly tree: Tree
  /** What earlier classes and stages took out. */
  readonly removed: readonly Removed[]
  /** Names that the patterns of the class leave to decide; no directories. */
  readonly candidates: readonly Entry[]
  readonly contents: Contents
  readonly facts: ComputedFacts
}

/** Raise when the same file mentions others than before. */
const LIBRARY_NAMES = 'library names 1'

interface Rule {
  /** Those of the candidates that go. */
  choose(question: Question): Promise<readonly Entry[]> | readonly Entry[]
  /** Whether it must see what all other classes left. */
  readonly last: boolean
}

export const COMPUTED: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['devlinks', { choose: devlinks, last: false }],
  ['zoneinfo', { choose: zoneinfo, last: false }],
  ['interpreter-orphans', { choose: interpreterOrphans, last: true }],
  ['link-orphans', { choose: linkOrphans, last: true }],
])

export function isLast(computed: string | undefined): boolean {
  return computed !== undefined && COMPUTED.get(computed)?.last === true
}

/**
 * Symlinks `libx.so` for the linker, and text files that are linker scripts. A link stays when a library calls itself
 * so, when a program needs that name, or when the name stands anywhere in an ELF file, as in a call of dlopen.
 */
async function devlinks({ tree, candidates, contents }: Question): Promise<readonly Entry[]> {
  const links = candidates.filter(({ inode }) => inode.type === 'symlink')
  const scripts: Entry[] = []
  for (const entry of candidates)
    if (entry.inode.type === 'file' && entry.inode.size < 4096) {
      const text = bufferOf(await contents.read(entry.inode.content)).toString('latin1')
      if (/GNU ld script|^(?:INPUT|GROUP)\s*\(/m.test(text)) scripts.push(entry)
    }
  if (links.length === 0) return scripts
  const wanted = new Set(links.map(({ path }) => baseOf(path)))
  const named = new Set<string>()
  const facts = await factsOfFiles(contents, LIBRARY_NAMES, entriesOf(tree), async (inode) => {
    if (inode.size < 64 || !isElf(await headOf(contents, inode, 4))) return undefined
    const names = new Set(libraryNames(await contents.read(inode.content)))
    return names.size > 0 ? [...names] : undefined
  })
  for (const names of facts.values()) for (const name of names) if (wanted.has(name)) named.add(name)
  return [...links.filter(({ path }) => !named.has(baseOf(path))), ...scripts]
}

/** Every string of the file that ends in `.so`, without its directory. */
function* libraryNames(bytes: Uint8Array): Generator<string> {
  const buffer = bufferOf(bytes)
  for (let at = buffer.indexOf('.so\0'); at >= 0; at = buffer.indexOf('.so\0', at + 4)) {
    let start = at
    while (start > 0 && at - start < 255 && isNameByte(buffer[start - 1] as number)) start--
    yield buffer.toString('latin1', start, at + 3)
  }
}

function isNameByte(byte: number): boolean {
  return byte > 0x20 && byte < 0x7f && byte !== 0x2f
}

/** All zones but UTC and that of the profile, with the files that they are links to. */
function zoneinfo({ tree, candidates, facts }: Question): readonly Entry[] {
  const kept = new Set<TreePath>()
  for (const zone of ['UTC', 'Etc/UTC', facts.timezone])
    if (zone !== '') for (const path of linkChain(tree, `usr/share/zoneinfo/${zone}`)) kept.add(path)
  return candidates.filter(({ path }) => !kept.has(path))
}

/** Scripts whose interpreter is not there, also when it is a script that goes for the same reason. */
async function interpreterOrphans({ tree, candidates, contents }: Question): Promise<readonly Entry[]> {
  const started = candidates.filter(mayBeScript)
  const shebangs = await shebangsOf(contents, started)
  let scripts = started.flatMap((entry) => {
    const shebang = entry.inode.type === 'file' ? shebangs.get(entry.inode.content) : undefined
    return shebang ? [{ entry, shebang }] : []
  })
  const gone = new Map<TreePath, Entry>()
  for (let before = -1; before < gone.size; ) {
    before = gone.size
    const paths = new Set(gone.keys())
    for (const { entry, shebang } of scripts)
      if (missingFor(tree, shebang, paths) !== undefined) gone.set(entry.path, entry)
    scripts = scripts.filter(({ entry }) => !gone.has(entry.path))
  }
  return [...gone.values()]
}

/** Symlinks that lead nowhere because what they lead to was taken out. */
function linkOrphans({ tree, removed, candidates }: Question): readonly Entry[] {
  const gone = new Set(removed.map(({ path }) => path))
  return candidates.filter(({ path, inode }) => {
    if (inode.type !== 'symlink') return false
    const end = resolvePath(tree, path)
    if ('inode' in end) return false
    for (let missing = end.missing; missing !== ''; missing = parentOf(missing))
      if (gone.has(missing)) return true
    return false
  })
}
