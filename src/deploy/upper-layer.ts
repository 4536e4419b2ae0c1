/** Where the changes of a guest's overlays are kept, whatever runs the guest: read, compared and mended from outside. */
import type { UpperEntry } from '../fleet/shadow.ts'
import { comparePaths, type FileInode, type TreePath, type Xattr } from '../tree/tree.ts'

/** A file that is put beside one of the guest's. */
export interface Beside {
  readonly path: TreePath
  readonly inode: FileInode
  readonly bytes: Uint8Array
}

export interface UpperLayer {
  /** What is written in a running guest is seen at once. */
  readonly isLive: boolean
  /** False before the guest's first start. */
  exists(): boolean
  /** Makes it whole after a guest that was cut off, as its next start would. */
  settle(signal: AbortSignal): Promise<void>
  /**
   * Everything in the upper layers of these directories, in path order.
   * @param paths directories of the area, as in the guest
   * @param isCompared whether the content of a file matters; others are not read and have the digest of nothing
   */
  read(
    paths: readonly TreePath[],
    isCompared: (path: TreePath) => boolean,
    signal: AbortSignal,
  ): Promise<readonly UpperEntry[]>
  /** Takes names out, with everything below them, and puts files in; the guest is off. */
  mend(
    upper: readonly UpperEntry[],
    remove: readonly TreePath[],
    add: readonly Beside[],
    signal: AbortSignal,
  ): Promise<void>
}

/** Attributes in which overlayfs keeps what it knows; they are no part of what the guest sees. */
const OWN = 'trusted.overlay.'

/** What the attributes of one name say to the guest, and what to overlayfs. */
export function sortXattrs(all: readonly Xattr[]): {
  readonly xattrs: readonly Xattr[]
  readonly marks: Pick<UpperEntry, 'opaque' | 'redirect'>
} {
  const value = (name: string): string | undefined => all.find(([key]) => key === `${OWN}${name}`)?.[1]
  const redirect = value('redirect') ?? value('metacopy')
  return {
    xattrs: all.filter(([name]) => !name.startsWith(OWN)),
    marks: {
      ...(value('opaque') === 'y' && { opaque: true }),
      ...(redirect !== undefined && { redirect }),
    },
  }
}

/** Names of the layer that go when `remove` goes and `add` is written anew, deepest first. */
export function goingNames(
  upper: readonly UpperEntry[],
  remove: readonly TreePath[],
  add: readonly Beside[],
): readonly UpperEntry[] {
  const goes = (path: TreePath): boolean =>
    remove.some((top) => path === top || path.startsWith(`${top}/`)) || add.some((one) => one.path === path)
  return upper.filter(({ path }) => goes(path)).toSorted((a, b) => comparePaths(b.path, a.path))
}
