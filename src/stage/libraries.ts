/** Where a dynamic loader finds libraries in a root, and what its ELF files say. */
import { bufferOf } from '../base/bytes.ts'
import type { Digest } from '../base/digest.ts'
import { compileGlobs } from '../base/glob.ts'
import { type Elf, isElf, parseElf } from '../format/elf.ts'
import { namesIn } from '../tree/below.ts'
import { type Contents, headOf } from '../tree/contents.ts'
import { follow } from '../tree/resolve-path.ts'
import { factsOfFiles } from './known-facts.ts'
import { baseOf, type Entry, type FileInode, type Tree, type TreePath } from '../tree/tree.ts'

/** Symbols of a program that starts or ends threads, or walks its own stack: glibc then opens libgcc_s by itself. */
const THREADS = ['pthread_create', 'pthread_cancel', 'pthread_exit', 'thrd_create', 'backtrace']

/** ELF headers of a root, each content read at most once. */
export interface ElfReader {
  /** undefined for what is no ELF file. */
  elfOf(inode: FileInode): Promise<Elf | undefined>
  /** Has `elfOf` know these, of which those of unchanged packages need not be read. */
  prepare(entries: Iterable<Entry>): Promise<void>
}

/** Raise when the same file says something else than before. */
const ELF_FACTS = 'elf 1'

export function elfReader(contents: Contents): ElfReader {
  const known = new Map<Digest, Elf | undefined>()
  const read = async ({ content, size }: FileInode): Promise<Elf | undefined> => {
    if (size < 52 || !isElf(await headOf(contents, { content, size }, 4))) return undefined
    return parseElf(await contents.read(content), THREADS)
  }
  return {
    elfOf: async (inode) => {
      const { content } = inode
      if (!known.has(content)) known.set(content, await read(inode))
      return known.get(content)
    },
    prepare: async (entries) => {
      const asked = [...entries]
      const facts = await factsOfFiles(contents, ELF_FACTS, asked, read)
      for (const { inode } of asked)
        if (inode.type === 'file') known.set(inode.content, facts.get(inode.content))
    },
  }
}

/**
 * The directories of `/etc/ld.so.conf` and what it includes, in order, as written; missing ones are not left out.
 * @see ldconfig(8); one directory a line, `#` comments, `include` with patterns, `hwcap` lines are of the past
 */
export async function configuredDirectories(tree: Tree, contents: Contents): Promise<readonly string[]> {
  const found: string[] = []
  const seen = new Set<TreePath>()
  const read = async (path: string): Promise<void> => {
    const entry = follow(tree, path)
    if (entry?.inode.type !== 'file' || seen.has(entry.path)) return
    seen.add(entry.path)
    const text = bufferOf(await contents.read(entry.inode.content)).toString('latin1')
    for (const raw of text.split('\n')) {
      const line = (raw.split('#', 1)[0] as string).trim()
      const include = /^include\s+(.*)$/.exec(line)
      if (include) {
        for (const pattern of (include[1] as string).split(/\s+/))
          for (const one of included(tree, pattern.startsWith('/') ? pattern : `/etc/${pattern}`))
            await read(one)
      } else if (line !== '' && !/^hwcap\s/.test(line)) {
        const directory = line.replace(/=[a-z0-9]*$/, '').replace(/(?<=.)\/+$/, '')
        if (directory.startsWith('/') && !found.includes(directory)) found.push(directory)
      }
    }
  }
  await read('etc/ld.so.conf')
  return found
}

/** Files that a pattern of `include` names; a star there does not match `/` nor a leading dot. */
function included(tree: Tree, pattern: string): readonly string[] {
  const name = baseOf(pattern)
  const directory = follow(tree, pattern.slice(0, pattern.length - name.length))
  if (directory?.inode.type !== 'dir') return []
  const globs = compileGlobs([name])
  return namesIn(tree, directory.path)
    .map(({ path }) => path)
    .filter((path) => globs.matches(path) && (name.startsWith('.') || !baseOf(path).startsWith('.')))
    .map((path) => `/${path}`)
    .sort()
}

/**
 * The directories that are compiled into a glibc loader: where it looks when the cache has no answer. They stand in it
 * as adjacent strings, each with a `/` at its end.
 * @returns without the `/` at the end; nothing when the loader is not one of glibc
 */
export function compiledInDirectories(loader: Uint8Array): readonly string[] {
  const text = bufferOf(loader).toString('latin1')
  const run = /(?:\/(?:usr\/)?lib[^\0/]*(?:\/[^\0/]+)*\/\0){2,}/.exec(text)?.[0] ?? ''
  return run
    .split('\0')
    .filter((directory) => directory !== '')
    .map((directory) => directory.slice(0, -1))
}

/** Loaders of glibc in a tree (`ld-linux-x86-64.so.2`, `ld64.so.1`…), symlinks left aside. */
export function loadersOf(tree: Tree): readonly { readonly path: TreePath; readonly inode: FileInode }[] {
  const found: { readonly path: TreePath; readonly inode: FileInode }[] = []
  for (const { path, inode: number } of tree.names) {
    if (!path.startsWith('ld', path.lastIndexOf('/') + 1)) continue
    const inode = tree.inodes[number]
    if (inode?.type === 'file' && /^ld(?:-linux[^/]*|64|-[0-9.]+)?\.so(?:\.[0-9]+)?$/.test(baseOf(path)))
      found.push({ path, inode })
  }
  return found
}
