/** sys-kernel/gentoo-kernel-bin that boots: made of Debian's kernel, packed by the program itself. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { stage5 } from './console.ts'
import { fetchDebs } from './debs.ts'

/** Of the kernel's modules only those that are near the boot path, so that packing is quick. */
const DRIVERS = ['virtio', 'block', 'net', 'char', 'dax', 'cdrom', 'scsi', 'ata']

/**
 * A folder as sys-kernel/gentoo-kernel-bin would be, made of Debian's kernel.
 * @returns its release, or why it cannot be had
 */
export function kernelFolder(scratch: string, folder: string): { release: string } | { skip: string } {
  const depends = execFileSync('apt-cache', ['depends', 'linux-image-cloud-amd64'], { encoding: 'utf8' })
  const image = /Depends: (linux-image-[0-9]\S+)/.exec(depends)?.[1]
  if (image === undefined) return { skip: 'needs a Debian archive with linux-image-cloud-amd64' }
  const why = fetchDebs(scratch, [image])
  if (why !== undefined) return { skip: why }
  const release = image.replace('linux-image-', '')
  const modules = join(folder, 'lib/modules')
  mkdirSync(modules, { recursive: true })
  renameSync(join(scratch, image, 'lib/modules', release), join(modules, release))
  const drivers = join(modules, release, 'kernel/drivers')
  for (const name of readdirSync(drivers))
    if (!DRIVERS.includes(name)) rmSync(join(drivers, name), { recursive: true })
  const net = join(modules, release, 'kernel/net')
  for (const name of readdirSync(net)) if (name !== 'core') rmSync(join(net, name), { recursive: true })
  const built = join(folder, `usr/src/linux-${release}/arch/x86/boot`)
  mkdirSync(built, { recursive: true })
  cpSync(join(scratch, image, `boot/vmlinuz-${release}`), join(built, 'bzImage'))
  return { release }
}

/** The package of such a folder, into `pkgdir` of a project, whose index does not know it yet. */
export async function packKernel(project: string, folder: string): Promise<void> {
  const name = ['--format', 'gpkg', '--name', 'sys-kernel/gentoo-kernel-bin', '--version', '6.1.1']
  const { code, stderr } = await stage5(project, ['pack', folder, ...name, '--out', 'pkgdir'])
  assert.equal(code, 0, stderr)
}
