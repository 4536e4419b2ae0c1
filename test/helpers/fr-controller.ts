/**
 * A controller as a process of its own: `node fr-controller.ts JSON`. At the nth time it comes by a named point it kills
 * itself with SIGKILL, or stands still for longer than its lease lasts. `fenced: false` takes the compares out of every
 * write: the control that must go wrong.
 */
import pLimit from 'p-limit'
import { type FaultPoint, runController } from '../../src/deploy/controller.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { openEngine } from '../../src/engine/open.ts'
import type { DataSchema } from '../../src/resolve/profile.ts'
import type { Group } from '../../src/resolve/group.ts'
import { driveSite } from './fr-site.ts'
import { generationsOf } from './fr-truth.ts'

export interface ControllerSpec {
  /** Its address. */
  readonly engine: string
  readonly site: string
  readonly groups: readonly Group[]
  readonly fault?: { readonly point: FaultPoint; readonly nth: number; readonly pauseMs?: number }
  readonly fenced: boolean
  readonly pollMs: number
  /** What generations say of guests' data. */
  readonly dataSchemas?: Readonly<Record<string, DataSchema>>
}

const spec = JSON.parse(process.argv[2] as string) as ControllerSpec
const opened = await openEngine(spec.engine)
const engine: Engine = spec.fenced
  ? opened
  : { ...opened, transact: (_, operations) => opened.transact([], operations) }
using driver = await driveSite(spec.site)
const groups = new Map(spec.groups.map((group) => [group.name, group]))
const generations = new Map(
  [...generationsOf('g1-old', 'g2-new', 'g3-newer')].map(([name, generation]) => {
    const dataSchema = spec.dataSchemas?.[name]
    return [name, dataSchema ? { ...generation, dataSchema } : generation]
  }),
)
let left = spec.fault?.nth ?? 0

await runController({
  engine,
  groups: async () => groups,
  generations: async () => generations,
  openDriver: () => driver,
  guestOf: (group, name) => ({ name, group: group.name, values: {} }),
  bootedGate: () => '',
  isApproved: () => true,
  limit: pLimit(64),
  ttlSeconds: spec.engine.startsWith('sqlite:') ? 0.5 : 1,
  pollMs: spec.pollMs,
  observeMs: 1000,
  signal: new AbortController().signal,
  isDone: ({ rollouts }) =>
    rollouts.size > 0 &&
    [...rollouts.values()].every(({ document }) => ['completed', 'rolled-back'].includes(document.state)),
  at: async (point) => {
    if (point !== spec.fault?.point || --left !== 0) return
    if (spec.fault.pauseMs === undefined) process.kill(process.pid, 'SIGKILL')
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, spec.fault.pauseMs)
  },
})
await opened[Symbol.asyncDispose]()
