/** A Gentoo repository: one or several binhosts, by address or folder, as one index. */
import { rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestOf, hexOf } from '../base/digest.ts'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import { stableJson } from '../base/json.ts'
import { onceMap } from '../base/limit.ts'
import { refused } from '../format/release.ts'
import { localPath } from '../host/fetch.ts'
import { digestFile } from '../host/file-sink.ts'
import { allOf } from '../pkg/listing.ts'
import { labelOf, type Index } from '../pkg/package.ts'
import type { Locked } from '../resolve/lock.ts'
import type { GentooSpec, RepositorySpec } from '../resolve/profile.ts'
import type { RepositoryWorld } from './archive.ts'
import { type AcceptedIndex, acceptIndex, type IndexContext, packageBases } from './binhost-index.ts'
import { packagesOf } from './binhost-packages.ts'
import { type BinhostSource, binhostSources } from './binhost-sources.ts'
import { keepWhole, readIfThere } from './cache-files.ts'
import { firstFound } from './first-found.ts'
import { indexPathProblem, joinAddress } from './index-path.ts'
import type { SignaturePolicy } from './package-trust.ts'
import type { Repository } from './repository.ts'

const MAX_PACKAGE = 64 * 2 ** 30
const STRENGTH: readonly SignaturePolicy[] = ['off', 'if-present', 'require']

/**
 * Opens nothing yet.
 *
 * Cache folder: `indexes/` last accepted indexes by address, with where their entries stand, `packages/` package files by
 * SHA256, `pins/` the SHA256 that was found for what an index lists with weaker sums.
 */
export function openBinhost(spec: RepositorySpec, world: RepositoryWorld): Repository {
  const report = world.report ?? (() => {})
  const gentoo = spec.gentoo as GentooSpec
  let once = onceMap<string, Index>()
  let sources: Promise<readonly BinhostSource[]> | undefined
  const known = (): Promise<readonly BinhostSource[]> => {
    sources ??= binhostSources(spec, report, world.aptRoot).catch((error: unknown) => {
      sources = undefined
      throw error
    })
    return sources
  }
  const contextOf = (signal: AbortSignal): IndexContext => ({
    fetcher: world.fetcher,
    directory: world.directory,
    now: world.now,
    checkTimestamp: gentoo.checkTimestamp,
    mayBeEmpty: spec.builder !== undefined,
    signal,
  })

  async function index(arch: string, signal: AbortSignal): Promise<Index> {
    const found = await known()
    const accepted = []
    for (const source of found) accepted.push(await acceptIndex(source, arch, contextOf(signal)))
    const byName = await packagesOf(spec.name, accepted, report, signal)
    for (const { source, file, bytes, fromCache, keep } of accepted) {
      await keep()
      const name = source.name === '' ? file : `${source.name} ${file}`
      report({ kind: 'index.fetched', repo: spec.name, name, bytes, fromCache })
    }
    return {
      repo: spec.name,
      kind: 'gentoo',
      snapshot: digestOf(accepted.map(snapshotLine).join('\n')),
      date: Math.max(...accepted.map(({ header }) => header.timestamp)),
      signatures: weakest(found),
      headers: accepted.map(({ source, header }) => ({ origin: source.name, fields: header.fields })),
      get packages() {
        return allOf(byName)
      },
      byName,
    }
  }

  async function sourceOf(pkg: Locked): Promise<BinhostSource> {
    const found = (await known()).find(({ name }) => name === pkg.file.origin)
    if (found) return found
    throw new Stage5Error(
      'S5_SOURCES_MISSING',
      `${spec.name}: ${labelOf(pkg)} is locked from the binhost ${JSON.stringify(pkg.file.origin)}, which is no source any more`,
      { hint: 'run `stage5 lock` again, or add the binhost', data: { package: labelOf(pkg) } },
    )
  }

  /** From the first base address that has the file. */
  async function download(
    pkg: Locked,
    target: string,
    sums: Locked['file']['sums'],
    signal: AbortSignal,
  ): Promise<void> {
    const name = labelOf(pkg)
    const path = Buffer.from(pkg.file.path, 'utf8').toString('latin1')
    const problem = indexPathProblem(path)
    if (problem !== undefined) throw refused(`${spec.name}: ${name}`, 'index-path', `the path ${problem}`)
    const source = await sourceOf(pkg)
    const from = (base: string) =>
      world.fetcher.fetchFile(
        localPath(base) === undefined
          ? joinAddress(base, path)
          : join(localPath(base) as string, pkg.file.path),
        target,
        {
          name,
          ...(pkg.file.size < 0 ? {} : { size: pkg.file.size }),
          sums,
          maxSize: MAX_PACKAGE,
          signal,
        },
      )
    const bases = await packageBases(source, world.directory)
    if (bases) return void (await firstFound(bases, from))
    try {
      await from(source.uri)
    } catch (error) {
      if (!isStage5Error(error, 'S5_FETCH_FAILED') || error.data['status'] !== 404) throw error
      // A lock may be built where its index was never read, and only that says where the files are.
      const { keep } = await acceptIndex(source, pkg.arch, contextOf(signal))
      await keep()
      const others =
        (await packageBases(source, world.directory))?.filter((base) => base !== source.uri) ?? []
      if (others.length === 0) throw error
      await firstFound(others, from)
    }
  }

  async function fetch(pkg: Locked, signal: AbortSignal): Promise<string> {
    const sha256 = hexOf(pkg.sha256)
    const target = join(world.directory, 'packages', `${sha256}${endingOf(pkg)}`)
    const fromCache = (await sizeOf(target)) !== undefined
    await download(pkg, target, { sha256 }, signal)
    report({ kind: 'package.fetched', name: labelOf(pkg), bytes: (await stat(target)).size, fromCache })
    return target
  }

  /** What the index says of the file stands for it until its SHA256 is known. */
  async function pin(pkg: Locked, signal: AbortSignal): Promise<Digest> {
    const { path, origin, size, sums } = pkg.file
    const source = await sourceOf(pkg)
    const { trust } = source
    const key = hexOf(digestOf(stableJson([source.uri, path, origin, size, sums, trust.signatures]))).slice(
      0,
      32,
    )
    const note = join(world.directory, 'pins', key)
    const folder = join(world.directory, 'packages')
    const noted = (await readIfThere(note))?.toString('latin1') ?? ''
    if (/^[0-9a-f]{64}$/.test(noted) && (await sizeOf(join(folder, `${noted}${endingOf(pkg)}`))) === size)
      return `sha256:${noted}`
    const fresh = join(folder, `${key}.new${endingOf(pkg)}`)
    await download(pkg, fresh, sums, signal)
    const { verifyGentoo } = await import('./unpack-gentoo.ts')
    try {
      await verifyGentoo(fresh, { label: labelOf(pkg), path: pkg.file.path, signal, trust })
    } catch (error) {
      await rm(fresh, { force: true })
      throw error
    }
    const sha256 = hexOf(await digestFile(fresh, { signal }))
    await rename(fresh, join(folder, `${sha256}${endingOf(pkg)}`))
    await keepWhole(note, sha256)
    report({ kind: 'package.fetched', name: labelOf(pkg), bytes: size, fromCache: false })
    return `sha256:${sha256}`
  }

  return {
    name: spec.name,
    kind: 'gentoo',
    index: (arch, signal) => once(arch, () => index(arch, signal)),
    fetch,
    pin,
    trust: async (pkg) => (await sourceOf(pkg)).trust,
    policy: async () => weakest(await known()),
    ...(spec.builder && { builder: spec.builder }),
    forget: () => {
      once = onceMap()
    },
  }
}

/** What is taken of an index is part of what it is. */
function snapshotLine({ source: { name, include, exclude }, digest }: AcceptedIndex): string {
  if (include.length + exclude.length === 0) return `${name} ${digest}`
  const words = [...include.map(({ text }) => text), ...exclude.map(({ text }) => `-${text}`)]
  return `${name} ${digest} ${words.join(' ')}`
}

function weakest(sources: readonly BinhostSource[]): SignaturePolicy {
  const policies = sources.map(({ trust }) => trust.signatures)
  return STRENGTH.find((policy) => policies.includes(policy)) ?? 'off'
}

function endingOf({ file: { path } }: Locked): string {
  return ['.gpkg.tar', '.xpak'].find((ending) => path.endsWith(ending)) ?? '.tbz2'
}

async function sizeOf(file: string): Promise<number | undefined> {
  return stat(file).then(
    ({ size }) => size,
    () => undefined,
  )
}
