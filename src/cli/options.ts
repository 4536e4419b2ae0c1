/** The options that every command takes: flag, meaning, and how the World sees them. */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import type { Option } from './command.ts'
import type { WorldOptions } from './world.ts'

export const GLOBAL_OPTIONS: readonly Option[] = [
  { flags: '-C, --directory <dir>', description: 'work in this project instead of the current folder' },
  { flags: '--json', description: 'print the answer as JSON' },
  { flags: '--offline', description: 'use only what was fetched before' },
  { flags: '--locked', description: 'fail when the lock file is missing or does not fit the profile' },
  { flags: '-q, --quiet', description: 'no progress on stderr' },
  { flags: '--threads <n>', description: 'threads to unpack and compress with (default: one a processor)' },
  { flags: '--trace <file>', description: 'write Chrome trace events of this run' },
]

export interface GlobalOptions {
  readonly world: WorldOptions
  readonly json: boolean
  readonly quiet: boolean
  readonly trace: string | undefined
}

/** @throws S5_USAGE, S5_FILE_MISSING */
export function globalOptions(raw: Readonly<Record<string, unknown>>): GlobalOptions {
  const text = (name: string): string | undefined => (typeof raw[name] === 'string' ? raw[name] : undefined)
  const threads = text('threads')
  if (threads !== undefined && !/^[1-9]\d{0,2}$/.test(threads))
    throw new Stage5Error(
      'S5_USAGE',
      `--threads expects a number from 1 to 999, found ${JSON.stringify(threads)}`,
    )
  const directory = text('directory') ?? '.'
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory())
    throw new Stage5Error('S5_FILE_MISSING', `there is no folder ${resolve(directory)}`)
  return {
    world: {
      directory,
      offline: raw['offline'] === true,
      locked: raw['locked'] === true,
      threads: threads === undefined ? undefined : Number(threads),
    },
    json: raw['json'] === true,
    quiet: raw['quiet'] === true,
    trace: text('trace'),
  }
}
