/** A guest of an output: which of its files QEMU gets, and in what way. */
import { existsSync } from 'node:fs'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { probeAccel } from '../deploy/accel.ts'
import { copyDataDisk } from '../deploy/data-disk.ts'
import type { GuestArch, GuestSpec } from '../deploy/qemu.ts'
import { textOption, type Words } from './command.ts'
import type { BootRecord, Manifest } from './manifest.ts'
import { parseMemory, parsePort } from './quantities.ts'
import { shownPath, type World } from './world.ts'

/** How a guest is started: `--image`. */
const WAYS = ['kernel', 'initrd', 'netboot', 'disk', 'qcow2', 'vhd'] as const
type Way = (typeof WAYS)[number]

/** @throws S5_USAGE, S5_KERNEL_MISSING, S5_OUTPUT_MISSING */
export async function guestSpec(
  world: World,
  words: Words,
  directory: string,
  manifest: Manifest,
): Promise<GuestSpec> {
  const { boot: record, image } = manifest
  const way = wayOf(words)
  const memory = textOption(words, 'memory')
  const arch = image.arch as GuestArch
  return {
    arch,
    ...(await startOf(world, words, directory, manifest, way)),
    memoryMiB: memory === undefined ? record.memory : parseMemory('--memory', memory),
    forwards: forwardsOf(words),
    network: true,
    accel: await accelOf(world, words, arch),
    extra: [],
  }
}

function wayOf(words: Words): Way {
  const given = textOption(words, 'image') ?? 'kernel'
  const way = WAYS.find((known) => known === given)
  if (!way)
    throw new Stage5Error('S5_USAGE', `--image expects ${WAYS.join(', ')}, found ${JSON.stringify(given)}`)
  return way
}

type Start = Pick<
  GuestSpec,
  'kernel' | 'initrd' | 'base' | 'verity' | 'disk' | 'firmware' | 'netboot' | 'cmdline' | 'data'
>

async function startOf(
  world: World,
  words: Words,
  directory: string,
  manifest: Manifest,
  way: Way,
): Promise<Start> {
  const { boot: record } = manifest
  const append = wordsOf(textOption(words, 'append'))
  const file = (key: keyof BootRecord, format: Way): string => {
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
  if (append.length > 0 && way !== 'kernel' && way !== 'initrd')
    throw new Stage5Error('S5_USAGE', `--append works with --image kernel or initrd, not with ${way}`)
  switch (way) {
    case 'kernel':
      return {
        kernel: file('kernel', way),
        initrd: file('initrd', way),
        ...(record.base !== undefined && { base: join(directory, record.base) }),
        ...(record.verity !== undefined && { verity: join(directory, record.verity) }),
        cmdline: [...wordsOf(record.cmdline), ...append],
        data: await dataDisks(world, words, directory, manifest),
      }
    case 'initrd':
      return {
        kernel: file('kernel', way),
        initrd: file('oneInitrd', way),
        cmdline: [...wordsOf(record.memoryCmdline), ...append],
        data: await dataDisks(world, words, directory, manifest),
      }
    case 'netboot':
      return {
        netboot: { folder: directory, script: basename(file('netboot', way)) },
        cmdline: [],
        data: await dataDisks(world, words, directory, manifest),
      }
    case 'disk':
    case 'qcow2':
    case 'vhd':
      return {
        disk: {
          file: await ownCopy(world, words, manifest.image.id, file(way, way)),
          format: DISK_DRIVERS[way],
        },
        ...firmwareOf(words),
        cmdline: [],
        data: [],
      }
  }
}

const DISK_DRIVERS = { disk: 'raw', qcow2: 'qcow2', vhd: 'vpc' } as const

function wordsOf(line: string | undefined): string[] {
  return (line ?? '').split(/\s+/).filter((word) => word !== '')
}

/** Where Debian's package ovmf has UEFI for QEMU. */
const OVMF = '/usr/share/ovmf/OVMF.fd'

function firmwareOf(words: Words): { firmware?: string } {
  const given = textOption(words, 'firmware') ?? 'bios'
  if (given === 'bios') return {}
  if (given !== 'uefi')
    throw new Stage5Error('S5_USAGE', `--firmware expects bios or uefi, found ${JSON.stringify(given)}`)
  if (!existsSync(OVMF))
    throw new Stage5Error('S5_TOOL_MISSING', `there is no ${OVMF}`, { hint: 'apt install ovmf' })
  return { firmware: OVMF }
}

function forwardsOf(words: Words): { host: number; guest: number }[] {
  const given = words.options['forward']
  return (Array.isArray(given) ? (given as string[]) : []).map((text) => {
    const [host = '', guest = '', more] = text.split(':')
    if (guest === '' || more !== undefined)
      throw new Stage5Error(
        'S5_USAGE',
        `--forward expects HOST:GUEST such as 8080:80, found ${JSON.stringify(text)}`,
      )
    return { host: parsePort('--forward', host), guest: parsePort('--forward', guest) }
  })
}

async function accelOf(world: World, words: Words, arch: GuestArch): Promise<'kvm' | 'tcg'> {
  const accel = textOption(words, 'accel') ?? 'auto'
  if (accel === 'kvm' || accel === 'tcg') return accel
  if (accel !== 'auto')
    throw new Stage5Error('S5_USAGE', `--accel expects kvm, tcg or auto, found ${JSON.stringify(accel)}`)
  const cacheFile = join((await world.store()).path, 'accel.json')
  return await probeAccel({ arch, signal: world.signal, cacheFile })
}

/** The guest's own copies of the data disks: made from the templates once, kept over reboots and new bases. */
async function dataDisks(
  world: World,
  words: Words,
  directory: string,
  { boot: record, image }: Manifest,
): Promise<string[]> {
  const disks: string[] = []
  for (const area of record.data)
    disks.push(await ownCopy(world, words, image.id, join(directory, area.file), `${area.name}.ext4`))
  return disks
}

/** A guest's own copy of a disk: made once, unless `--fresh` says otherwise. */
async function ownCopy(
  world: World,
  words: Words,
  id: string,
  template: string,
  name = basename(template),
): Promise<string> {
  const folder = textOption(words, 'data') ?? join(world.directory, '.stage5', 'guests', id)
  await mkdir(folder, { recursive: true })
  const disk = join(folder, name)
  if (words.options['fresh'] === true || (await stat(disk).catch(() => undefined)) === undefined) {
    const fresh = join(folder, `.${basename(disk)}.${process.pid}.tmp`)
    try {
      await copyDataDisk(template, fresh, world.signal)
      await rename(fresh, disk)
    } finally {
      await rm(fresh, { force: true })
    }
  }
  return disk
}
