/** `binrepos.conf` of Portage: which binhosts a machine uses. */

export interface Binrepo {
  /** Name of the section. */
  readonly name: string
  /** Without slashes at its end. */
  readonly uri: string
  /** A higher one is preferred. */
  readonly priority: number
  readonly verifySignature: boolean
  /** The index is not asked for again once it is there. */
  readonly frozen: boolean
  /** Atoms of the only packages that are taken from it; empty: of all. */
  readonly include: readonly string[]
  /** Atoms of packages that are not taken from it. */
  readonly exclude: readonly string[]
}

interface Binrepos {
  /** Preferred first: by priority, then by name. */
  readonly repositories: readonly Binrepo[]
  /** What cannot be used, each with its place. */
  readonly problems: readonly string[]
}

/**
 * Words of PORTAGE_BINHOST as binhosts beside `known` ones, the preferred first: the last word has priority 1, the one
 * before it 2, and so on. One that a section names already is that one.
 *
 * @see make.conf(5), PORTAGE_BINHOST
 */
export function binhostsOfVariable(
  text: string,
  known: readonly Pick<Binrepo, 'uri'>[] = [],
): readonly Binrepo[] {
  const uris = new Set(known.map(({ uri }) => uri))
  const found: Binrepo[] = []
  for (const word of text.split(/\s+/).reverse()) {
    const uri = word.replace(/\/+$/, '')
    if (uri === '' || uris.has(uri)) continue
    uris.add(uri)
    const priority = found.length + 1
    const name = `binhost${priority}`
    found.push({ name, uri, priority, verifySignature: false, frozen: false, include: [], exclude: [] })
  }
  return found.reverse()
}

/** Keys that say how Portage fetches and keeps files; of no meaning here. */
const IGNORED = new Set(['location', 'fetchcommand', 'resumecommand', 'openpgp-key-package'])

/**
 * Reads files in their order; a later one adds to and overrides keys of an earlier one.
 *
 * "#" begins a comment only at the start of a line; `%(NAME)s` stands for a variable or a key of the section or of
 * `[DEFAULT]`.
 * @param variables EPREFIX, EROOT, PORTAGE_CONFIGROOT, ROOT
 * @see portage(5), binrepos.conf
 */
export function parseBinrepos(
  files: readonly { readonly file: string; readonly text: string }[],
  variables: { readonly [name: string]: string } = {},
): Binrepos {
  const problems: string[] = []
  const sections = new Map<string, Map<string, string>>()
  for (const { file, text } of files) readSections(file, text, sections, problems)
  const defaults = sections.get('DEFAULT') ?? new Map<string, string>()
  sections.delete('DEFAULT')
  const repositories = [...sections].flatMap(([name, own]): Binrepo[] => {
    const problem = (what: string) => void problems.push(`[${name}]: ${what}`)
    const keys = new Map([...defaults, ...own])
    const value = (key: string): string =>
      interpolated(keys.get(key) ?? '', (variable) => variables[variable] ?? keys.get(variable.toLowerCase()))
    const uri = value('sync-uri').trim().replace(/\/+$/, '')
    if (uri === '') return (problem('no sync-uri'), [])
    if (!/^(?:https?:\/\/|file:|\/)/i.test(uri)) return (problem(`cannot fetch from ${uri}`), [])
    const priority = value('priority') || '0'
    if (!/^-?[0-9]{1,9}$/.test(priority)) problem(`the priority ${priority} is not a number`)
    for (const key of own.keys()) if (!KNOWN.has(key) && !IGNORED.has(key)) problem(`unknown key ${key}`)
    const wordsOf = (key: string): string[] =>
      [...new Set(value(key).split(/\s+/))].filter((word) => word !== '')
    const [include, exclude] = [wordsOf('getbinpkg-include'), wordsOf('getbinpkg-exclude')]
    const both = include.filter((word) => exclude.includes(word))
    if (both.length > 0)
      problem(`${both.join(' ')} in both getbinpkg-include and getbinpkg-exclude, so in neither`)
    return [
      {
        name,
        uri,
        priority: Number.parseInt(priority, 10) || 0,
        verifySignature: isTrue(value('verify-signature')),
        frozen: isTrue(value('frozen')),
        include: include.filter((word) => !both.includes(word)),
        exclude: exclude.filter((word) => !both.includes(word)),
      },
    ]
  })
  repositories.sort(
    (left, right) =>
      right.priority - left.priority || (left.name < right.name ? -1 : left.name > right.name ? 1 : 0),
  )
  return { repositories, problems }
}

const KNOWN = new Set([
  'sync-uri',
  'priority',
  'verify-signature',
  'frozen',
  'getbinpkg-include',
  'getbinpkg-exclude',
])

function readSections(
  file: string,
  text: string,
  sections: Map<string, Map<string, string>>,
  problems: string[],
): void {
  let section: Map<string, string> | undefined
  let last: string | undefined
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*$/.test(line) || /^[#;]/.test(line)) continue
    const name = /^\[([^\]]+)\]\s*$/.exec(line)?.[1]
    if (name !== undefined) {
      section = sections.get(name) ?? new Map<string, string>()
      sections.set(name, section)
      last = undefined
      continue
    }
    const pair = /^([^\s=:][^=:]*?)\s*[=:]\s*(.*?)\s*$/.exec(line)
    if (pair && section) {
      last = (pair[1] as string).toLowerCase()
      section.set(last, pair[2] as string)
    } else if (/^\s/.test(line) && section && last !== undefined)
      section.set(last, `${section.get(last)}\n${line.trim()}`)
    else problems.push(`${file}:${at + 1}: neither [section] nor key = value`)
  }
}

/** "%%" is a percent sign. What is not known stays as it is written. */
function interpolated(text: string, variable: (name: string) => string | undefined): string {
  return text.replace(/%%|%\(([A-Za-z_-]+)\)s/g, (whole, name: string | undefined) =>
    name === undefined ? '%' : (variable(name) ?? whole),
  )
}

function isTrue(value: string): boolean {
  return /^(?:true|yes)$/i.test(value)
}
