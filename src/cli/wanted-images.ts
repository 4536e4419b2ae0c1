/** The images that a profile asks for: known formats, and a kernel for those that start. Checked before anything is fetched. */
import { Stage5Error } from '../base/errors.ts'
import type { ExtensionKind } from '../emit/extension.ts'
import type { Profile } from '../resolve/profile.ts'
import { DISK_FORMATS as DISKS } from '../resolve/shape-images.ts'
import type { ImageOptions } from './emit-job.ts'

export const EXTENSIONS: readonly ExtensionKind[] = ['sysext', 'confext']
export type Wanted = ReadonlyMap<string, ImageOptions>

const FORMATS: readonly string[] = [
  'squashfs',
  'erofs',
  'dir',
  'tar',
  'oci',
  'verity',
  'kernel',
  'initrd',
  'netboot',
  'uki',
  ...EXTENSIONS,
  ...DISKS,
]
/** Formats that are made of the base: it is written even when nobody asks for it by name. */
export const ON_BASE: readonly string[] = ['verity', 'kernel', 'initrd', 'netboot', 'uki', ...DISKS]
/** Formats that name the hash tree of the base, which is written with them. */
export const PROVED: readonly string[] = ['verity', 'uki', ...DISKS]
/** Formats that need a kernel. */
const BOOTABLE: readonly string[] = ['kernel', 'initrd', 'netboot', 'uki', ...DISKS]

/** @throws S5_FORMAT_UNKNOWN, S5_KERNEL_MISSING */
export function wantedImages({ name, images, kernel }: Profile): Wanted {
  for (const { format } of images) {
    if (!FORMATS.includes(format))
      throw new Stage5Error(
        'S5_FORMAT_UNKNOWN',
        `unknown image format ${JSON.stringify(format)}; known: ${FORMATS.join(', ')}`,
      )
    if (!kernel.wanted && BOOTABLE.includes(format))
      throw new Stage5Error('S5_KERNEL_MISSING', `${name} has no kernel, and images: ${format} needs one`, {
        hint: 'set kernel: {} in the profile, and add a kernel package to packages:',
      })
  }
  return new Map(images.map(({ format, options }) => [format, options]))
}
