/**
 * What a guest's overlay hides of its base, and what that means for another base: the base before, the base after and
 * the upper layer, name by name. Pure; nothing here changes anything.
 *
 * @see Linux Documentation/filesystems/overlayfs.rst: "whiteouts and opaque directories", "redirect_dir"
 */
import { printable } from '../base/errors.ts'
import { comparePaths, type Inode, lookup, type Tree, type TreePath } from '../tree/tree.ts'

/** One name of an upper layer. Attributes of overlayfs itself are not in `inode`. */
export interface UpperEntry {
  /** As in the guest. */
  readonly path: TreePath
  /** Absent: a whiteout, which hides what the base has there. */
  readonly inode?: Inode
  /** A directory that hides everything the base has in it. */
  readonly opaque?: boolean
  /** A directory or file that takes its content from another name of the very base it was made over. */
  readonly redirect?: string
}

/**
 * What the guest did. `touched`: what stands there is what the base had; `same`: it is what the new base has; `edited`;
 * `replaced`: a thing of another type; `removed`; `opaque`: a directory put in the place of the base's; `own`: the base
 * had nothing there; `redirected`: a renamed directory, which is empty over another base.
 */
type ShadowKind = 'touched' | 'same' | 'edited' | 'replaced' | 'removed' | 'opaque' | 'own' | 'redirected'

/** What the bases do at this name, or below it where the whole directory is hidden. */
type BaseChange = 'none' | 'changed' | 'added' | 'removed'

export interface Shadow {
  readonly path: TreePath
  readonly kind: ShadowKind
  readonly base: BaseChange
  /** Both sides changed it, each in its own way. */
  readonly conflict: boolean
  /** `reset`: nothing of the guest is lost without it; `both`: the new default can stand beside it; `keep`. */
  readonly remedy: 'reset' | 'both' | 'keep'
  /** Names of the base that changed below a hidden directory. */
  readonly below: readonly TreePath[]
  /** The new default stands beside the guest's own file already: whoever looks after the guest can compare them. */
  readonly settled: boolean
}

/** Ending of a new default that stands beside what the guest has. */
export const BESIDE = '.stage5-new'

/**
 * Everything of an upper layer that hides something of either base, in path order. What is the guest's alone is left
 * out, and so are directories that both only share.
 * @param earlier bases that the guest ran before: a file that is as one of them had it was never edited
 */
export function shadowsOf(
  upper: readonly UpperEntry[],
  before: Tree,
  after: Tree,
  earlier: readonly Tree[] = [],
): readonly Shadow[] {
  const byPath = new Map(upper.map((entry) => [entry.path, entry]))
  const found: Shadow[] = []
  for (const entry of upper.toSorted((a, b) => comparePaths(a.path, b.path))) {
    const shadow = shadowOf(entry, before, after, earlier)
    if (!shadow) continue
    const beside = byPath.get(`${entry.path}${BESIDE}`)?.inode
    const young = lookup(after, entry.path)?.inode
    const settled =
      shadow.remedy === 'both' &&
      beside?.type === 'file' &&
      young?.type === 'file' &&
      beside.content === young.content
    found.push({ ...shadow, settled })
  }
  return found.flatMap((shadow) => keepingBelow(shadow, byPath, found, after))
}

/** A directory goes with everything in it: one that holds more than what may go stays. */
function keepingBelow(
  shadow: Shadow,
  upper: ReadonlyMap<TreePath, UpperEntry>,
  found: readonly Shadow[],
  after: Tree,
): readonly Shadow[] {
  const { path, remedy } = shadow
  if (remedy !== 'reset' || upper.get(path)?.inode?.type !== 'dir') return [shadow]
  const going = new Set(found.filter((one) => one.remedy === 'reset').map((one) => one.path))
  const stays = [...upper.keys()].some((name) => name.startsWith(`${path}/`) && !going.has(name))
  if (!stays) return [shadow]
  const young = lookup(after, path)?.inode
  return !young || isDirectory(young) ? [] : [{ ...shadow, remedy: 'keep', conflict: true }]
}

function shadowOf(
  entry: UpperEntry,
  before: Tree,
  after: Tree,
  earlier: readonly Tree[],
): Omit<Shadow, 'settled'> | undefined {
  const { path, inode } = entry
  const untouched = inode?.type === 'dir' ? undefined : earlier.map((tree) => lookup(tree, path)?.inode)
  const origin = untouched?.find((one) => inode && one && isSame(inode, one))
  const now = lookup(before, path)?.inode
  const old = inode && origin && !(now && isSame(inode, now)) ? origin : now
  const young = lookup(after, path)?.inode
  const base = changeOf(old, young)
  if (entry.redirect !== undefined)
    return { path, kind: 'redirected', base, conflict: true, remedy: 'keep', below: [] }
  if (!old && !young)
    // A whiteout of nothing: left from an older base.
    return inode ? undefined : { path, kind: 'same', base, conflict: false, remedy: 'reset', below: [] }
  if (inode?.type === 'dir' && entry.opaque !== true && isDirectory(old) && isDirectory(young))
    return attributes(path, inode, old, young, base)
  const below = hidesBelow(entry) ? changedBelow(path, before, after) : []
  const hidden = base === 'none' && below.length > 0 ? 'changed' : base
  const kind = kindOf(entry, old, young, below)
  if (kind === 'touched' || kind === 'same')
    return { path, kind, base: hidden, conflict: false, remedy: 'reset', below }
  const conflict = hidden !== 'none'
  const both = conflict && inode?.type === 'file' && young?.type === 'file'
  return { path, kind, base: hidden, conflict, remedy: both ? 'both' : 'keep', below }
}

function kindOf(
  { inode, opaque }: UpperEntry,
  old: Inode | undefined,
  young: Inode | undefined,
  below: readonly TreePath[],
): ShadowKind {
  if (!inode) return young || below.length > 0 ? 'removed' : 'same'
  if (opaque !== true && old && isSame(inode, old)) return 'touched'
  if (opaque !== true && young && isSame(inode, young)) return 'same'
  if (inode.type === 'dir' && opaque === true && (isDirectory(old) || isDirectory(young))) return 'opaque'
  if (!old) return 'own'
  return old.type === inode.type ? 'edited' : 'replaced'
}

/** A directory of both: its content shows through, its owner and mode are the upper's. */
function attributes(
  path: TreePath,
  inode: Inode,
  old: Inode | undefined,
  young: Inode | undefined,
  base: BaseChange,
): Omit<Shadow, 'settled'> | undefined {
  if (young && isSame(inode, young)) return undefined
  if (old && isSame(inode, old))
    return { path, kind: 'touched', base, conflict: false, remedy: 'keep', below: [] }
  return { path, kind: 'edited', base, conflict: base !== 'none', remedy: 'keep', below: [] }
}

/** Everything that is not a plain directory hides what the base has below that name. */
function hidesBelow({ inode, opaque }: UpperEntry): boolean {
  return inode?.type !== 'dir' || opaque === true
}

function isDirectory(inode: Inode | undefined): boolean {
  return inode?.type === 'dir'
}

function changeOf(old: Inode | undefined, young: Inode | undefined): BaseChange {
  if (!old) return young ? 'added' : 'none'
  if (!young) return 'removed'
  return isSame(old, young) ? 'none' : 'changed'
}

function changedBelow(path: TreePath, before: Tree, after: Tree): TreePath[] {
  const names = new Set([...namesBelow(before, path), ...namesBelow(after, path)])
  return [...names]
    .filter((name) => changeOf(lookup(before, name)?.inode, lookup(after, name)?.inode) !== 'none')
    .sort(comparePaths)
}

function namesBelow({ names }: Tree, path: TreePath): TreePath[] {
  const prefix = `${path}/`
  return names.filter((name) => name.path.startsWith(prefix)).map((name) => name.path)
}

/** Equal but for times. */
function isSame(left: Inode, right: Inode): boolean {
  if (left.type !== right.type || left.mode !== right.mode) return false
  if (left.uid !== right.uid || left.gid !== right.gid) return false
  if (JSON.stringify(left.xattrs ?? []) !== JSON.stringify(right.xattrs ?? [])) return false
  if (left.type === 'file' && right.type === 'file') return left.content === right.content
  if (left.type === 'symlink' && right.type === 'symlink') return left.target === right.target
  if ('major' in left && 'major' in right) return left.major === right.major && left.minor === right.minor
  return true
}

/** What a group wants done about shadows before its guests are led to another base. */
type ShadowPolicy = 'warn' | 'hold' | 'reset-unmodified'

/**
 * Whether a guest may go to the new base. `hold`: nothing may hide a change; `reset-unmodified`: what is only touched is
 * reset on the way, and everything else that hides a change holds; `warn`: told, never held.
 */
export function holding(shadows: readonly Shadow[], policy: ShadowPolicy): readonly Shadow[] {
  if (policy === 'warn') return []
  const hiding = shadows.filter(
    ({ base, kind, settled }) => (base !== 'none' || kind === 'redirected') && kind !== 'same' && !settled,
  )
  return policy === 'hold' ? hiding : hiding.filter(({ remedy }) => remedy !== 'reset')
}

/** Names that `reset-unmodified` takes out of the layer: they hide a change, and nothing of the guest is in them. */
export function resetting(shadows: readonly Shadow[]): readonly Shadow[] {
  return holding(shadows, 'hold').filter(({ remedy }) => remedy === 'reset')
}

/** In words, for one line. */
export function shadowWords({ path, kind, base, below, conflict, settled }: Shadow): string {
  if (settled) return `${WORDS[kind]}; both kept: /${printable(path)}${BESIDE} is the new base's`
  const did = WORDS[kind]
  const where = below.length > 0 ? `, ${below.length} ${below.length === 1 ? 'name' : 'names'} below` : ''
  const does = base === 'none' ? '' : `; the new base ${BASE_WORDS[base]} it${where}`
  return `${conflict ? 'conflict: ' : ''}${did}${does}`
}

const WORDS: { readonly [kind in ShadowKind]: string } = {
  touched: 'only touched, same content as the base',
  same: 'same as the new base',
  edited: 'edited',
  replaced: 'replaced by another type',
  removed: 'removed',
  opaque: 'directory replaced as a whole',
  own: 'own file in the place of one that is new in the base',
  redirected: 'renamed directory: it would be empty',
}

const BASE_WORDS: { readonly [change in Exclude<BaseChange, 'none'>]: string } = {
  changed: 'changes',
  added: 'brings',
  removed: 'drops',
}
