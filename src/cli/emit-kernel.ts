/** Kernel, initramfs and command line: what a guest is started with. */
import type { Json } from '../base/json.ts'
import { Stage5Error } from '../base/errors.ts'
import { initramfsEmitter, initramfsTree } from '../emit/initramfs.ts'
import { ioctlProgram } from '../emit/ioctl-program.ts'
import { bootModules, kernelReleases, moduleClosure } from '../stage/modules.ts'
import { type FileInode, lookup, type Tree } from '../tree/tree.ts'
import { type Job, write } from './emit-job.ts'

/** The console for scripts and people; a panic reboots instead of standing still (kernel-parameters.txt). */
const CMDLINE = ['console=ttyS0', 'panic=10']

export type Kernel = {
  /** Names of files. */
  readonly kernel: string
  readonly initrd: string
  /** Words, separated by single blanks. */
  readonly cmdline: string
  /** The same for a base that comes in the initrd, which needs no other proof than the initrd itself. */
  readonly memoryCmdline: string
  readonly release: string
}

/** @param rootHash of the base, when it is verified */
export async function emitKernel(job: Job, rootHash: string | undefined): Promise<Kernel> {
  const { profile, output, stem } = job
  const { release, image } = findKernel(job)
  await output.addBytes(`${stem}.vmlinuz`, 'kernel', await job.store.read(image))
  const tree = await bootTree(job, release, rootHash !== undefined)
  await write(job, `${stem}.initrd`, 'initrd', initramfsEmitter, tree, { compress: 'zstd', level: 19 })
  const words = [...new Set([...CMDLINE, ...profile.kernel.cmdline])]
  const cmdline = [...words, ...(rootHash === undefined ? [] : [`roothash=${rootHash}`])].join(' ')
  await output.addBytes(`${stem}.cmdline`, 'cmdline', `${cmdline}\n`)
  const files = { kernel: `${stem}.vmlinuz`, initrd: `${stem}.initrd` }
  return { ...files, cmdline, memoryCmdline: words.join(' '), release }
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
    ...(verity && { ioctl: ioctlProgram(profile.arch) }),
  })
}

/** @throws S5_KERNEL_MISSING */
function findKernel({ profile, composed }: Job): { release: string; image: FileInode['content'] } {
  const packages = composed.packages.map(({ tree }) => tree)
  const owner = packages.find((tree) => kernelReleases(tree).length > 0)
  const release = owner && kernelReleases(owner).at(-1)
  const image = owner && lookup(owner, `boot/vmlinuz-${release}`)
  if (release === undefined || image?.inode.type !== 'file')
    throw new Stage5Error(
      'S5_KERNEL_MISSING',
      `no package of ${profile.name} has boot/vmlinuz-* and its modules`,
      { hint: 'add a kernel package to packages:, or set kernel: none' },
    )
  return { release, image: image.inode.content }
}

/** What the manifest says of a kernel. */
export function kernelRecord(kernel: Kernel | undefined): { readonly [key: string]: Json } {
  return kernel ? { ...kernel } : {}
}
