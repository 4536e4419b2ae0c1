/** The text files beside an image: what is in it, by whom, and what was taken out. Pure. */
import { printable } from '../base/errors.ts'
import type { Json } from '../base/json.ts'
import { labelOf } from '../pkg/package.ts'
import type { Lock } from '../resolve/lock.ts'
import type { Profile } from '../resolve/profile.ts'
import type { Root } from '../tree/root.ts'
import type { Inode } from '../tree/tree.ts'
import type { OutputFile } from './output.ts'

/** Packages, one a line: name, version, architecture, repository, flags. */
export function packagesText(lock: Lock): string {
  const rows = [...lock.packages].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  return rows
    .map(
      (pkg) =>
        `${pkg.name} ${pkg.version} ${pkg.arch} ${pkg.repo}${pkg.use.length > 0 ? ` [${pkg.use.join(',')}]` : ''}\n`,
    )
    .join('')
}

export interface DiskUsage {
  readonly total: number
  /** Largest first. */
  readonly owners: readonly { readonly name: string; readonly bytes: number; readonly files: number }[]
  readonly removed: readonly { readonly rule: string; readonly bytes: number; readonly files: number }[]
}

/** Bytes of regular files by owner (hard links once) and of what was removed, by rule. */
export function diskUsage(root: Root): DiskUsage {
  const owners = new Map<string, { bytes: number; files: number }>()
  const counted = new Set<number>()
  let total = 0
  for (const { inode: number, owner } of root.tree.names) {
    const inode = root.tree.inodes[number] as Inode
    if (inode.type !== 'file' || counted.has(number)) continue
    counted.add(number)
    count(owners, owner, inode.size)
    total += inode.size
  }
  const removed = new Map<string, { bytes: number; files: number }>()
  for (const { rule, size } of root.removed) count(removed, rule, size)
  return {
    total,
    owners: ranked(owners).map(([name, sum]) => ({ name, ...sum })),
    removed: ranked(removed).map(([rule, sum]) => ({ rule, ...sum })),
  }
}

function count(sums: Map<string, { bytes: number; files: number }>, key: string, bytes: number): void {
  const sum = sums.get(key) ?? { bytes: 0, files: 0 }
  sums.set(key, { bytes: sum.bytes + bytes, files: sum.files + 1 })
}

function ranked<T extends { bytes: number }>(sums: ReadonlyMap<string, T>): [string, T][] {
  return [...sums].sort(([a, left], [b, right]) => right.bytes - left.bytes || (a < b ? -1 : 1))
}

/** The disk usage as a table for people. */
export function diskUsageText(usage: DiskUsage): string {
  const row = (bytes: number, files: number, name: string): string =>
    `${String(bytes).padStart(12)} ${String(files).padStart(7)}  ${name}\n`
  return [
    '       bytes   files  package\n',
    ...usage.owners.map(({ name, bytes, files }) => row(bytes, files, printable(name))),
    row(
      usage.total,
      usage.owners.reduce((sum, { files }) => sum + files, 0),
      'in all',
    ),
    '\n       bytes   files  removed by\n',
    ...usage.removed.map(({ rule, bytes, files }) => row(bytes, files, rule)),
  ].join('')
}

/** `<stem>.manifest.json`: everything a program needs to know about a build. No clock, no host, no path of this machine. */
export function manifest(facts: {
  profile: Profile
  lock: Lock
  version: string
  date: number
  rootDigest: string
  files: readonly OutputFile[]
  boot: Json
  tools: { readonly [name: string]: string }
}): Json {
  const { profile, lock } = facts
  return {
    stage5: 1,
    image: {
      id: profile.id,
      version: facts.version,
      arch: profile.arch,
      profile: profile.name,
      date: facts.date,
    },
    root: facts.rootDigest,
    repositories: lock.repositories.map((repository) => ({ ...repository })),
    packages: lock.packages.map((pkg) => ({
      label: labelOf(pkg),
      name: pkg.name,
      version: pkg.version,
      arch: pkg.arch,
      repo: pkg.repo,
      use: [...pkg.use],
      sha256: pkg.sha256,
    })),
    files: facts.files.map(({ name, role, size, digest }) => ({ name, role, size, digest })),
    boot: facts.boot,
    ...(profile.dataSchema && {
      dataSchema: { reads: [...profile.dataSchema.reads], writes: profile.dataSchema.writes },
    }),
    tools: facts.tools,
  }
}
