/** The composed ROOT: a tree and the record of what was taken out of it. */
import type { Tree, TreePath } from './tree.ts'

/** A name that a stage took out, and by which rule: the answer to "why is this file not in my guest?". */
export interface Removed {
  readonly path: TreePath
  readonly owner: string
  /** Strip class or stage, such as `man` or `kernel-aux`. */
  readonly rule: string
  /** Bytes of a regular file, otherwise 0. */
  readonly size: number
  /** Target when it was a symlink: needed to tell what a removed link stood for. */
  readonly target?: string
}

export interface Root {
  readonly tree: Tree
  /** In the order of removal. */
  readonly removed: readonly Removed[]
}
