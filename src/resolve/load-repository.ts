/** The YAML files of `repos/`: where packages come from and whom to trust. */
import {
  boolean,
  decodeDocument,
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
import type { RepositorySpec } from './profile.ts'
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

const repository = object('a map with kind: debian or kind: native', {
  stage5: optional(formatNumber(), 1, 'Format of this file.'),
  kind: required(
    oneOf('debian', 'native'),
    'Debian archive, or a folder of native packages with index.yaml.',
  ),
  description: optional(text('a sentence'), '', 'What the repository holds.'),
  from: optional(
    oneOf('apt', 'listed'),
    undefined,
    'apt: the sources of the machine; listed: those under sources. Default: listed when there are some, else apt.',
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
})

const spec = refined(repository, (value, node, to): Omit<RepositorySpec, 'name' | 'file'> | undefined => {
  const { kind, sources, suites, components, checkValidUntil, url } = value
  const rest = { kind, sources, suites, components, checkValidUntil, url }
  const at = (key: string): { line: number; column: number } =>
    (node.kind === 'map' ? node.members.find((member) => member.key === key)?.at : undefined) ?? node
  const written = (key: string): boolean =>
    node.kind === 'map' && node.members.some((member) => member.key === key)
  const debianOnly = ['from', 'sources', 'suites', 'components', 'checkValidUntil']
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
