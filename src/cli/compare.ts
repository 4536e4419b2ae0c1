/** What differs between two generations or two locks: packages, flags, files, accounts, services, kernel, sizes. */
import { diffLocks, type LockDiff } from '../resolve/lock-diff.ts'
import type { Lock } from '../resolve/lock.ts'
import { kernelReleases } from '../stage/modules.ts'
import { diffTrees, type TreeDiff } from '../tree/diff.ts'
import type { Contents } from '../tree/contents.ts'
import { follow } from '../tree/resolve-path.ts'
import type { Tree, TreePath } from '../tree/tree.ts'
import type { Manifest } from './manifest.ts'

/** One side: a lock, and all of a build when it is one. */
export interface Side {
  /** As it was named: `www-nginx/g3-…`, or the file of a lock. */
  readonly name: string
  readonly lock: Lock
  readonly build?: { readonly tree: Tree; readonly manifest: Manifest }
}

export interface Comparison {
  readonly names: readonly [before: string, after: string]
  readonly packages: LockDiff
  /** Packages whose flags changed, with what was switched on and off. */
  readonly flags: readonly {
    readonly name: string
    readonly on: readonly string[]
    readonly off: readonly string[]
  }[]
  /** The rest is known of builds only. */
  readonly build?: BuildComparison
}

export interface BuildComparison {
  readonly versions: readonly [string, string]
  readonly files: TreeDiff
  /** undefined: the store does not have /etc/passwd or /etc/group of both any more. */
  readonly users: Changes | undefined
  readonly groups: Changes | undefined
  /** Units of systemd, services of busybox init, scripts of OpenRC. */
  readonly services: Changes
  /** What starts by itself: services that busybox init runs, and links into targets and runlevels. */
  readonly enabled: Changes
  readonly kernel: readonly { readonly what: string; readonly before: string; readonly after: string }[]
  /** Bytes of images and of the root, largest difference first; equal ones too. */
  readonly sizes: readonly { readonly what: string; readonly before: number; readonly after: number }[]
}

/** Each sorted by bytes. */
export interface Changes {
  readonly added: readonly string[]
  readonly removed: readonly string[]
  readonly changed: readonly string[]
}

/** @param contents where accounts are read, as far as it has them */
export async function compare(
  before: Side,
  after: Side,
  contents: Contents & { has(content: string): boolean },
): Promise<Comparison> {
  const packages = diffLocks(before.lock, after.lock)
  const flags = packages.changed.flatMap(({ before: old, after: young }) => {
    const on = young.use.filter((flag) => !old.use.includes(flag))
    const off = old.use.filter((flag) => !young.use.includes(flag))
    return on.length + off.length === 0 ? [] : [{ name: young.name, on, off }]
  })
  const names = [before.name, after.name] as const
  if (!before.build || !after.build) return { names, packages, flags }
  const [old, young] = [before.build, after.build]
  const files = diffTrees(old.tree, young.tree)
  const accounts = async (path: TreePath): Promise<Changes | undefined> => {
    const [left, right] = [await linesOf(old.tree, path, contents), await linesOf(young.tree, path, contents)]
    return left && right ? changesOf(left, right) : undefined
  }
  return {
    names,
    packages,
    flags,
    build: {
      versions: [old.manifest.image.version, young.manifest.image.version],
      files,
      users: await accounts('etc/passwd'),
      groups: await accounts('etc/group'),
      services: among(files, serviceOf),
      enabled: among(files, enabledOf),
      kernel: kernelChanges(old, young),
      sizes: sizes(old, young),
    },
  }
}

/** The first field of each line, with the rest; undefined when the content cannot be had. */
async function linesOf(
  tree: Tree,
  path: TreePath,
  contents: Contents & { has(content: string): boolean },
): Promise<ReadonlyMap<string, string> | undefined> {
  const found = follow(tree, path)?.inode
  if (found?.type !== 'file') return new Map()
  if (!contents.has(found.content)) return undefined
  const text = Buffer.from(await contents.read(found.content)).toString('latin1')
  const lines = text.split('\n').filter((line) => line.includes(':'))
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line]))
}

function changesOf(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): Changes {
  return {
    added: [...after.keys()].filter((key) => !before.has(key)).sort(),
    removed: [...before.keys()].filter((key) => !after.has(key)).sort(),
    changed: [...after].flatMap(([key, line]) => (line !== (before.get(key) ?? line) ? [key] : [])).sort(),
  }
}

/** The changed paths that `nameOf` knows, by what it calls them. */
function among(
  { added, removed, changed }: TreeDiff,
  nameOf: (path: TreePath) => string | undefined,
): Changes {
  const named = (list: readonly { readonly path: TreePath }[]): string[] => [
    ...new Set(list.flatMap(({ path }) => nameOf(path) ?? [])),
  ]
  const gone = named(removed)
  const come = named(added)
  return {
    added: come.filter((name) => !gone.includes(name)).sort(),
    removed: gone.filter((name) => !come.includes(name)).sort(),
    // What moved from one folder to another is still there.
    changed: [...new Set([...named(changed), ...come.filter((name) => gone.includes(name))])].sort(),
  }
}

const UNIT =
  /^(?:usr\/|etc\/)?(?:lib\/)?systemd\/system\/([^/]+\.(?:service|socket|timer|mount|path|target|slice))$/

function serviceOf(path: TreePath): string | undefined {
  return UNIT.exec(path)?.[1] ?? /^etc\/stage5\/services\/([^/]+)$/.exec(path)?.[1] ?? initScript(path)
}

function initScript(path: TreePath): string | undefined {
  const name = /^etc\/init\.d\/([^/]+)$/.exec(path)?.[1]
  return name === 'rcS' || name === 'rcK' ? undefined : name
}

function enabledOf(path: TreePath): string | undefined {
  const link =
    /systemd\/system\/([^/]+\.(?:wants|requires)\/[^/]+)$/.exec(path)?.[1] ??
    /^etc\/runlevels\/([^/]+\/[^/]+)$/.exec(path)?.[1]
  return link ?? /^etc\/stage5\/services\/([^/]+)$/.exec(path)?.[1]
}

type Build = NonNullable<Side['build']>

/** What a guest is started with, where it differs. */
function kernelChanges(before: Build, after: Build): BuildComparison['kernel'] {
  const facts = (build: Build): ReadonlyMap<string, string> => {
    const { boot, files } = build.manifest
    const image = files.find(({ name }) => name === boot.kernel)
    return new Map([
      ['release', kernelReleases(build.tree).join(' ') || 'none'],
      ['image', image?.digest ?? 'none'],
      ['command line', boot.cmdline?.replace(/ ?roothash=[0-9a-f]+/, '') ?? 'none'],
      ['modules', String(build.tree.names.filter(({ path }) => /\.ko(?:\.\w+)?$/.test(path)).length)],
    ])
  }
  const young = facts(after)
  return [...facts(before)].flatMap(([what, was]) => {
    const is = young.get(what) as string
    return is === was ? [] : [{ what, before: was, after: is }]
  })
}

function sizes(before: Build, after: Build): BuildComparison['sizes'] {
  const sums = (build: Build): Map<string, number> => {
    const found = new Map<string, number>([['root', rootBytes(build.tree)]])
    for (const { role, size } of build.manifest.files)
      if (role !== 'report' && role !== 'manifest') found.set(role, (found.get(role) ?? 0) + size)
    return found
  }
  const [old, young] = [sums(before), sums(after)]
  return [...new Set([...old.keys(), ...young.keys()])]
    .map((what) => ({ what, before: old.get(what) ?? 0, after: young.get(what) ?? 0 }))
    .sort((a, b) => growth(b) - growth(a) || (a.what < b.what ? -1 : 1))
}

function growth({ before, after }: { readonly before: number; readonly after: number }): number {
  return Math.abs(after - before)
}

function rootBytes(tree: Tree): number {
  return tree.inodes.reduce((sum, inode) => sum + (inode.type === 'file' ? inode.size : 0), 0)
}
