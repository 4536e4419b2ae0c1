/** Real packages for tests: fetched through the machine's own apt, unpacked by dpkg-deb, read as trees. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Contents } from '../../src/tree/contents.ts'
import { mergeTrees } from '../../src/tree/merge.ts'
import type { Tree } from '../../src/tree/tree.ts'
import { readDiskTree } from './disk-tree.ts'

/**
 * Downloads and unpacks each package into a folder of its own below `scratch`.
 * @returns why it cannot be done, fit for `t.skip`, or undefined
 */
export function fetchDebs(scratch: string, names: readonly string[]): string | undefined {
  try {
    const cache = join(scratch, 'debs')
    mkdirSync(cache, { recursive: true })
    const options = { cwd: cache, stdio: 'ignore', timeout: 120_000 } as const
    execFileSync('apt-get', ['download', '-q', '-o', 'Acquire::Retries=1', ...names], options)
    for (const file of readdirSync(cache))
      execFileSync('dpkg-deb', ['-x', join(cache, file), join(scratch, file.split('_', 1)[0] as string)])
    return undefined
  } catch (error) {
    return `needs apt with network and dpkg-deb (${(error as Error).message.split('\n', 1)[0]})`
  }
}

/** The merged tree of unpacked packages, each name owned by its package. */
export async function debTree(scratch: string, names: readonly string[], contents: Contents): Promise<Tree> {
  const trees: Tree[] = []
  for (const name of names) trees.push(await readDiskTree(join(scratch, name), contents, () => name))
  return mergeTrees(trees)
}
