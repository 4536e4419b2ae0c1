/** What the merge phases of an ebuild would do: read from the ebuild in its build-info, as far as it stands there. */
import { fileCapabilities } from './filecaps.ts'
import {
  behindConditions,
  isReplacedCall,
  isStructure,
  phasesReplacedBy,
  strangeEclasses,
} from './gentoo-phases.ts'
import type { ScriptLine } from './scripts.ts'

/** Phases that run when a package is merged for the first time, and may change the root. */
const PHASES = ['preinst', 'postinst'] as const
/** Commands that only speak to the person who merges. */
const MESSAGE = /^(?:elog|einfo|einfon|ewarn|eqawarn|eerror|echo|ebegin|eend|:)(?:\s|$)/

/**
 * Lines of `pkg_preinst` and `pkg_postinst` that do what no stage does. A phase that an eclass brings is one line that
 * names the eclasses it can come from, unless the merge phases of all of them are known.
 * @param control members of build-info
 */
export function ebuildPhases(control: { readonly [member: string]: string }): ScriptLine[] {
  if (phasesReplacedBy(nameOf(control)) !== undefined) return []
  const defined = wordsOf(control['DEFINED_PHASES'])
  const ebuild = Object.entries(control).find(([member]) => member.endsWith('.ebuild'))?.[1] ?? ''
  return PHASES.filter((phase) => defined.includes(phase)).flatMap((phase): ScriptLine[] => {
    const member = `pkg_${phase}`
    const body = functionLines(ebuild, member)
    if (body === undefined) {
      const inherited = wordsOf(control['INHERITED'])
      const strange = strangeEclasses(inherited)
      if (inherited.includes('fcaps') && phase === 'postinst' && !fileCapabilities(control))
        return [{ member, line: 0, text: 'from fcaps: FILECAPS has more than plain words' }]
      if (inherited.length === 0) return [{ member, line: 0, text: 'not in the ebuild' }]
      if (strange.length === 0) return []
      return [{ member, line: 0, text: `from an eclass, one of: ${strange.join(' ')}` }]
    }
    const said = body
      .filter(({ text }) => text !== '' && !text.startsWith('#') && !isDone(text))
      .map(({ line, text }) => ({ member, line, text }))
    return said.every(({ text }) => isStructure(text)) ? [] : said
  })
}

/**
 * Merge phases of a package that was not unpacked, as its entry in an index names them; what they do is not known there.
 * @param defined DEFINED_PHASES of the entry
 */
export function phasesToRead(name: string, defined: string): string[] {
  if (phasesReplacedBy(name) !== undefined) return []
  const words = wordsOf(defined)
  return PHASES.filter((phase) => words.includes(phase)).map((phase) => `pkg_${phase}`)
}

/** `dev-lang/php`, or '' where build-info does not say. */
function nameOf(control: { readonly [member: string]: string }): string {
  const category = (control['CATEGORY'] ?? '').trim()
  const full = /^(.+?)-[0-9][^-]*(?:-r[0-9]+)?$/.exec((control['PF'] ?? '').trim())?.[1]
  return full === undefined ? '' : `${category}/${full}`
}

function isDone(text: string): boolean {
  const rest = behindConditions(text)
  return isMessage(rest) || isReplacedCall(rest)
}

/** A message that starts nothing: no substitution of commands, no second command. */
function isMessage(text: string): boolean {
  return MESSAGE.test(text) && !/\$\(|`|[;&|<>]/.test(text.replace(/"[^"$`]*"|'[^']*'/g, ''))
}

/** From `name() {` to the `}` at the start of a line. */
function functionLines(ebuild: string, name: string): { line: number; text: string }[] | undefined {
  const lines = ebuild.split('\n')
  const start = lines.findIndex((line) => new RegExp(`^${name}\\s*\\(\\)\\s*\\{`).test(line))
  if (start < 0) return undefined
  const first = (lines[start] as string).replace(/^[^{]*\{/, '').trim()
  const end = lines.findIndex((line, at) => at > start && /^\}/.test(line))
  const isOneLine = /\}\s*$/.test(first)
  const inside = isOneLine ? [] : lines.slice(start + 1, end < 0 ? undefined : end)
  return [
    { line: start + 1, text: first.replace(/\}\s*$/, '').trim() },
    ...inside.map((text, at) => ({ line: start + 2 + at, text: text.trim() })),
  ]
}

function wordsOf(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '' && word !== '-')
}
