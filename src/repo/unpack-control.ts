/** The control stanza of a Debian package against what the index promised. */
import { refuse } from '../base/errors.ts'
import { parseDeb822 } from '../format/deb822.ts'

export interface Expected {
  readonly name: string
  readonly version: string
  readonly arch: string
}

/**
 * @param text the member `control`, if there is one
 * @throws S5_ARCHIVE_REFUSED `missing-member`, `missing-metadata`, `bad-metadata`, `mismatch`
 * @see Debian Policy 5.3, 5.6.7
 */
export function checkControl(file: string, text: string | undefined, expect?: Expected): void {
  if (text === undefined) throw refuse('missing-member', file, 'the control archive has no file control')
  const stanzas = parseDeb822(text, file)
  const [stanza] = stanzas
  if (!stanza || stanzas.length > 1)
    throw refuse('bad-metadata', file, `expected one paragraph in control, found ${stanzas.length}`)
  const fields = [
    ['Package', /^[a-z0-9][a-z0-9+.-]+$/, expect?.name],
    ['Version', /^(?:[0-9]+:[A-Za-z0-9][A-Za-z0-9.+~:-]*|[A-Za-z0-9][A-Za-z0-9.+~-]*)$/, expect?.version],
    ['Architecture', /^[a-z0-9][a-z0-9-]*$/, expect?.arch],
  ] as const
  for (const [field, syntax, expected] of fields) {
    const actual = stanza.get(field)
    if (actual === undefined || actual === '')
      throw refuse('missing-metadata', file, `control has no ${field}`)
    if (!syntax.test(actual))
      throw refuse('bad-metadata', file, `control has an improper ${field}`, { actual })
    if (expected !== undefined && actual !== expected)
      throw refuse('mismatch', file, `${field}: expected ${expected}, found ${actual}`, { expected, actual })
  }
}
