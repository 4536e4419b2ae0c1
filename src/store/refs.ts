/** Names for digests: the only thing in a store that changes. One small file each, replaced by rename. */
import { closeSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Digest, parseDigest } from '../base/digest.ts'
import { type Disk, diskError, writeAll } from '../host/disk.ts'
import { uniqueName } from '../host/temp.ts'

export interface Refs {
  set(name: string, target: Digest | undefined): Promise<void>
  all(): ReadonlyMap<string, Digest>
}

/** @param root the version directory of the store */
export function openRefs(root: string, disk: Disk): Refs {
  const folder = join(root, 'refs')

  async function write(path: string, target: Digest): Promise<void> {
    const staged = join(root, 'staging', uniqueName())
    const bytes = Buffer.from(`${target}\n`)
    try {
      const fd = disk.open(staged, 'create')
      try {
        writeAll(disk, fd, bytes, 0, bytes.length)
      } finally {
        closeSync(fd)
      }
      await disk.sync(staged, 'file')
      disk.rename(staged, path)
    } catch (error) {
      disk.remove(staged)
      throw error
    }
  }

  return {
    set: async (name, target) => {
      const path = join(folder, encodeURIComponent(name).replaceAll('.', '%2E'))
      try {
        if (target === undefined) disk.remove(path)
        else await write(path, target)
        await disk.sync(folder, 'file')
      } catch (error) {
        throw diskError(error, `ref ${name}`)
      }
    },
    all: () => {
      const refs = new Map<string, Digest>()
      for (const file of readdirSync(folder).sort())
        refs.set(decodeURIComponent(file), parseDigest(readFileSync(join(folder, file), 'utf8').trim()))
      return refs
    },
  }
}
