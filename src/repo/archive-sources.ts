/** Which archives a Debian repository consists of: from apt's configuration or from the repository file. */
import { resolve } from 'node:path'
import { dirname } from 'node:path'
import { digestOf, hexOf } from '../base/digest.ts'
import { Stage5Error } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import type { RepositorySpec } from '../resolve/profile.ts'
import { readAptConfiguration } from './apt-configuration.ts'
import type { Keyrings } from './keyring.ts'
import { keyringsOf } from './keyrings-of.ts'

/** One suite at one address. */
export interface ArchiveAddress {
  readonly uri: string
  /** Ends in `/` for a flat archive. */
  readonly suite: string
  readonly components: readonly string[]
  /** Only these; empty for every one. */
  readonly architectures: readonly string[]
  readonly keyrings: Keyrings
  /** Fit for a file name, equal for equal address and suite. */
  readonly id: string
  /** For messages: repository and suite. */
  readonly label: string
}

const NO_KEYRINGS: Keyrings = { files: [], blocks: [], fingerprints: [] }

/**
 * @param aptRoot another root directory whose apt configuration is read
 * @throws S5_SOURCES_MISSING
 */
export async function archivesOf(
  spec: RepositorySpec,
  report: Report,
  signal: AbortSignal,
  aptRoot?: string,
): Promise<ArchiveAddress[]> {
  const found = spec.from === 'apt' ? await fromApt(spec, report, signal, aptRoot) : listed(spec)
  const byId = new Map<string, ArchiveAddress>()
  for (const address of found) {
    const known = byId.get(address.id)
    const components = [...new Set([...(known?.components ?? []), ...address.components])]
    byId.set(address.id, { ...(known ?? address), components })
  }
  if (byId.size === 0)
    throw new Stage5Error('S5_SOURCES_MISSING', `${spec.name}: ${missing(spec)}`, {
      hint: `list the archives in ${spec.file} under sources:, or correct suites: and components: there`,
      data: { repository: spec.name },
    })
  return [...byId.values()]
}

function missing(spec: RepositorySpec): string {
  const suites = spec.suites.length === 0 ? '' : ` with the suites ${spec.suites.join(', ')}`
  return spec.from === 'apt'
    ? `the apt configuration of this machine has no usable source${suites}`
    : 'no sources are listed'
}

async function fromApt(
  spec: RepositorySpec,
  report: Report,
  signal: AbortSignal,
  aptRoot: string | undefined,
): Promise<ArchiveAddress[]> {
  const { archives, problems } = await readAptConfiguration(signal, aptRoot)
  for (const problem of problems)
    report({ kind: 'warning', code: 'S5_SOURCES_MISSING', message: `${spec.name}: not used: ${problem}` })
  return archives.flatMap(({ uri, suites, components, architectures, keyrings }) => {
    const wanted = components.filter((name) => spec.components.length === 0 || spec.components.includes(name))
    return suites
      .filter((suite) => spec.suites.length === 0 || spec.suites.includes(suite))
      .filter((suite) => suite.endsWith('/') || wanted.length > 0)
      .map((suite) => addressOf(spec, { uri, suite, components: wanted, architectures, keyrings }))
  })
}

function listed(spec: RepositorySpec): ArchiveAddress[] {
  const base = dirname(resolve(spec.file))
  return spec.sources.flatMap(({ uri, suites, components, signedBy }) => {
    const relative = keyringsOf(signedBy, NO_KEYRINGS)
    const files = signedBy
      .filter((item) => relative.files.includes(resolve('/', item)))
      .map((item) => resolve(base, item))
    return suites.map((suite) =>
      addressOf(spec, {
        uri,
        suite,
        components: suite.endsWith('/') ? [] : components,
        architectures: [],
        keyrings: { ...relative, files },
      }),
    )
  })
}

function addressOf(
  spec: RepositorySpec,
  source: Pick<ArchiveAddress, 'uri' | 'suite' | 'components' | 'architectures' | 'keyrings'>,
): ArchiveAddress {
  const uri = source.uri.replace(/^copy:/i, 'file:').replace(/\/+$/, '')
  const name = source.suite.replace(/[^A-Za-z0-9.-]/g, '_')
  const id = `${name}-${hexOf(digestOf(`${uri} ${source.suite}`)).slice(0, 12)}`
  return { ...source, uri, id, label: `${spec.name} ${source.suite}` }
}

/** The directory of the suite: where InRelease is and what its paths are relative to. */
export function suiteAddress(address: ArchiveAddress): string {
  const { uri, suite } = address
  return suite.endsWith('/')
    ? `${uri}/${suite.replace(/^\.?\/+|\/+$/g, '')}`.replace(/\/+$/, '')
    : `${uri}/dists/${suite}`
}
