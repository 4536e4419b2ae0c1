/** Package files that repositories keep under `downloads/REPOSITORY/packages/SHA256.ENDING`. */
import { lstatSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Digest } from '../base/digest.ts'
import { now } from '../host/clock.ts'

export interface Download {
  readonly path: string
  readonly size: number
  readonly idleMs: number
  /** Whether a lock names it. */
  readonly isWanted: boolean
}

/** Longest unused first. */
export function listDownloads(directory: string, wanted: ReadonlySet<Digest>): readonly Download[] {
  const found: Download[] = []
  for (const repository of namesIn(directory))
    for (const name of namesIn(join(directory, repository, 'packages'))) {
      const sum = /^[0-9a-f]{64}(?=\.)/.exec(name)?.[0]
      const path = join(directory, repository, 'packages', name)
      const stats = lstatSync(path, { throwIfNoEntry: false })
      if (sum === undefined || !stats?.isFile()) continue
      const idleMs = now() - Math.max(stats.mtimeMs, stats.ctimeMs)
      found.push({ path, size: stats.size, idleMs, isWanted: wanted.has(`sha256:${sum}`) })
    }
  return found.sort((a, b) => b.idleMs - a.idleMs || (a.path < b.path ? -1 : 1))
}

export function removeDownloads(downloads: readonly Download[]): void {
  for (const { path } of downloads) rmSync(path, { force: true })
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return []
    throw error
  }
}
