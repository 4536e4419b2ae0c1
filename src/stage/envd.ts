/**
 * What gcc-config and env-update do: /etc/env.d becomes /etc/profile.env, /etc/csh.env and /etc/ld.so.conf, after the
 * runtime libraries of the newest GCC were put on the way of the loader.
 */
import { Stage5Error } from '../base/errors.ts'
import { parseAssignments } from '../format/assignments.ts'
import { compareEbuildVersions, isEbuildVersion } from '../pkg/ebuild-version.ts'
import { namesIn } from '../tree/below.ts'
import type { Contents } from '../tree/contents.ts'
import { follow } from '../tree/resolve-path.ts'
import { baseOf, type Entry, lookup, type Tree } from '../tree/tree.ts'
import { PROFILE_OWNER } from './files.ts'
import { asJson, byteText, maker, placed, rawBytes, withTree } from './generated.ts'
import type { Stage } from './stage.ts'

/** Variables whose values of all files are joined, and by what. @see env.d in the Gentoo handbook; make.conf(5) */
const SPACES = ['CONFIG_PROTECT', 'CONFIG_PROTECT_MASK']
const COLONS =
  'ADA_INCLUDE_PATH ADA_OBJECTS_PATH CLASSPATH INFODIR INFOPATH KDEDIRS LDPATH MANPATH PATH PKG_CONFIG_PATH PYTHONPATH ROOTPATH'.split(
    ' ',
  )

interface Environment {
  /** By name, without LDPATH. */
  readonly variables: ReadonlyMap<string, string>
  readonly ldpath: readonly string[]
}

/**
 * The variables of several files of env.d: lists are joined, each item once, of others the last value stays.
 * COLON_SEPARATED and SPACE_SEPARATED declare further lists.
 * @param files assignments, in the order of their file names
 */
export function joinEnvironment(files: readonly ReadonlyMap<string, string>[]): Environment {
  const declared = (name: string): string[] => files.flatMap((file) => wordsOf(file.get(name)))
  const spaces = new Set([...SPACES, ...declared('SPACE_SEPARATED')])
  const colons = new Set([...COLONS, ...declared('COLON_SEPARATED')])
  const lists = new Map<string, string[]>()
  const variables = new Map<string, string>()
  for (const file of files)
    for (const [name, value] of file) {
      if (name === 'SPACE_SEPARATED' || name === 'COLON_SEPARATED') continue
      if (!spaces.has(name) && !colons.has(name)) {
        variables.set(name, value)
        continue
      }
      const list = lists.get(name) ?? []
      lists.set(name, list)
      for (const item of spaces.has(name) ? wordsOf(value) : value.split(':'))
        if (item !== '' && !list.includes(item)) list.push(item)
    }
  for (const [name, list] of lists)
    if (list.length > 0) variables.set(name, list.join(spaces.has(name) ? ' ' : ':'))
  variables.delete('LDPATH')
  return {
    variables: new Map([...variables].sort(([a], [b]) => (a < b ? -1 : 1))),
    ldpath: lists.get('LDPATH') ?? [],
  }
}

function wordsOf(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '')
}

const NOTICE = '# Made by stage5 of the files in /etc/env.d; change those.\n\n'

/** Lines for a Bourne shell. A value `$…` that is no `${…}` is one of `$'…'`, as env.d has it. */
function shellText(variables: Environment['variables']): string {
  const lines = [...variables].map(([name, value]) =>
    value.startsWith('$') && !value.startsWith('${')
      ? `export ${name}=$'${value.slice(1)}'\n`
      : `export ${name}='${value.replaceAll("'", String.raw`'\''`)}'\n`,
  )
  return NOTICE + lines.join('')
}

function cshText(variables: Environment['variables']): string {
  const lines = [...variables].map(
    ([name, value]) => `setenv ${name} '${value.replaceAll("'", String.raw`'\''`)}'\n`,
  )
  return NOTICE + lines.join('')
}

/** environment.d(5); PATH is left to the service manager, and an empty value says nothing there. */
function systemdText(variables: Environment['variables']): string {
  const lines = [...variables]
    .filter(([name, value]) => name !== 'PATH' && value !== '')
    .map(([name, value]) => `${name}=${value}\n`)
  return NOTICE + lines.join('')
}

interface Params {
  /** Whether the compiler itself stays in the root. */
  readonly compiler: boolean
  readonly date: number
}

export const envd: Stage = {
  name: 'envd',
  version: 1,
  pick: ({ profile, date }) => asJson({ compiler: !profile.strip.classes.includes('compiler'), date }),
  async run(input, params, { contents }) {
    const { compiler, date } = params as unknown as Params
    const make = maker('envd', date, contents)
    const selected: Entry[] = []
    for (const { chost, text } of await runtimes(input.tree, contents, compiler)) {
      const path = `etc/env.d/04gcc-${chost}`
      if (!lookup(input.tree, path)) selected.push(await make.file(path, text))
    }
    const tree = placed(input.tree, selected, date)
    const files: ReadonlyMap<string, string>[] = []
    for (const path of filesOf(tree, 'etc/env.d'))
      if (isEnvFile(baseOf(path))) files.push(await assignmentsIn(tree, path, contents))
    if (files.length === 0) return input
    const { variables, ldpath } = joinEnvironment(files)
    const made = [
      await make.file('etc/profile.env', rawBytes(shellText(variables))),
      await make.file('etc/csh.env', rawBytes(cshText(variables))),
    ]
    if (ldpath.length > 0)
      made.push(
        await make.file('etc/ld.so.conf', rawBytes(NOTICE + ldpath.map((line) => `${line}\n`).join(''))),
      )
    if (follow(tree, 'usr/lib/systemd/systemd'))
      made.push(await make.file('etc/environment.d/10-gentoo-env.conf', rawBytes(systemdText(variables))))
    const own = made.filter(({ path }) => lookup(tree, path)?.owner !== PROFILE_OWNER)
    return withTree(input, placed(tree, own, date))
  },
}

/** Two digits, then the name; no copies of editors. */
function isEnvFile(name: string): boolean {
  return /^[0-9]{2}/.test(name) && name.length > 2 && !/~$|\.bak$/.test(name)
}

/** Files (or links to files) right in a directory, by name. */
function filesOf(tree: Tree, directory: string): string[] {
  return namesIn(tree, directory)
    .map(({ path }) => path)
    .filter((path) => follow(tree, path)?.inode.type === 'file')
    .sort()
}

async function assignmentsIn(
  tree: Tree,
  path: string,
  contents: Contents,
): Promise<ReadonlyMap<string, string>> {
  const inode = follow(tree, path)?.inode
  const found = inode?.type === 'file' && parseAssignments(byteText(await contents.read(inode.content)))
  if (found) return found
  throw new Stage5Error(
    'S5_STAGE_INVALID',
    `envd: /${path}: expected lines NAME="value", found a quote without its end`,
  )
}

/**
 * For each target the file of env.d that the newest GCC (or the one that `config-TARGET` names) would get. Without the
 * compiler only its libraries are put on the way.
 */
async function runtimes(
  tree: Tree,
  contents: Contents,
  compiler: boolean,
): Promise<{ chost: string; text: string }[]> {
  const newest = new Map<string, { version: string; path: string }>()
  const chosen = new Map<string, string>()
  for (const path of filesOf(tree, 'etc/env.d/gcc')) {
    const name = baseOf(path)
    if (name.startsWith('config-')) {
      const current = (await assignmentsIn(tree, path, contents)).get('CURRENT')
      if (current !== undefined) chosen.set(name.slice('config-'.length), current)
      continue
    }
    const found = /^([A-Za-z0-9_]+-.+)-([0-9][0-9.]*)$/.exec(name)
    const [chost = '', version = ''] = found?.slice(1) ?? []
    if (!found || !isEbuildVersion(version)) continue
    const known = newest.get(chost)
    if (!known || compareEbuildVersions(known.version, version) < 0) newest.set(chost, { version, path })
  }
  const result: { chost: string; text: string }[] = []
  for (const [chost, { path }] of [...newest].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const current = chosen.get(chost)
    const own = current === undefined ? undefined : `etc/env.d/gcc/${current}`
    const values = await assignmentsIn(tree, own && follow(tree, own) ? own : path, contents)
    const names = compiler ? ['GCC_SPECS', 'INFOPATH', 'LDPATH', 'MANPATH', 'PATH', 'ROOTPATH'] : ['LDPATH']
    const lines = names.flatMap((name) => {
      const value = values.get(name)
      return value === undefined ? [] : [`${name}="${value}"\n`]
    })
    if (lines.length > 0) result.push({ chost, text: lines.join('') })
  }
  return result
}
