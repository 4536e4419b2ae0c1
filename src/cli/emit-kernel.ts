/** Kernels, each with its initramfs, and the command line: what a guest is started with. */
import type { Json } from '../base/json.ts'
import { Stage5Error } from '../base/errors.ts'
import { initramfsEmitter, initramfsTree } from '../emit/initramfs.ts'
import { ioctlProgram } from '../emit/ioctl-program.ts'
import { isKept, type Profile } from '../resolve/profile.ts'
import { bootModules, compareReleases, kernelReleases, moduleClosure } from '../stage/modules.ts'
import { follow } from '../tree/resolve-path.ts'
import type { FileInode, Inode, Tree } from '../tree/tree.ts'
import { rootWords } from '../emit/memory.ts'
import { type Job, writeKept } from './emit-job.ts'

/** The console for scripts and people; a panic reboots instead of standing still (kernel-parameters.txt). */
const CONSOLES: { readonly [arch: string]: string } = { arm64: 'ttyAMA0' }

export interface OneKernel {
  readonly release: string
  /** Names of files. */
  readonly kernel: string
  readonly initrd: string
}

/** The newest kernel, and every other one beside it. */
export interface Kernel extends OneKernel {
  /** Words, separated by single blanks. */
  readonly cmdline: string
  /** The same for a base that comes in the initrd, which needs no other proof than the initrd itself. */
  readonly memoryCmdline: string
  /** Older ones, the newest first. */
  readonly others: readonly OneKernel[]
}

/** @param rootHash of the base, when it is verified */
export async function emitKernel(job: Job, rootHash: string | undefined): Promise<Kernel> {
  const { profile, stem } = job
  const [newest, ...older] = findKernels(job)
  if (!newest)
    throw new Stage5Error(
      'S5_KERNEL_MISSING',
      `no package of ${profile.name} has boot/vmlinuz-* and its modules`,
      { hint: 'add a kernel package to packages:, or set kernel: none' },
    )
  const verified = rootHash !== undefined
  const first = await emitOne(job, newest, stem, verified)
  const words = [
    ...new Set([
      ...usualWords(profile.arch),
      ...rootWords(profile.boot.root, job.composed.root.tree),
      ...profile.kernel.cmdline,
    ]),
  ]
  const cmdline = [...words, ...(verified ? [`roothash=${rootHash}`] : [])].join(' ')
  await job.output.addBytes(`${stem}.cmdline`, 'cmdline', `${cmdline}\n`)
  const others: OneKernel[] = []
  for (const found of older) others.push(await emitOne(job, found, `${stem}.${found.release}`, verified))
  return { ...first, cmdline, memoryCmdline: words.join(' '), others }
}

function usualWords(arch: string): readonly string[] {
  return [`console=${CONSOLES[arch] ?? 'ttyS0'}`, 'panic=10']
}

async function emitOne(job: Job, found: Found, name: string, verified: boolean): Promise<OneKernel> {
  const { release, image } = found
  const [kernel, initrd] = [`${name}.vmlinuz`, `${name}.initrd`]
  await job.output.addBytes(kernel, 'kernel', await job.store.read(image))
  const tree = await bootTree(job, release, verified)
  await writeKept(job, initrd, 'initrd', initramfsEmitter, tree, { compress: 'zstd', level: 19 })
  return { release, kernel, initrd }
}

async function bootTree(job: Job, release: string, verity: boolean): Promise<Tree> {
  const { world, store, profile, composed, date } = job
  const init = await world.read('stages/boot/init')
  if (!init) throw new Error('stages/boot/init is missing from the bundle')
  const modules = await moduleClosure(composed.root.tree, store, release, bootModules(profile))
  return await initramfsTree(composed.root.tree, store, {
    release,
    modules,
    init,
    date,
    data: profile.data,
    ...((verity || canGrow(profile)) && { ioctl: ioctlProgram(profile.arch) }),
  })
}

/** A data disk grows through an ioctl, where our program for it exists. */
function canGrow({ data, arch }: Profile): boolean {
  return data.some(isKept) && (arch === 'amd64' || arch === 'arm64')
}

interface Found {
  readonly release: string
  readonly image: FileInode['content']
}

/** Every kernel whose package has the modules, too; the newest first. */
function findKernels({ composed }: Job): readonly Found[] {
  const found = new Map<string, Found>()
  for (const { tree } of composed.packages)
    for (const release of kernelReleases(tree)) {
      const image = kernelImage(tree, release)
      if (image?.type === 'file') found.set(release, { release, image: image.content })
    }
  return [...found.values()].sort((a, b) => compareReleases(b.release, a.release))
}

/** As Debian's packages have it, or those of Gentoo, in which it lies beside the modules or where it was built. */
function kernelImage(tree: Tree, release: string): Inode | undefined {
  const built = `usr/src/linux-${release}/arch`
  const places = [
    `boot/vmlinuz-${release}`,
    `usr/lib/modules/${release}/vmlinuz`,
    `lib/modules/${release}/vmlinuz`,
    `${built}/x86/boot/bzImage`,
    `${built}/arm64/boot/Image`,
  ]
  for (const place of places) {
    const found = follow(tree, place)
    if (found) return found.inode
  }
  return undefined
}

/** What the manifest says of kernels. */
export function kernelRecord(kernel: Kernel | undefined): { readonly [key: string]: Json } {
  if (!kernel) return {}
  const { others, ...newest } = kernel
  const rest = others.map((other) => ({ ...other }))
  return { ...newest, ...(rest.length > 0 && { otherKernels: rest }) }
}
