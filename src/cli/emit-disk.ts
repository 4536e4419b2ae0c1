/** Disks that start by themselves, under UEFI and BIOS: raw, and the same as qcow2 and VHD. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { alignUp } from '../base/bytes.ts'
import { digestOf, hexOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { type EspFile, type EspShape, fillEsp, formatEsp } from '../deploy/esp.ts'
import { dataRanges } from '../deploy/sparse.ts'
import { seededUuid } from '../emit/data-disk.ts'
import { diskLabels, MIB, planDisk } from '../emit/disk-plan.ts'
import { withSections } from '../format/pe.ts'
import { vhdFooter } from '../format/vhd.ts'
import type { Measured } from '../host/file-sink.ts'
import type { DiskImageInput, DiskPart } from '../jobs/messages.ts'
import { lookup, type TreePath } from '../tree/tree.ts'
import type { ImageOptions, Job } from './emit-job.ts'
import type { Kernel, OneKernel } from './emit-kernel.ts'
import { emitContainerDisk } from './emit-oci.ts'
import type { Early, Verity } from './emit-root.ts'
import type { DataRecord } from './manifest.ts'
import { timed } from './timed.ts'

interface DiskParts {
  readonly base: string
  /** Where the base is still being written. */
  readonly early?: Early | undefined
  readonly verity: Verity
  readonly kernel: Kernel
  readonly data: readonly DataRecord[]
}

/** Names by architecture, as the UEFI specification and Debian's systemd-boot-efi have them. */
const EFI: { readonly [arch: string]: string } = { amd64: 'x64', arm64: 'aa64' }
const STUBS: TreePath = 'usr/lib/systemd/boot/efi'
/** 440 bytes of Debian's syslinux-common: starts the partition that has the legacy boot attribute. */
const BOOT_CODE = '/usr/lib/syslinux/mbr/gptmbr.bin'

/** A disk and its partitions, as parts of an image in any format. */
type Disk = Pick<DiskImageInput, 'size' | 'parts'>

/** An EFI system partition that has no files yet. */
interface Esp {
  readonly path: string
  readonly shape: EspShape
}

/** Bytes of an EFI system partition that need not be larger for what it has. */
const ESP_LEAST = 64 * MIB

/** Makes the partition of the firmware, without files, beside what comes before the disks. */
export function beginEsp(job: Job, options: ImageOptions): Promise<Esp> {
  const { output, stem, world } = job
  const path = join(output.directory, `.${stem}.esp`)
  const shape = espShape(job, options, 0)
  const begun = formatEsp(path, shape, world.signal).then(() => ({ path, shape }))
  output.awaits(begun)
  return begun
}

/** @param content bytes of the files that it gets */
function espShape({ profile, date }: Job, options: ImageOptions, content: number): EspShape {
  const least = Math.max(ESP_LEAST, alignUp(2 * content + 8 * MIB, MIB))
  return {
    size: typeof options['esp'] === 'number' ? alignUp(options['esp'], MIB) : least,
    hidden: MIB / 512,
    serial: hexOf(digestOf(`${profile.id}\0esp`)).slice(0, 8),
    date,
    bios: firmwareOf(profile, options).bios,
  }
}

function firmwareOf(
  { arch }: Job['profile'],
  { firmware }: ImageOptions,
): { readonly bios: boolean; readonly uefi: boolean } {
  return { bios: arch === 'amd64' && firmware !== 'uefi', uefi: firmware !== 'bios' }
}

/**
 * Begins to write the disks; `output.settle` waits for them.
 * @param begun what `beginEsp` returned
 * @param formats those of `disk`, `qcow2`, `vhd` and `containerdisk` that are wanted
 * @param options of `disk`, which hold for all of them
 * @returns names of files by format, for the manifest
 */
export async function emitDisks(
  job: Job,
  parts: DiskParts,
  begun: Promise<Esp>,
  formats: ReadonlySet<string>,
  options: ImageOptions,
): Promise<{ readonly [format: string]: string }> {
  const { output, stem, profile, date } = job
  const esp = await begun
  const disk = await timed(job.world, `${stem} esp`, () => planParts(job, parts, options, esp))
  const made: { [format: string]: string } = {}
  const writing: Promise<Measured>[] = []
  const write = (name: string, format: DiskImageInput['format'], content: Disk) => {
    const target = join(output.directory, name)
    const written = timed(job.world, name, () => job.writeDisk({ target, format, ...content }))
    // When the base failed, that is why.
    const measured = written.catch(async (error: unknown) => {
      await parts.early?.written
      throw error
    })
    writing.push(measured)
    return output.adopt(name, 'disk', measured)
  }
  try {
    // The largest first: it takes longest.
    if (formats.has('disk')) {
      made['disk'] = `${stem}.raw`
      void write(made['disk'], 'raw', disk)
    }
    if (formats.has('vhd')) {
      made['vhd'] = `${stem}.vhd`
      void write(
        made['vhd'],
        'raw',
        withFooter(disk, vhdFooter(disk.size, seededUuid(profile.id, 'vhd'), date)),
      )
    }
    if (formats.has('qcow2') || formats.has('containerdisk')) {
      made['qcow2'] = `${stem}.qcow2`
      const written = write(made['qcow2'], 'qcow2', disk)
      if (formats.has('containerdisk')) await emitContainerDisk(job, await written)
    }
  } finally {
    output.awaits(Promise.allSettled(writing).then(() => rm(esp.path, { force: true })))
  }
  return made
}

/**
 * The unified kernel image of a disk as a file, for disks that get a new base, hash tree and kernel from elsewhere.
 * @returns its name
 */
export async function emitUki(job: Job, parts: DiskParts): Promise<string> {
  const name = `${job.stem}.efi`
  const [first] = await entriesOf(job, { ...parts, kernel: { ...parts.kernel, others: [] } })
  if (!first || !EFI[job.profile.arch])
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `uki: expected the architecture amd64 or arm64, found ${job.profile.arch}`,
      { data: { format: 'uki' } },
    )
  await timed(job.world, name, async () => {
    await job.output.addBytes(name, 'uki', await unified(job, first, ''))
  })
  return name
}

function withFooter({ size, parts }: Disk, bytes: Uint8Array): Disk {
  return { size: size + bytes.length, parts: [...parts, { at: size, bytes }] }
}

/** Decides where everything lies, and fills the partition that the firmware reads. */
async function planParts(job: Job, parts: DiskParts, options: ImageOptions, esp: Esp): Promise<Disk> {
  const { world, profile, output, stem } = job
  const { bios, uefi } = firmwareOf(profile, options)
  const files = await espFiles(job, parts, { bios, uefi })
  const content = files.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const shape = espShape(job, options, content)
  const bootCode = bios ? await readTool(BOOT_CODE, 'syslinux-common') : undefined
  const layout = planDisk({
    arch: profile.arch,
    stem,
    seed: profile.id,
    rootHash: parts.verity.rootHash,
    esp: shape.size,
    base: output.files.find(({ name }) => name === parts.base)?.size ?? 0,
    ...(typeof options['root'] === 'number' && { slot: options['root'] }),
    data: parts.data,
    ...(bootCode && { bootCode }),
  })
  if (shape.size !== esp.shape.size) await formatEsp(esp.path, shape, world.signal)
  await fillEsp(esp.path, files, shape, world.signal)
  const { head, tail, offsets } = layout
  const [first, base, tree, , , ...data] = offsets as readonly [number, number, number, ...number[]]
  const place = (at: number, name: string): DiskPart => ({
    at,
    file: join(output.directory, name),
    isSparse: false,
  })
  const areas: DiskPart[] = []
  for (const [nth, { file: name }] of parts.data.entries()) {
    const file = join(output.directory, name)
    for (const range of await dataRanges(file, world.signal))
      areas.push({ at: (data[nth] as number) + range.offset, file, isSparse: true, ...range })
  }
  return {
    size: layout.size,
    parts: [
      { at: 0, bytes: head },
      { at: first, file: esp.path, isSparse: true },
      { ...place(base, parts.base), ...(parts.early && growing(parts.early)) },
      place(tree, parts.verity.tree),
      ...areas,
      { at: layout.size - tail.length, bytes: tail },
    ],
  }
}

function growing({ size, growth }: Early): Partial<DiskPart> {
  return { length: size, growth }
}

/** What the firmware finds: a unified kernel image behind systemd-boot, and the same kernel for syslinux. */
async function espFiles(
  job: Job,
  parts: DiskParts,
  { bios, uefi }: { readonly bios: boolean; readonly uefi: boolean },
): Promise<EspFile[]> {
  const entries = await entriesOf(job, parts)
  return [...(uefi ? await uefiFiles(job, entries) : []), ...(bios ? biosFiles(entries) : [])]
}

async function entriesOf({ output, stem }: Job, { kernel, verity }: DiskParts): Promise<Entry[]> {
  const labels = diskLabels(stem)
  const where = [`stage5.base=PARTLABEL=${labels.root}`, `stage5.tree=PARTLABEL=${labels.verity}`]
  const cmdline = [kernel.memoryCmdline, ...where, `roothash=${verity.rootHash}`].join(' ')
  const entries: Entry[] = []
  for (const [at, one] of [kernel, ...kernel.others].entries())
    entries.push({
      name: at === 0 ? stem : `${stem}-${one.release}`,
      cmdline,
      one,
      linux: await readFile(join(output.directory, one.kernel)),
      initrd: await readFile(join(output.directory, one.initrd)),
    })
  return entries
}

/** One kernel that the disk can start; the first of several is what starts by itself. */
interface Entry {
  readonly name: string
  readonly cmdline: string
  readonly one: OneKernel
  readonly linux: Uint8Array
  readonly initrd: Uint8Array
}

async function uefiFiles(job: Job, entries: readonly Entry[]): Promise<EspFile[]> {
  const suffix = EFI[job.profile.arch] as string
  const loader = await bootFile(job, `systemd-boot${suffix}.efi`)
  const chosen = entries.length > 1 ? `default ${entries[0]?.name}.efi\n` : ''
  const files: EspFile[] = [
    { path: `/EFI/BOOT/BOOT${suffix.toUpperCase()}.EFI`, bytes: loader },
    { path: '/loader/loader.conf', bytes: Buffer.from(`timeout 0\n${chosen}`) },
  ]
  for (const entry of entries) {
    const bytes = await unified(job, entry, entries.length > 1 ? entry.one.release : '')
    files.push({ path: `/EFI/Linux/${entry.name}.efi`, bytes })
  }
  return files
}

/** @param shown the kernel's release in the name that menus show, where there are several */
async function unified(job: Job, { cmdline, one, linux, initrd }: Entry, shown: string): Promise<Uint8Array> {
  const name = `linux${EFI[job.profile.arch]}.efi.stub`
  const text = (line: string): Uint8Array => Buffer.from(line)
  const sections = [
    { name: '.linux', bytes: linux },
    { name: '.osrel', bytes: text(osRelease(job, shown)) },
    { name: '.cmdline', bytes: text(cmdline) },
    { name: '.initrd', bytes: initrd },
    { name: '.uname', bytes: text(one.release) },
  ]
  return withSections(await bootFile(job, name), sections, name)
}

function biosFiles(entries: readonly Entry[]): EspFile[] {
  return [
    { path: '/syslinux.cfg', bytes: Buffer.from(syslinuxConfig(entries)) },
    ...entries.flatMap(({ name, linux, initrd }) => [
      { path: `/${name}/vmlinuz`, bytes: linux },
      { path: `/${name}/initrd`, bytes: initrd },
    ]),
  ]
}

/** With several kernels, a name typed within three seconds (after Shift or Alt, or at once on the console) chooses. */
function syslinuxConfig(entries: readonly Entry[]): string {
  const lines = entries.flatMap(({ name, cmdline }) => [
    `LABEL ${name}`,
    `  LINUX /${name}/vmlinuz`,
    `  INITRD /${name}/initrd`,
    `  APPEND ${cmdline}`,
  ])
  const choice = entries.length > 1 ? ['PROMPT 1', 'TIMEOUT 30'] : ['PROMPT 0']
  const head = ['SERIAL 0 115200', `DEFAULT ${entries[0]?.name}`, ...choice]
  return [...head, ...lines].map((line) => `${line}\n`).join('')
}

function osRelease({ profile, composed }: Job, release: string): string {
  const { version } = composed.facts
  const words = { ID: profile.id, IMAGE_ID: profile.id, IMAGE_VERSION: version, VERSION_ID: version }
  const name = `PRETTY_NAME="${[profile.id, version, release].filter((word) => word !== '').join(' ')}"\n`
  return `${name}${Object.entries(words)
    .map(([key, value]) => `${key}="${value}"\n`)
    .join('')}`
}

/** A file of systemd-boot: from the packages of the profile when they offer it, else from this machine. */
async function bootFile({ composed, store }: Job, name: string): Promise<Uint8Array> {
  for (const { tree } of composed.packages) {
    const found = lookup(tree, `${STUBS}/${name}`)
    if (found?.inode.type === 'file') return await store.read(found.inode.content)
  }
  return await readTool(`/${STUBS}/${name}`, 'systemd-boot-efi')
}

async function readTool(path: string, debianPackage: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (cause) {
    throw new Stage5Error('S5_TOOL_MISSING', `there is no ${path}`, {
      cause,
      hint: `apt install ${debianPackage}`,
      data: { path },
    })
  }
}
