/** The port of stages: memoised functions from a root to a root. */
import type { Digest } from '../base/digest.ts'
import type { Json } from '../base/json.ts'
import type { Contents } from '../tree/contents.ts'
import type { Root } from '../tree/root.ts'
import type { Facts } from './facts.ts'

export interface StageWorld {
  readonly contents: Contents
  readonly signal: AbortSignal
}

/**
 * A pure function over the root. Everything that can matter is in its name, version, input and parameters; it never
 * asks the machine. Raise `version` when equal input gives other output than before.
 */
export interface Stage {
  readonly name: string
  readonly version: number
  /** The part of the facts that this stage depends on, and nothing more: it is hashed into the memo key. */
  pick(facts: Facts): Json
  /** @throws Stage5Error; S5_STAGE_INVALID for parameters it cannot use */
  run(input: Root, params: Json, world: StageWorld): Promise<Root>
}

/** Results by key; a miss is `undefined`. */
export interface Memo {
  get(key: Digest): Promise<Root | undefined>
  set(key: Digest, root: Root): Promise<void>
}
