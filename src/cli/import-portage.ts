/** What /etc/portage says, as the YAML text of a profile; what has no counterpart becomes a comment. */
import { isStage5Error } from '../base/errors.ts'
import { archOfGentoo } from '../pkg/ebuild-package.ts'
import { parseEbuildAtom, splitVersion } from '../pkg/ebuild-atom.ts'
import { readMakeConf } from '../format/make-conf.ts'
import type { Forced } from '../resolve/profile.ts'
import { expandedFlag, type GentooProfile, lastOf, readGentooProfile } from './gentoo-profile.ts'
import { type ImportedRepository, importBinhosts } from './import-binhosts.ts'
import type { PortageFiles } from './read-portage.ts'
import { flow, quoted } from './yaml-words.ts'

/** Variables of make.conf whose words are USE flags with the name of the variable in front. */
const EXPANDED = [
  'ABI_X86',
  'APACHE2_MODULES',
  'APACHE2_MPMS',
  'CPU_FLAGS_ARM',
  'CPU_FLAGS_X86',
  'CURL_SSL',
  'GRUB_PLATFORMS',
  'INPUT_DEVICES',
  'L10N',
  'LLVM_SLOT',
  'LLVM_TARGETS',
  'LUA_SINGLE_TARGET',
  'LUA_TARGETS',
  'NGINX_MODULES_HTTP',
  'NGINX_MODULES_MAIL',
  'NGINX_MODULES_STREAM',
  'PHP_TARGETS',
  'POSTGRES_TARGETS',
  'PYTHON_SINGLE_TARGET',
  'PYTHON_TARGETS',
  'QEMU_SOFTMMU_TARGETS',
  'QEMU_USER_TARGETS',
  'RUBY_TARGETS',
  'VIDEO_CARDS',
]
const READ = ['USE', 'ACCEPT_KEYWORDS', 'ACCEPT_LICENSE', 'PORTAGE_BINHOST', ...EXPANDED]

interface Setting {
  use: string[]
  keywords: string[]
  licenses: string[]
}

interface Imported {
  /** Text of profiles/NAME.yaml. */
  readonly text: string
  /** What has no counterpart, as the comments say it. */
  readonly left: readonly string[]
  readonly packages: number
  /** Texts of repos/: the binhosts of the machine. */
  readonly repositories: readonly ImportedRepository[]
}

interface ImportNames {
  /** Of the profile, and of its repository. */
  readonly name: string
  /** Path of the folder, for its keyring. */
  readonly folder: string
}

/**
 * @param files `world` and `world_sets` too, and `license_groups` of the ebuild repository where there is one
 * @throws S5_USAGE for a make.conf that cannot be read
 */
export function importPortage(
  files: PortageFiles,
  { name: profileName, folder }: ImportNames = { name: 'imported', folder: '/etc/portage' },
): Imported {
  const left: string[] = []
  const texts = (name: string): [string, string][] =>
    [...files].filter(([path]) => path === name || path.startsWith(`${name}/`))
  const linesOf = (name: string): { words: string[]; place: string }[] =>
    texts(name).flatMap(([path, text]) =>
      text.split('\n').flatMap((line, at) => {
        const words = line
          .replace(/(^|\s)#.*$/, '')
          .split(/\s+/)
          .filter((word) => word !== '')
        return words.length === 0 ? [] : [{ words, place: `${path}:${at + 1}` }]
      }),
    )
  const isAtom = (text: string, place: string): boolean => {
    try {
      parseEbuildAtom(text, { kind: 'pattern' })
      return true
    } catch (error) {
      if (!isStage5Error(error, 'S5_ATOM_SYNTAX')) throw error
      left.push(`${place}: ${text} is no atom that stage5 reads`)
      return false
    }
  }
  const atomsOf = (name: string): string[] =>
    linesOf(name).flatMap(({ words: [atom = ''], place }) => (isAtom(atom, place) ? [atom] : []))

  const variables = readMakeConf(texts('make.conf').map(([, text]) => text))
  const gentoo = readGentooProfile(files)
  const wordsOf = (name: string): string[] =>
    (variables.get(name) ?? '').split(/\s+/).filter((word) => word !== '')
  const use = [
    ...wordsOf('USE'),
    ...[...new Set([...EXPANDED, ...gentoo.expand])].flatMap((name) =>
      wordsOf(name).map((word) => expandedFlag(name, word)),
    ),
  ]
  const keywords = [...gentoo.keywords, ...wordsOf('ACCEPT_KEYWORDS')]
  const arch =
    gentoo.arch !== ''
      ? gentoo.arch
      : (keywords.find((word) => /^~?[a-z0-9]+$/.test(word))?.replace('~', '') ?? 'amd64')
  const groups = licenseGroups(texts('license_groups').map(([, text]) => text))
  const licenses = [...gentoo.licenses, ...wordsOf('ACCEPT_LICENSE')].filter((word) => {
    const group = /^-?@(.*)$/.exec(word)?.[1]
    if (group === undefined || groups.has(group)) return true
    left.push(`make.conf: ACCEPT_LICENSE ${word}: its members are in license_groups of the ebuild repository`)
    return false
  })
  const ignored = [...variables.keys()].filter(
    (name) => !READ.includes(name) && !gentoo.expand.includes(name),
  )
  if (ignored.length > 0)
    left.push(`make.conf: ${ignored.sort().join(', ')}: about building or fetching, or not read`)

  const settings = new Map<string, Setting>()
  const settingOf = (atom: string): Setting => {
    const found = settings.get(atom) ?? { use: [], keywords: [], licenses: [] }
    settings.set(atom, found)
    return found
  }
  for (const { atom, flags } of gentoo.packageKeywords)
    if (isAtom(atom, 'the profile'))
      settingOf(atom).keywords.push(...(flags.length > 0 ? flags : [`~${arch}`]))
  for (const { words, place } of linesOf('package.use')) {
    const [atom = '', ...rest] = words
    if (isAtom(atom, place)) settingOf(atom).use.push(...flagsOf(rest))
  }
  for (const name of ['package.keywords', 'package.accept_keywords'])
    for (const { words, place } of linesOf(name)) {
      const [atom = '', ...rest] = words
      if (isAtom(atom, place)) settingOf(atom).keywords.push(...(rest.length > 0 ? rest : [`~${arch}`]))
    }
  for (const { words, place } of linesOf('package.license')) {
    const [atom = '', ...rest] = words
    if (!isAtom(atom, place)) continue
    const known = rest.filter((word) => !/^-?@/.test(word) || groups.has(word.replace(/^-?@/, '')))
    if (known.length < rest.length) left.push(`${place}: groups of licences that are not known here`)
    settingOf(atom).licenses.push(...known)
  }
  const provided = [
    ...gentoo.provided,
    ...linesOf('package.provided').flatMap(({ words: [cpv = ''], place }) => {
      const found = splitVersion(cpv)
      if (!found) left.push(`${place}: ${cpv} is no category/package-version`)
      return found ? [found] : []
    }),
  ]
  const world = linesOf('world').flatMap(({ words: [atom = ''], place }) =>
    atom.startsWith('@') || isAtom(atom, place) ? [atom] : [],
  )
  const wanted = [...world, ...linesOf('world_sets').map(({ words }) => words[0] as string)]
  const sets = setsOf(files, isAtom)
  const system = gentoo.system.filter((atom) => isAtom(atom, 'packages of the profile'))
  if (system.length > 0) {
    sets.set('system', system)
    if (!wanted.includes('@system'))
      left.push(
        `@system: ${system.length} packages that the profile of Gentoo wants everywhere; "@system" under packages asks for them`,
      )
  }
  const packages = wanted.filter((atom) => {
    if (!atom.startsWith('@') || sets.has(atom.slice(1))) return true
    left.push(`world: the set ${atom} has no file in sets/`)
    return false
  })
  for (const path of files.keys()) if (!KNOWN.test(path)) left.push(`${path}: no counterpart`)
  if (packages.length === 0) left.push('world: no file, or an empty one: say under packages what is wanted')
  const repositories = importBinhosts(
    profileName,
    {
      files: [...texts('binrepos.shipped'), ...texts('binrepos.conf')].map(([file, text]) => ({
        file,
        text,
      })),
      variable: variables.get('PORTAGE_BINHOST') ?? '',
      features: new Set(lastOf(wordsOf('FEATURES'))),
      keyring: `${folder}/gnupg/pubring.kbx`,
    },
    left,
  )
  const allPatterns = (list: readonly Forced[]): Forced[] =>
    list.filter(({ atom, flags }) => flags.length > 0 && (atom === '' || isAtom(atom, 'the profile')))
  const text = printProfile({
    repositories:
      repositories.length > 0 ? repositories.map(({ name }) => name) : [`gentoo-${archOfGentoo(arch)}`],
    profileUse: allPatterns([{ atom: '', flags: profileUse(gentoo, variables) }, ...gentoo.packageUse]),
    useForce: allPatterns(gentoo.useForce),
    useMask: allPatterns(gentoo.useMask),
    arch: archOfGentoo(arch),
    use: lastOf(use),
    keywords,
    licenses: lastOf(licenses),
    groups: usedGroups(groups, [
      ...licenses,
      ...[...settings.values()].flatMap((setting) => setting.licenses),
    ]),
    mask: unique([...gentoo.mask.filter((atom) => isAtom(atom, 'the profile')), ...atomsOf('package.mask')]),
    unmask: unique([
      ...gentoo.unmask.filter((atom) => isAtom(atom, 'the profile')),
      ...atomsOf('package.unmask'),
    ]),
    provided,
    sets,
    settings,
    packages: unique(packages),
    left,
  })
  return { text, left, packages: packages.length, repositories }
}

/** A variable of USE_EXPAND that make.conf sets replaces what the profile says in it. */
function profileUse({ use, expand }: GentooProfile, variables: ReadonlyMap<string, string>): string[] {
  const replaced = expand.filter((name) => variables.has(name)).map((name) => `${name.toLowerCase()}_`)
  return use.filter((word) => !replaced.some((prefix) => word.replace(/^-/, '').startsWith(prefix)))
}

const KNOWN =
  /^(make\.conf|package\.(use|keywords|accept_keywords|license|mask|unmask|provided)|make\.profile|profile\/(make\.defaults|packages|package\.(use|use\.force|use\.mask|keywords|accept_keywords|mask|unmask|provided)|use\.(force|mask))|world|world_sets|license_groups|binrepos\.(conf|shipped)|sets)(\/|$)/

/** The words of a line of package.use; `VARIABLE:` puts its name before those that follow. */
function flagsOf(words: readonly string[]): string[] {
  let prefix = ''
  return words.flatMap((word) => {
    if (!word.endsWith(':')) return [prefix === '' ? word : expandedFlag(prefix, word)]
    prefix = word.slice(0, -1)
    return []
  })
}

function unique(items: readonly string[]): string[] {
  return [...new Set(items)]
}

function licenseGroups(texts: readonly string[]): Map<string, string[]> {
  const groups = new Map<string, string[]>()
  for (const line of texts.join('\n').split('\n')) {
    const [name = '', ...members] = line
      .replace(/#.*$/, '')
      .split(/\s+/)
      .filter((word) => word !== '')
    if (name !== '') groups.set(name, members)
  }
  return groups
}

/** The groups that are named, and those that they name. */
function usedGroups(groups: ReadonlyMap<string, string[]>, words: readonly string[]): Map<string, string[]> {
  const used = new Map<string, string[]>()
  const open = [...words]
  for (let word = open.pop(); word !== undefined; word = open.pop()) {
    const name = /^-?@(.*)$/.exec(word)?.[1] ?? ''
    const members = groups.get(name)
    if (!members || used.has(name)) continue
    used.set(name, members)
    open.push(...members)
  }
  return new Map([...used].sort(([left], [right]) => (left < right ? -1 : 1)))
}

function setsOf(
  files: PortageFiles,
  isAtom: (text: string, place: string) => boolean,
): Map<string, string[]> {
  const sets = new Map<string, string[]>()
  for (const [path, text] of files) {
    if (!path.startsWith('sets/')) continue
    const lines = text.split('\n').map((line) => line.replace(/#.*$/, '').trim())
    sets.set(
      path.slice('sets/'.length),
      lines.filter((line) => line !== '' && (line.startsWith('@') || isAtom(line, path))),
    )
  }
  return sets
}

interface ProfileParts {
  readonly repositories: readonly string[]
  readonly profileUse: readonly Forced[]
  readonly useForce: readonly Forced[]
  readonly useMask: readonly Forced[]
  readonly arch: string
  readonly use: readonly string[]
  readonly keywords: readonly string[]
  readonly licenses: readonly string[]
  readonly groups: ReadonlyMap<string, readonly string[]>
  readonly mask: readonly string[]
  readonly unmask: readonly string[]
  readonly provided: readonly { readonly name: string; readonly version: string }[]
  readonly sets: ReadonlyMap<string, readonly string[]>
  readonly settings: ReadonlyMap<string, Setting>
  readonly packages: readonly string[]
  readonly left: readonly string[]
}

function printProfile(parts: ProfileParts): string {
  const { arch, use, keywords, licenses, groups, mask, unmask, provided, sets, settings, packages, left } =
    parts
  const block = (key: string, lines: readonly string[]): string =>
    lines.length === 0 ? '' : `${key}:\n${lines.map((line) => `  ${line}\n`).join('')}`
  const items = (words: readonly string[]): string[] => words.map((word) => `- ${quoted(word)}`)
  return [
    '# yaml-language-server: $schema=./profile.schema.json\n',
    '# Imported from Portage. A file of repos/ with kind: gentoo says where the packages are.\n',
    ...left.map((line) => `# not taken over: ${line}\n`),
    'stage5: 1\n',
    `arch: ${arch}\n`,
    `repositories: ${flow(parts.repositories)}\n`,
    keywords.length > 0 ? `keywords: ${flow(unique(keywords))}\n` : '',
    licenses.length > 0 ? `licenses: ${flow(licenses)}\n` : '',
    block(
      'licenseGroups',
      [...groups].map(([name, members]) => `${quoted(name)}: ${flow(members)}`),
    ),
    ...(['profileUse', 'useForce', 'useMask'] as const).map((key) =>
      block(key, parts[key].flatMap(forcedLines)),
    ),
    use.length > 0 ? `use: ${flow(use)}\n` : '',
    block('mask', items(mask)),
    block('unmask', items(unmask)),
    block(
      'provided',
      provided.map(
        ({ name, version }) =>
          `- {name: ${quoted(name)}, version: ${quoted(version)}, reason: package.provided}`,
      ),
    ),
    block(
      'settings',
      [...settings].map(([atom, setting]) => `- {atom: ${quoted(atom)}${settingText(setting)}}`),
    ),
    block(
      'sets',
      [...sets].map(([name, members]) => `${quoted(name)}: ${flow(members)}`),
    ),
    block('packages', items(packages)),
  ].join('')
}

function forcedLines({ atom, flags }: Forced): string[] {
  if (atom !== '') return [`- {atom: ${quoted(atom)}, use: ${flow(flags)}}`]
  return flags.map((flag) => `- ${quoted(flag)}`)
}

function settingText({ use, keywords, licenses }: Setting): string {
  const part = (key: string, words: readonly string[]): string =>
    words.length === 0 ? '' : `, ${key}: ${flow(words)}`
  return part('use', lastOf(use)) + part('keywords', unique(keywords)) + part('licenses', lastOf(licenses))
}
