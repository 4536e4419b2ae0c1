/** EFI system partitions: FAT32 images filled by mtools as any user, and made startable for a BIOS by syslinux. */
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../host/run.ts'
import { temporaryDirectory } from '../host/temp.ts'

export interface EspFile {
  /** Path in the partition, such as `/EFI/BOOT/BOOTX64.EFI`; folders are made. */
  readonly path: string
  readonly bytes: Uint8Array
}

/** What decides an EFI system partition without files. */
export interface EspShape {
  /** Bytes, at least 33 MiB: below that FAT32 has too few clusters. */
  readonly size: number
  /** Sectors in front of the partition. */
  readonly hidden: number
  /** Eight hex digits. */
  readonly serial: string
  /** Seconds since 1970: the time of everything. */
  readonly date: number
  /** Install syslinux, which reads `/syslinux.cfg`. */
  readonly bios: boolean
}

function environment({ date }: Pick<EspShape, 'date'>): Readonly<Record<string, string>> {
  return { SOURCE_DATE_EPOCH: `${date}`, TZ: 'UTC', MTOOLSRC: '/dev/null', MTOOLS_SKIP_CHECK: '1' }
}

/**
 * Makes or replaces `target`, a partition without files. It is worth doing early: syslinux waits until everything that
 * anyone has written on this machine is on its disk, sync(2).
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED
 */
export async function formatEsp(target: string, shape: EspShape, signal: AbortSignal): Promise<void> {
  const { size, hidden, serial, bios } = shape
  const env = environment(shape)
  const file = await open(target, 'w', 0o644)
  try {
    await file.truncate(size)
  } finally {
    await file.close()
  }
  const geometry = ['-h', '255', '-s', '63', '-T', `${size / 512}`, '-H', `${hidden}`]
  await run(['mformat', '-i', target, '-F', '-N', serial, '-v', 'ESP', ...geometry, '::'], { env, signal })
  if (!bios) return
  await run(['syslinux', '--install', target], { env, signal })
  await copyBootSector(target)
}

/**
 * Puts files into a partition that `formatEsp` made of the same shape. Equal arguments to both give equal bytes.
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED (also when the files do not fit)
 */
export async function fillEsp(
  target: string,
  files: readonly EspFile[],
  shape: Pick<EspShape, 'date'>,
  signal: AbortSignal,
): Promise<void> {
  using folder = temporaryDirectory()
  const env = environment(shape)
  const mtools = (...argv: readonly string[]) => run(argv, { env, signal })
  const directories = directoriesOf(files).map((directory) => `::${directory}`)
  if (directories.length > 0) await mtools('mmd', '-i', target, ...directories)
  for (const [at, { path, bytes }] of files.entries()) {
    const place = join(folder.path, `${at}`)
    await writeFile(place, bytes)
    await mtools('mcopy', '-i', target, place, `::${path}`)
  }
}

/** Every folder of the files, parents first. */
function directoriesOf(files: readonly EspFile[]): string[] {
  const found = new Set<string>()
  for (const { path } of files)
    for (let at = path.indexOf('/', 1); at > 0; at = path.indexOf('/', at + 1)) found.add(path.slice(0, at))
  return [...found].sort((a, b) => (a < b ? -1 : 1))
}

/** syslinux writes the boot sector and not its backup in sector 6 (BPB_BkBootSec), which fsck.vfat compares. */
async function copyBootSector(target: string): Promise<void> {
  const file = await open(target, 'r+')
  try {
    const sector = Buffer.alloc(512)
    await file.read(sector, 0, 512, 0)
    await file.write(sector, 0, 512, sector.readUInt16LE(50) * 512)
  } finally {
    await file.close()
  }
}
