/**
 * Names for digests: the only thing in a store that changes. One small file each, replaced by rename: the digest, and
 * the name itself where it is too long for a file name.
 */
import { hash } from 'node:crypto'
import { closeSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Digest, parseDigest } from '../base/digest.ts'
import { type Disk, diskError, writeAll } from '../host/disk.ts'
import { uniqueName } from '../host/temp.ts'

const MAX_FILE_NAME = 180
/** No name that `encodeURIComponent` writes begins like this. */
const HASHED = '+'

export interface Refs {
  set(name: string, target: Digest | undefined): Promise<void>
  all(): ReadonlyMap<string, Digest>
}

/** @param root the version directory of the store */
export function openRefs(root: string, disk: Disk): Refs {
  const folder = join(root, 'refs')

  async function write(path: string, text: string): Promise<void> {
    const staged = join(root, 'staging', uniqueName())
    const bytes = Buffer.from(text)
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
      const short = encodeURIComponent(name).replaceAll('.', '%2E')
      const isLong = short.length > MAX_FILE_NAME
      const path = join(folder, isLong ? `${HASHED}${hash('sha256', name, 'hex')}` : short)
      try {
        if (target === undefined) disk.remove(path)
        else await write(path, isLong ? `${target}\n${name}\n` : `${target}\n`)
        await disk.sync(folder, 'file')
      } catch (error) {
        throw diskError(error, `ref ${name}`)
      }
    },
    all: () => {
      const refs = new Map<string, Digest>()
      for (const file of readdirSync(folder).sort()) {
        const text = readFileSync(join(folder, file), 'utf8')
        const end = text.indexOf('\n')
        const name = file.startsWith(HASHED) ? text.slice(end + 1, -1) : decodeURIComponent(file)
        refs.set(name, parseDigest(text.slice(0, end)))
      }
      return refs
    },
  }
}
