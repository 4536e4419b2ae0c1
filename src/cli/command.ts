/** The shape of a command: it parses nothing and prints nothing; it is given words and returns data. */
import type { Json } from '../base/json.ts'
import type { World } from './world.ts'

interface Argument {
  /** `<name>` required, `[name]` optional, `[name...]` any number. */
  readonly name: string
  readonly description: string
}

export interface Option {
  /** As commander reads them: `--memory <size>`. */
  readonly flags: string
  readonly description: string
  readonly many?: true
}

/** What was typed after the command's name. */
export interface Words {
  readonly arguments: readonly string[]
  readonly options: Readonly<Record<string, string | boolean | readonly string[] | undefined>>
}

export interface Result {
  /** Printed by `--json`. */
  readonly data: Json
  /** Printed otherwise; ends in a newline unless empty. */
  readonly text: string
  /** 0 unless the answer itself is a no. */
  readonly exitCode?: number
}

export interface Command {
  readonly name: string
  readonly summary: string
  readonly arguments: readonly Argument[]
  readonly options: readonly Option[]
  /** Lines of examples for `--help`. */
  readonly examples: readonly string[]
  run(world: World, words: Words): Promise<Result>
}

/** A string option, or undefined when it was not given. */
export function textOption(words: Words, name: string): string | undefined {
  const value = words.options[name]
  return typeof value === 'string' ? value : undefined
}

export function listOption(words: Words, name: string): readonly string[] {
  const value = words.options[name]
  return Array.isArray(value) ? (value as readonly string[]) : []
}
