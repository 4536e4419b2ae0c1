/** The folder of a store: made when missing, held against collection, rid of what dead processes left; nothing is read yet. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import { type Disk, diskError, realDisk } from '../host/disk.ts'
import { type Lock, type LockOptions, takeLock } from '../host/lock.ts'

const VERSION = 1

const OTHER_STORE = 'STAGE5_STORE=DIR names another store, which is made when it is missing'

export interface Home extends Disposable {
  /** The version directory. */
  readonly root: string
  /** Where fetched files go. */
  readonly downloads: string
  readonly lock: Lock
}

export interface HomeOptions extends LockOptions {
  readonly disk?: Disk
}

/**
 * @param options `waitMs` (default one minute) is how long to wait for a collection to end
 * @throws S5_STORE_VERSION, S5_LOCK_BUSY, S5_DISK_FULL, S5_FILE_FORBIDDEN, S5_DISK_FAILED
 */
export async function openHome(path: string, options: HomeOptions = {}): Promise<Home> {
  const root = join(path, `v${VERSION}`)
  prepare(path, root)
  const lock = await takeLock(join(root, 'lock'), 'shared', { waitMs: 60_000, ...options })
  try {
    await sweepIfAlone(root, lock, options.disk ?? realDisk)
  } catch (error) {
    lock[Symbol.dispose]()
    throw error
  }
  return { root, downloads: join(root, 'downloads'), lock, [Symbol.dispose]: () => lock[Symbol.dispose]() }
}

/** Staging of others is only known to be rubbish while nobody else has the store open. */
async function sweepIfAlone(root: string, lock: Lock, disk: Disk): Promise<void> {
  if (readdirSync(join(root, 'staging')).length === 0) return
  const { sweepStaging } = await import('./collect.ts')
  try {
    await lock.change('exclusive')
  } catch (error) {
    if (error instanceof Stage5Error && error.code === 'S5_LOCK_BUSY') return
    throw error
  }
  sweepStaging(root, disk)
  await lock.change('shared', { waitMs: 60_000 })
}

/** @throws S5_STORE_VERSION, S5_DISK_FULL, S5_FILE_FORBIDDEN, S5_DISK_FAILED */
function prepare(path: string, root: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    for (const name of readdirSync(path)) {
      const version = /^v(\d+)$/.exec(name)
      if (version && Number(version[1]) > VERSION)
        throw new Stage5Error(
          'S5_STORE_VERSION',
          `${path}: expected a store of version ${VERSION}, found version ${version[1]}`,
          { hint: OTHER_STORE },
        )
    }
    mkdirSync(root, { recursive: true, mode: 0o700 })
    for (const name of ['segments', 'staging', 'refs', 'downloads'])
      mkdirSync(join(root, name), { recursive: true, mode: 0o700 })
  } catch (error) {
    throw diskError(error, path, OTHER_STORE)
  }
}
