/** Guests without a disk for tests of memory: an output started from one initrd, or from its base on a disk. */
import { readFileSync } from 'node:fs'
import { bootGuest, type Guest, type GuestSpec } from '../../src/deploy/qemu.ts'
import type { Manifest } from '../../src/cli/manifest.ts'
import { stage5 } from './console.ts'
import type { Built } from './guest.ts'

export function manifestOf(built: Built): Manifest {
  return JSON.parse(readFileSync(built.file('.manifest.json'), 'utf8')) as Manifest
}

/** The initramfs alone: `file` would find the one that has everything, too. */
export function initramfsOf(built: Built): string {
  return built.file('.one.initrd').replace(/\.one\.initrd$/, '.initrd')
}

/** QEMU without any drive: kernel, and everything else in the initrd. */
export async function diskless(
  built: Built,
  memoryMiB: number,
  signal: AbortSignal,
  more: Partial<GuestSpec> = {},
): Promise<Guest> {
  const words = (manifestOf(built).boot.memoryCmdline ?? '').split(' ')
  return await bootGuest(
    {
      ...{ arch: 'amd64', accel: 'tcg', network: true, forwards: [], data: [], extra: [], memoryMiB },
      kernel: built.file('.vmlinuz'),
      initrd: built.file('.one.initrd'),
      cmdline: [...words, 'panic=-1', 'quiet'],
      ...more,
    },
    { signal },
  )
}

/** MiB of a line of /proc/meminfo, as the guest printed it. */
export function mebibytesOf(lines: readonly string[], name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(lines.join('\n'))
  if (!found) throw new Error(`no ${name} in ${lines.join('; ')}`)
  return Number(found[1]) / 1024
}

/** Packs a folder as `test/NAME` into `packages` of a project. */
export async function packInto(project: string, folder: string, name: string): Promise<void> {
  for (const words of [
    ['pack', folder, '--name', `test/${name}`, '--version', '1.0.0', '--out', 'packages'],
    ['index', 'packages'],
  ]) {
    const ran = await stage5(project, words, { SOURCE_DATE_EPOCH: '1700000000' })
    if (ran.code !== 0) throw new Error(ran.stderr)
  }
}
