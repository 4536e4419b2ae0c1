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

export interface EspOptions {
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
  readonly signal: AbortSignal
}

/**
 * Equal arguments give equal bytes.
 * @throws S5_TOOL_MISSING, S5_TOOL_FAILED (also when the files do not fit)
 */
export async function makeEsp(
  target: string,
  files: readonly EspFile[],
  { size, hidden, serial, date, bios, signal }: EspOptions,
): Promise<void> {
  using folder = temporaryDirectory()
  const env = { SOURCE_DATE_EPOCH: `${date}`, TZ: 'UTC', MTOOLSRC: '/dev/null', MTOOLS_SKIP_CHECK: '1' }
  const mtools = (...argv: readonly string[]) => run(argv, { env, signal })
  const file = await open(target, 'wx', 0o644)
  try {
    await file.truncate(size)
  } finally {
    await file.close()
  }
  const shape = ['-h', '255', '-s', '63', '-T', `${size / 512}`, '-H', `${hidden}`]
  await mtools('mformat', '-i', target, '-F', '-N', serial, '-v', 'ESP', ...shape, '::')
  const directories = directoriesOf(files).map((directory) => `::${directory}`)
  if (directories.length > 0) await mtools('mmd', '-i', target, ...directories)
  for (const [at, { path, bytes }] of files.entries()) {
    const place = join(folder.path, `${at}`)
    await writeFile(place, bytes)
    await mtools('mcopy', '-i', target, place, `::${path}`)
  }
  if (!bios) return
  await run(['syslinux', '--install', target], { env, signal })
  await copyBootSector(target)
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
