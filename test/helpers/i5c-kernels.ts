/** Kernel packages for tests, chosen from what the archive lists today: a pinned version is gone with the next update. */
import { execFileSync } from 'node:child_process'
import { compareReleases } from '../../src/stage/modules.ts'

export interface TwoKernels {
  /** Release that the metapackage of `minimal` asks for. */
  readonly usual: string
  /** Release of another one: an older one of the same flavour if there is one. */
  readonly other: string
  /** Newest first, as a guest's output lists them. */
  readonly order: readonly [newest: string, older: string]
}

/** @returns two kernels that the archive has, or why there are none */
export function twoKernels(): TwoKernels | { readonly skip: string } {
  const usual = releaseOf('linux-image-cloud-amd64')
  if (usual === undefined) return { skip: 'needs a Debian archive with linux-image-cloud-amd64' }
  const listed = execFileSync('apt-cache', ['pkgnames', 'linux-image-'], { encoding: 'utf8' })
  const cloud = [...listed.matchAll(/^linux-image-(\d\S*-cloud-amd64)$/gm)].map(([, name]) => name as string)
  const older = cloud.filter((name) => compareReleases(name, usual) < 0).sort(compareReleases)
  const other = older.at(-1) ?? cloud.find((name) => name !== usual) ?? releaseOf('linux-image-rt-amd64')
  if (other === undefined) return { skip: 'needs a Debian archive with two kernels' }
  const order = [usual, other].sort((a, b) => compareReleases(b, a)) as [string, string]
  return { usual, other, order }
}

/** The kernel that a metapackage stands for. */
function releaseOf(meta: string): string | undefined {
  const depends = execFileSync('apt-cache', ['depends', meta], { encoding: 'utf8' })
  return /Depends: linux-image-([0-9]\S+)/.exec(depends)?.[1]
}
