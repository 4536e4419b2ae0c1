/** Small files of the cache folder: there whole or not at all, and none is missed when it is gone. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errnoOf } from '../host/disk.ts'
import { writeWhole } from '../host/whole-file.ts'

export async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The file, and the folders that it is in. @throws S5_DISK_FULL */
export async function keepWhole(file: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  await writeWhole(file, bytes)
}

/** Removes the files of a folder that `isKept` does not name; a cache grows by one index each day otherwise. */
export async function keepOnly(folder: string, isKept: (name: string) => boolean): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  for (const name of names) if (!isKept(name)) await rm(join(folder, name), { force: true })
}
