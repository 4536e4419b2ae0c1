/**
 * A complete and deterministic search over clauses (CDCL): what becomes true was required, and a refusal has a proof.
 *
 * Decisions come from requirements alone: the first one that does not hold yet is met by the first of its literals that
 * may still be true. What nobody requires stays undecided, which means false. Clauses of a variable are asked for when
 * it first becomes true, so that only what a search touches is ever built. Every learnt clause remembers the clauses
 * that it follows from; a refusal is traced back to the facts of its clauses.
 *
 * @see Marques-Silva, Sakallah: GRASP, 1996 (conflict analysis); Eén, Sörensson: An Extensible SAT-solver, 2003
 */
import { Agenda, ALL_TIERS, type Required } from './agenda.ts'
import { moveBest } from './move-best.ts'
import type { Bounds, Client, Literal, Outcome, Search, Tier } from './search.ts'

export type { Bounds, Client, Literal, Outcome, Search, Tier } from './search.ts'

const NONE = -1
const UNKNOWN = 0
const TRUE = 1
const FALSE = -1

export function openSearch(client: Client): Search {
  return new Cdcl(client)
}

class Cdcl implements Search {
  conflicts = 0
  decisions = 0
  readonly #client: Client
  /** By literal. */
  readonly #value: number[] = []
  // By variable.
  readonly #level: number[] = []
  /** A clause, `NONE`, or -2 - v when the group of v excludes it. */
  readonly #reason: number[] = []
  readonly #groupOf: number[] = []
  readonly #isExpanded: boolean[] = []
  readonly #isSeen: boolean[] = []
  readonly #isGroup: boolean[] = []
  readonly #required: Required[] = []
  readonly #groups: (readonly number[])[] = [[]]
  // By clause.
  readonly #clauses: number[][] = []
  /** Fact of a given clause, `NONE` for a learnt one. */
  readonly #fact: number[] = []
  /** What a learnt clause follows from: clauses, and -1 - v for a variable that is fixed for good. */
  readonly #parents: (readonly number[])[] = []
  readonly #pairs: Map<string, number> = new Map()
  /** By literal: the clauses that watch it. */
  readonly #watches: number[][] = []
  readonly #trail: Literal[] = []
  readonly #limits: number[] = []
  readonly #agenda = new Agenda()
  readonly #look = (literals: readonly Literal[]): Literal => this.#openLiteral(literals)
  #propagated = 0
  #expanded = 0
  /** Of the last call. */
  #assumed: readonly Literal[] = []
  /** A clause that was false when it was added. */
  #pending = NONE

  constructor(client: Client) {
    this.#client = client
  }

  variable(isGroup = false): number {
    const variable = this.#level.length
    this.#value.push(UNKNOWN, UNKNOWN)
    this.#level.push(0)
    this.#reason.push(NONE)
    this.#groupOf.push(0)
    this.#isExpanded.push(false)
    this.#isSeen.push(false)
    this.#isGroup.push(isGroup)
    this.#required.push([[], [], []])
    this.#watches.push([], [])
    return variable
  }

  group(variables: readonly number[]): void {
    if (variables.length < 2) return
    for (const variable of variables) this.#groupOf[variable] = this.#groups.length
    this.#groups.push(variables)
  }

  clause(literals: readonly Literal[], fact: number): void {
    const isRepeated = literals.some((literal, place) => literals.indexOf(literal) < place)
    const unique = isRepeated ? [...new Set(literals)] : literals.slice()
    const id = this.#store(unique, fact)
    moveBest(unique, 0, (literal) => this.#rankOf(literal))
    moveBest(unique, 1, (literal) => this.#rankOf(literal))
    if (unique.length > 1) {
      this.#watch(unique[0] as Literal, id)
      this.#watch(unique[1] as Literal, id)
    }
    if (unique.length === 0 || this.#valueOf(unique[0] as Literal) === FALSE) {
      if (this.#pending === NONE || unique.length < 2) this.#pending = id
    } else if (this.#valueOf(unique[0] as Literal) === UNKNOWN) {
      if (unique.length > 1 && this.#valueOf(unique[1] as Literal) !== FALSE) return
      if (unique.length === 1 && this.#limits.length > 0)
        throw new RangeError('unit clause added inside a search')
      this.#enqueue(unique[0] as Literal, id)
    }
  }

  require(owner: number, tier: Tier, literals: readonly Literal[], fact: number): void {
    ;(this.#required[owner] as Required)[tier].push(literals)
    if (tier !== 2) this.clause([owner * 2 + 1, ...literals], fact)
  }

  solve(assumptions: readonly Literal[], bounds: Bounds): Outcome {
    this.#keepPrefix(assumptions)
    const lastConflict = this.conflicts + bounds.conflicts
    const lastDecision = this.decisions + bounds.decisions
    for (;;) {
      const conflict = this.#propagate()
      if (conflict !== NONE) {
        if (this.#limits.length === 0) {
          this.#pending = conflict
          return {
            status: 'refused',
            facts: this.#trace([conflict, ...this.#fixed(conflict)]),
            assumptions: [],
          }
        }
        this.conflicts++
        this.#learn(conflict)
        if (this.conflicts >= lastConflict) return { status: 'budget' }
        continue
      }
      let next: Literal = NONE
      if (this.#limits.length < assumptions.length) {
        next = assumptions[this.#limits.length] as Literal
        const value = this.#valueOf(next)
        if (value === FALSE)
          return bounds.proof === false
            ? { status: 'refused', facts: [], assumptions: [] }
            : this.#refuse(next)
        this.#passMet()
        this.#openLevel()
        if (value === UNKNOWN) this.#enqueue(next, NONE)
        continue
      }
      next = this.#choose(bounds.wishes)
      if (next === NONE) return { status: 'found' }
      if (this.decisions >= lastDecision) return { status: 'budget' }
      this.decisions++
      this.#openLevel()
      this.#enqueue(next, NONE)
    }
  }

  trueVariables(beside = 0): number[] {
    const trail = beside === 0 ? this.#trail : this.#trail.slice(this.#limits[beside] ?? this.#trail.length)
    return trail.filter((literal) => literal % 2 === 0).map((literal) => literal / 2)
  }

  /** Levels of assumptions that the last call made too stay as they are. */
  #keepPrefix(assumptions: readonly Literal[]): void {
    let same = 0
    const most = Math.min(this.#limits.length, this.#assumed.length, assumptions.length)
    while (same < most && this.#assumed[same] === assumptions[same]) same++
    this.#backtrack(same)
    if (same === 0) this.#agenda.restart()
    this.#assumed = assumptions
  }

  #store(literals: number[], fact: number): number {
    this.#clauses.push(literals)
    this.#fact.push(fact)
    this.#parents.push([])
    return this.#clauses.length - 1
  }

  #watch(literal: Literal, clause: number): void {
    ;(this.#watches[literal] as number[]).push(clause)
  }

  #valueOf(literal: Literal): number {
    return this.#value[literal] as number
  }

  /** How good a literal is to watch: not false, else falsified late. */
  #rankOf(literal: Literal): number {
    const value = this.#valueOf(literal)
    return value === FALSE ? (this.#level[literal >> 1] as number) : value === TRUE ? Infinity : 1e9
  }

  #openLevel(): void {
    this.#limits.push(this.#trail.length)
    this.#agenda.openLevel()
  }

  #backtrack(level: number): void {
    if (this.#limits.length <= level) return
    const keep = this.#limits[level] as number
    for (let index = this.#trail.length - 1; index >= keep; index--) {
      const literal = this.#trail[index] as Literal
      this.#value[literal] = UNKNOWN
      this.#value[literal ^ 1] = UNKNOWN
    }
    this.#trail.length = keep
    this.#limits.length = level
    this.#agenda.backtrack(level)
    this.#propagated = keep
    this.#expanded = Math.min(this.#expanded, keep)
  }

  #enqueue(literal: Literal, reason: number): void {
    const variable = literal >> 1
    this.#value[literal] = TRUE
    this.#value[literal ^ 1] = FALSE
    this.#level[variable] = this.#limits.length
    this.#reason[variable] = reason
    this.#trail.push(literal)
  }

  /** Draw all consequences, building clauses of what becomes true; the clause that is broken, or `NONE`. */
  #propagate(): number {
    for (;;) {
      if (this.#pending !== NONE) {
        const conflict = this.#pending
        this.#pending = NONE
        return conflict
      }
      if (this.#propagated < this.#trail.length) {
        const conflict = this.#propagateOne(this.#trail[this.#propagated++] as Literal)
        if (conflict !== NONE) return conflict
      } else if (this.#expanded < this.#trail.length) {
        const literal = this.#trail[this.#expanded++] as Literal
        if ((literal & 1) === 0 && !this.#isExpanded[literal >> 1]) {
          this.#isExpanded[literal >> 1] = true
          this.#client.expand(literal >> 1)
        }
      } else return NONE
    }
  }

  #propagateOne(literal: Literal): number {
    if ((literal & 1) === 0) {
      const variable = literal >> 1
      const group = this.#groups[this.#groupOf[variable] as number] as readonly number[]
      for (let index = 0; index < group.length; index++) {
        const other = group[index] as number
        if (other === variable) continue
        const value = this.#value[other * 2]
        if (value === TRUE) return this.#pair(variable, other)
        if (value === UNKNOWN) this.#enqueue(other * 2 + 1, -2 - variable)
      }
    }
    const falsified = literal ^ 1
    const watching = this.#watches[falsified] as number[]
    let kept = 0
    for (let index = 0; index < watching.length; index++) {
      const id = watching[index] as number
      const clause = this.#clauses[id] as number[]
      if (clause[0] === falsified) {
        clause[0] = clause[1] as Literal
        clause[1] = falsified
      }
      const first = clause[0] as Literal
      const value = this.#valueOf(first)
      if (value === TRUE || !this.#rewatch(clause, id)) {
        watching[kept++] = id
        if (value === TRUE) continue
        if (value === FALSE) {
          for (index++; index < watching.length; index++) watching[kept++] = watching[index] as number
          watching.length = kept
          return id
        }
        this.#enqueue(first, id)
      }
    }
    watching.length = kept
    return NONE
  }

  /** Let the clause watch another literal than its second; `false` when all others are false. */
  #rewatch(clause: number[], id: number): boolean {
    for (let index = 2; index < clause.length; index++) {
      const literal = clause[index] as Literal
      if (this.#valueOf(literal) === FALSE) continue
      clause[index] = clause[1] as Literal
      clause[1] = literal
      this.#watch(literal, id)
      return true
    }
    return false
  }

  /** The first requirement that does not hold, met by its first literal that may be true. */
  #choose(wishes: boolean): Literal {
    const atOnce = this.#unmet(0)
    if (atOnce !== NONE) return atOnce
    const later = this.#unmet(1)
    return later === NONE && wishes ? this.#unmet(2) : later
  }

  #unmet(tier: Tier): Literal {
    return this.#agenda.advance(tier, this.#trail, this.#required, this.#look, NONE)
  }

  /** Requirements that hold need not be looked at again while what makes them hold stays. */
  #passMet(): void {
    const look = (literals: readonly Literal[]): number =>
      literals.some((one) => this.#valueOf(one) === TRUE) ? NONE : TRUE
    for (const tier of ALL_TIERS) this.#agenda.advance(tier, this.#trail, this.#required, look, NONE)
  }

  /** Of literals of which none is true the one to make true: the first that costs nothing, else the first. */
  #openLiteral(literals: readonly Literal[]): Literal {
    let first = NONE
    let free = NONE
    for (const literal of literals) {
      const value = this.#valueOf(literal)
      if (value === TRUE) return NONE
      if (value === FALSE) continue
      if (first === NONE) first = literal
      if (free === NONE && this.#isGroup[literal >> 1] && this.#isFree(literal)) free = literal
    }
    return free === NONE ? first : free
  }

  /** Whether a group's requirements all hold already. */
  #isFree(literal: Literal): boolean {
    const [first, second] = this.#required[literal >> 1] as Required
    const holds = (literals: readonly Literal[]): boolean =>
      literals.some((one) => this.#valueOf(one) === TRUE)
    return first.every(holds) && second.every(holds)
  }

  /** Derive the clause that would have prevented `conflict`, go back to where it decides something, and add it. */
  #learn(conflict: number): void {
    const parents: number[] = []
    const learnt: Literal[] = [NONE]
    const current = this.#limits.length
    const seen: number[] = []
    let open = 0
    let clause = conflict
    let resolved: Literal = NONE
    let index = this.#trail.length - 1
    do {
      parents.push(clause)
      for (const literal of this.#clauses[clause] as readonly Literal[]) {
        const variable = literal >> 1
        if (literal === resolved || this.#isSeen[variable]) continue
        this.#isSeen[variable] = true
        seen.push(variable)
        if (this.#level[variable] === 0) parents.push(-1 - variable)
        else if (this.#level[variable] === current) open++
        else learnt.push(literal)
      }
      while (!this.#isSeen[(this.#trail[index] as Literal) >> 1]) index--
      resolved = this.#trail[index--] as Literal
      open--
      if (open > 0) clause = this.#reasonOf(resolved >> 1)
    } while (open > 0)
    learnt[0] = resolved ^ 1
    const shorter = learnt.filter((literal, place) => place === 0 || !this.#isImplied(literal, parents))
    for (const variable of seen) this.#isSeen[variable] = false
    moveBest(shorter, 1, (literal) => this.#level[literal >> 1] as number)
    const second = shorter[1]
    this.#backtrack(second === undefined ? 0 : (this.#level[second >> 1] as number))
    const id = this.#store(shorter, NONE)
    this.#parents[id] = parents
    if (second !== undefined) {
      this.#watch(shorter[0] as Literal, id)
      this.#watch(second, id)
    }
    this.#enqueue(shorter[0] as Literal, id)
  }

  /** Whether a literal of a learnt clause follows from its others; its reason then joins `parents`. */
  #isImplied(literal: Literal, parents: number[]): boolean {
    if (this.#reason[literal >> 1] === NONE) return false
    const reason = this.#reasonOf(literal >> 1)
    const others = (this.#clauses[reason] as readonly Literal[]).filter((one) => one !== (literal ^ 1))
    if (!others.every((one) => this.#isSeen[one >> 1] || this.#level[one >> 1] === 0)) return false
    parents.push(reason)
    for (const one of others) if (this.#level[one >> 1] === 0) parents.push(-1 - (one >> 1))
    return true
  }

  #reasonOf(variable: number): number {
    const reason = this.#reason[variable] as number
    return reason < NONE ? this.#pair(-2 - reason, variable) : reason
  }

  /** The clause that two members of one group exclude each other, made when a proof needs it. */
  #pair(first: number, second: number): number {
    const low = Math.min(first, second)
    const high = Math.max(first, second)
    const key = `${low} ${high}`
    const found = this.#pairs.get(key)
    if (found !== undefined) return found
    const id = this.#store([low * 2 + 1, high * 2 + 1], this.#client.together(low, high))
    this.#pairs.set(key, id)
    return id
  }

  /** An assumption is false already: what made it so. */
  #refuse(assumption: Literal): Outcome {
    const from: number[] = []
    const assumptions: Literal[] = [assumption]
    const seen = new Set([assumption >> 1])
    for (let index = this.#trail.length - 1; index >= 0; index--) {
      const literal = this.#trail[index] as Literal
      const variable = literal >> 1
      if (!seen.has(variable)) continue
      if (this.#level[variable] === 0) from.push(-1 - variable)
      else if (this.#reason[variable] === NONE) assumptions.push(literal)
      else {
        const reason = this.#reasonOf(variable)
        from.push(reason)
        for (const other of this.#clauses[reason] as readonly Literal[]) seen.add(other >> 1)
      }
    }
    return { status: 'refused', facts: this.#trace(from), assumptions }
  }

  #fixed(clause: number): number[] {
    return (this.#clauses[clause] as readonly Literal[]).map((literal) => -1 - (literal >> 1))
  }

  /** The facts that these clauses and fixed variables rest on, ascending. */
  #trace(from: readonly number[]): number[] {
    const facts = new Set<number>()
    const open = [...from]
    const seen = new Set(open)
    for (let item = open.pop(); item !== undefined; item = open.pop()) {
      const next: number[] = []
      if (item >= 0) {
        if (this.#fact[item] !== NONE) facts.add(this.#fact[item] as number)
        next.push(...(this.#parents[item] as readonly number[]))
      } else if (this.#reason[-1 - item] !== NONE) {
        const reason = this.#reasonOf(-1 - item)
        next.push(reason, ...this.#fixed(reason))
      }
      for (const one of next)
        if (!seen.has(one)) {
          seen.add(one)
          open.push(one)
        }
    }
    return [...facts].sort((a, b) => a - b)
  }
}
