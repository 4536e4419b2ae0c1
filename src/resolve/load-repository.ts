/** The YAML files of `repos/`: where packages come from and whom to trust. */
import { isStage5Error } from '../base/errors.ts'
import {
  boolean,
  decodeDocument,
  integer,
  list,
  object,
  oneOf,
  optional,
  refined,
  required,
  type Schema,
  type Shape,
  shortOrLong,
  string,
} from '../base/shape.ts'
import { parseEbuildAtom } from '../pkg/ebuild-atom.ts'
import type { GentooSpec, RepositorySpec } from './profile.ts'
import { type ListDirectory, type ReadFile, unknownName } from './project.ts'
import { formatNumber, line, text } from './shape-words.ts'
import { readYaml } from './shape-yaml.ts'

function address(): Shape<string> {
  return string({
    pattern: /^(https?|file):\/*[^\s/][^\s]*$|^file:\/\S*$/,
    expected: 'an http, https or file address',
  })
}

/** Suites and components are path parts of an archive. */
function part(expected: string): Shape<string> {
  return string({ pattern: /^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9+._/-]*$/, expected })
}

function oneOrMore(item: Shape<string>): Shape<readonly string[]> {
  return shortOrLong(
    refined(item, (value) => [value]),
    list(item, String),
  )
}

const source = object('a source such as {uri: https://…, suites: [stable], components: [main]}', {
  uri: required(address(), 'Base address of the archive.'),
  suites: required(oneOrMore(part('the name of a suite')), 'Suites, such as bookworm.'),
  components: optional(oneOrMore(part('the name of a component')), ['main'], 'Components; default: main.'),
  signedBy: required(
    oneOrMore(string({ expected: 'a keyring file or an armoured key' })),
    'Keyring files (absolute, or relative to this file) or one armoured key block.',
  ),
})

const binhost = object('a binhost such as {name: official, uri: https://…}', {
  name: required(
    string({ pattern: /^[A-Za-z0-9][A-Za-z0-9._-]*$/, expected: 'a name' }),
    'What the lock calls it.',
  ),
  uri: required(line('an address or a folder'), 'Address, or folder (absolute, or relative to this file).'),
  priority: optional(integer(-1_000_000, 1_000_000), 0, 'A higher one is preferred.'),
  index: optional(indexName(), '', 'Index to try before Packages.gz and Packages, such as Packages.zst.'),
  include: optional(list(pattern(), String), [], 'Only packages of these atoms are taken from it.'),
  exclude: optional(list(pattern(), String), [], 'Packages of these atoms are not taken from it.'),
})

/** An atom of Gentoo, with wildcards. */
function pattern(): Shape<string> {
  const expected = 'an atom such as dev-lang/php or "sys-apps/*:0"'
  return refined(string({ expected }), (atom, node, to) => {
    try {
      parseEbuildAtom(atom, { kind: 'pattern' })
      return atom
    } catch (error) {
      if (!isStage5Error(error, 'S5_ATOM_SYNTAX')) throw error
      return to.report(node, `expected ${expected}, found ${JSON.stringify(atom)}`)
    }
  })
}

function indexName(): Shape<string> {
  return string({
    pattern: /^Packages(\.(gz|xz|zst|bz2))?$/,
    expected: 'Packages, or Packages.gz, .xz, .zst, .bz2',
  })
}

const repository = object('a map with kind: debian, native or gentoo', {
  stage5: optional(formatNumber(), 1, 'Format of this file.'),
  kind: required(
    oneOf('debian', 'native', 'gentoo'),
    'Debian archive, a folder of native packages with index.yaml, or Gentoo binhosts.',
  ),
  description: optional(text('a sentence'), '', 'What the repository holds.'),
  from: optional(
    oneOf('apt', 'listed', 'binrepos'),
    undefined,
    "apt: the sources of the machine; listed: those under sources. Default: listed when there are some, else apt. Gentoo: binrepos: the binhosts of the machine's Portage.",
  ),
  sources: optional(list(source), [], 'Debian: archives with their suites and keys.'),
  suites: optional(
    oneOrMore(part('the name of a suite')),
    [],
    "Debian: only these suites of the machine's sources; default: all.",
  ),
  components: optional(
    oneOrMore(part('the name of a component')),
    [],
    "Debian: only these components of the machine's sources; default: all.",
  ),
  checkValidUntil: optional(boolean(), true, 'Debian: whether an expired index is refused.'),
  url: optional(
    line('a folder or an http(s) address'),
    '',
    'Native: folder (absolute, or relative to this file) or address.',
  ),
  uri: optional(
    line('a folder or an http(s) address'),
    '',
    'Gentoo: the only binhost: PKGDIR (absolute, or relative to this file) or address.',
  ),
  index: optional(indexName(), '', 'Gentoo: index to try first, with uri.'),
  binhosts: optional(list(binhost), [], 'Gentoo: several binhosts.'),
  config: optional(
    line('a folder'),
    '/etc/portage',
    'Gentoo, from: binrepos: folder of binrepos.conf, or that file.',
  ),
  signatures: optional(
    oneOf('require', 'if-present', 'off'),
    undefined,
    'Gentoo: whether packages must be signed. Default: require with a keyring; off for a folder without one.',
  ),
  keyring: optional(
    oneOrMore(string({ expected: 'a keyring file, a fingerprint or an armoured key' })),
    [],
    'Gentoo: keyring files (absolute, or relative to this file), fingerprints, or one armoured key block.',
  ),
  checkTimestamp: optional(
    boolean(),
    true,
    'Gentoo: whether an index older than the last one, or of the future, is refused.',
  ),
  builder: optional(
    list(line('a program or one of its arguments')),
    undefined,
    'Gentoo: program and arguments that make a missing build, such as [emerge, --buildpkgonly]; the atom follows, USE is in the environment.',
  ),
})

const spec = refined(repository, (value, node, to): Omit<RepositorySpec, 'name' | 'file'> | undefined => {
  const { kind, sources, suites, components, checkValidUntil, url } = value
  const rest = { kind, sources, suites, components, checkValidUntil, url }
  const at = (key: string): { line: number; column: number } =>
    (node.kind === 'map' ? node.members.find((member) => member.key === key)?.at : undefined) ?? node
  const written = (key: string): boolean =>
    node.kind === 'map' && node.members.some((member) => member.key === key)
  const debianOnly = ['from', 'sources', 'suites', 'components', 'checkValidUntil']
  const gentooOnly = [
    'uri',
    'index',
    'binhosts',
    'config',
    'signatures',
    'keyring',
    'checkTimestamp',
    'builder',
  ]
  if (rest.kind === 'gentoo') {
    const wrong = [...debianOnly.slice(1), 'url'].find(written)
    if (wrong) return to.report(at(wrong), `the key "${wrong}" does not belong to kind: gentoo`)
    const gentoo = gentooOf(value, (key, message) => to.report(key === '' ? node : at(key), message))
    const { builder } = value
    if (builder?.length === 0) return to.report(at('builder'), 'expected a program, found an empty list')
    return gentoo && { ...rest, from: 'listed', gentoo, ...(builder && { builder }) }
  }
  const wrong = gentooOnly.find(written)
  if (wrong) {
    const instead = wrong === 'uri' && rest.kind === 'native' ? '; kind: native has "url"' : ''
    return to.report(at(wrong), `the key "${wrong}" belongs to kind: gentoo${instead}`)
  }
  if (value.from === 'binrepos') return to.report(at('from'), 'from: binrepos belongs to kind: gentoo')
  if (rest.kind === 'native') {
    const wrong = debianOnly.find(written)
    if (wrong) return to.report(at(wrong), `the key "${wrong}" belongs to kind: debian`)
    if (rest.url === '') return to.report(node, 'expected the key "url" for kind: native')
    return { ...rest, from: 'listed' }
  }
  if (rest.url !== '') return to.report(at('url'), 'the key "url" belongs to kind: native; see sources')
  const from = value.from ?? (rest.sources.length > 0 ? 'listed' : 'apt')
  if (from === 'listed' && rest.sources.length === 0)
    return to.report(at('from'), 'expected sources for from: listed, found none')
  if (from === 'apt' && rest.sources.length > 0)
    return to.report(at('sources'), 'expected no sources beside from: apt')
  if (from === 'listed' && (written('suites') || written('components')))
    return to.report(at('suites'), 'with listed sources, suites and components stand in each source')
  return { ...rest, from }
})

interface GentooKeys {
  readonly from: 'apt' | 'listed' | 'binrepos' | undefined
  readonly uri: string
  readonly index: string
  readonly binhosts: GentooSpec['binhosts']
  readonly config: string
  readonly signatures: GentooSpec['signatures'] | undefined
  readonly keyring: readonly string[]
  readonly checkTimestamp: boolean
}

function gentooOf(
  value: GentooKeys,
  report: (key: string, message: string) => undefined,
): GentooSpec | undefined {
  const { from, uri, index, config, keyring, checkTimestamp } = value
  if (from === 'apt') return report('from', 'expected listed or binrepos for kind: gentoo, found apt')
  const single = uri === '' ? [] : [{ name: '', uri, priority: 0, index, include: [], exclude: [] }]
  const binhosts = [...single, ...value.binhosts]
  if (uri !== '' && value.binhosts.length > 0) return report('uri', 'expected either uri or binhosts')
  if (uri === '' && index !== '') return report('index', 'with binhosts, index stands in each of them')
  if (from === 'binrepos' && binhosts.length > 0)
    return report(uri === '' ? 'binhosts' : 'uri', 'expected no binhosts beside from: binrepos')
  if (from !== 'binrepos' && binhosts.length === 0)
    return report('', 'expected the key "uri" or "binhosts" for kind: gentoo')
  const twice = binhosts.find(({ name }, at) => binhosts.findIndex((one) => one.name === name) < at)
  if (twice) return report('binhosts', `two binhosts are called ${twice.name}`)
  const remote = binhosts.find((one) => /^https?:/i.test(one.uri))
  if (remote && value.signatures === undefined && keyring.length === 0)
    return report('', `expected a keyring for ${remote.uri}, or signatures: off to go without`)
  const signatures = value.signatures ?? (keyring.length > 0 ? 'require' : 'off')
  if (signatures !== 'off' && keyring.length === 0 && from !== 'binrepos')
    return report('signatures', `expected a keyring for signatures: ${signatures}`)
  return {
    from: from === 'binrepos' ? 'binrepos' : 'listed',
    config,
    binhosts,
    signatures,
    isPolicyWritten: value.signatures !== undefined,
    keyring,
    checkTimestamp,
  }
}

/**
 * What `repos/NAME.yaml` says.
 * @param locate absolute path of a file that `read` finds; without it `file` is the path in the project
 * @throws S5_REPOSITORY_UNKNOWN, S5_PROFILE_INVALID
 */
export async function loadRepository(
  name: string,
  read: ReadFile,
  list: ListDirectory,
  locate?: (path: string) => Promise<string | undefined>,
): Promise<RepositorySpec> {
  const file = `repos/${name}.yaml`
  const bytes = /^[a-z0-9][a-z0-9._-]*$/.test(name) ? await read(file) : undefined
  if (!bytes) throw await unknownName('S5_REPOSITORY_UNKNOWN', 'repository', name, 'repos', { read, list })
  const node = readYaml(bytes, file)
  const found = decodeDocument(file, (to) => spec.decode(node, to))
  if (!found) throw new Error(`${file}: nothing was decoded and nothing reported`)
  return { name, ...found, file: (await locate?.(file)) ?? file }
}

/** JSON Schema of `repos/*.yaml`. */
export function repositorySchema(): Schema {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'stage5 repository',
    ...repository.schema,
  }
}
