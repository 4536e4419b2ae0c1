/** Options that the commands around published metadata share. */
import type { Lifetimes } from '../fleet/publication.ts'
import { type Option, textOption, type Words } from './command.ts'
import { parseSeconds } from './quantities.ts'

export const PLACE: Option = {
  flags: '--to <place>',
  description: 'a folder (of an HTTP server, or one for `stage5 serve`), or oci://HOST[:PORT]/REPOSITORY',
}

export const VALID: Option = {
  flags: '--valid <time>',
  description:
    'how long guests believe the timestamp; sign anew before that: stage5 trust refresh (default: 24h)',
}

/** @throws S5_USAGE */
export function lifetimesOf(words: Words, usual: Lifetimes): Lifetimes {
  const valid = textOption(words, 'valid')
  if (valid === undefined) return usual
  const timestamp = parseSeconds('--valid', valid)
  // Nothing that the timestamp names may end before it.
  const atLeast = (seconds: number): number => Math.max(seconds, 2 * timestamp)
  return {
    ...{ timestamp, snapshot: atLeast(usual.snapshot), channels: atLeast(usual.channels) },
    ...{ targets: atLeast(usual.targets), root: atLeast(usual.root) },
  }
}
