/** Data disks of guests: made once from the templates of an output, then the guest's own; they only grow. */
import { statSync } from 'node:fs'
import { mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { Stage5Error } from '../../base/errors.ts'
import { syncFile } from '../../host/disk.ts'
import { run } from '../../host/run.ts'
import { type SparseFile, readSparse, writeSparse } from '../sparse.ts'
import type { DriverGeneration } from '../driver.ts'
import type { GuestFolder } from './folder.ts'
import { bring, type GuestOutput } from './output.ts'

const BLOCK = 4096

/**
 * Disks in the order of the manifest, as paths in the guest's folder.
 * @param sizes bytes of areas that differ from the profile
 * @param templates shared by callers that make the disks of many guests
 */
export async function dataDisks(
  folder: GuestFolder,
  generation: DriverGeneration,
  output: GuestOutput,
  sizes: Readonly<Record<string, number>>,
  signal: AbortSignal,
  templates: Templates = new Map(),
): Promise<string[]> {
  const disks: string[] = []
  for (const { name, file } of output.boot.data) {
    const disk = `data/${name}.ext4`
    disks.push(disk)
    if (statSync(folder.file(disk), { throwIfNoEntry: false })) continue
    await mkdir(folder.file('data'), { recursive: true, mode: 0o700 })
    const key = `${generation.manifest} ${file}`
    const known = templates.get(key) ?? takeTemplate(folder, generation, output, file, signal)
    templates.set(key, known)
    await makeDisk(await known, folder.file(disk), sizes[name], signal)
  }
  return disks
}

/** Templates that were proved and read already, for many guests at once. */
export type Templates = Map<string, Promise<SparseFile>>

async function takeTemplate(
  folder: GuestFolder,
  generation: DriverGeneration,
  output: GuestOutput,
  file: string,
  signal: AbortSignal,
): Promise<SparseFile> {
  const path = folder.file('data', `.${file}.template`)
  await bring(generation, output, file, path, signal)
  const template = await readSparse(path)
  await rm(path)
  return template
}

/** A disk of its own at `target`, which is whole or not there. */
export async function makeDisk(
  template: SparseFile,
  target: string,
  size: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  const fresh = `${target}.new`
  try {
    await writeSparse(template, fresh)
    if (size !== undefined && size > template.size) await growDisk(fresh, size, signal)
    await syncFile(fresh)
    await rename(fresh, target)
  } catch (error) {
    await rm(fresh, { force: true })
    throw error
  }
}

/**
 * Makes an ext4 disk larger, whose guest is off. Cut off anywhere, it is whole, and can be grown again.
 * @throws S5_IMAGE_INPUT when it would shrink; S5_TOOL_MISSING, S5_TOOL_FAILED
 */
export async function growDisk(disk: string, size: number, signal: AbortSignal): Promise<void> {
  const { size: before } = await stat(disk)
  const blocks = Math.floor(size / BLOCK)
  if (blocks * BLOCK < before)
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `${disk}: expected a size of at least ${before} bytes, found ${size}: a data disk only grows`,
      { data: { disk, expected: before, found: size } },
    )
  // e2fsck ends with 1 when it mended something: the journal of a guest that was cut off.
  await run(['e2fsck', '-f', '-p', disk], { signal, accept: [0, 1] })
  const file = await open(disk, 'r+')
  try {
    await file.truncate(blocks * BLOCK)
  } finally {
    await file.close()
  }
  await run(['resize2fs', disk], { signal })
}
