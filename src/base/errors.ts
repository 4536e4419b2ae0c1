/** What can go wrong that a user can mend. Bugs are plain errors; expected negatives are values. */
import type { Json } from './json.ts'
import { CODES, type Code } from './codes.ts'

export { CODES, type Code }

/** Why an archive, an index or a package was refused: one fixed word, so that tests and people can look it up. */
export type Refusal =
  | 'truncated'
  | 'decompress'
  | 'magic'
  | 'traversal'
  | 'absolute-path'
  | 'beneath-symlink'
  | 'bad-parent'
  | 'duplicate'
  | 'hardlink-target'
  | 'special-file'
  | 'bad-type'
  | 'bad-size'
  | 'bad-header'
  | 'trailing-data'
  | 'bad-pax'
  | 'too-long'
  | 'too-big'
  | 'bad-name'
  | 'missing-member'
  | 'version'
  | 'layout'
  | 'missing-metadata'
  | 'bad-metadata'
  | 'digest'
  | 'size'
  | 'weak-digest'
  | 'mismatch'
  | 'manifest'
  | 'unlisted'
  | 'unsigned'
  | 'signature'
  | 'index-path'
  | 'stale'
  | 'rollback'

interface ErrorOptions5 {
  /** One command to type or one edit to make. */
  hint?: string | undefined
  cause?: unknown
  /** The same facts for a program: `{ package, file, reason, entry, expected, actual }` where they apply. */
  data?: { readonly [key: string]: Json | undefined }
}

/**
 * An error that its reader can do something about.
 *
 * `message` names the exact subject and says *expected X, found Y*, without a full stop.
 */
export class Stage5Error extends Error {
  override readonly name = 'Stage5Error'
  readonly code: Code
  readonly hint: string | undefined
  readonly data: { readonly [key: string]: Json | undefined }

  constructor(code: Code, message: string, options: ErrorOptions5 = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
    this.data = options.data ?? {}
  }
}

/** Whether `error` is a `Stage5Error` with one of these codes (with any code when none is given). */
export function isStage5Error(error: unknown, ...codes: readonly Code[]): error is Stage5Error {
  return error instanceof Stage5Error && (codes.length === 0 || codes.includes(error.code))
}

/** A malformed archive or package: code `S5_ARCHIVE_REFUSED`, with the reason as one word in `data.reason`. */
export function refuse(
  reason: Refusal,
  file: string,
  message: string,
  data: { readonly [key: string]: Json | undefined } = {},
): Stage5Error {
  const entry = typeof data['entry'] === 'string' ? `: ${printable(data['entry'])}` : ''
  return new Stage5Error('S5_ARCHIVE_REFUSED', `${printable(file)}: ${reason}: ${message}${entry}`, {
    data: { reason, file, ...data },
  })
}

/**
 * A name from outside, fit for a terminal: bytes that are not printable ASCII or part of valid UTF-8 become `\xNN`.
 * Takes a byte string (one character per byte).
 */
export function printable(name: string): string {
  let text = name
  if (/^[\0-\xff]*$/.test(name)) {
    const bytes = Uint8Array.from(name, (letter) => letter.charCodeAt(0))
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch {
      return name.replace(/[^\x20-\x7e]/g, escape5)
    }
  }
  return text.replace(/[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, escape5)
}

function escape5(letter: string): string {
  const code = letter.charCodeAt(0)
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}
