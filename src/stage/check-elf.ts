/** Proof that every program and library of a root finds what it is linked with. */
import type { Elf } from '../format/elf.ts'
import type { Contents } from '../tree/contents.ts'
import { follow } from '../tree/resolve-path.ts'
import {
  baseOf,
  type Entry,
  entriesOf,
  type FileInode,
  type Inode,
  parentOf,
  type Tree,
} from '../tree/tree.ts'
import type { Finding } from './finding.ts'
import {
  compiledInDirectories,
  configuredDirectories,
  type ElfReader,
  elfReader,
  loadersOf,
} from './libraries.ts'

/** Where a loader that is not of glibc, or not in the root, would look. */
const FALLBACK = ['/lib', '/usr/lib', '/lib64', '/usr/lib64', '/usr/local/lib']

/** Libraries of glibc itself: what they mention says nothing about programs. */
const OWN =
  /^(?:ld-|ld64|lib(?:c|m|pthread|rt|dl|anl|resolv|util|nsl|thread_db|c_malloc_debug|memusage|pcprofile)\.so)/

interface Loadable {
  readonly entry: Entry
  readonly elf: Elf
}

/** Libraries and programs can only be loaded together when this agrees. */
function abiOf({ bits, machine, littleEndian }: Elf): string {
  return `${bits} ${machine} ${littleEndian}`
}

/**
 * Findings for missing libraries (DT_NEEDED, and `.note.dlopen` unless only suggested), program interpreters, and
 * libgcc_s.
 *
 * A library that does not find another by itself may rely on whoever loads it, as a name that is loaded already is not
 * searched for again: it is enough that an object which needs it finds that name. One that no program needs is opened
 * by name: it is enough that some object finds the name in a directory of its own, or that its own package brings it.
 */
export async function checkElfs(tree: Tree, contents: Contents): Promise<Finding[]> {
  const elfs = elfReader(contents)
  const objects = await objectsOf(tree, elfs)
  const search = await searcher(tree, contents, elfs, objects)
  const findings: Finding[] = []
  for (const object of objects) {
    const { entry, elf } = object
    const { path, owner } = entry
    if (elf.interpreter !== undefined && !(await interpreterRuns(tree, elf, elfs)))
      findings.push({ path, owner, problem: 'interpreter', needs: elf.interpreter })
    for (const name of new Set(elf.needed))
      if (!search.finds(object, name)) findings.push({ path, owner, problem: 'library', needs: name })
    for (const { priority, sonames } of elf.dlopen)
      if (priority !== 'suggested' && !sonames.some((name) => search.finds(object, name)))
        findings.push({ path, owner, problem: 'library', needs: sonames[0] as string })
  }
  return [...findings, ...missingUnwinder(objects, search)]
}

/** Every dynamic ELF file once, by its first name. */
async function objectsOf(tree: Tree, elfs: ElfReader): Promise<readonly Loadable[]> {
  const objects: Loadable[] = []
  const seen = new Set<Inode>()
  const candidates = [...entriesOf(tree)].filter(
    (entry) => entry.inode.type === 'file' && mayBeElf(entry, entry.inode),
  )
  await elfs.prepare(candidates)
  for (const entry of candidates) {
    const { inode } = entry
    if (inode.type !== 'file' || seen.has(inode)) continue
    seen.add(inode)
    const elf = await elfs.elfOf(inode)
    if (elf && !elf.truncated && (elf.type === 'executable' || elf.type === 'shared'))
      objects.push({ entry, elf })
  }
  return objects
}

/** Reading every file of a root takes seconds; what a loader opens can be told by mode, name or place. */
function mayBeElf({ path }: Entry, { mode, size }: FileInode): boolean {
  if (size < 52 || /^(?:usr\/)?lib\/(?:modules|firmware|debug)\//.test(path)) return false
  if ((mode & 0o111) !== 0 || baseOf(path).includes('.so')) return true
  return /^(?:usr\/(?:local\/)?)?lib(?:32|64|x32|exec)?\//.test(path) && !TEXT.test(path)
}

/** Endings of files below library directories that no loader opens. */
const TEXT: RegExp = new RegExp(
  `\\.(?:${[
    'pyc?|pyi|pm|pl|pod|ph|h|hpp|rb|lua|elc?|sh|js|css|mo|a|o|ko|pc|cmake',
    'txt|conf|ini|json|xml|html?|md|ya?ml|toml|svg|png|gz|xz|bz2|zip|jar',
    'list|rules|service|target|socket|timer|hwdb',
  ].join('|')})$`,
)

async function interpreterRuns(tree: Tree, elf: Elf, elfs: ElfReader): Promise<boolean> {
  const found = follow(tree, elf.interpreter as string)
  if (found?.inode.type !== 'file') return false
  const loader = await elfs.elfOf(found.inode)
  return loader !== undefined && abiOf(loader) === abiOf(elf)
}

interface Search {
  finds(object: Loadable, name: string): boolean
  /** Whether the root has a glibc for the ABI of this object. */
  hasGlibc(object: Loadable): boolean
}

async function searcher(
  tree: Tree,
  contents: Contents,
  elfs: ElfReader,
  objects: readonly Loadable[],
): Promise<Search> {
  const configured = await configuredDirectories(tree, contents)
  const builtin = new Map<string, readonly string[]>()
  for (const { inode } of loadersOf(tree)) {
    const elf = await elfs.elfOf(inode)
    const directories = compiledInDirectories(await contents.read(inode.content))
    if (elf && directories.length > 0 && !builtin.has(abiOf(elf))) builtin.set(abiOf(elf), directories)
  }
  const abis = new Map<Inode, string>()
  for (const { entry, elf } of objects) abis.set(entry.inode, abiOf(elf))

  /** Whether this file of this directory exists and is of this ABI. */
  const stands = remember((directory: string, name: string, abi: string) => {
    const found = follow(tree, `${directory}/${name}`)
    return found !== undefined && abis.get(found.inode) === abi
  })
  const own = (object: Loadable, written: string): boolean => {
    const { elf, entry } = object
    const abi = abiOf(elf)
    const name = withOrigin(written, entry)
    if (name.includes('/')) return stands(name.startsWith('/') ? '' : parentOf(entry.path), name, abi)
    const common = [...configured, ...(builtin.get(abi) ?? FALLBACK)]
    return [...ownDirectories(object), ...common].some((directory) => stands(directory, name, abi))
  }
  const users = usersByName(objects)
  const brought = new Set<string>()
  for (const { entry, elf } of objects)
    for (const name of [baseOf(entry.path), elf.soname ?? ''])
      brought.add(`${abiOf(elf)} ${entry.owner} ${name}`)
  const loaded = new Set<string>()
  for (const object of objects)
    if (ownDirectories(object).length > 0)
      for (const name of object.elf.needed) if (own(object, name)) loaded.add(`${abiOf(object.elf)} ${name}`)

  const throughUsers = (object: Loadable, name: string): boolean => {
    const seen = new Set<Loadable>([object])
    const pending = [object]
    let opened = true
    for (let next = pending.pop(); next; next = pending.pop()) {
      for (const user of users.get(`${abiOf(next.elf)} ${next.elf.soname ?? baseOf(next.entry.path)}`) ??
        []) {
        if (user.elf.interpreter !== undefined) opened = false
        if (seen.has(user)) continue
        const inherits = user.elf.rpath.length > 0 || user.elf.needed.includes(name)
        if (inherits && own(user, name)) return true
        seen.add(user)
        pending.push(user)
      }
    }
    const abi = abiOf(object.elf)
    return opened && (loaded.has(`${abi} ${name}`) || brought.has(`${abi} ${object.entry.owner} ${name}`))
  }
  return {
    finds: (object, name) =>
      own(object, name) || (object.elf.interpreter === undefined && throughUsers(object, name)),
    hasGlibc: ({ elf }) => builtin.has(abiOf(elf)),
  }
}

/** DT_RUNPATH, or DT_RPATH where there is none, with the tokens of ld.so(8) put in. */
function ownDirectories({ entry, elf }: Loadable): readonly string[] {
  const written = elf.runpath.length > 0 ? elf.runpath : elf.rpath
  return written.flatMap((directory) => {
    const here = withOrigin(directory, entry)
    return /\$(?:LIB\b|\{LIB\})/.test(here)
      ? ['lib', 'lib64', 'lib32'].map((lib) => here.replace(/\$(?:LIB\b|\{LIB\})/g, () => lib))
      : [here]
  })
}

function withOrigin(text: string, { path }: Entry): string {
  return text.replace(/\$(?:ORIGIN\b|\{ORIGIN\})/g, () => `/${parentOf(path)}`)
}

function usersByName(objects: readonly Loadable[]): ReadonlyMap<string, readonly Loadable[]> {
  const users = new Map<string, Loadable[]>()
  for (const object of objects)
    for (const name of object.elf.needed) {
      const key = `${abiOf(object.elf)} ${name}`
      const known = users.get(key)
      if (known) known.push(object)
      else users.set(key, [object])
    }
  return users
}

function remember(
  ask: (directory: string, name: string, abi: string) => boolean,
): (directory: string, name: string, abi: string) => boolean {
  const answers = new Map<string, boolean>()
  return (directory, name, abi) => {
    const key = `${directory}\0${name}\0${abi}`
    let answer = answers.get(key)
    if (answer === undefined) answers.set(key, (answer = ask(directory, name, abi)))
    return answer
  }
}

/**
 * glibc opens libgcc_s.so.1 itself when a thread is cancelled or exits, or for a backtrace, and aborts the program when
 * it is not there. Nothing in DT_NEEDED says so. One finding for each ABI names the first program concerned.
 */
function missingUnwinder(objects: readonly Loadable[], search: Search): Finding[] {
  const findings = new Map<string, Finding>()
  for (const object of objects) {
    const { entry, elf } = object
    const threaded = elf.mentions.length > 0 || elf.needed.includes('libpthread.so.0')
    if (!threaded || findings.has(abiOf(elf)) || OWN.test(elf.soname ?? '') || !search.hasGlibc(object))
      continue
    if (elf.needed.length === 0 || search.finds(object, 'libgcc_s.so.1')) continue
    const { path, owner } = entry
    findings.set(abiOf(elf), { path, owner, problem: 'unwinder', needs: 'libgcc_s.so.1' })
  }
  return [...findings.values()]
}
