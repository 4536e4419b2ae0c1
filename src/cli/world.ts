/** The World: everything a command may touch, built once from the options. */
import { readdir, readFile, readlink, stat } from 'node:fs/promises'
import { availableParallelism, homedir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import pLimit from 'p-limit'
import type { Report } from '../base/events.ts'
import type { Limit } from '../base/limit.ts'
import type { Fetcher } from '../host/fetch.ts'
import type { Repository } from '../repo/repository.ts'
import type { Listed, ListDirectory, ReadFile } from '../resolve/project.ts'
import { now } from '../host/clock.ts'
import type { Home } from '../store/home.ts'
import type { Store } from '../store/store.ts'

export interface WorldOptions {
  readonly directory: string
  readonly offline: boolean
  readonly locked: boolean
  readonly threads: number | undefined
  /** Default: `$STAGE5_STORE`, else the user's cache folder. */
  readonly store?: string
  /** Where outputs go; default: `out` of the project. */
  readonly out?: string
}

export interface World extends AsyncDisposable {
  /** Absolute path of the project. */
  readonly directory: string
  readonly options: WorldOptions
  readonly report: Report
  readonly signal: AbortSignal
  /** Bounds work that holds a package or a block in memory. */
  readonly limit: Limit
  readonly threads: number
  /** A file of the project, else the bundled one, by path from the top (`profiles/minimal.yaml`). */
  readonly read: ReadFile
  /** What a folder holds in the project and in the bundle; of two equal names the project's. */
  readonly list: ListDirectory
  /** Opened on first use. */
  readonly store: () => Promise<Store>
  readonly repository: (name: string) => Promise<Repository>
}

/** Each kind is read in when a repository of it is opened. */
const OPENERS = {
  debian: async () => (await import('../repo/archive.ts')).openArchive,
  native: async () => (await import('../repo/native.ts')).openNative,
  gentoo: async () => (await import('../repo/binhost.ts')).openBinhost,
} as const

/** The folder that holds the bundled profiles, repositories and stages. */
const BUNDLE = resolve(fileURLToPath(new URL('../..', import.meta.url)))

export function openWorld(options: WorldOptions, report: Report, signal: AbortSignal): World {
  const directory = resolve(options.directory)
  const threads = options.threads ?? availableParallelism()
  const places = (path: string): string[] => [join(directory, path), join(BUNDLE, path)]
  const read: ReadFile = async (path) => {
    for (const place of places(path)) {
      const found = await readFile(place).catch(onlyMissing)
      if (found) return found
    }
    return undefined
  }
  const locate = async (path: string): Promise<string | undefined> => {
    for (const place of places(path)) if ((await stat(place).catch(onlyMissing)) !== undefined) return place
    return undefined
  }
  const list: ListDirectory = async (path) => {
    const found = (await Promise.all(places(path).map(listOne))).reverse()
    const byName = new Map(found.flatMap((listed) => listed ?? []).map((one) => [one.name, one]))
    return found.every((listed) => listed === undefined) ? undefined : [...byName.values()]
  }
  let home: Promise<Home> | undefined
  let store: Promise<Store> | undefined
  let fetcher: Fetcher | undefined
  const repositories = new Map<string, Promise<Repository>>()

  const openTheStore = (): Promise<Store> => {
    store ??= openIt()
    return store
  }

  async function openIt(): Promise<Store> {
    const { openStore } = await import('../store/store.ts')
    return await openStore(options.store ?? storePath(), { home: await openTheHome() })
  }

  function openTheHome(): Promise<Home> {
    home ??= openHome()
    return home
  }

  /** What repositories keep lies beside the objects, of which they need none. */
  async function openHome(): Promise<Home> {
    const { openHome: open } = await import('../store/home.ts')
    return await open(options.store ?? storePath())
  }

  async function openRepository(name: string): Promise<Repository> {
    const { loadRepository } = await import('../resolve/load-repository.ts')
    const spec = await loadRepository(name, read, list, locate)
    const { downloads } = await openTheHome()
    const { openFetcher } = await import('../host/fetch.ts')
    fetcher ??= openFetcher({ offline: options.offline, report })
    const repositoryWorld = { fetcher, directory: join(downloads, name), now: () => now(), report }
    const open = await OPENERS[spec.kind]()
    return open(spec, repositoryWorld)
  }

  return {
    directory,
    options,
    report,
    signal,
    limit: pLimit(threads + 1),
    threads,
    read,
    list,
    store: openTheStore,
    repository: (name) => {
      const found = repositories.get(name) ?? openRepository(name)
      repositories.set(name, found)
      return found
    },
    [Symbol.asyncDispose]: async () => {
      const opened = await store?.catch(() => undefined)
      await opened?.[Symbol.asyncDispose]()
      const held = await home?.catch(() => undefined)
      held?.[Symbol.dispose]()
    },
  }
}

/** `STAGE5_STORE`, else the user's cache folder (XDG Base Directory Specification). */
function storePath(): string {
  const { STAGE5_STORE, XDG_CACHE_HOME } = process.env
  return STAGE5_STORE ? resolve(STAGE5_STORE) : join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'stage5')
}

function onlyMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'EISDIR') return undefined
  throw error
}

async function listOne(directory: string): Promise<readonly Listed[] | undefined> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(onlyMissing)
  if (!entries) return undefined
  return await Promise.all(
    entries.map(async (entry): Promise<Listed> => {
      const path = join(directory, entry.name)
      const type = entry.isFile()
        ? 'file'
        : entry.isDirectory()
          ? 'dir'
          : entry.isSymbolicLink()
            ? 'symlink'
            : 'other'
      const target = type === 'symlink' ? await readlink(path) : ''
      if (type !== 'file') return { name: entry.name, type, executable: false, size: 0, target }
      const { mode, size } = await stat(path)
      return { name: entry.name, type, executable: (mode & 0o100) !== 0, size, target }
    }),
  )
}

/** A path as people type it: relative to where they stand when it is below. */
export function shownPath(path: string): string {
  const short = relative(process.cwd(), path)
  return short === '' ? '.' : short.startsWith('..') ? path : short
}
