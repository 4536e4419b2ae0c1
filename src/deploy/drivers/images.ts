/** The files that a virtual machine starts from, in the folder of a prepared generation. */
import { appendFile, copyFile, mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { cpioPadding } from '../../format/cpio.ts'
import type { Group } from '../../resolve/group.ts'
import { filled } from '../../resolve/template.ts'
import type { DriverGeneration, DriverGuest } from '../driver.ts'
import { dataDisks } from './data.ts'
import type { GuestFolder } from './folder.ts'
import { bring, type GuestOutput, readOutput } from './output.ts'
import { imageLine } from './running.ts'
import { seedArchive, seedOf } from './seed.ts'

export interface Images extends Pick<GuestOutput, 'image' | 'boot'> {
  /** Data disks, as paths in the guest's folder. */
  readonly disks: readonly string[]
  /** Words of the kernel command line, with {@link BOOT} where the boot id of each start goes. */
  readonly words: readonly string[]
}

/** Stands where the boot id of each start goes. */
export const BOOT = '@stage5-boot-id@'

/**
 * Brings `kernel`, `initrd`, `base` and `verity` to `directory`, each proved by its digest; the guest's seed follows in
 * the initrd. Notes in `image` what the guest must say about itself.
 * @throws S5_KERNEL_MISSING, S5_OUTPUT_MISSING, S5_DIGEST_MISMATCH, S5_FILE_MISSING
 */
export async function prepareImages(
  guest: DriverGuest,
  group: Group,
  folder: GuestFolder,
  generation: DriverGeneration,
  directory: string,
  options: { readonly append: readonly string[]; readonly project: string },
  signal: AbortSignal,
): Promise<Images> {
  const output = await readOutput(generation)
  const { boot, image } = output
  if (boot.kernel === undefined || boot.initrd === undefined)
    throw new Stage5Error('S5_KERNEL_MISSING', `${generation.name}: ${generation.directory} has no kernel`, {
      hint: 'set kernel: in the profile',
    })
  const take = async (name: string, as: string): Promise<void> =>
    await bring(generation, output, name, join(directory, as), signal)
  await take(boot.kernel, 'kernel')
  await take(boot.initrd, 'initramfs')
  if (boot.base !== undefined) await take(boot.base, 'base')
  if (boot.verity !== undefined) await take(boot.verity, 'verity')
  const disks = await dataDisks(folder, generation, output, group.data ?? {}, signal)

  const initrd = join(directory, 'initrd')
  const seed = await seedOf(guest, group, folder, options.project)
  // With its mode from the beginning: secrets are in it.
  await writeFile(initrd, '', { mode: 0o600 })
  await copyFile(join(directory, 'initramfs'), initrd)
  const { size } = await stat(initrd)
  await appendFile(initrd, Buffer.concat([cpioPadding(size), seedArchive(seed)]))

  await mkdir(folder.file('run'), { recursive: true, mode: 0o700 })
  await writeFile(join(directory, 'image'), `${imageLine(image)}\n`)
  const words = [
    ...(boot.cmdline ?? '').split(/\s+/).filter((word) => word !== ''),
    ...options.append.map((word) => filled(word, guest.values)),
    `stage5.generation=${generation.name}`,
    `stage5.boot=${BOOT}`,
  ]
  return { image, boot, disks, words }
}

/** MiB that a guest gets. @param bytes 0: what its profile says */
export function memoryOf(bytes: number, { boot }: Pick<Images, 'boot'>): number {
  return bytes === 0 ? boot.memory : Math.ceil(bytes / 2 ** 20)
}
