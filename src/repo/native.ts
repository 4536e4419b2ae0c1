/** A native repository: a folder, or an address of one, with `index.yaml` and packages made by `stage5 pack`. */
import { stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { digestOf, hexOf } from '../base/digest.ts'
import { printable, Stage5Error } from '../base/errors.ts'
import { refused } from '../format/release.ts'
import { localPath, type Validators } from '../host/fetch.ts'
import { labelOf, type Index, type Package } from '../pkg/package.ts'
import type { Locked } from '../resolve/lock.ts'
import type { RepositorySpec } from '../resolve/profile.ts'
import { asIndexErrors } from './accepted-release.ts'
import { keyringsOf } from './keyrings-of.ts'
import type { RepositoryWorld } from './archive.ts'
import { keepWhole, readIfThere } from './cache-files.ts'
import { indexPathProblem, joinAddress } from './index-path.ts'
import { verifyDetached } from './keyring.ts'
import { packageOfEntry, parseIndexYaml, readEntry } from './native-metadata.ts'
import type { Repository } from './repository.ts'

const MAX_INDEX = 16 * 2 ** 20
const MAX_SIGNATURE = 2 ** 16

/** The last index that was accepted. Byte strings. */
interface Kept {
  readonly format: 1
  readonly url: string
  readonly index: string
  readonly signature: string
  readonly validators: Validators
}

/** With keys (`signedBy` of the first source) the index must be signed in `index.yaml.sig`. */
export function openNative(spec: RepositorySpec, world: RepositoryWorld): Repository {
  const report = world.report ?? (() => {})
  const isAddress = /^(https?|file):/i.test(spec.url)
  const base = isAddress ? spec.url.replace(/\/+$/, '') : resolve(dirname(resolve(spec.file)), spec.url)
  const signedBy = spec.sources.flatMap((source) => source.signedBy)
  const label = `${spec.name} index.yaml`
  const state = join(world.directory, 'index.json')
  const join5 = (path: string) => (isAddress ? joinAddress(base, path) : join(base, path))

  async function index(arch: string, signal: AbortSignal): Promise<Index> {
    const kept = await keptIn(state, base)
    const isOffline = world.fetcher.offline && localPath(base) === undefined
    const fetched = isOffline && kept ? undefined : await fetchIndex(kept, signal)
    const current = fetched ?? (kept as Kept)
    const bytes = Buffer.from(current.index, 'latin1')
    if (signedBy.length > 0) await verify(current, bytes, signal)
    const entries = asIndexErrors(label, () => parseIndexYaml(bytes.toString('utf8'), label))
    const packages = usable(entries)
    if (fetched) await keepWhole(state, JSON.stringify(fetched))
    report({
      kind: 'index.fetched',
      repo: spec.name,
      name: 'index.yaml',
      bytes: bytes.length,
      fromCache: fetched === undefined,
    })
    return {
      repo: spec.name,
      kind: 'native',
      snapshot: digestOf(bytes),
      date: packages.reduce((latest, pkg) => Math.max(latest, pkg.buildTime), 0),
      packages: packages.filter((pkg) => [arch, 'any', 'all'].includes(pkg.arch)),
    }
  }

  /** @returns undefined when it is what was kept */
  async function fetchIndex(kept: Kept | undefined, signal: AbortSignal): Promise<Kept | undefined> {
    const isUsable = kept && (signedBy.length === 0 || kept.signature !== '')
    const answer = await world.fetcher.fetchBytes(join5('index.yaml'), {
      name: label,
      maxSize: MAX_INDEX,
      signal,
      ...(isUsable ? { unless: kept.validators } : {}),
    })
    if (answer === 'unchanged') return undefined
    return {
      format: 1,
      url: base,
      index: Buffer.from(answer.bytes).toString('latin1'),
      signature: signedBy.length > 0 ? await fetchSignature(signal) : '',
      validators: answer.validators,
    }
  }

  async function fetchSignature(signal: AbortSignal): Promise<string> {
    const name = `${label}.sig`
    try {
      const answer = await world.fetcher.fetchBytes(join5('index.yaml.sig'), {
        name,
        maxSize: MAX_SIGNATURE,
        signal,
      })
      return answer === 'unchanged' ? '' : Buffer.from(answer.bytes).toString('latin1')
    } catch (error) {
      if (!(error instanceof Stage5Error) || error.data['status'] !== 404) throw error
      throw new Stage5Error('S5_SIGNATURE_BAD', `${label}: unsigned: there is no index.yaml.sig`, {
        hint: 'sign it with `gpg --detach-sign --output index.yaml.sig index.yaml`',
        data: { reason: 'unsigned', file: label },
        cause: error,
      })
    }
  }

  async function verify(kept: Kept, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const none = { files: [], blocks: [], fingerprints: [] }
    const keyrings = keyringsOf(signedBy, none)
    const files = signedBy
      .filter((item) => keyrings.files.includes(resolve('/', item)))
      .map((item) => resolve(dirname(resolve(spec.file)), item))
    const signature = Buffer.from(kept.signature, 'latin1')
    await verifyDetached(bytes, signature, { ...keyrings, files }, signal, label)
  }

  function usable(entries: readonly unknown[]): Package[] {
    const packages: Package[] = []
    const seen = new Set<string>()
    const warn = (message: string) =>
      report({ kind: 'warning', code: 'S5_INDEX_REFUSED', message: `${label}: ${message}` })
    for (const [at, value] of entries.entries()) {
      const entry = readEntry(value)
      if ('problem' in entry) {
        warn(`${entry.reason}: package ${at + 1}${nameOf(value)}: ${entry.problem}`)
        continue
      }
      const key = `${entry.name} ${entry.version} ${entry.build} ${entry.arch}`
      if (seen.has(key)) warn(`duplicate: ${key}`)
      else packages.push(packageOfEntry(entry, spec.name))
      seen.add(key)
    }
    return packages
  }

  async function fetch(pkg: Locked, signal: AbortSignal): Promise<string> {
    const name = labelOf(pkg)
    const path = Buffer.from(pkg.file.path, 'utf8').toString('latin1')
    const problem = indexPathProblem(path)
    if (problem !== undefined) throw refused(`${spec.name}: ${name}`, 'index-path', `the path ${problem}`)
    const sha256 = hexOf(pkg.sha256)
    const target = join(world.directory, 'packages', `${sha256}.tar.zst`)
    const fromCache = await stat(target).then(
      () => true,
      () => false,
    )
    await world.fetcher.fetchFile(isAddress ? joinAddress(base, path) : join(base, pkg.file.path), target, {
      name,
      size: pkg.file.size,
      sums: { sha256 },
      maxSize: 64 * 2 ** 30,
      signal,
    })
    report({ kind: 'package.fetched', name, bytes: pkg.file.size, fromCache })
    return target
  }

  return { name: spec.name, kind: 'native', index, fetch }
}

function nameOf(value: unknown): string {
  const name = typeof value === 'object' && value !== null ? (value as { name?: unknown }).name : undefined
  return typeof name === 'string' ? ` (${printable(name)})` : ''
}

async function keptIn(file: string, url: string): Promise<Kept | undefined> {
  const bytes = await readIfThere(file)
  if (bytes === undefined) return undefined
  try {
    const kept = JSON.parse(bytes.toString('utf8')) as Kept
    return kept.format === 1 && kept.url === url ? kept : undefined
  } catch {
    return undefined
  }
}
