/** A fleet in a folder: guests behind a socket, an engine on disk, its recorded history, and controllers that die. */
import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { FaultPoint } from '../../src/deploy/controller.ts'
import { openEngine } from '../../src/engine/open.ts'
import { type Findings, historyChecker } from '../../src/fleet/checker.ts'
import type { DataSchemas } from '../../src/fleet/data-schema.ts'
import { KEYS, PREFIX, type RolloutDocument, type GuestDocument } from '../../src/fleet/documents.ts'
import { groupsLine } from '../../src/fleet/history.ts'
import { monotonicMs } from '../../src/host/clock.ts'
import type { Group } from '../../src/resolve/group.ts'
import type { ControllerSpec } from './fr-controller.ts'
import { group, rollout } from './fr-fleet.ts'
import { serveTruth } from './fr-site.ts'
import { type Fault, generationsOf, makeTruth, type Truth } from './fr-truth.ts'

export interface SimulationOptions {
  readonly groups: readonly Group[]
  readonly faultOf: (guest: string, generation: string) => Fault
  /** What becomes of each controller in turn; those after the last are left alone. */
  readonly fates: readonly ControllerSpec['fault'][]
  /** Controllers at a time. */
  readonly crew: number
  readonly fenced: boolean
  readonly limitMs: number
  /** Its address; absent: a database of its own. */
  readonly engine?: string
  /** What generations say of guests' data, and do with it; absent: nothing. */
  readonly dataSchemas?: DataSchemas
  /** Told of each revision that was recorded. */
  readonly onRevision?: () => void
}

export interface Simulated {
  readonly findings: Findings
  readonly rollout: RolloutDocument
  readonly guests: ReadonlyMap<string, GuestDocument>
  readonly truth: Truth
  readonly killed: number
  readonly isOver: boolean
}

export const POINTS: readonly FaultPoint[] = [
  'after-read',
  'before-transact',
  'before-call',
  'during-call',
  'after-report',
]

export async function simulate(options: SimulationOptions): Promise<Simulated> {
  const { groups, faultOf, fates, crew, fenced, limitMs, dataSchemas } = options
  const directory = mkdtempSync(join(tmpdir(), 's5-fleet-'))
  try {
    const guests = Object.fromEntries(groups.flatMap((one) => one.guests.map(({ name }) => [name, one.name])))
    const manifests = new Map(
      [...generationsOf('g1-old', 'g2-new', 'g3-newer')].map(([name, { manifest }]) => [name, manifest]),
    )
    const truth = makeTruth({
      guests,
      good: 'g1-old',
      manifests,
      faultOf,
      now: monotonicMs,
      bootMs: 300,
      ...(dataSchemas && { dataSchemas }),
    })
    const site = join(directory, 'site')
    await using stack = new AsyncDisposableStack()
    stack.use(await serveTruth(truth, site))
    const address = options.engine ?? `sqlite:${join(directory, 'fleet.db')}`
    await using engine = await openEngine(address)
    const checker = historyChecker()
    const start = await engine.list(PREFIX)
    checker.line(
      JSON.stringify({ history: 1, storeId: engine.storeId, revision: String(start.revision), state: [] }),
    )
    checker.line(JSON.stringify(groupsLine(groups)))
    const stop = new AbortController()
    const recorded = (async () => {
      for await (const { revision, changes } of engine.watch(PREFIX, start.revision, stop.signal)) {
        options.onRevision?.()
        checker.line(
          JSON.stringify({
            revision: String(revision),
            changes: changes.map(({ key, value }) => ({ key, value })),
          }),
        )
      }
    })()
    await engine.transact(
      [],
      [
        {
          kind: 'put',
          key: KEYS.rollout('r1'),
          value: JSON.stringify(rollout(groups.map(({ name }) => name))),
        },
      ],
    )

    const waiting = [...fates]
    const deadline = monotonicMs() + limitMs
    let killed = 0
    let isOver = false
    const living = new Set<ReturnType<typeof spawn>>()
    /** One place of the crew: whoever dies is replaced until all is over. */
    const place = async (): Promise<void> => {
      while (!isOver && monotonicMs() < deadline) {
        const fault = waiting.shift()
        const spec: ControllerSpec = {
          engine: address,
          site,
          groups,
          fenced,
          pollMs: 100,
          ...(fault && { fault }),
          ...(dataSchemas && { dataSchemas: Object.fromEntries(dataSchemas) }),
        }
        const child = spawn(
          process.execPath,
          [join(import.meta.dirname, 'fr-controller.ts'), JSON.stringify(spec)],
          {
            stdio: ['ignore', 'ignore', 'inherit'],
          },
        )
        living.add(child)
        const [code, signal] = await new Promise<[number | null, string | null]>((done) =>
          child.once('exit', (...end) => done(end)),
        )
        living.delete(child)
        if (signal === 'SIGKILL') killed += Number(!isOver)
        else if (code === 0) isOver = true
        else if (!isOver) throw new Error(`a controller ended with ${code ?? signal}`)
      }
    }
    const guard = setInterval(() => {
      if (isOver || monotonicMs() >= deadline) for (const child of living) child.kill('SIGKILL')
    }, 50)
    await Promise.all(Array.from({ length: crew }, place)).finally(() => clearInterval(guard))
    const { values, revision } = await engine.list(PREFIX)
    // The history is read to its end before it is judged.
    for (let left = 200; left > 0 && checker.revision() < revision; left--)
      await new Promise((done) => setTimeout(done, 10))
    stop.abort()
    await recorded
    const read = <T>(prefix: string): ReadonlyMap<string, T> =>
      new Map(
        values
          .filter(({ key }) => key.startsWith(prefix))
          .map(({ key, value }) => [key.slice(prefix.length), JSON.parse(value) as T]),
      )
    return {
      findings: checker.end(isOver),
      rollout: read<RolloutDocument>(KEYS.rollouts).get('r1') as RolloutDocument,
      guests: read<GuestDocument>(KEYS.guests),
      truth,
      killed,
      isOver,
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const FAULTS: readonly Fault[] = [
  'hangs',
  'wrong',
  'sick',
  'sick-later',
  'stage-fails',
  'stage-flaky',
  'slow',
  'falls-back',
]

/** 5 % of the guests, every kind alike. */
export function faultOf(guest: string, generation: string): Fault {
  if (generation !== 'g2-new') return 'none'
  const share = Number.parseInt(hash('sha256', `c ${guest}`).slice(0, 8), 16)
  return share % 100 < 5 ? (FAULTS[Math.floor(share / 100) % FAULTS.length] as Fault) : 'none'
}

export function fleet(groups: number, size: number): readonly Group[] {
  const change = {
    maxUnavailable: { percent: 20 },
    allowedFailures: { percent: 40 },
    waves: [{ percent: 10 }, { percent: 100 }],
    soakSeconds: 1,
    // Longer than it takes to notice that a leader is dead: a deadline does not wait for the next one.
    bootSeconds: 6,
    recoverSeconds: 6,
  }
  return Array.from({ length: groups }, (_, at) => group(`g${at}`, size, change))
}

/** What is recorded is what runs. */
export function differences({ guests, truth }: Simulated): string[] {
  return [...guests].flatMap(([name, { good }]) => {
    const { good: kept, runs, isUp } = truth.running(name)
    if (good === kept && runs === kept && isUp) return []
    return [`${name}: recorded ${good}, keeps ${kept}, runs ${runs}, ${isUp ? 'up' : 'down'}`]
  })
}
