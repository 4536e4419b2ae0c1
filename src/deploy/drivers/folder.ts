/**
 * The folder in which one guest lives on its host:
 *
 *   machine-id          32 hex digits, minted once
 *   ssh/                its host keys, where its group asks for them
 *   data/AREA.ext4      its data disks; data/AREA/ where it is a container
 *   before/             a copy of `data/` from before a switch (snapshot.ts)
 *   gen/<generation>/   what was prepared: images, `run`, `manifest` (a digest)
 *   good, trial         symlinks to gen/<generation>; `fallen` is a trial that used up its starts
 *   tries               starts that the trial has left
 *   token               the highest one obeyed; the keeper notes it with each start
 *   state.json          which switch was carried out, so that repeating it changes nothing
 *   stopped             present while the guest is to stay off; the mark of a keeper that waits, which takes it away
 *   run/                of the running guest: started, lock, sockets, console.log
 *   busy                lock between programs that change all this
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { errnoOf, syncFile, syncFileSystem } from '../../host/disk.ts'
import { takeLock } from '../../host/lock.ts'
import { writeWhole } from '../../host/whole-file.ts'

export interface GuestFolder {
  readonly path: string
  readonly name: string
  file(...parts: string[]): string
  /** Text of a small file without its line end; '' when it does not exist. */
  read(name: string): string
  write(name: string, text: string): Promise<void>
  /** Generation that `good`, `trial` or `fallen` points to; '' for none. */
  pointer(which: 'good' | 'trial' | 'fallen'): string
  /** By one rename. */
  point(which: 'good' | 'trial', generation: string): void
  unpoint(which: 'trial' | 'fallen'): void
  generations(): Promise<readonly string[]>
  /** One program at a time; waits for others. */
  exclusively<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>
}

/** A switch may wait for a guest to power down, and so may whoever comes after. */
const BUSY_MS = 300_000

export function guestFolder(root: string, name: string): GuestFolder {
  const path = join(root, name)
  const file = (...parts: string[]): string => join(path, ...parts)
  return {
    path,
    name,
    file,
    read: (name) => readIf(file(name)),
    write: (name, text) => writeWhole(file(name), `${text}\n`),
    pointer: (which) => {
      try {
        return basename(readlinkSync(file(which)))
      } catch (error) {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EINVAL') return ''
        throw error
      }
    },
    point: (which, generation) => {
      const fresh = file(`.${which}.new`)
      rmSync(fresh, { force: true })
      symlinkSync(join('gen', generation), fresh)
      renameSync(fresh, file(which))
    },
    unpoint: (which) => rmSync(file(which), { force: true }),
    generations: async () =>
      (await readdir(file('gen')).catch(() => [])).filter((one) => !one.startsWith('.')).sort(),
    exclusively: async (signal, work) => {
      mkdirSync(path, { recursive: true, mode: 0o700 })
      const lock = await takeLock(file('busy'), 'exclusive', { waitMs: BUSY_MS, signal })
      try {
        return await work()
      } finally {
        lock[Symbol.dispose]()
      }
    },
  }
}

function readIf(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\n$/, '')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return ''
    throw error
  }
}

interface GuestState {
  /** The last switch that was begun, and whether it was carried out. */
  readonly switched?: { readonly token: number; readonly generation: string; readonly done: boolean }
  /** The switch of this token was taken back: it is not begun again. */
  readonly closed: number
}

export function stateOf(folder: GuestFolder): GuestState {
  const text = folder.read('state.json')
  return text === '' ? { closed: 0 } : (JSON.parse(text) as GuestState)
}

export async function saveState(folder: GuestFolder, state: GuestState): Promise<void> {
  await folder.write('state.json', JSON.stringify(state))
}

export function tokenOf(folder: GuestFolder): number {
  return Number(folder.read('token') || '0')
}

/**
 * Remembers a token before anything is done in its name.
 * @throws S5_TOKEN_STALE when a higher one was obeyed before
 */
export async function obey(folder: GuestFolder, token: number): Promise<void> {
  const known = tokenOf(folder)
  if (token < known)
    throw new Stage5Error(
      'S5_TOKEN_STALE',
      `${folder.name}: expected a token of at least ${known}, found ${token}: a later grant has been carried out`,
      { data: { guest: folder.name, expected: known, found: token } },
    )
  if (token > known) await folder.write('token', `${token}`)
}

/** The machine-id of a guest: minted at the first call, then the same for ever. @see machine-id(5) */
export async function machineId(folder: GuestFolder): Promise<string> {
  const known = folder.read('machine-id')
  if (/^[0-9a-f]{32}$/.test(known)) return known
  const bytes = randomBytes(16)
  // RFC 9562, version 4: what systemd makes too.
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
  const minted = bytes.toString('hex')
  await mkdir(folder.path, { recursive: true, mode: 0o700 })
  await folder.write('machine-id', minted)
  return minted
}

/** What one prepared generation is: `work` fills a folder that gets its name when it is complete and on the disk. */
export async function prepared(
  folder: GuestFolder,
  generation: string,
  manifest: string,
  work: (directory: string) => Promise<void>,
): Promise<void> {
  const target = folder.file('gen', generation)
  if (folder.read(`gen/${generation}/manifest`) === manifest) return
  const fresh = folder.file('gen', `.${generation}.new`)
  await mkdir(fresh, { recursive: true, mode: 0o700 })
  await work(fresh)
  await syncFileSystem(fresh)
  await writeWhole(join(fresh, 'manifest'), `${manifest}\n`)
  await discard(folder, generation)
  await rename(fresh, target)
  await syncFile(dirname(target))
}

/** Takes a prepared generation away: its name goes first, so that half of one is never taken for whole. */
export async function discard(folder: GuestFolder, generation: string): Promise<void> {
  const old = folder.file('gen', `.${generation}.old`)
  await rm(old, { recursive: true, force: true })
  try {
    await rename(folder.file('gen', generation), old)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return
    throw error
  }
  await rm(old, { recursive: true, force: true })
}
