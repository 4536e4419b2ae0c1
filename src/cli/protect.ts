/**
 * What the file system offers against changes of files that roots share.
 *
 * - `none`: nothing. Whoever writes into a linked file changes it in every root; `checkout --check` and `store verify`
 *   find it.
 * - `reflink`: each root has inodes of its own, which share blocks until they are written to. Any change stays in its root.
 *   One inode a file; btrfs and XFS.
 * - `bind`: a read-only mount of the folder over itself. Writes through this path fail, root's too; the same inode can
 *   still be written to by its other names. Gone after a restart, or with `umount`.
 * - `verity`: fs-verity makes the content of the shared inodes immutable for everyone; mode, owner and times are not
 *   covered, names can be replaced.
 */
import { statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { reflinkProblem } from '../host/reflink.ts'
import { run } from '../host/run.ts'
import { temporaryDirectory } from '../host/temp.ts'
import type { Store } from '../store/store.ts'
import type { Tree } from '../tree/tree.ts'

export const PROTECTIONS = ['none', 'reflink', 'bind', 'verity'] as const
export type Protection = (typeof PROTECTIONS)[number]

export function isProtection(word: string): word is Protection {
  return (PROTECTIONS as readonly string[]).includes(word)
}

/**
 * Tries the protection on a small file or folder beside `directory`, before anything is made.
 * @throws S5_PROTECTION_UNSUPPORTED, S5_TOOL_MISSING
 */
export async function refuseUnsupported(
  protection: Protection,
  store: Store,
  directory: string,
): Promise<void> {
  if (protection === 'none') return
  const parent = dirname(directory)
  if (protection === 'reflink') {
    if (statSync(store.path).dev !== statSync(parent).dev)
      throw unsupported(protection, directory, 'it is on another file system than the store')
    const problem = reflinkProblem(parent)
    if (problem !== undefined) throw unsupported(protection, directory, reason(problem), problem)
    return
  }
  using probe = temporaryDirectory(parent)
  if (protection === 'bind') {
    await mountReadOnly(probe.path, directory)
    await run(['umount', '--', probe.path])
  } else {
    const file = join(probe.path, 'file')
    writeFileSync(file, 'stage5')
    await enableVerity([file], directory)
  }
}

/** After the checkout. */
export async function protect(
  protection: Protection,
  directory: string,
  tree: Tree,
  signal: AbortSignal,
): Promise<void> {
  if (protection === 'bind') await mountReadOnly(directory, directory)
  if (protection !== 'verity') return
  const files = new Map<number, string>()
  for (const { path, inode: number } of tree.names) {
    const inode = tree.inodes[number]
    if (inode?.type === 'file' && inode.size > 0 && !files.has(number))
      files.set(number, join(directory, Buffer.from(path, 'latin1').toString()))
  }
  await enableVerity([...files.values()], directory, signal)
}

async function mountReadOnly(path: string, directory: string): Promise<void> {
  try {
    await run(['mount', '--bind', '--', path, path])
  } catch (error) {
    throw unsupported('bind', directory, reason(error), error)
  }
  try {
    await run(['mount', '-o', 'remount,bind,ro', '--', path])
  } catch (error) {
    await run(['umount', '--', path], { accept: 'any' })
    throw unsupported('bind', directory, reason(error), error)
  }
}

/** Files that have it already are left alone: other roots share them. */
async function enableVerity(
  paths: readonly string[],
  directory: string,
  signal?: AbortSignal,
): Promise<void> {
  for (const path of paths) {
    signal?.throwIfAborted()
    const { code } = await run(['fsverity', 'measure', path], { accept: 'any' })
    if (code === 0) continue
    try {
      await run(['fsverity', 'enable', path])
    } catch (error) {
      if (error instanceof Stage5Error && error.code === 'S5_TOOL_MISSING') throw error
      throw unsupported('verity', directory, reason(error), error)
    }
  }
}

function unsupported(protection: Protection, directory: string, why: string, cause?: unknown): Stage5Error {
  return new Stage5Error(
    'S5_PROTECTION_UNSUPPORTED',
    `--protect ${protection} cannot be had for ${directory}: ${why}`,
    { ...(cause === undefined ? {} : { cause }), hint: 'stage5 checkout --copy shares nothing' },
  )
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
