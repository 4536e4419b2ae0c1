/** The binhosts that a machine's Portage uses, as YAML texts of repositories. */
import { binhostsOfVariable, type Binrepo, parseBinrepos } from '../format/binrepos.ts'
import { flow, quoted } from './yaml-words.ts'

export interface ImportedRepository {
  /** File of repos/, without .yaml. */
  readonly name: string
  readonly text: string
}

interface BinhostFacts {
  /** Files of binrepos.conf, the shipped one first. */
  readonly files: readonly { readonly file: string; readonly text: string }[]
  /** Words of PORTAGE_BINHOST. */
  readonly variable: string
  /** Of make.conf, the last of each name. */
  readonly features: ReadonlySet<string>
  /** Path of the keyring that Portage checks with. */
  readonly keyring: string
}

/**
 * Those that are verified and those that are not are two repositories, since a repository has one policy.
 *
 * @param problems takes what cannot be used
 */
export function importBinhosts(
  name: string,
  { files, variable, features, keyring }: BinhostFacts,
  problems: string[],
): readonly ImportedRepository[] {
  const { repositories, problems: found } = parseBinrepos(files, {
    EPREFIX: '',
    EROOT: '/',
    ROOT: '/',
    PORTAGE_CONFIGROOT: '/',
  })
  problems.push(...found.map((problem) => `binrepos.conf: ${problem}`))
  const binhosts = [...repositories, ...binhostsOfVariable(variable, repositories)]
  const isVerified = (binhost: Binrepo): boolean =>
    features.has('binpkg-request-signature') ||
    (binhost.verifySignature && !features.has('binpkg-ignore-signature'))
  const groups = [
    { list: binhosts.filter(isVerified), policy: `keyring: [${quoted(keyring)}]\n` },
    { list: binhosts.filter((one) => !isVerified(one)), policy: 'signatures: "off"\n' },
  ].filter(({ list }) => list.length > 0)
  return groups.map(({ list, policy }, at) => ({
    name: at === 0 ? name : `${name}-unsigned`,
    text: [
      '# yaml-language-server: $schema=./repository.schema.json\n',
      '# Imported from binrepos.conf and PORTAGE_BINHOST.\n',
      'stage5: 1\nkind: gentoo\n',
      policy,
      'binhosts:\n',
      ...list.map(lineOf),
    ].join(''),
  }))
}

function lineOf({ name, uri, priority, include, exclude }: Binrepo): string {
  const words = [
    `name: ${quoted(name)}`,
    `uri: ${quoted(uri)}`,
    ...(priority === 0 ? [] : [`priority: ${priority}`]),
    ...(include.length === 0 ? [] : [`include: ${flow(include)}`]),
    ...(exclude.length === 0 ? [] : [`exclude: ${flow(exclude)}`]),
  ]
  return `  - {${words.join(', ')}}\n`
}
