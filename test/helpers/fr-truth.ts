/** What simulated guests really do, whatever anybody writes about them: the independent side of rollout tests. */
import type { DriverGeneration } from '../../src/deploy/driver.ts'
import type { DataSchemas, DataStep } from '../../src/fleet/data-schema.ts'
import type { Observation } from '../../src/fleet/view.ts'

/** What goes wrong when a guest is moved to a generation. */
export type Fault =
  | 'none'
  | 'hangs'
  | 'wrong'
  | 'sick'
  | 'sick-later'
  | 'stage-fails'
  | 'stage-flaky'
  | 'slow'
  | 'falls-back'
  | 'lost'

export interface TruthOptions {
  readonly guests: Readonly<Record<string, string>>
  readonly good: string
  readonly manifests: ReadonlyMap<string, string>
  readonly faultOf: (guest: string, generation: string) => Fault
  readonly now: () => number
  readonly bootMs: number
  /** What software reads and leaves behind; absent: guests have no data. */
  readonly dataSchemas?: DataSchemas
}

/** What a guest has written: who wrote, and in which format. */
export interface Data {
  readonly schema: number
  readonly writers: readonly string[]
}

interface Machine {
  readonly group: string
  good: string
  /** What runs, or starts to. */
  runs: string
  pointer: 'good' | 'trial'
  token: number
  boots: number
  /** Up from then on; infinity is never. */
  upAt: number
  sickAt: number
  readonly prepared: Set<string>
  stageTries: number
  data: Data
  /** Copies by the generation that they belong to, and the tag under which they were taken. */
  copies: { readonly tag: string; readonly pair: readonly string[]; readonly of: Map<string, Data> }
}

export interface Boot {
  readonly guest: string
  readonly token: number
  readonly generation: string
  readonly kind: 'switch' | 'rollback'
}

export interface Truth {
  prepare(guest: string, generation: string): void
  switchTo(guest: string, generation: string, token: number, step?: DataStep): void
  commit(guest: string, generation: string, token: number): void
  rollback(guest: string, good: string, token: number): void
  status(guest: string): Observation
  readonly boots: readonly Boot[]
  /** Calls that came too late and were refused by their token. */
  readonly stale: () => number
  /** Most guests of a group that were down at one time. */
  readonly mostDown: () => Readonly<Record<string, number>>
  /** Generation that a guest keeps, and that it runs. */
  running(guest: string): { readonly good: string; readonly runs: string; readonly isUp: boolean }
  dataOf(guest: string): Data
  /** Starts on data that the generation cannot read. */
  readonly unreadable: readonly string[]
}

const NEVER = Number.POSITIVE_INFINITY

const NO_COPIES: Machine['copies'] = { tag: '', pair: [], of: new Map() }

export function makeTruth({
  guests,
  good,
  manifests,
  faultOf,
  now,
  bootMs,
  dataSchemas,
}: TruthOptions): Truth {
  const machines = new Map(
    Object.entries(guests).map(([name, group]): [string, Machine] => [
      name,
      {
        group,
        good,
        runs: good,
        pointer: 'good',
        token: 0,
        boots: 1,
        upAt: 0,
        sickAt: NEVER,
        prepared: new Set(),
        stageTries: 0,
        data: { schema: dataSchemas?.get(good)?.writes ?? 0, writers: [good] },
        copies: NO_COPIES,
      },
    ]),
  )
  const boots: Boot[] = []
  const most: Record<string, number> = {}
  let stale = 0

  const at = (guest: string): Machine => {
    const machine = machines.get(guest)
    if (!machine) throw new Error(`no guest ${guest}`)
    return machine
  }
  const isUp = ({ upAt, sickAt }: Machine): boolean => now() >= upAt && now() < sickAt
  const byGroup = Map.groupBy(machines.values(), ({ group }) => group)
  const count = (group: string): void => {
    const down = (byGroup.get(group) ?? []).filter((machine) => !isUp(machine)).length
    most[group] = Math.max(most[group] ?? 0, down)
  }
  const refuse = (machine: Machine, token: number): void => {
    if (token >= machine.token) return
    stale++
    throw new Error(`token ${token} is stale, ${machine.token} was obeyed`)
  }
  const other = (generation: string): string =>
    [...manifests.keys()].find((name) => name !== generation && name !== good) ?? good

  const unreadable: string[] = []

  /** What belongs to a generation changes places with what is there. */
  const exchange = ({ copies, ...machine }: Machine, generation: string): Data => {
    const own = copies.of.get(generation)
    if (!own) return machine.data
    copies.of.delete(generation)
    copies.of.set(copies.pair.find((name) => name !== generation) as string, machine.data)
    return own
  }
  const start = (guest: string, machine: Machine, generation: string): void => {
    machine.data = exchange(machine, generation)
    const { schema, writers } = machine.data
    const said = dataSchemas?.get(generation)
    if (said && (schema < said.reads[0] || schema > said.reads[1]))
      unreadable.push(`${guest}: ${generation} on ${schema}`)
    machine.data = { schema: Math.max(schema, said?.writes ?? 0), writers: [...writers, generation] }
  }
  const carryOut = (machine: Machine, to: string, step: DataStep | undefined): void => {
    if (step?.kind === 'restore') {
      if (machine.copies.tag !== step.tag || !machine.copies.of.has(to))
        throw new Error(`no copy ${step.tag}`)
      return
    }
    machine.data = exchange(machine, machine.good)
    machine.copies = NO_COPIES
    if (step)
      machine.copies = {
        tag: step.tag,
        pair: [machine.good, to],
        of: new Map([[machine.good, machine.data]]),
      }
  }

  return {
    boots,
    stale: () => stale,
    mostDown: () => most,
    prepare: (guest, generation) => {
      const machine = at(guest)
      const fault = faultOf(guest, generation)
      machine.stageTries++
      if (fault === 'stage-fails' || (fault === 'stage-flaky' && machine.stageTries < 3))
        throw new Error('the mirror is gone')
      machine.prepared.add(generation)
    },
    switchTo: (guest, generation, token, step) => {
      const machine = at(guest)
      refuse(machine, token)
      if (token === machine.token) return
      if (!machine.prepared.has(generation)) throw new Error(`${generation} was not prepared on ${guest}`)
      const fault = faultOf(guest, generation)
      carryOut(machine, generation, step)
      boots.push({ guest, token, generation, kind: 'switch' })
      machine.token = token
      machine.boots++
      machine.pointer = 'trial'
      machine.runs = fault === 'wrong' ? other(generation) : generation
      if (fault !== 'wrong') start(guest, machine, generation)
      machine.upAt = now() + bootMs * (fault === 'slow' ? 3 : 1)
      machine.sickAt = NEVER
      if (fault === 'hangs' || fault === 'lost') machine.upAt = NEVER
      if (fault === 'sick') machine.sickAt = 0
      if (fault === 'sick-later') machine.sickAt = machine.upAt + bootMs
      if (fault === 'falls-back') {
        machine.pointer = 'good'
        machine.runs = machine.good
        start(guest, machine, machine.good)
      }
      count(machine.group)
    },
    commit: (guest, generation, token) => {
      const machine = at(guest)
      refuse(machine, token)
      if (machine.runs !== generation) throw new Error(`${guest} runs ${machine.runs}`)
      machine.pointer = 'good'
      machine.good = generation
    },
    rollback: (guest, to, token) => {
      const machine = at(guest)
      refuse(machine, token)
      if (token === machine.token) return
      boots.push({ guest, token, generation: to, kind: 'rollback' })
      if (machine.runs !== to || machine.pointer !== 'good') start(guest, machine, to)
      const isLost = faultOf(guest, machine.runs) === 'lost'
      machine.token = token
      machine.boots++
      machine.pointer = 'good'
      machine.runs = to
      machine.good = to
      machine.sickAt = NEVER
      machine.upAt = isLost ? NEVER : now() + bootMs
      count(machine.group)
    },
    status: (guest) => {
      const machine = at(guest)
      count(machine.group)
      const isOn = now() >= machine.upAt
      const isWell = isOn && now() < machine.sickAt
      return {
        power: isOn ? 'on' : 'off',
        bootId: isOn ? `boot-${machine.boots}` : '',
        digest: isOn ? (manifests.get(machine.runs) ?? '') : '',
        pointer: machine.pointer,
        triesLeft: 1,
        token: machine.token,
        health: isWell ? 'pass' : 'fail',
        detail: isWell ? '' : isOn ? 'HTTP 500' : 'no answer',
      }
    },
    running: (guest) => {
      const machine = at(guest)
      return { good: machine.good, runs: machine.runs, isUp: isUp(machine) }
    },
    dataOf: (guest) => at(guest).data,
    unreadable,
  }
}

export function generationsOf(...names: readonly string[]): ReadonlyMap<string, DriverGeneration> {
  return new Map(
    names.map((name, at) => [
      name,
      { line: 'web', seq: at + 1, name, manifest: `sha256:${name}`, directory: `/nowhere/${name}` },
    ]),
  )
}
