/** Lines `NAME=value` as env.d(5) and ebuilds have them: quotes are taken off, nothing is expanded. */

/**
 * Assignments in their order; `export` before a name is passed over, and so is every other line. Inside double quotes a
 * backslash stands for the character behind it where the shell says so; a value may run over several lines in quotes.
 * @returns undefined where a quote does not end
 */
export function parseAssignments(text: string): ReadonlyMap<string, string> | undefined {
  const values = new Map<string, string>()
  for (let at = 0; at < text.length; ) {
    const head = /^(?:\s+|#.*|(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=|[^\n]+)/.exec(text.slice(at))
    if (!head) break
    at += head[0].length
    const name = head[1]
    if (name === undefined) continue
    const word = wordAt(text, at)
    if (!word) return undefined
    values.set(name, word.value)
    at = word.end
  }
  return values
}

/**
 * The elements of an array `NAME=( … )` and of each `NAME+=( … )` in a script, in their order.
 * @returns undefined where an element is not plain: variables, commands, patterns, braces
 */
export function parseArray(text: string, name: string): readonly string[] | undefined {
  const words: string[] = []
  for (const found of text.matchAll(new RegExp(`^[ \\t]*${name}\\+?=\\(`, 'gm'))) {
    let at = found.index + found[0].length
    for (;;) {
      const blank = /^(?:\s|#.*)*/.exec(text.slice(at))
      at += blank?.[0].length ?? 0
      if (text[at] === ')') break
      const word = at < text.length ? wordAt(text, at, ')') : undefined
      if (!word || /[$`*?{}[\]]/.test(word.value)) return undefined
      words.push(word.value)
      at = word.end
    }
  }
  return words
}

/** One word of the shell: quoted parts and plain ones side by side. */
function wordAt(text: string, start: number, ends = ''): { value: string; end: number } | undefined {
  let value = ''
  let at = start
  while (at < text.length) {
    const letter = text[at] as string
    if (/\s/.test(letter) || letter === ';' || ends.includes(letter)) break
    if (letter === "'" || letter === '"') {
      const part = quotedAt(text, at)
      if (!part) return undefined
      value += part.value
      at = part.end
    } else if (letter === '\\') {
      value += text[at + 1] === '\n' ? '' : (text[at + 1] ?? '')
      at += 2
    } else {
      value += letter
      at++
    }
  }
  return { value, end: at }
}

function quotedAt(text: string, start: number): { value: string; end: number } | undefined {
  const quote = text[start] as string
  let value = ''
  for (let at = start + 1; at < text.length; at++) {
    const letter = text[at] as string
    if (letter === quote) return { value, end: at + 1 }
    const next = text[at + 1] ?? ''
    if (quote === '"' && letter === '\\' && '$`"\\\n'.includes(next) && next !== '') {
      if (next !== '\n') value += next
      at++
    } else value += letter
  }
  return undefined
}
