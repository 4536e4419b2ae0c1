/** make.conf: assignments as Portage reads them, without a shell. */
import { Stage5Error } from '../base/errors.ts'

/**
 * Variables of several files, read one after the other. `$NAME` and `${NAME}` are what was set before; an empty text
 * where nothing was. `source` is passed over.
 *
 * @param known what was set before, and is not part of the result unless set again
 * @throws S5_USAGE for a quote that does not end
 * @see make.conf(5)
 */
export function readMakeConf(
  texts: readonly string[],
  known: ReadonlyMap<string, string> = new Map(),
): ReadonlyMap<string, string> {
  const variables = new Map(known)
  const own = new Set<string>()
  for (const text of texts) {
    for (let at = 0; at < text.length; ) {
      const head = /^(?:[\s;]+|#.*|(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)(\+?=)|[^\n]+)/.exec(text.slice(at))
      if (!head) break
      at += head[0].length
      const name = head[1]
      if (name === undefined) continue
      const { value, end } = valueAt(text, at, variables)
      own.add(name)
      variables.set(name, head[2] === '+=' ? (variables.get(name) ?? '') + value : value)
      at = end
    }
  }
  return new Map([...variables].filter(([name]) => own.has(name)))
}

/** A word of the shell: quoted parts and plain ones side by side. */
function valueAt(
  text: string,
  start: number,
  variables: ReadonlyMap<string, string>,
): { readonly value: string; readonly end: number } {
  let value = ''
  let at = start
  while (at < text.length) {
    const character = text[at] as string
    if (/[\s;#]/.test(character) && !(character === '#' && at > start)) break
    if (character === "'" || character === '"') {
      const part = quotedAt(text, at + 1, character, variables)
      value += part.value
      at = part.end
    } else if (character === '\\') {
      if (text[at + 1] !== '\n') value += text[at + 1] ?? ''
      at += 2
    } else if (character === '$') {
      const part = variableAt(text, at, variables)
      value += part.value
      at = part.end
    } else {
      value += character
      at++
    }
  }
  return { value, end: at }
}

function quotedAt(
  text: string,
  start: number,
  quote: string,
  variables: ReadonlyMap<string, string>,
): { readonly value: string; readonly end: number } {
  let value = ''
  for (let at = start; at < text.length; ) {
    const character = text[at] as string
    if (character === quote) return { value, end: at + 1 }
    if (character === '\\' && quote === '"') {
      value += text[at + 1] === '\n' ? '' : (text[at + 1] ?? '')
      at += 2
    } else if (character === '$' && quote === '"') {
      const part = variableAt(text, at, variables)
      value += part.value
      at = part.end
    } else {
      value += character
      at++
    }
  }
  throw new Stage5Error(
    'S5_USAGE',
    `make.conf: a ${quote} without end: ${JSON.stringify(text.slice(start, start + 40))}`,
  )
}

function variableAt(
  text: string,
  at: number,
  variables: ReadonlyMap<string, string>,
): { readonly value: string; readonly end: number } {
  const found = /^\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))/.exec(text.slice(at, at + 200))
  if (!found) return { value: '$', end: at + 1 }
  return { value: variables.get(found[1] ?? found[2] ?? '') ?? '', end: at + found[0].length }
}
