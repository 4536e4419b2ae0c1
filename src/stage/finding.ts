/** What the check after stripping can find, and how it is told. */
import { printable } from '../base/errors.ts'
import type { TreePath } from '../tree/tree.ts'

type Problem =
  /** A library that an ELF file is linked with, or opens and recommends. */
  | 'library'
  /** PT_INTERP: the loader of a program is missing or of another architecture. */
  | 'interpreter'
  /** libgcc_s.so.1, which glibc opens for threads. */
  | 'unwinder'
  /** The program behind `#!`, or the one that env looks for. */
  | 'script'
  /** A symlink that leads nowhere. */
  | 'symlink'
  /** One name both in /x and in /usr/x. */
  | 'double'
  /** A login shell of /etc/passwd. */
  | 'shell'
  /** Everybody may write, and no sticky bit limits whom it hurts. */
  | 'world-writable'

export interface Finding {
  readonly path: TreePath
  readonly owner: string
  readonly problem: Problem
  /** What is missing, as written in the file; '' where nothing is. */
  readonly needs: string
  /** Strip class or stage that took it out; absent when it never was in the root. */
  readonly removedBy?: string
}

const WORDS: { readonly [problem in Problem]: string } = {
  library: 'needs the library',
  interpreter: 'needs the loader',
  unwinder: 'has threads, for which glibc opens',
  script: 'is a script for',
  symlink: 'points to nothing at',
  double: 'is also at',
  shell: 'names the shell',
  'world-writable': 'may be written by everybody',
}

/** One line for people, such as `/usr/sbin/nginx (nginx_1.22.1-9) needs the library libz.so.1, removed by static`. */
export function findingLine({ path, owner, problem, needs, removedBy }: Finding): string {
  const words = [
    `/${printable(path)} (${owner})`,
    WORDS[problem],
    ...(needs === '' ? [] : [printable(needs)]),
  ]
  return `${words.join(' ')}${removedBy === undefined ? '' : `, removed by ${removedBy}`}`
}
