/** The archives that this machine's own apt knows, with the keys that it trusts for each. */
import { readdir, readFile, access, constants } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { isStage5Error } from '../base/errors.ts'
import {
  parseAptConfig,
  parseSourcesList,
  parseSourcesStanzas,
  type AptSource,
} from '../format/apt-sources.ts'
import { parseDeb822 } from '../format/deb822.ts'
import { run } from '../host/run.ts'
import type { Keyrings } from './keyring.ts'
import { keyringsOf } from './keyrings-of.ts'

interface AptArchive extends Omit<AptSource, 'signedBy'> {
  readonly keyrings: Keyrings
}

interface AptConfiguration {
  readonly archives: readonly AptArchive[]
  /** Entries that cannot be used, each with its file. */
  readonly problems: readonly string[]
}

/** Where apt keeps its sources and keys: absolute paths. */
interface AptPaths {
  readonly list: string
  readonly parts: string
  readonly trusted: string
  readonly trustedParts: string
}

/**
 * Reads sources.list, sources.list.d/*.list and *.sources in apt's order.
 * @param root another root directory than `/`: its apt is not asked for paths, the defaults below it are taken
 */
export async function readAptConfiguration(signal: AbortSignal, root?: string): Promise<AptConfiguration> {
  const paths = root === undefined ? await pathsOfApt(signal) : defaultPaths(root)
  const names = (await listOf(paths.parts)).filter((name) => /^[A-Za-z0-9_.-]+\.(list|sources)$/.test(name))
  const files = [paths.list, ...names.map((name) => join(paths.parts, name))]
  const archives: AptArchive[] = []
  const problems: string[] = []
  let trusted: Keyrings | undefined
  for (const file of files) {
    const text = await textOf(file)
    if (text === undefined) continue
    const read = file.endsWith('.sources') ? parseSourcesStanzas(parseDeb822(text)) : parseSourcesList(text)
    problems.push(...read.problems.map((problem) => `${file}: ${problem}`))
    for (const { signedBy, ...source } of read.sources) {
      trusted ??= await trustedKeyrings(paths)
      archives.push({ ...source, keyrings: keyringsOf(signedBy, trusted, root) })
    }
  }
  return { archives, problems }
}

function defaultPaths(root: string): AptPaths {
  const etc = resolve(root, 'etc/apt')
  return {
    list: join(etc, 'sources.list'),
    parts: join(etc, 'sources.list.d'),
    trusted: join(etc, 'trusted.gpg'),
    trustedParts: join(etc, 'trusted.gpg.d'),
  }
}

async function pathsOfApt(signal: AbortSignal): Promise<AptPaths> {
  let config: ReadonlyMap<string, string>
  try {
    config = parseAptConfig((await run(['apt-config', 'dump'], { signal })).stdout.toString('utf8'))
  } catch (error) {
    if (isStage5Error(error, 'S5_TOOL_MISSING', 'S5_TOOL_FAILED')) return defaultPaths('/')
    throw error
  }
  const root = resolve(config.get('rootdir') || '/', config.get('dir') || '/')
  const etc = resolve(root, config.get('dir::etc') ?? 'etc/apt')
  const path = (key: string, usual: string) => resolve(etc, config.get(`dir::etc::${key}`) || usual)
  return {
    list: path('sourcelist', 'sources.list'),
    parts: path('sourceparts', 'sources.list.d'),
    trusted: path('trusted', 'trusted.gpg'),
    trustedParts: path('trustedparts', 'trusted.gpg.d'),
  }
}

async function trustedKeyrings(paths: AptPaths): Promise<Keyrings> {
  const parts = (await listOf(paths.trustedParts)).filter((name) => /\.(gpg|asc)$/.test(name))
  const files = [paths.trusted, ...parts.map((name) => join(paths.trustedParts, name))]
  const readable: string[] = []
  for (const file of files)
    if (
      await access(file, constants.R_OK).then(
        () => true,
        () => false,
      )
    )
      readable.push(file)
  return { files: readable, blocks: [], fingerprints: [] }
}

/** Names in a directory in byte order; none when it is not there. */
async function listOf(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort()
  } catch {
    return []
  }
}

async function textOf(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT') return undefined
    throw error
  }
}
