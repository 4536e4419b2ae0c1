/** Small files that are seen whole or not at all. */
import { open, rename, rm } from 'node:fs/promises'

/** Writes beside `path`, waits for the disk, and gives it its name; what stood there before is replaced. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const fresh = `${path}.${process.pid}.tmp`
  try {
    const file = await open(fresh, 'w', 0o644)
    try {
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(fresh, path)
  } catch (error) {
    await rm(fresh, { force: true })
    throw error
  }
}
