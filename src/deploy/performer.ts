/** Does what a decision asks of drivers: one thing at a time for a guest, the newest wish wins, failures wait longer each time. */
import type { Limit } from '../base/limit.ts'
import type { Action, Prepared } from '../fleet/view.ts'
import { monotonicMs } from '../host/clock.ts'
import { within } from './watcher.ts'

export type CallDriver = (action: Action, signal: AbortSignal) => Promise<void>

interface PerformerOptions {
  readonly limit: Limit
  readonly signal: AbortSignal
  /** A call to prepare may take this long, any other `callMs`. */
  readonly prepareMs: number
  readonly callMs: number
  /** Pauses before the same call is made again, doubled each time up to 60 times this. */
  readonly retryMs: number
  /** Between two of `before` and `after` calls are made and answered. */
  readonly before: (action: Action) => Promise<void>
  readonly during: (action: Action) => Promise<void>
  readonly after: (action: Action, error: unknown) => Promise<void>
}

export interface Performer {
  start(actions: readonly Action[]): void
  /** How preparing ended, for guests where it did. */
  readonly prepared: ReadonlyMap<string, Prepared>
  /** A failure was counted: it may be tried again. */
  settle(guest: string): void
  readonly running: () => number
  /** Aborts every call and waits for the ends. */
  stop(): Promise<void>
}

interface Running {
  readonly key: string
  readonly abort: AbortController
  readonly end: Promise<void>
}

export function perform(call: CallDriver, options: PerformerOptions): Performer {
  const { limit, signal, prepareMs, callMs, retryMs, before, during, after } = options
  const running = new Map<string, Running>()
  const prepared = new Map<string, Prepared>()
  const pauses = new Map<string, { readonly key: string; readonly count: number; readonly until: number }>()

  async function one(action: Action, abort: AbortSignal, earlier: Promise<void> | undefined): Promise<void> {
    await earlier
    if (abort.aborted) return
    await limit(async () => {
      let failure: unknown
      try {
        await before(action)
        await within(action.kind === 'prepare' ? prepareMs : callMs, abort, async (stop) => {
          const asked = call(action, stop)
          asked.catch(() => undefined)
          await during(action)
          await asked
        })
      } catch (error) {
        failure = error
      }
      if (abort.aborted) return
      note(action, failure)
      await after(action, failure)
    })
  }

  function note(action: Action, failure: unknown): void {
    const { guest, kind, generation } = action
    const error =
      failure === undefined ? '' : failure instanceof Error ? failure.message : JSON.stringify(failure)
    if (kind === 'prepare') prepared.set(guest, { generation, error })
    const key = keyOf(action)
    const last = pauses.get(guest)
    const count = last?.key === key ? last.count + 1 : 0
    const wait = retryMs * Math.min(60, 2 ** count) * (0.75 + Math.random() / 2)
    pauses.set(guest, { key, count, until: monotonicMs() + wait })
  }

  function startOne(action: Action): void {
    const { guest } = action
    const key = keyOf(action)
    const now = running.get(guest)
    if (now?.key === key) return
    const pause = pauses.get(guest)
    if (!now && pause?.key === key && monotonicMs() < pause.until) return
    now?.abort.abort(new Error('something else is wanted of the guest'))
    if (action.kind === 'prepare') prepared.delete(guest)
    const abort = new AbortController()
    const end = one(action, abort.signal, now?.end)
      .catch(() => undefined)
      .finally(() => {
        if (running.get(guest)?.abort === abort) running.delete(guest)
      })
    running.set(guest, { key, abort, end })
  }

  const stopAll = (why: unknown): void => {
    for (const { abort } of running.values()) abort.abort(why)
  }
  // One listener for all calls: a composite signal for each of thousands costs more than the calls.
  signal.addEventListener('abort', () => stopAll(signal.reason), { once: true })

  return {
    start: (actions) => {
      if (signal.aborted) return
      for (const action of actions) startOne(action)
    },
    prepared,
    settle: (guest) => {
      if (prepared.get(guest)?.error) prepared.delete(guest)
    },
    running: () => running.size,
    stop: async () => {
      stopAll(new Error('the controller stops'))
      await Promise.all([...running.values()].map(({ end }) => end))
    },
  }
}

function keyOf({ kind, generation, token }: Action): string {
  return `${kind} ${generation} ${token}`
}
