/** A profile of Gentoo as one: the folders of its parent chain, later ones over earlier ones. */
import { splitVersion } from '../pkg/ebuild-atom.ts'
import { readMakeConf } from '../format/make-conf.ts'
import type { Forced } from '../resolve/profile.ts'
import type { PortageFiles } from './read-portage.ts'

/** What the folders of a profile say together. */
export interface GentooProfile {
  /** '' where no folder says it. */
  readonly arch: string
  /** Words of USE, and of variables that USE_EXPAND names, as they stand last. */
  readonly use: readonly string[]
  /** Names of variables whose words are flags. */
  readonly expand: readonly string[]
  readonly packageUse: readonly Forced[]
  readonly useForce: readonly Forced[]
  readonly useMask: readonly Forced[]
  readonly keywords: readonly string[]
  readonly licenses: readonly string[]
  readonly mask: readonly string[]
  readonly unmask: readonly string[]
  readonly packageKeywords: readonly Forced[]
  /** Atoms of `packages` with `*`. */
  readonly system: readonly string[]
  readonly provided: readonly { readonly name: string; readonly version: string }[]
}

/** One folder: its files by name; the lines of a folder among them in the order of its files. */
type Node = ReadonlyMap<string, readonly string[]>

/**
 * Folders `make.profile/NNNN/` in their order, then `profile/`, which a machine adds.
 *
 * What a folder says of all packages and of some is not interleaved with the next one's: what is said of some wins.
 * @see PMS 8, section 5.2; portage(5), /etc/portage/profile
 */
export function readGentooProfile(files: PortageFiles): GentooProfile {
  const nodes = nodesOf(files)
  const lines = (name: string): string[][] =>
    nodes.flatMap((node) => (node.get(name) ?? []).map(wordsOf).filter((words) => words.length > 0))
  const stacked = (name: string): string[] => stack(lines(name).map(([word = '']) => word))
  const variables = new Map<string, string>()
  const settings = nodes.map((node) => {
    const own = readMakeConf([(node.get('make.defaults') ?? []).join('\n')], variables)
    for (const [name, value] of own) variables.set(name, value)
    return own
  })
  const wordsIn = (name: string): string[] => settings.flatMap((own) => wordsOf(own.get(name) ?? ''))
  const expand = stack(wordsIn('USE_EXPAND'))
  const use = settings.flatMap((own) => [
    ...wordsOf(own.get('USE') ?? ''),
    ...expand.flatMap((name) => wordsOf(own.get(name) ?? '').map((word) => expandedFlag(name, word))),
  ])
  const system = stack(
    lines('packages').flatMap(([word = '']) => (/^-?\*/.test(word) ? [word.replace('*', '')] : [])),
  )
  return {
    arch: variables.get('ARCH') ?? '',
    use: lastOf(use),
    expand,
    packageUse: byAtom([...lines('package.use')], lastOf),
    useForce: [general(stacked('use.force')), ...byAtom(lines('package.use.force'), lastOf)],
    useMask: [general(stacked('use.mask')), ...byAtom(lines('package.use.mask'), lastOf)],
    keywords: stack(wordsIn('ACCEPT_KEYWORDS')),
    licenses: lastOf(wordsIn('ACCEPT_LICENSE')),
    mask: stacked('package.mask'),
    unmask: stacked('package.unmask'),
    packageKeywords: byAtom([...lines('package.keywords'), ...lines('package.accept_keywords')], stack),
    system,
    provided: stacked('package.provided').flatMap((cpv) => splitVersion(cpv) ?? []),
  }
}

/** `VARIABLE` and a word of it to a flag. */
export function expandedFlag(variable: string, word: string): string {
  if (word === '-*') return word
  const isOff = word.startsWith('-')
  return `${isOff ? '-' : ''}${variable.toLowerCase()}_${isOff ? word.slice(1) : word}`
}

/** Each flag as it stands last; `-*` forgets what is before it. */
export function lastOf(words: readonly string[]): string[] {
  const kept = new Map<string, string>()
  for (const word of words) {
    const flag = word.replace(/^[+-]/, '')
    if (word === '-*') kept.clear()
    kept.delete(flag)
    kept.set(flag, word.replace(/^\+/, ''))
  }
  return [...kept.values()]
}

/** `-x` takes an x before it away, `-*` all. */
function stack(words: readonly string[]): string[] {
  const kept = new Set<string>()
  for (const word of words)
    if (word === '-*') kept.clear()
    else if (word.startsWith('-')) kept.delete(word.slice(1))
    else kept.add(word)
  return [...kept]
}

function general(flags: readonly string[]): Forced {
  return { atom: '', flags }
}

function byAtom(lines: readonly string[][], join: (words: readonly string[]) => string[]): Forced[] {
  const found = new Map<string, string[]>()
  for (const [atom = '', ...words] of lines) found.set(atom, [...(found.get(atom) ?? []), ...words])
  return [...found].map(([atom, words]) => ({ atom, flags: join(words) }))
}

function wordsOf(line: string): string[] {
  return line
    .replace(/(^|\s)#.*$/, '')
    .split(/\s+/)
    .filter((word) => word !== '')
}

function nodesOf(files: PortageFiles): Node[] {
  const nodes = new Map<string, Map<string, string[]>>()
  for (const [path, text] of files) {
    const found = /^(make\.profile\/[0-9]+|profile)\/([^/]+)/.exec(path)
    if (!found) continue
    const [, place = '', name = ''] = found
    const node = nodes.get(place) ?? new Map<string, string[]>()
    nodes.set(place, node)
    node.set(name, [...(node.get(name) ?? []), ...text.split('\n')])
  }
  return [...nodes].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, node]) => node)
}
