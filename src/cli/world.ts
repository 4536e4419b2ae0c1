/** The World: everything a command may touch, built once from the options. */
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { availableParallelism, homedir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import pLimit from 'p-limit'
import { Stage5Error } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import type { Limit } from '../base/limit.ts'
import { nearest } from '../base/near.ts'
import { type Fetcher, openFetcher } from '../host/fetch.ts'
import { openArchive } from '../repo/archive.ts'
import { openNative } from '../repo/native.ts'
import type { Repository } from '../repo/repository.ts'
import { loadRepository } from '../resolve/load-repository.ts'
import { now } from '../host/clock.ts'
import { openStore, type Store } from '../store/store.ts'

export interface WorldOptions {
  readonly directory: string
  readonly offline: boolean
  readonly locked: boolean
  readonly threads: number | undefined
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
  readonly read: (path: string) => Promise<Uint8Array | undefined>
  /** Names in a folder of the project and of the bundle, sorted, each once; those of a folder end in `/`. */
  readonly list: (path: string) => Promise<string[]>
  /** Where `read` finds a file. */
  readonly locate: (path: string) => Promise<string | undefined>
  /** Opened on first use. */
  readonly store: () => Promise<Store>
  readonly repository: (name: string) => Promise<Repository>
}

/** The folder that holds the bundled profiles, repositories and stages. */
const BUNDLE = resolve(fileURLToPath(new URL('../..', import.meta.url)))

export function openWorld(options: WorldOptions, report: Report, signal: AbortSignal): World {
  const directory = resolve(options.directory)
  const threads = options.threads ?? availableParallelism()
  const locate = (path: string): Promise<string | undefined> =>
    firstExisting([join(directory, path), join(BUNDLE, path)])
  const read = async (path: string): Promise<Uint8Array | undefined> => {
    const found = await locate(path)
    return found === undefined ? undefined : await readFile(found)
  }
  const list = async (path: string): Promise<string[]> => {
    const names = await Promise.all([join(directory, path), join(BUNDLE, path)].map(namesIn))
    return [...new Set(names.flat())].sort()
  }
  let store: Promise<Store> | undefined
  let fetcher: Fetcher | undefined
  const repositories = new Map<string, Promise<Repository>>()

  const openTheStore = (): Promise<Store> => {
    store ??= mkdir(storePath(), { recursive: true, mode: 0o700 }).then(() => openStore(storePath()))
    return store
  }

  async function openRepository(name: string): Promise<Repository> {
    const path = `repos/${name}.yaml`
    if ((await read(path)) === undefined) {
      const known = (await list('repos'))
        .filter((file) => file.endsWith('.yaml'))
        .map((file) => file.slice(0, -5))
      const near = nearest(name, known, 1)[0]
      throw new Stage5Error(
        'S5_REPOSITORY_UNKNOWN',
        `there is no repos/${name}.yaml${near ? `, did you mean ${near}` : ''}`,
        {
          hint: `known repositories: ${known.join(', ') || 'none'}`,
        },
      )
    }
    const spec = await loadRepository(name, { read, list, locate })
    const opened = await openTheStore()
    fetcher ??= openFetcher({ offline: options.offline, report })
    const repositoryWorld = { fetcher, directory: join(opened.downloads, name), now: () => now(), report }
    return spec.kind === 'native' ? openNative(spec, repositoryWorld) : openArchive(spec, repositoryWorld)
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
    locate,
    store: openTheStore,
    repository: (name) => {
      const found = repositories.get(name) ?? openRepository(name)
      repositories.set(name, found)
      return found
    },
    [Symbol.asyncDispose]: async () => {
      const opened = await store?.catch(() => undefined)
      await opened?.[Symbol.asyncDispose]()
    },
  }
}

/** `STAGE5_STORE`, else the user's cache folder (XDG Base Directory Specification). */
function storePath(): string {
  const { STAGE5_STORE, XDG_CACHE_HOME } = process.env
  return STAGE5_STORE ? resolve(STAGE5_STORE) : join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'stage5')
}

async function firstExisting(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths)
    if (
      await stat(path).then(
        (found) => found.isFile(),
        () => false,
      )
    )
      return path
  return undefined
}

async function namesIn(path: string): Promise<string[]> {
  const found = await readdir(path, { withFileTypes: true }).catch(() => [])
  return found.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
}

/** A path as people type it: relative to where they stand when it is below. */
export function shownPath(path: string): string {
  const short = relative(process.cwd(), path)
  return short === '' ? '.' : short.startsWith('..') ? path : short
}
