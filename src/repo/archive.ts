/** A Debian repository: several suites at several addresses as one index, verified from signature to package file. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, hexOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import { onceMap } from '../base/limit.ts'
import { stableJson } from '../base/json.ts'
import { refused } from '../format/release.ts'
import type { Fetcher } from '../host/fetch.ts'
import { PACKAGE_FIELDS } from '../pkg/deb-package.ts'
import { labelOf, type Index, type Package } from '../pkg/package.ts'
import type { Locked } from '../resolve/lock.ts'
import type { RepositorySpec } from '../resolve/profile.ts'
import { acceptRelease, type AcceptedRelease } from './accepted-release.ts'
import { archivesOf, type ArchiveAddress } from './archive-sources.ts'
import { keepOnly, keepWhole, readIfThere } from './cache-files.ts'
import { CACHE_FORMAT, parseIndexCache, printIndexCache } from './index-cache.ts'
import { indexPathProblem, joinAddress } from './index-path.ts'
import { firstFound } from './first-found.ts'
import { collector, listedIndexes, readIndex, type ListedIndex } from './packages-index.ts'
import type { Repository } from './repository.ts'

/** What repositories need of the world. */
export interface RepositoryWorld {
  readonly fetcher: Fetcher
  /** Cache of this repository: last accepted releases, indexes, package files. */
  readonly directory: string
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Takes events and warnings about entries that were refused. */
  readonly report?: Report
  /** Another root directory whose apt configuration is read. */
  readonly aptRoot?: string
}

/** Bytes; a lock of another tool may not say the size. */
const MAX_PACKAGE = 8 * 2 ** 30

/**
 * Opens nothing yet: addresses are read from apt or the repository file when first needed.
 *
 * Cache folder: `archives/` last accepted releases, `indexes/` Packages files by SHA256, `parsed/` parsed indexes by what
 * they were made from, `packages/` package files by SHA256.
 */
export function openArchive(spec: RepositorySpec, world: RepositoryWorld): Repository {
  const report = world.report ?? (() => {})
  const once = onceMap<string, Index>()
  let addresses: Promise<ArchiveAddress[]> | undefined
  const known = (signal: AbortSignal): Promise<ArchiveAddress[]> => {
    addresses ??= archivesOf(spec, report, signal, world.aptRoot).catch((error: unknown) => {
      addresses = undefined
      throw error
    })
    return addresses
  }

  async function index(arch: string, signal: AbortSignal): Promise<Index> {
    const context = {
      fetcher: world.fetcher,
      directory: world.directory,
      now: world.now,
      checkValidUntil: spec.checkValidUntil,
      report,
      signal,
    }
    const accepted = await all((await known(signal)).map((address) => acceptRelease(address, context)))
    for (const { address, bytes, fromCache } of accepted)
      report({ kind: 'index.fetched', repo: spec.name, name: `${address.suite} InRelease`, bytes, fromCache })
    const wanted = accepted.flatMap((release) => indexesOrWarn(release, arch))
    if (wanted.length === 0)
      throw refused(spec.name, 'missing-member', `no suite has packages for the architecture ${arch}`)
    return {
      repo: spec.name,
      kind: 'debian',
      snapshot: digestOf(
        accepted
          .map((release) => release.digest)
          .sort()
          .join('\n'),
      ),
      date: Math.max(...accepted.map(({ release }) => release.date)),
      packages: await packages(arch, wanted, accepted, signal),
    }
  }

  function indexesOrWarn(accepted: AcceptedRelease, arch: string): ListedIndex[] {
    const found = listedIndexes(accepted, arch)
    if (found.length === 0)
      report({
        kind: 'warning',
        code: 'S5_INDEX_REFUSED',
        message: `${accepted.address.label}: has no packages for the architecture ${arch}`,
      })
    return found
  }

  async function packages(
    arch: string,
    wanted: readonly ListedIndex[],
    accepted: readonly AcceptedRelease[],
    signal: AbortSignal,
  ): Promise<readonly Package[]> {
    const made = wanted.map(({ accepted: { address }, path, listed }) => [address.suite, path, listed.sha256])
    const key = digestOf(stableJson({ format: CACHE_FORMAT, fields: [...PACKAGE_FIELDS], arch, made }))
    const parsed = join(world.directory, 'parsed')
    const file = `${arch}-${hexOf(key).slice(0, 32)}`
    const cached = await readIfThere(join(parsed, file))
    const found = cached && parseIndexCache(cached, key, spec.name)
    if (found) return found
    const folder = join(world.directory, 'indexes')
    const collected = collector(spec.name, arch, report)
    const files = await all(wanted.map((listed) => readIndex(listed, world.fetcher, folder, signal)))
    for (const [at, bytes] of files.entries()) {
      const listed = wanted[at] as ListedIndex
      await collected.add(bytes, listed, signal)
      const name = `${listed.accepted.address.suite} ${listed.path}`
      report({ kind: 'index.fetched', repo: spec.name, name, bytes: listed.listed.size, fromCache: false })
    }
    collected.finish()
    const text = Buffer.from(printIndexCache(key, collected.rows))
    await keepWhole(join(parsed, file), text)
    await forget(parsed, file, arch, folder, accepted)
    const fresh = parseIndexCache(text, key, spec.name)
    if (!fresh) throw new Error(`${spec.name}: the index cache does not read back`)
    return fresh
  }

  /** Leaves of old snapshots nothing but package files. */
  async function forget(
    parsed: string,
    file: string,
    arch: string,
    folder: string,
    accepted: readonly AcceptedRelease[],
  ): Promise<void> {
    await keepOnly(parsed, (name) => name === file || !name.startsWith(`${arch}-`))
    const listed = new Set(
      accepted.flatMap(({ release }) => [...release.files.values()].map(({ sha256 }) => sha256)),
    )
    await keepOnly(folder, (name) => listed.has(name.slice(0, 64)))
  }

  async function fetch(pkg: Locked, signal: AbortSignal): Promise<string> {
    const name = labelOf(pkg)
    const path = pkg.file.path.replace(/^(?:\.\/)+/, '')
    const problem = indexPathProblem(path)
    if (problem !== undefined) throw refused(`${spec.name}: ${name}`, 'index-path', `the path ${problem}`)
    const sha256 = hexOf(pkg.sha256)
    const target = join(world.directory, 'packages', `${sha256}.deb`)
    const bases = (await known(signal)).filter(({ suite }) => suite === pkg.file.origin)
    if (bases.length === 0)
      throw new Stage5Error(
        'S5_SOURCES_MISSING',
        `${spec.name}: ${name} is locked from the suite ${pkg.file.origin}, which is no source any more`,
        { hint: 'run `stage5 lock` again, or add the suite', data: { package: name } },
      )
    const fromCache = await isThere(target)
    const urls = bases.map(({ uri }) => joinAddress(uri, path))
    await firstFound(urls, (url) =>
      world.fetcher.fetchFile(url, target, {
        name,
        ...(pkg.file.size < 0 ? {} : { size: pkg.file.size }),
        sums: { sha256 },
        maxSize: MAX_PACKAGE,
        signal,
      }),
    )
    report({ kind: 'package.fetched', name, bytes: (await stat(target)).size, fromCache })
    return target
  }

  return {
    name: spec.name,
    kind: 'debian',
    index: (arch, signal) => once(arch, () => index(arch, signal)),
    fetch,
  }
}

/** Waits for all, so that nothing is still writing when the first failure is thrown. */
async function all<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(work)
  const failed = settled.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
  return settled.map((result) => (result as PromiseFulfilledResult<T>).value)
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}
