/** Disks that start by themselves, under UEFI and BIOS: raw, and the same as qcow2 and VHD. */
import { appendFile, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { alignUp } from '../base/bytes.ts'
import { digestOf, hexOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { copyDataDisk } from '../deploy/data-disk.ts'
import { writeDisk } from '../deploy/disk.ts'
import { type EspFile, makeEsp } from '../deploy/esp.ts'
import { seededUuid } from '../emit/data-disk.ts'
import { diskLabels, MIB, planDisk } from '../emit/disk-plan.ts'
import { withSections } from '../format/pe.ts'
import { vhdFooter } from '../format/vhd.ts'
import { run } from '../host/run.ts'
import { lookup, type TreePath } from '../tree/tree.ts'
import type { ImageOptions, Job } from './emit-job.ts'
import type { Kernel, OneKernel } from './emit-kernel.ts'
import { emitContainerDisk } from './emit-oci.ts'
import type { Verity } from './emit-root.ts'
import type { DataRecord } from './manifest.ts'
import { timed } from './timed.ts'

export interface DiskParts {
  readonly base: string
  readonly verity: Verity
  readonly kernel: Kernel
  readonly data: readonly DataRecord[]
}

/** Names by architecture, as the UEFI specification and Debian's systemd-boot-efi have them. */
const EFI: { readonly [arch: string]: string } = { amd64: 'x64', arm64: 'aa64' }
const STUBS: TreePath = 'usr/lib/systemd/boot/efi'
/** 440 bytes of Debian's syslinux-common: starts the partition that has the legacy boot attribute. */
const BOOT_CODE = '/usr/lib/syslinux/mbr/gptmbr.bin'

/**
 * @param formats those of `disk`, `qcow2`, `vhd` and `containerdisk` that are wanted
 * @param options of `disk`, which hold for all of them
 * @returns names of files by format, for the manifest
 */
export async function emitDisks(
  job: Job,
  parts: DiskParts,
  formats: ReadonlySet<string>,
  options: ImageOptions = {},
): Promise<{ readonly [format: string]: string }> {
  const { world, output, stem, profile, date } = job
  const raw = join(output.directory, `${stem}.raw`)
  await timed(world, `${stem}.raw`, () => makeRaw(job, parts, options, raw))
  // The largest file there is: read while the others are made of it.
  const measured = formats.has('disk') ? output.measure(`${stem}.raw`) : undefined
  measured?.catch(() => undefined)
  const made: { [format: string]: string } = {}
  if (formats.has('qcow2') || formats.has('containerdisk')) {
    made['qcow2'] = `${stem}.qcow2`
    const target = join(output.directory, made['qcow2'])
    await timed(world, made['qcow2'], () => toQcow2(raw, target, world.signal))
    await output.adopt(made['qcow2'], 'disk')
    if (formats.has('containerdisk')) await emitContainerDisk(job, made['qcow2'])
  }
  if (formats.has('vhd')) {
    made['vhd'] = `${stem}.vhd`
    const target = join(output.directory, made['vhd'])
    if (formats.has('disk')) await copyDataDisk(raw, target, world.signal)
    else await rename(raw, target)
    const { size } = await stat(target)
    await appendFile(target, vhdFooter(size, seededUuid(profile.id, 'vhd'), date))
    await output.adopt(made['vhd'], 'disk')
  }
  if (formats.has('disk')) {
    made['disk'] = `${stem}.raw`
    await output.adopt(made['disk'], 'disk', measured)
  } else await rm(raw, { force: true })
  return made
}

/** Clusters as they are: base and kernel are compressed already, and zstd would take off less than a hundredth. */
async function toQcow2(raw: string, target: string, signal: AbortSignal): Promise<void> {
  const options = ['-o', 'cluster_size=64k']
  await run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', ...options, raw, target], { signal })
}

async function makeRaw(job: Job, parts: DiskParts, options: ImageOptions, raw: string): Promise<void> {
  const { world, profile, output, stem, date } = job
  const bios = profile.arch === 'amd64' && options['firmware'] !== 'uefi'
  const uefi = options['firmware'] !== 'bios'
  const esp = join(output.directory, `.${stem}.esp`)
  const files = await espFiles(job, parts, { bios, uefi })
  const content = files.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const least = Math.max(64 * MIB, alignUp(2 * content + 8 * MIB, MIB))
  const size = typeof options['esp'] === 'number' ? alignUp(options['esp'], MIB) : least
  const serial = hexOf(digestOf(`${profile.id}\0esp`)).slice(0, 8)
  const bootCode = bios ? await readTool(BOOT_CODE, 'syslinux-common') : undefined
  const place = (name: string): string => join(output.directory, name)
  const sources = [esp, place(parts.base), place(parts.verity.tree), undefined, undefined]
  const baseSize = output.files.find(({ name }) => name === parts.base)?.size ?? 0
  const layout = planDisk({
    arch: profile.arch,
    stem,
    seed: profile.id,
    rootHash: parts.verity.rootHash,
    esp: size,
    base: baseSize,
    ...(typeof options['root'] === 'number' && { slot: options['root'] }),
    data: parts.data,
    ...(bootCode && { bootCode }),
  })
  try {
    await makeEsp(esp, files, { size, hidden: MIB / 512, serial, date, bios, signal: world.signal })
    await writeDisk(raw, layout, [...sources, ...parts.data.map(({ file }) => place(file))], world.signal)
  } finally {
    await rm(esp, { force: true })
  }
}

/** What the firmware finds: a unified kernel image behind systemd-boot, and the same kernel for syslinux. */
async function espFiles(
  job: Job,
  { kernel, verity }: DiskParts,
  { bios, uefi }: { readonly bios: boolean; readonly uefi: boolean },
): Promise<EspFile[]> {
  const { output, stem } = job
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
  return [...(uefi ? await uefiFiles(job, entries) : []), ...(bios ? biosFiles(entries) : [])]
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
  const stub = await bootFile(job, `linux${suffix}.efi.stub`)
  const loader = await bootFile(job, `systemd-boot${suffix}.efi`)
  const text = (line: string): Uint8Array => Buffer.from(line)
  const chosen = entries.length > 1 ? `default ${entries[0]?.name}.efi\n` : ''
  const images = entries.map(({ name, cmdline, one, linux, initrd }): EspFile => {
    const sections = [
      { name: '.linux', bytes: linux },
      { name: '.osrel', bytes: text(osRelease(job, entries.length > 1 ? one.release : '')) },
      { name: '.cmdline', bytes: text(cmdline) },
      { name: '.initrd', bytes: initrd },
      { name: '.uname', bytes: text(one.release) },
    ]
    return { path: `/EFI/Linux/${name}.efi`, bytes: withSections(stub, sections, `linux${suffix}.efi.stub`) }
  })
  return [
    { path: `/EFI/BOOT/BOOT${suffix.toUpperCase()}.EFI`, bytes: loader },
    { path: '/loader/loader.conf', bytes: text(`timeout 0\n${chosen}`) },
    ...images,
  ]
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
