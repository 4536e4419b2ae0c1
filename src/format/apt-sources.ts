/** The sources of apt: sources.list lines, deb822 stanzas, and what `apt-config dump` prints. */
import type { Fields } from './release.ts'

/** One archive address that apt would use; the readers keep `deb` entries that are enabled. */
export interface AptSource {
  readonly uri: string
  /** One suite, or a directory that ends in `/` for a flat archive. */
  readonly suites: readonly string[]
  /** Empty for a flat archive. */
  readonly components: readonly string[]
  /** Only these; empty for every one. */
  readonly architectures: readonly string[]
  /** Keyring paths, fingerprints and armoured blocks, as written; empty when the entry has no Signed-By. */
  readonly signedBy: readonly string[]
}

/** What a file of apt sources holds, and what of it cannot be used. */
interface AptSources {
  readonly sources: readonly AptSource[]
  /** Messages that begin with the line number (one-line format) or the stanza number (deb822). */
  readonly problems: readonly string[]
}

/**
 * sources.list(5), one-line format: `deb [ option=value … ] uri suite [component …]`.
 *
 * `trusted=` is not honoured: stage5 takes no unsigned archive.
 */
export function parseSourcesList(text: string): AptSources {
  const sources: AptSource[] = []
  const problems: string[] = []
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/#.*$/, '').trim()
    if (line === '') continue
    const parts = /^(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)((?:\s+\S+)*)$/.exec(line)
    if (!parts) {
      problems.push(`line ${index + 1}: expected "deb [options] uri suite [component …]"`)
      continue
    }
    const [, type, optionText = '', uri = '', suite = '', rest = ''] = parts
    if (type === 'deb-src') continue
    const options = new Map<string, string>()
    for (const option of words(optionText)) {
      const at = option.indexOf('=')
      if (at > 0) options.set(option.slice(0, at).toLowerCase(), option.slice(at + 1))
    }
    const source: AptSource = {
      uri,
      suites: [suite],
      components: words(rest),
      architectures: listed(options.get('arch')),
      signedBy: listed(options.get('signed-by')),
    }
    const problem = wrong(source)
    if (problem === undefined) sources.push(source)
    else problems.push(`line ${index + 1}: ${problem}`)
  }
  return { sources, problems }
}

/** sources.list(5), deb822 format; `Signed-By` may hold an armoured block whose empty lines are written ` .`. */
export function parseSourcesStanzas(stanzas: Iterable<Fields>): AptSources {
  const sources: AptSource[] = []
  const problems: string[] = []
  let number = 0
  for (const stanza of stanzas) {
    number++
    if (!isYes(stanza.get('Enabled') ?? 'yes')) continue
    if (!words(stanza.get('Types') ?? '').includes('deb')) continue
    for (const uri of words(stanza.get('URIs') ?? '')) {
      const source: AptSource = {
        uri,
        suites: words(stanza.get('Suites') ?? ''),
        components: words(stanza.get('Components') ?? ''),
        architectures: words(stanza.get('Architectures') ?? ''),
        signedBy: signers(stanza.get('Signed-By') ?? ''),
      }
      const problem = wrong(source)
      if (problem === undefined) sources.push(source)
      else problems.push(`stanza ${number}: ${problem}`)
    }
  }
  return { sources, problems }
}

/** Lines `Acquire::http::Proxy "value";`, by name in lower case; the last of a name wins. */
export function parseAptConfig(dump: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>()
  for (const line of dump.split('\n')) {
    const parts = /^([^ "]+) "(.*)";\s*$/.exec(line)
    if (parts) values.set((parts[1] as string).toLowerCase(), parts[2] as string)
  }
  return values
}

function wrong(source: AptSource): string | undefined {
  if (source.uri === '' || source.suites.length === 0) return 'expected an address and a suite'
  if (!/^(https?|file|copy):/i.test(source.uri)) return `${source.uri}: only http, https and file are known`
  const flat = source.suites.some((suite) => suite.endsWith('/'))
  if (flat && source.components.length > 0)
    return `${source.suites.join(' ')}: a flat archive has no components`
  if (!flat && source.components.length === 0) return `${source.suites.join(' ')}: no component is named`
  return undefined
}

function signers(text: string): string[] {
  if (!text.includes('-----BEGIN PGP')) return listed(text)
  const lines = text.split('\n').map((line) => line.trim())
  return [lines.map((line) => (line === '.' ? '' : line)).join('\n')]
}

function isYes(text: string): boolean {
  return ['yes', 'true', 'with', 'on', 'enable', '1'].includes(text.trim().toLowerCase())
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}

function listed(text: string | undefined): string[] {
  return (text ?? '').split(/[\s,]+/).filter((item) => item !== '')
}
