/** Disks that start by themselves, under UEFI and BIOS: raw, and the same as qcow2 and VHD. */
import { appendFile, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { alignUp } from '../base/bytes.ts'
import { digestOf, hexOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import { writeDisk } from '../deploy/disk.ts'
import { type EspFile, makeEsp } from '../deploy/esp.ts'
import { seededUuid } from '../emit/data-disk.ts'
import { diskLabels, MIB, planDisk } from '../emit/disk-plan.ts'
import { withSections } from '../format/pe.ts'
import { vhdFooter } from '../format/vhd.ts'
import { run } from '../host/run.ts'
import { lookup, type TreePath } from '../tree/tree.ts'
import type { ImageOptions, Job } from './emit-job.ts'
import type { Kernel } from './emit-kernel.ts'
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
    if (formats.has('disk')) await run(['cp', '--sparse=always', '--', raw, target], { signal: world.signal })
    else await rename(raw, target)
    const { size } = await stat(target)
    await appendFile(target, vhdFooter(size, seededUuid(profile.id, 'vhd'), date))
    await output.adopt(made['vhd'], 'disk')
  }
  if (formats.has('disk')) {
    made['disk'] = `${stem}.raw`
    await output.adopt(made['disk'], 'disk')
  } else await rm(raw, { force: true })
  return made
}

async function toQcow2(raw: string, target: string, signal: AbortSignal): Promise<void> {
  const options = ['-c', '-o', 'compression_type=zstd,cluster_size=64k']
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
  const { output, profile, stem } = job
  const labels = diskLabels(stem)
  const where = [`stage5.base=PARTLABEL=${labels.root}`, `stage5.tree=PARTLABEL=${labels.verity}`]
  const cmdline = [kernel.memoryCmdline, ...where, `roothash=${verity.rootHash}`].join(' ')
  const linux = await readFile(join(output.directory, kernel.kernel))
  const initrd = await readFile(join(output.directory, kernel.initrd))
  const files: EspFile[] = []
  if (uefi) {
    const suffix = EFI[profile.arch] as string
    const stub = await bootFile(job, `linux${suffix}.efi.stub`)
    const text = (line: string): Uint8Array => Buffer.from(line)
    const image = withSections(
      stub,
      [
        { name: '.linux', bytes: linux },
        { name: '.osrel', bytes: text(osRelease(job)) },
        { name: '.cmdline', bytes: text(cmdline) },
        { name: '.initrd', bytes: initrd },
        { name: '.uname', bytes: text(kernel.release) },
      ],
      `linux${suffix}.efi.stub`,
    )
    files.push(
      {
        path: `/EFI/BOOT/BOOT${suffix.toUpperCase()}.EFI`,
        bytes: await bootFile(job, `systemd-boot${suffix}.efi`),
      },
      { path: '/loader/loader.conf', bytes: text('timeout 0\n') },
      { path: `/EFI/Linux/${stem}.efi`, bytes: image },
    )
  }
  if (bios)
    files.push(
      { path: '/syslinux.cfg', bytes: Buffer.from(syslinuxConfig(stem, cmdline)) },
      { path: `/${stem}/vmlinuz`, bytes: linux },
      { path: `/${stem}/initrd`, bytes: initrd },
    )
  return files
}

function syslinuxConfig(stem: string, cmdline: string): string {
  const lines = [
    `LABEL ${stem}`,
    `  LINUX /${stem}/vmlinuz`,
    `  INITRD /${stem}/initrd`,
    `  APPEND ${cmdline}`,
  ]
  return ['SERIAL 0 115200', `DEFAULT ${stem}`, 'PROMPT 0', ...lines].map((line) => `${line}\n`).join('')
}

function osRelease({ profile, composed }: Job): string {
  const { version } = composed.facts
  const words = { ID: profile.id, IMAGE_ID: profile.id, IMAGE_VERSION: version, VERSION_ID: version }
  const name = `PRETTY_NAME="${profile.id} ${version}"\n`
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
