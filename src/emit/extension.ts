/**
 * System and configuration extensions: the part of a root that a host lays over its own /usr and /opt, or over its
 * /etc, with the file that says which hosts it fits.
 * @see UAPI.4 "Extension Images", systemd-sysext(8)
 */
import { Stage5Error } from '../base/errors.ts'
import { type Json, stableJson } from '../base/json.ts'
import type { Contents } from '../tree/contents.ts'
import { withEntries } from '../tree/edit.ts'
import { compact, selectNames } from '../tree/select.ts'
import { type Inode, lookup, type Tree, type TreePath } from '../tree/tree.ts'

export type ExtensionKind = 'sysext' | 'confext'

export interface ExtensionOptions {
  readonly kind: ExtensionKind
  /** Name of the image on the host, without `.raw`. */
  readonly name: string
  /** In Debian's words. */
  readonly arch: string
  readonly version: string
  /** ID of the hosts' os-release, or `_any`. */
  readonly os: string
  /** VERSION_ID of the hosts; '' for none. */
  readonly osVersion: string
  /** SYSEXT_LEVEL or CONFEXT_LEVEL of the hosts; '' for none. */
  readonly osLevel: string
  /** The root that is extended: what it has already is left out. */
  readonly over?: Tree
  /** Seconds since 1970: the time of what is added. */
  readonly date: number
}

/** Names of architectures in os-release and extension-release (ConditionArchitecture= of systemd.unit(5)). */
const ARCHITECTURES: { readonly [debian: string]: string } = {
  amd64: 'x86-64',
  arm64: 'arm64',
  armhf: 'arm',
  i386: 'x86',
  ppc64el: 'ppc64-le',
  riscv64: 'riscv64',
  s390x: 's390x',
}

const PLACES: { readonly [kind in ExtensionKind]: readonly TreePath[] } = {
  sysext: ['usr', 'opt'],
  confext: ['etc'],
}
const RELEASES: { readonly [kind in ExtensionKind]: TreePath } = {
  sysext: 'usr/lib/extension-release.d',
  confext: 'etc/extension-release.d',
}
/** An extension with an os-release is taken for an operating system, and refused. */
const NEVER: readonly TreePath[] = ['usr/lib/os-release', 'etc/os-release']

/**
 * @throws S5_IMAGE_INPUT when nothing is left to extend a host with
 */
export async function extensionTree(
  root: Tree,
  contents: Contents,
  options: ExtensionOptions,
): Promise<Tree> {
  const { kind, name, over, date } = options
  const below = (path: TreePath, top: TreePath): boolean => path === top || path.startsWith(`${top}/`)
  const links = linkCounts(root)
  const tree = selectNames(root, ({ path, inode: number }, inode) => {
    if (!PLACES[kind].some((top) => below(path, top))) return false
    if (NEVER.includes(path) || below(path, RELEASES[kind])) return false
    if (inode.type === 'dir' && PLACES[kind].includes(path)) return false
    const there = over && lookup(over, path)?.inode
    return !(
      there && (inode.type === 'dir' ? there.type === 'dir' : links[number] === 1 && isSame(inode, there))
    )
  })
  if (tree.names.length === 1)
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `${kind}: nothing is left below ${PLACES[kind].map((path) => `/${path}`).join(' and ')}` +
        `${over ? ' that the extended build does not have' : ''}`,
      { data: { format: kind } },
    )
  const bytes = new TextEncoder().encode(extensionRelease(options))
  const content = await contents.write(bytes)
  const path = `${RELEASES[kind]}/extension-release.${name}`
  const inode: Inode = { type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: date, size: bytes.length, content }
  const directory = { type: 'dir', mode: 0o755, uid: 0, gid: 0, mtime: date } as const
  const owner = `stage:${kind}`
  const parents = parentsOf(path).filter((parent) => !lookup(tree, parent))
  const { inodes, names } = withEntries(tree, [
    ...parents.map((parent) => ({ path: parent, owner, inode: { ...directory } })),
    { path, owner, inode },
  ])
  return compact(inodes, names)
}

function parentsOf(path: TreePath): TreePath[] {
  return [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index))
}

function linkCounts(tree: Tree): Uint32Array {
  const counts = new Uint32Array(tree.inodes.length)
  for (const { inode } of tree.names) counts[inode] = (counts[inode] as number) + 1
  return counts
}

/** Times do not count: the same file of a later build is the same file. */
function isSame(one: Inode, other: Inode): boolean {
  return stableJson({ ...one, mtime: 0 } as Json) === stableJson({ ...other, mtime: 0 } as Json)
}

/** The text of extension-release.NAME. */
function extensionRelease(options: ExtensionOptions): string {
  const { kind, arch, version, os, osVersion, osLevel, name } = options
  const level = kind === 'sysext' ? 'SYSEXT' : 'CONFEXT'
  const fits = osLevel === '' ? { VERSION_ID: osVersion } : { [`${level}_LEVEL`]: osLevel }
  const words = {
    ID: os,
    ...(os === '_any' ? {} : fits),
    ARCHITECTURE: ARCHITECTURES[arch] ?? '',
    [`${level}_ID`]: name,
    [`${level}_VERSION_ID`]: version,
  }
  return Object.entries(words)
    .filter(([, value]) => value !== '')
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
}
