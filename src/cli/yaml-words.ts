/** Words as YAML reads them back. */

export function flow(words: readonly string[]): string {
  return `[${words.map(quoted).join(', ')}]`
}

/** Plain where YAML reads it as the same text. */
export function quoted(text: string): string {
  return /^[A-Za-z][A-Za-z0-9_+./-]*$/.test(text) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(text)
    ? text
    : JSON.stringify(text)
}
