/** The first line of scripts: which program the kernel starts for them, and whether the root has it. */
import type { Digest } from '../base/digest.ts'
import { type Contents, headOf } from '../tree/contents.ts'
import { follow } from '../tree/resolve-path.ts'
import type { Entry, Tree } from '../tree/tree.ts'
import { factsOfFiles } from './known-facts.ts'

/** As in Linux (BINPRM_BUF_SIZE): how long the first line may be; the rest is cut off. */
const SHEBANG_MAX = 256

/** Where `env` looks, and the shell of a guest: the usual PATH of root. */
const SEARCH = ['usr/local/sbin', 'usr/local/bin', 'usr/sbin', 'usr/bin', 'sbin', 'bin']

/** Raise when the same bytes say something else than before. */
const SHEBANG_FACTS = 'shebang 1'

interface Shebang {
  /** Path of the interpreter as written. */
  readonly interpreter: string
  /** The program that `env` looks for along PATH, when the interpreter is env and names one. */
  readonly program: string | undefined
}

/**
 * Reads `#!` and the line behind it: one path, at most one argument. Of `env` the first word counts that is no option
 * and no assignment; `-S` splits the argument into words.
 * @returns undefined when the bytes do not begin with `#!` or name nothing
 * @see execve(2), "Interpreter scripts"; env(1)
 * @example
 * parseShebang(Buffer.from('#!/usr/bin/env -S LANG=C perl -w\n'))?.program // => 'perl'
 */
export function parseShebang(bytes: Uint8Array): Shebang | undefined {
  if (bytes[0] !== 0x23 || bytes[1] !== 0x21) return undefined
  const text = Buffer.from(bytes.subarray(2, SHEBANG_MAX)).toString('latin1')
  const line = (text.split(/[\n\0]/, 1)[0] as string).trim()
  const [interpreter, ...words] = line.split(/[ \t]+/)
  if (!interpreter) return undefined
  const isEnv = /(?:^|\/)env$/.test(interpreter)
  return { interpreter, program: isEnv ? programOf(words) : undefined }
}

function programOf(words: readonly string[]): string | undefined {
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string
    if (/^(?:-u|-C|--unset|--chdir)$/.test(word)) at++
    else if (/^-S./.test(word)) return programOf([word.slice(2), ...words.slice(at + 1)])
    else if (!word.startsWith('-') && !word.includes('=')) return word
  }
  return undefined
}

/** Whether the kernel would start it, were its first line right. */
export function mayBeScript({ inode }: Entry): boolean {
  return inode.type === 'file' && (inode.mode & 0o111) !== 0 && inode.size >= 4
}

/** The first lines of those files that are scripts. */
export async function shebangsOf(
  contents: Contents,
  entries: Iterable<Entry>,
): Promise<ReadonlyMap<Digest, Shebang>> {
  return await factsOfFiles(contents, SHEBANG_FACTS, entries, async (inode) =>
    parseShebang(await headOf(contents, inode, SHEBANG_MAX)),
  )
}

/** What a script needs and the root does not have: the interpreter or, behind env, the program. */
export function missingFor(
  tree: Tree,
  { interpreter, program }: Shebang,
  gone: ReadonlySet<string> = new Set(),
): string | undefined {
  const runs = (found: Entry | undefined): boolean =>
    found?.inode.type === 'file' && (found.inode.mode & 0o111) !== 0 && !gone.has(found.path)
  if (!interpreter.startsWith('/') || !runs(follow(tree, interpreter))) return interpreter
  if (program === undefined) return undefined
  const places = program.includes('/') ? [program] : SEARCH.map((directory) => `${directory}/${program}`)
  return places.some((place) => runs(follow(tree, place))) ? undefined : program
}
