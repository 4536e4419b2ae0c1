/** The words in which problems are put to the search, and answers come back. */

/** Variables count from 0; literal 2v says that v is true, 2v + 1 that it is false. */
export type Literal = number

/**
 * When a requirement is met: `0` at once; `1` when all of tier 0 hold, since something needed anyway may meet it;
 * `2` is a wish, met last and only where that leads to no contradiction.
 */
export type Tier = 0 | 1 | 2

export interface Client {
  /** `variable` became true for the first time: add its clauses and requirements now. */
  expand(variable: number): void
  /** Number of the fact that two members of a group exclude each other. */
  together(first: number, second: number): number
}

export type Outcome =
  | { readonly status: 'found' }
  | { readonly status: 'budget' }
  /** `facts` ascend and contradict each other given `assumptions` (those of the call that took part). */
  | {
      readonly status: 'refused'
      readonly facts: readonly number[]
      readonly assumptions: readonly Literal[]
    }

/** Bounds of one call; counted, never timed. */
export interface Bounds {
  readonly conflicts: number
  readonly decisions: number
  /** Whether tier 2 is met too. */
  readonly wishes: boolean
  /** `false`: a refusal need not say what it follows from. */
  readonly proof?: boolean
}

export interface Search {
  readonly conflicts: number
  readonly decisions: number
  /** @param isGroup it stands for its requirements and clauses alone, all given before it can become true */
  variable(isGroup?: boolean): number
  /** At most one of these fresh variables is true. */
  group(variables: readonly number[]): void
  /** Not all of these: at least one literal is true. Outside `expand` only between calls of `solve`. */
  clause(literals: readonly Literal[], fact: number): void
  /** While `owner` is true one of `literals` must be (tier 2: should be); earlier ones are preferred. */
  require(owner: number, tier: Tier, literals: readonly Literal[], fact: number): void
  solve(assumptions: readonly Literal[], bounds: Bounds): Outcome
  /**
   * What is true after `found`, in the order in which it became so.
   * @param beside leave out what follows from as many of the assumptions
   */
  trueVariables(beside?: number): number[]
}
