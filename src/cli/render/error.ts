/** Errors to text: one line that says what, one that says what to do. The only place where errors are printed. */
import { CODES, isStage5Error, Stage5Error } from '../../base/errors.ts'
import type { Json } from '../../base/json.ts'

interface Shown {
  /** For stderr. */
  readonly text: string
  /** For `--json` on stdout. */
  readonly data: Json
  readonly exitCode: 1 | 2 | 70 | 130
}

/** Exit 1 for what a user can mend, 2 for usage, 130 for an interrupt, 70 (EX_SOFTWARE) for a bug. */
export function showError(error: unknown, interrupted: boolean): Shown {
  if (interrupted) return { text: 'interrupted\n', data: { error: { code: 'interrupted' } }, exitCode: 130 }
  const known = isStage5Error(error) ? error : systemError(error)
  if (!known) return showBug(error)
  const message = clean(known.message)
  const hint = known.hint === undefined ? '' : `  hint: ${clean(known.hint)}\n`
  const more = `  ${known.code}: stage5 explain ${known.code}\n`
  return {
    text: `error: ${message}\n${hint}${more}`,
    data: { error: { code: known.code, message, hint: known.hint ?? null, data: known.data } },
    exitCode: known.code === 'S5_USAGE' ? 2 : 1,
  }
}

/** Full disks and forbidden paths can happen at any write; they are no bugs. */
function systemError(error: unknown): Stage5Error | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  const path = 'path' in error && typeof error.path === 'string' ? `: ${error.path}` : ''
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT')
    return new Stage5Error('S5_DISK_FULL', `no space left${path}`, { cause: error })
  if (error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS')
    return new Stage5Error('S5_FILE_FORBIDDEN', `${error.message}`, { cause: error })
  return undefined
}

function showBug(error: unknown): Shown {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return {
    text: `bug in stage5: ${clean(stack)}\nplease report this with the command that you typed\n`,
    data: { error: { code: 'bug', message: clean(error instanceof Error ? error.message : String(error)) } },
    exitCode: 70,
  }
}

/** No credentials of URLs, no control characters but newlines. */
function clean(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi, '$1***@')
    .replace(
      /[\0-\x09\x0b-\x1f\x7f-\x9f]/g,
      (letter) => `\\x${letter.charCodeAt(0).toString(16).padStart(2, '0')}`,
    )
}

/** The paragraph of one code, for `stage5 explain`. */
export function explainCode(code: string): string | undefined {
  if (!Object.hasOwn(CODES, code)) return undefined
  const { summary, help } = CODES[code as keyof typeof CODES]
  return `${code}: ${summary}\n\n${help}\n`
}
