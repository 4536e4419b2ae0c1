/** Small files that are seen whole or not at all. */
import { randomBytes } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { Stage5Error } from '../base/errors.ts'
import { errnoOf } from './disk.ts'

/**
 * Writes beside `path`, waits for the disk, and gives it its name; what stood there before is replaced.
 * @throws S5_DISK_FULL
 */
export async function writeWhole(path: string, bytes: Uint8Array | string): Promise<void> {
  const fresh = `${path}.${process.pid}-${randomBytes(4).toString('hex')}.tmp`
  try {
    const file = await open(fresh, 'wx', 0o644)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(fresh, path)
  } catch (error) {
    await rm(fresh, { force: true })
    if (!['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '')) throw error
    throw new Stage5Error('S5_DISK_FULL', `no space left for ${path}`, { cause: error, data: { file: path } })
  }
}
