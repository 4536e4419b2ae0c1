/**
 * Memory as an input: what a guest needs to come up, by the way it is started, and what its root keeps in use.
 *
 * Everything is in MiB. The constants are measured: guests of `minimal` (kernel 6.1, one processor, serial console and
 * network card) with a base of 2 to 200 MiB, booted at ever smaller `-m` until they fail; `test/oracle/needs.test.ts`
 * boots at the edges.
 */
import { printable, Stage5Error } from '../base/errors.ts'
import type { RamRoot } from '../resolve/profile.ts'
import type { Tree } from '../tree/tree.ts'

const MIB = 1_048_576
const PAGE = 4096

/** A way of being started: the base in the initrd (one initrd, network boot), or on a disk. */
export type Way = 'memory' | 'disk'

export interface MemoryFacts {
  /** Bytes of the base. */
  readonly base: number
  /** Bytes of the unpacked tree in memory: files in whole pages. */
  readonly tree: number
  readonly root: RamRoot
}

interface Need {
  readonly way: Way
  /** What the kernel unpacks an initrd into; a word on its command line decides. */
  readonly rootfs: 'tmpfs' | 'ramfs'
  /** Words that the kernel command line must have for it. */
  readonly words: readonly string[]
  /** MiB without which the guest does not come up. */
  readonly mebibytes: number
  /** `74 + 2 × 24.0 (base)`. */
  readonly arithmetic: string
  /** MiB of memory that the root keeps in use. */
  readonly kept: number
}

/**
 * What the kernel, the initramfs and the first programs take, and how often the base stands in memory meanwhile. Least
 * `-m` that came up, by MiB of the base: tmpfs 25: 128, 100: 358, 150: 510; ramfs 2: 77, 25: 123, 60: 196, 100: 278,
 * 150: 379, 200: 481; disk 74, whatever the base.
 */
const COST = {
  /** The initrd, what is unpacked of it, and as much again: tmpfs may take half of what the kernel leaves. */
  tmpfs: { fixed: 52, times: 3.06 },
  /** The initrd and what is unpacked of it; the kernel's own table of pages grows with the memory. */
  ramfs: { fixed: 75, times: 2.04 },
  disk: { fixed: 76, times: 0 },
} as const

/** Bytes in zram by bytes of a tree of programs and libraries; see `npm run bench`. */
const ZRAM_RATIO: { readonly [compressor in RamRoot['compressor']]: number } = {
  'lzo-rle': 0.55,
  lzo: 0.55,
  lz4: 0.56,
  zstd: 0.42,
}

const NO_ROOT: RamRoot = { kind: 'overlay', size: 0, inodes: 0, compressor: 'lzo-rle' }

/** Bytes that the files of a tree take in memory: whole pages, hard links once, and a page for every name besides. */
export function treeInMemory(tree: Tree): number {
  const pages = tree.inodes.reduce(
    (sum, inode) => sum + (inode.type === 'file' ? Math.ceil(inode.size / PAGE) : 0),
    0,
  )
  return pages * PAGE + tree.inodes.length * 1024
}

/** Limit of a root in memory that says none, in MiB: the tree, an eighth for the file system, and room to write. */
function defaultSize(tree: number): number {
  return Math.ceil((tree * 1.125) / MIB) + 64
}

/**
 * Words of the kernel command line that choose the guest's root.
 * @throws S5_IMAGE_INPUT when the tree cannot be unpacked by busybox as it is
 */
export function rootWords(root: RamRoot = NO_ROOT, tree: Tree): readonly string[] {
  const { kind, size, inodes, compressor } = root
  const limit = size > 0 ? `${Math.ceil(size / 1024)}K` : undefined
  const counted = inodes > 0 && kind !== 'zram' ? [`stage5.inodes=${inodes}`] : []
  if (kind === 'overlay') return [...(limit === undefined ? [] : [`stage5.rw=${limit}`]), ...counted]
  const marked = tree.names.find(({ inode }) => tree.inodes[inode]?.xattrs)
  if (marked)
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `boot: ${kind} unpacks the root in the guest with busybox, which would lose the attribute ${tree.inodes[marked.inode]?.xattrs?.[0]?.[0]} of /${printable(marked.path)}`,
      { hint: 'boot: overlay keeps every attribute', data: { path: marked.path } },
    )
  const own = limit ?? `${defaultSize(treeInMemory(tree))}M`
  return [
    `stage5.root=${kind}`,
    `stage5.rw=${own}`,
    ...(kind === 'zram' ? [`stage5.zram=${compressor}`] : []),
    ...counted,
  ]
}

/** What one way of being started needs, with every rootfs that it can have; the cheaper words come first. */
export function memoryNeeds(facts: MemoryFacts, way: Way): readonly Need[] {
  const base = facts.base / MIB
  const tree = facts.tree / MIB
  const { kind, compressor } = facts.root
  const unpacked = kind === 'overlay' ? 0 : kind === 'tmpfs' ? tree : tree * ZRAM_RATIO[compressor]
  const kept = kind === 'overlay' ? (way === 'memory' ? base : 0) : unpacked
  const need = (rootfs: 'tmpfs' | 'ramfs', cost: keyof typeof COST, words: readonly string[]): Need => {
    const { fixed, times } = COST[cost]
    const up = Math.max(fixed + times * base, way === 'disk' ? 0 : COST.ramfs.fixed + COST.ramfs.times * base)
    // The base is let go only when the whole tree stands beside it.
    const beside = COST.disk.fixed + (way === 'memory' ? base : 0) + unpacked
    const sum = unpacked > 0 && beside > up
    const arithmetic = sum
      ? [
          `${COST.disk.fixed}`,
          ...(way === 'memory' ? [`${shown(base)} (base)`] : []),
          `${shown(unpacked)} (${kind})`,
        ].join(' + ')
      : times === 0
        ? `${fixed}`
        : `${up > fixed + times * base ? `${COST.ramfs.fixed} + ${COST.ramfs.times}` : `${fixed} + ${times}`} × ${shown(base)} (base)`
    return { way, rootfs, words, mebibytes: Math.ceil(sum ? beside : up), arithmetic, kept }
  }
  if (way === 'disk') return [need('tmpfs', 'disk', [])]
  return [need('tmpfs', 'tmpfs', []), need('ramfs', 'ramfs', ['rootfstype=ramfs'])]
}

function shown(mebibytes: number): string {
  return mebibytes.toFixed(1)
}

/** The first way of unpacking that fits into so many MiB, or none. */
export function fitting(needs: readonly Need[], memory: number): Need | undefined {
  return needs.find(({ mebibytes }) => mebibytes <= memory)
}

/** Who fills the root, the largest first: `nginx 4.1 MiB`. */
export function largest(owners: readonly { readonly name: string; readonly bytes: number }[]): string {
  return owners
    .filter(({ bytes }, at) => at === 0 || bytes >= MIB / 20)
    .slice(0, 5)
    .map(({ name, bytes }) => `${name} ${(bytes / MIB).toFixed(1)} MiB`)
    .join(', ')
}

/** One line on a need: `in memory, rootfstype=ramfs: 74 + 2 × 24.0 (base) = 122 MiB`. */
export function needText({ way, rootfs, words, mebibytes, arithmetic }: Need): string {
  const how = way === 'disk' ? 'from a disk' : `in the initrd, ${words.join(' ') || `rootfstype=${rootfs}`}`
  return `${how}: ${arithmetic === `${mebibytes}` ? '' : `${arithmetic} = `}${mebibytes} MiB`
}

/**
 * The report: what each way needs, and what the roots that could be chosen would keep in memory.
 * @param memory MiB that guests have, or 0
 */
export function memoryText(facts: MemoryFacts, memory: number): string {
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`
  const rows = (['disk', 'memory'] as const).flatMap((way) =>
    memoryNeeds(facts, way).map((need) => {
      const verdict = memory === 0 ? '' : need.mebibytes <= memory ? '  fits' : '  too much'
      return `  ${needText(need)}${verdict}\n`
    }),
  )
  const kinds: readonly RamRoot[] = [
    { ...facts.root, kind: 'overlay' },
    { ...facts.root, kind: 'zram' },
    { ...facts.root, kind: 'tmpfs' },
  ]
  const kept = kinds.map((root) => {
    const needs = memoryNeeds({ ...facts, root }, 'memory')
    const onDisk = memoryNeeds({ ...facts, root }, 'disk')[0] as Need
    const least = Math.min(...needs.map(({ mebibytes }) => mebibytes))
    const name = root.kind === 'zram' ? `zram (${root.compressor}, estimated)` : root.kind
    const inUse = [needs[0] as Need, onDisk].map((need) => `${need.kept.toFixed(1).padStart(8)}`)
    return `${String(least).padStart(8)}${String(onDisk.mebibytes).padStart(8)}${inUse.join('')}  ${name}\n`
  })
  return [
    `base ${mib(facts.base)}, unpacked ${mib(facts.tree)}${memory === 0 ? '' : `, memory of the guests ${memory} MiB`}\n`,
    `to come up (root: ${facts.root.kind})\n`,
    ...rows,
    'roots compared, MiB: to come up from initrd and disk, kept in memory from initrd and disk\n',
    ...kept,
  ].join('')
}
