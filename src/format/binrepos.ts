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
}

export interface Binrepos {
  /** Preferred first: by priority, then by name. */
  readonly repositories: readonly Binrepo[]
  /** What cannot be used, each with its place. */
  readonly problems: readonly string[]
}

/** Keys that say how Portage fetches and keeps files; of no meaning here. */
const IGNORED = new Set(['location', 'fetchcommand', 'resumecommand', 'openpgp-key-package'])
const UNSUPPORTED = ['getbinpkg-include', 'getbinpkg-exclude']

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
    for (const key of UNSUPPORTED) if (keys.has(key)) problem(`${key} is not used`)
    for (const key of own.keys())
      if (!KNOWN.has(key) && !IGNORED.has(key) && !UNSUPPORTED.includes(key)) problem(`unknown key ${key}`)
    return [
      {
        name,
        uri,
        priority: Number.parseInt(priority, 10) || 0,
        verifySignature: isTrue(value('verify-signature')),
        frozen: isTrue(value('frozen')),
      },
    ]
  })
  repositories.sort(
    (left, right) =>
      right.priority - left.priority || (left.name < right.name ? -1 : left.name > right.name ? 1 : 0),
  )
  return { repositories, problems }
}

const KNOWN = new Set(['sync-uri', 'priority', 'verify-signature', 'frozen'])

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
