/** A guest of an output: which of its files QEMU gets, and in what way. */
import { existsSync } from 'node:fs'
import { link, mkdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { probeAccel } from '../deploy/accel.ts'
import { copyDataDisk } from '../deploy/data-disk.ts'
import type { GuestArch, GuestSpec } from '../deploy/qemu.ts'
import { syncFile } from '../host/disk.ts'
import { findTool, run } from '../host/run.ts'
import { type Forward, FORWARD_EXPECTED, parseForward } from '../resolve/forward.ts'
import { BOOT_WAYS, type BootWay } from '../resolve/profile.ts'
import { textOption, type Words } from './command.ts'
import type { BootRecord, Manifest } from './manifest.ts'
import { parseMemory } from './quantities.ts'
import { shownPath, type World } from './world.ts'

/** How a guest is to be started, whoever asks for it. */
interface GuestWish {
  readonly way: BootWay
  readonly firmware: 'bios' | 'uefi'
  /** MiB; absent: what the profile says. */
  readonly memory?: number
  readonly forwards: GuestSpec['forwards']
  /** More words for the kernel command line. */
  readonly append: readonly string[]
  readonly accel: 'kvm' | 'tcg'
  /** Release of a kernel; absent: the newest. */
  readonly kernel?: string
  /** Folder of the guest's own disks. */
  readonly folder: string
  /** Forget the disks of the folder. */
  readonly fresh: boolean
}

/** @throws S5_USAGE, S5_KERNEL_MISSING, S5_OUTPUT_MISSING */
export async function guestSpec(
  world: World,
  words: Words,
  directory: string,
  manifest: Manifest,
): Promise<GuestSpec> {
  const { id, arch } = manifest.image
  const memory = textOption(words, 'memory')
  const kernel = textOption(words, 'kernel')
  const folder = textOption(words, 'data')
  return await specOf(world, directory, manifest, {
    way: wayOf(words),
    firmware: firmwareOf(words),
    ...(memory !== undefined && { memory: parseMemory('--memory', memory) }),
    forwards: forwardsOf(words),
    append: wordsOf(textOption(words, 'append')),
    accel: await accelOf(world, textOption(words, 'accel') ?? 'auto', arch as GuestArch),
    ...(kernel !== undefined && { kernel }),
    folder: resolve(world.directory, folder ?? join('.stage5', 'guests', id)),
    fresh: words.options['fresh'] === true,
  })
}

/** @throws S5_USAGE, S5_KERNEL_MISSING, S5_OUTPUT_MISSING, S5_TOOL_MISSING */
export async function specOf(
  world: World,
  directory: string,
  manifest: Manifest,
  wish: GuestWish,
): Promise<GuestSpec> {
  const arch = manifest.image.arch as GuestArch
  return {
    arch,
    ...(await startOf(world, directory, manifest, wish)),
    memoryMiB: wish.memory ?? manifest.boot.memory,
    forwards: wish.forwards,
    network: true,
    accel: wish.accel,
    extra: [],
  }
}

function wayOf(words: Words): BootWay {
  const given = textOption(words, 'image') ?? 'kernel'
  const way = BOOT_WAYS.find((known) => known === given)
  if (!way)
    throw new Stage5Error(
      'S5_USAGE',
      `--image expects ${BOOT_WAYS.join(', ')}, found ${JSON.stringify(given)}`,
    )
  return way
}

type Start = Pick<
  GuestSpec,
  'kernel' | 'initrd' | 'base' | 'verity' | 'disk' | 'firmware' | 'netboot' | 'cmdline' | 'data'
>

/** Who started the guest sees why it ended: nobody has to wait for what `panic=` of the image says. */
const AT_ONCE = 'panic=-1'

async function startOf(world: World, directory: string, manifest: Manifest, wish: GuestWish): Promise<Start> {
  const { boot: record } = manifest
  const { way, append } = wish
  if (append.length > 0 && way !== 'kernel' && way !== 'initrd')
    throw new Stage5Error('S5_USAGE', `--append works with --image kernel or initrd, not with ${way}`)
  if (wish.kernel !== undefined && way !== 'kernel')
    throw new Stage5Error('S5_USAGE', `--kernel works with --image kernel, not with ${way}`)
  if (wish.firmware === 'uefi' && manifest.image.arch === 'amd64' && !isDisk(way))
    throw new Stage5Error('S5_USAGE', `--firmware works with --image disk, qcow2 or vhd, not with ${way}`)
  switch (way) {
    case 'kernel': {
      const { kernel, initrd } = kernelOf(directory, manifest, wish.kernel)
      // Words of the user's own may say where else a base is.
      if (record.base === undefined && append.length === 0)
        throw new Stage5Error(
          'S5_OUTPUT_MISSING',
          `${shownPath(directory)} has no base image for its kernel`,
          {
            hint: 'build it with squashfs or erofs in images: of the profile',
          },
        )
      return {
        kernel,
        initrd,
        ...(record.base !== undefined && { base: join(directory, record.base) }),
        ...(record.verity !== undefined && { verity: join(directory, record.verity) }),
        cmdline: [...wordsOf(record.cmdline), AT_ONCE, ...append],
        data: await dataDisks(world, wish, directory, manifest),
      }
    }
    case 'initrd':
      return {
        kernel: fileOf(directory, record, 'kernel', 'kernel'),
        initrd: fileOf(directory, record, 'oneInitrd', way),
        cmdline: [...wordsOf(record.memoryCmdline), AT_ONCE, ...append],
        data: await dataDisks(world, wish, directory, manifest),
      }
    case 'netboot':
      return {
        netboot: { folder: directory, script: basename(fileOf(directory, record, 'netboot', way)) },
        cmdline: [],
        data: await dataDisks(world, wish, directory, manifest),
      }
    case 'disk':
    case 'qcow2':
    case 'vhd':
      return {
        disk: await ownDisk(world, wish, fileOf(directory, record, way, way), DISK_DRIVERS[way]),
        ...firmwareFile(wish.firmware, manifest.image.arch as GuestArch),
        cmdline: [],
        data: [],
      }
  }
}

function isDisk(way: BootWay): boolean {
  return way === 'disk' || way === 'qcow2' || way === 'vhd'
}

function fileOf(directory: string, record: BootRecord, key: keyof BootRecord, format: BootWay): string {
  const name = record[key]
  if (typeof name === 'string') return join(directory, name)
  if (format === 'kernel')
    throw new Stage5Error('S5_KERNEL_MISSING', `${shownPath(directory)} has no kernel to boot`, {
      hint: 'set kernel: in the profile',
    })
  throw new Stage5Error('S5_OUTPUT_MISSING', `${shownPath(directory)} has no ${format}`, {
    hint: `add ${format} to images: of the profile, and build it again`,
  })
}

function kernelOf(
  directory: string,
  { boot: record }: Manifest,
  release: string | undefined,
): { kernel: string; initrd: string } {
  const newest = {
    release: record.release,
    kernel: fileOf(directory, record, 'kernel', 'kernel'),
    initrd: fileOf(directory, record, 'initrd', 'kernel'),
  }
  if (release === undefined) return newest
  const others = record.otherKernels ?? []
  const found = [newest, ...others].find((one) => one.release === release)
  if (!found)
    throw new Stage5Error(
      'S5_USAGE',
      `--kernel expects ${[newest, ...others].map((one) => one.release).join(' or ')}, found ${JSON.stringify(release)}`,
    )
  return { kernel: join(directory, basename(found.kernel)), initrd: join(directory, basename(found.initrd)) }
}

const DISK_DRIVERS = { disk: 'raw', qcow2: 'qcow2', vhd: 'vpc' } as const

function wordsOf(line: string | undefined): string[] {
  return (line ?? '').split(/\s+/).filter((word) => word !== '')
}

function firmwareOf(words: Words): 'bios' | 'uefi' {
  const given = textOption(words, 'firmware') ?? 'bios'
  if (given === 'bios' || given === 'uefi') return given
  throw new Stage5Error('S5_USAGE', `--firmware expects bios or uefi, found ${JSON.stringify(given)}`)
}

/** Where Debian's packages have UEFI for QEMU. */
const FIRMWARES: { readonly [arch in GuestArch]: { readonly file: string; readonly package: string } } = {
  amd64: { file: '/usr/share/ovmf/OVMF.fd', package: 'ovmf' },
  arm64: { file: '/usr/share/qemu-efi-aarch64/QEMU_EFI.fd', package: 'qemu-efi-aarch64' },
}

/** arm64 has no BIOS: its disks always start by UEFI. */
function firmwareFile(wanted: 'bios' | 'uefi', arch: GuestArch): { firmware?: string } {
  if (wanted === 'bios' && arch === 'amd64') return {}
  const { file, package: from } = FIRMWARES[arch]
  if (!existsSync(file))
    throw new Stage5Error('S5_TOOL_MISSING', `there is no ${file}`, { hint: `apt install ${from}` })
  return { firmware: file }
}

function forwardsOf(words: Words): readonly Forward[] {
  const given = words.options['forward']
  return (Array.isArray(given) ? (given as string[]) : []).map((text) => {
    const found = parseForward(text)
    if (!found)
      throw new Stage5Error(
        'S5_USAGE',
        `--forward expects ${FORWARD_EXPECTED}, found ${JSON.stringify(text)}`,
      )
    return found
  })
}

export async function accelOf(world: World, accel: string, arch: GuestArch): Promise<'kvm' | 'tcg'> {
  if (accel === 'kvm' || accel === 'tcg') return accel
  if (accel !== 'auto')
    throw new Stage5Error('S5_USAGE', `--accel expects kvm, tcg or auto, found ${JSON.stringify(accel)}`)
  const cacheFile = join((await world.store()).path, 'accel.json')
  return await probeAccel({ arch, signal: world.signal, cacheFile })
}

/** The guest's own copies of the data disks: made from the templates once, kept over reboots and new bases. */
async function dataDisks(
  world: World,
  wish: GuestWish,
  directory: string,
  { boot: record }: Manifest,
): Promise<string[]> {
  const disks: string[] = []
  for (const area of record.data) {
    const template = join(directory, area.file)
    disks.push(await own(wish, `${area.name}.ext4`, (fresh) => copyDataDisk(template, fresh, world.signal)))
  }
  return disks
}

/**
 * A guest's own disk of this version: what it writes stands in a qcow2 file over a second name of the image, so that
 * nothing is copied, and the disk outlives the output folder. A copy where there is no qemu-img or no second name.
 */
async function ownDisk(
  world: World,
  wish: GuestWish,
  image: string,
  format: 'raw' | 'qcow2' | 'vpc',
): Promise<{ file: string; format: 'raw' | 'qcow2' | 'vpc' }> {
  const name = basename(image)
  const copied = { file: join(wish.folder, name), format }
  if (!wish.fresh && existsSync(copied.file)) return copied
  const backing = `${name}.base`
  const isLinked =
    findTool('qemu-img') !== undefined && (await linkAs(image, join(wish.folder, backing), wish.fresh))
  if (!isLinked) {
    await own(wish, name, (fresh) => copyDataDisk(image, fresh, world.signal))
    return copied
  }
  const words = ['-f', 'qcow2', '-F', format, '-b', backing]
  const file = await own(wish, `${name}.own.qcow2`, (fresh) =>
    run(['qemu-img', 'create', '-q', ...words, fresh], { signal: world.signal }),
  )
  return { file, format: 'qcow2' }
}

/** @returns whether there is such a name now */
async function linkAs(image: string, name: string, fresh: boolean): Promise<boolean> {
  await mkdir(dirname(name), { recursive: true })
  if (fresh) await rm(name, { force: true })
  return await link(image, name).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code === 'EEXIST',
  )
}

/** A file of the guest: made once, unless it is to start afresh. */
async function own(
  { folder, fresh: again }: GuestWish,
  name: string,
  make: (fresh: string) => Promise<unknown>,
): Promise<string> {
  await mkdir(folder, { recursive: true })
  const disk = join(folder, name)
  if (again || (await stat(disk).catch(() => undefined)) === undefined) {
    const fresh = join(folder, `.${name}.${process.pid}.tmp`)
    try {
      await make(fresh)
      await syncFile(fresh)
      await rename(fresh, disk)
    } finally {
      await rm(fresh, { force: true })
    }
  }
  return disk
}
