/**
 * A copy of a guest's data from before it was led to another generation:
 *
 *   before/tag            what asked for it
 *   before/pair           the generation that had the data, and the one that the guest was led to
 *   before/<generation>/  the data of one of the two, while `data/` is the other's
 *
 * The keeper exchanges both, by two renames, before it starts the one whose data is here; so no generation ever starts on
 * data of the other, whether or not a controller lives.
 */
import { existsSync, lstatSync } from 'node:fs'
import { mkdir, rename, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { syncFile, syncFileSystem } from '../../host/disk.ts'
import { reflinkProblem } from '../../host/reflink.ts'
import { run } from '../../host/run.ts'
import type { GuestFolder } from './folder.ts'

/** Lines of a shell that stands in the guest's folder: the function `own_data` makes `data/` that of the generation $1. */
export const OWN_DATA = `own_data() {
  [ -d "before/$1" ] || return 0
  read -r one other <before/pair || return 1
  [ "$one" = "$1" ] || other=$one
  if [ -e data ]; then
    mv -T data "before/$other" || return 1
  fi
  mv -T "before/$1" data
}`

/** The same for a guest that is off, and that nobody starts. */
export async function ownData(folder: GuestFolder, generation: string, signal: AbortSignal): Promise<void> {
  await run(['sh', '-c', `${OWN_DATA}\nown_data "$1"`, 'sh', generation], { cwd: folder.path, signal })
}

interface SnapshotOf {
  readonly tag: string
  /** Generation that the data belongs to, and the one that comes next. */
  readonly from: string
  readonly to: string
}

/**
 * Copies the data of a guest that is off, with holes, links, owners and attributes; shares blocks where the file system
 * can. It is on the disk when this returns. There is no other copy.
 * @throws as `mustHaveRoom`, S5_TOOL_FAILED
 */
export async function takeSnapshot(
  folder: GuestFolder,
  { tag, from, to }: SnapshotOf,
  signal: AbortSignal,
): Promise<void> {
  const fresh = folder.file('.before.new')
  await rm(fresh, { recursive: true, force: true })
  await mkdir(join(fresh, from), { recursive: true, mode: 0o700 })
  try {
    const data = folder.file('data')
    if (existsSync(data)) {
      await mustHaveRoom(folder, signal)
      await run(['cp', '-a', '--preserve=xattr', '--reflink=auto', '--', `${data}/.`, join(fresh, from)], {
        signal,
      })
    }
    await writeFile(join(fresh, 'tag'), `${tag}\n`)
    await writeFile(join(fresh, 'pair'), `${from} ${to}\n`)
    await syncFileSystem(fresh, signal)
    await rename(fresh, folder.file('before'))
    await syncFile(folder.path)
  } catch (error) {
    await rm(fresh, { recursive: true, force: true })
    throw error
  }
}

/** @throws S5_FILE_MISSING unless the copy with this tag can be put back for a generation */
export function mustHaveSnapshot(folder: GuestFolder, tag: string, generation: string): void {
  if (folder.read('before/tag') === tag && existsSync(folder.file('before', generation))) return
  throw new Stage5Error(
    'S5_FILE_MISSING',
    `${folder.name} has no copy ${tag} of its data for ${generation}`,
    {
      data: { guest: folder.name, tag, generation },
    },
  )
}

export function hasSnapshot(folder: GuestFolder): boolean {
  return existsSync(folder.file('before'))
}

/** Whether a copy is to be put back when this generation starts. */
export function isAwaited(folder: GuestFolder, generation: string): boolean {
  return generation !== '' && existsSync(folder.file('before', generation))
}

/** Whether what is kept is data that this generation wrote, and that was given up when the guest went back. */
export function isGivenUp(folder: GuestFolder, generation: string): boolean {
  return folder.read('before/pair').split(' ')[1] === generation && isAwaited(folder, generation)
}

/** Its name goes first, so that half of one is never put back. */
export async function dropSnapshot(folder: GuestFolder): Promise<void> {
  const old = folder.file('.before.old')
  await rm(old, { recursive: true, force: true })
  if (!hasSnapshot(folder)) return
  await rename(folder.file('before'), old)
  await rm(old, { recursive: true, force: true })
}

/** An exchange that was cut off between its renames is taken back: the next start makes it anew. */
export async function mendExchange(folder: GuestFolder): Promise<void> {
  if (existsSync(folder.file('data'))) return
  const pair = folder.read('before/pair').split(' ')
  if (pair.length !== 2 || !pair.every((name) => isAwaited(folder, name))) return
  await rename(folder.file('before', pair[1] as string), folder.file('data'))
}

/** Bytes that a copy leaves free. */
const RESERVE = 67_108_864

/**
 * Looks whether the data of a guest can be copied and put back here. A disk that fills up would stop other guests, too.
 * @throws S5_DISK_FULL, S5_IMAGE_INPUT when the data stands on another file system than the guest's folder
 */
export async function mustHaveRoom(folder: GuestFolder, signal: AbortSignal): Promise<void> {
  const data = folder.file('data')
  if (!existsSync(data)) return
  const found = lstatSync(data)
  if (!found.isDirectory() || found.dev !== lstatSync(folder.path).dev)
    throw new Stage5Error(
      'S5_IMAGE_INPUT',
      `${folder.name}: expected ${data} to be a folder on the same file system as ${folder.path}: a copy of it is put back by a rename`,
      {
        hint: 'let the folder of all guests stand there (driver: root)',
        data: { guest: folder.name, path: data },
      },
    )
  if (reflinkProblem(folder.path) === undefined) return
  const { stdout } = await run(['du', '-s', '--block-size=1', '--', data], { signal })
  const needed = Number.parseInt(stdout.toString('latin1'), 10)
  const { bavail, bsize } = await statfs(data)
  const free = bavail * bsize
  if (needed + RESERVE <= free) return
  throw new Stage5Error(
    'S5_DISK_FULL',
    `${folder.name}: a copy of its data needs ${needed} bytes beside ${RESERVE} that stay free, found ${free}`,
    {
      hint: 'make room there; or stage5 rollout start --irreversible: no copy is made, and there is no way back',
      data: { guest: folder.name, needed, free },
    },
  )
}
