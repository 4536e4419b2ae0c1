/** sysusers.d(5): the users, groups, memberships and ranges that packages declare. */

export interface SysUser {
  readonly name: string
  /** -1: the next free number. */
  readonly id: number
  /** Whose owner gives the number, when the line names a path instead of a number. */
  readonly idFrom: string
  /** Name or number of the primary group, '' for the group of the same name. */
  readonly group: string
  readonly gecos: string
  readonly home: string
  readonly shell: string
}

interface Sysusers {
  readonly users: readonly SysUser[]
  readonly groups: readonly { readonly name: string; readonly id: number; readonly idFrom: string }[]
  readonly members: readonly { readonly user: string; readonly group: string }[]
  readonly ranges: readonly { readonly from: number; readonly to: number }[]
  /** Lines that no rule reads, as `line N: text`. */
  readonly strange: readonly string[]
}

/**
 * Reads one file.
 *
 * Fields are “separated by whitespace”; quotes and C escapes group, and a backslash before any other character
 * stands for that character, which also reads what `printf %q` of the acct-user packages wrote; so does `$'…'`, in which
 * bash writes bytes as octal numbers.
 * @see sysusers.d(5), CONFIGURATION FILE FORMAT
 */
export function parseSysusers(text: string): Sysusers {
  const users: SysUser[] = []
  const groups: { name: string; id: number; idFrom: string }[] = []
  const members: { user: string; group: string }[] = []
  const ranges: { from: number; to: number }[] = []
  const strange: string[] = []
  for (const [at, line] of text.split('\n').entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    const fields = words(trimmed).map((field) => (field === '-' ? '' : field.replaceAll('%%', '%')))
    const [type = '', name = '', id = '', gecos = '', home = '', shell = ''] = fields
    const [number = '', group = ''] = id.startsWith('/') ? [] : splitOnce(id, ':')
    const known = {
      id: /^[0-9]+$/.test(number) ? Number(number) : -1,
      idFrom: id.startsWith('/') ? id : '',
    }
    const named = /^[A-Za-z_][A-Za-z0-9_-]{0,30}$/.test(name)
    if ((type === 'u' || type === 'u!') && named)
      users.push({
        name,
        ...known,
        group,
        gecos: gecos.replaceAll(/[:\n]/g, ' '),
        home: absolute(home),
        shell: absolute(shell),
      })
    else if (type === 'g' && named) groups.push({ name, ...known })
    else if (type === 'm' && named && id !== '') members.push({ user: name, group: id })
    else if (type === 'r' && /^[0-9]+(-[0-9]+)?$/.test(id)) {
      const [from = '', to = from] = id.split('-')
      ranges.push({ from: Number(from), to: Number(to) })
    } else strange.push(`line ${at + 1}: ${trimmed}`)
  }
  return { users, groups, members, ranges, strange }
}

/** A path that fits into a line of /etc/passwd, else ''. */
function absolute(path: string): string {
  return /^\/[^:\n]*$/.test(path) ? path : ''
}

function splitOnce(text: string, mark: string): string[] {
  const at = text.indexOf(mark)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}

const ESCAPES: { readonly [letter: string]: string } = { n: '\n', t: '\t', r: '\r', s: ' ' }

/** Splits into fields; inside quotes blanks count, a quote begins only at the start of a field or inside one. */
function words(line: string): string[] {
  const fields: string[] = []
  let field: string | undefined
  let quote = ''
  for (let at = 0; at < line.length; at++) {
    const letter = line[at] as string
    if (quote === "$'" && letter === '\\') {
      const octal = /^[0-7]{1,3}/.exec(line.slice(at + 1))?.[0]
      const next = line[at + 1] ?? ''
      field += octal ? String.fromCharCode(Number.parseInt(octal, 8) & 255) : (ESCAPES[next] ?? next)
      at += octal?.length ?? 1
    } else if (letter === '\\' && quote !== "'" && at + 1 < line.length) {
      const next = line[++at] as string
      field = (field ?? '') + (quote === '' ? next : (ESCAPES[next] ?? next))
    } else if (quote !== '') {
      if (letter === quote.at(-1)) quote = ''
      else field = (field ?? '') + letter
    } else if (letter === '"' || letter === "'") {
      quote = letter === "'" && field?.endsWith('$') ? "$'" : letter
      field = (field ?? '').replace(/\$$/, '')
    } else if (letter === ' ' || letter === '\t') {
      if (field !== undefined) fields.push(field)
      field = undefined
    } else field = (field ?? '') + letter
  }
  if (field !== undefined) fields.push(field)
  return fields
}
