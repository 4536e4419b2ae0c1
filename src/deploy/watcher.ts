/** What drivers say of guests, kept for as long as it may be believed; a guest that hangs keeps nobody waiting. */
import type { Limit } from '../base/limit.ts'
import type { Observation } from '../fleet/view.ts'
import { monotonicMs } from '../host/clock.ts'

type AskStatus = (guest: string, signal: AbortSignal) => Promise<Observation>

interface WatcherOptions {
  readonly limit: Limit
  /** After this a call counts as failed. */
  readonly callMs: number
  readonly signal: AbortSignal
}

export interface Watcher {
  /**
   * Asks of those whose last answer is older than `maxAgeMs`, and waits for answers for at most `graceMs`.
   * @returns how many calls were made
   */
  refresh(guests: readonly string[], maxAgeMs: number, graceMs: number): Promise<number>
  /** What was heard last; changes as answers come. */
  readonly seen: () => ReadonlyMap<string, Observation>
}

/** Calls that wait for their turn at a time: one for each of 100,000 guests would be more than their answers. */
const MOST_WAITING = 256

export function watchGuests(ask: AskStatus, { limit, callMs, signal }: WatcherOptions): Watcher {
  const seen = new Map<string, Observation>()
  const heardAt = new Map<string, number>()
  const asked = new Set<string>()
  const calls = new Set<AbortController>()
  const stopAll = (): void => {
    for (const call of calls) call.abort(signal.reason)
  }
  // One listener for all calls: a composite signal for each of thousands costs more than the calls.
  signal.addEventListener('abort', stopAll, { once: true })

  async function one(guest: string): Promise<void> {
    const at = monotonicMs()
    const call = new AbortController()
    calls.add(call)
    if (signal.aborted) call.abort(signal.reason)
    try {
      seen.set(guest, await within(callMs, call.signal, (stop) => ask(guest, stop)))
    } catch (error) {
      seen.set(guest, unknown(error instanceof Error ? error.message : String(error)))
    } finally {
      heardAt.set(guest, at)
      asked.delete(guest)
      calls.delete(call)
    }
  }

  return {
    refresh: async (guests, maxAgeMs, graceMs) => {
      const now = monotonicMs()
      const due = guests.filter(
        (guest) => !asked.has(guest) && now - (heardAt.get(guest) ?? -Infinity) >= maxAgeMs,
      )
      if (due.length === 0) return 0
      for (const guest of due) asked.add(guest)
      const queue = due.values()
      const lane = async (): Promise<void> => {
        for (const guest of queue) await limit(() => one(guest))
      }
      const lanes = Promise.all(Array.from({ length: Math.min(MOST_WAITING, due.length) }, lane))
      let timer: NodeJS.Timeout | undefined
      const grace = new Promise<void>((done) => {
        timer = setTimeout(done, graceMs)
      })
      await Promise.race([lanes, grace])
      clearTimeout(timer)
      return due.length
    },
    seen: () => seen,
  }
}

/** A call that may take so long. @throws what the call throws, or that there was no answer */
export async function within<T>(
  ms: number,
  outer: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  outer.throwIfAborted()
  const inner = new AbortController()
  const stop = (): void => inner.abort(outer.reason)
  outer.addEventListener('abort', stop, { once: true })
  const timer = setTimeout(() => inner.abort(new Error(`no answer in ${ms / 1000} s`)), ms)
  try {
    return await abandonable(call(inner.signal), inner.signal)
  } finally {
    clearTimeout(timer)
    outer.removeEventListener('abort', stop)
  }
}

/** Rejects when `signal` aborts, also for a call that does not listen to it. */
async function abandonable<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  let stop: (() => void) | undefined
  const aborted = new Promise<never>((_, failed) => {
    stop = () => failed(signal.reason as Error)
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([call, aborted])
  } finally {
    if (stop) signal.removeEventListener('abort', stop)
  }
}

function unknown(detail: string): Observation {
  return {
    power: 'unknown',
    bootId: '',
    digest: '',
    pointer: 'good',
    triesLeft: 0,
    token: 0,
    health: 'inconclusive',
    detail,
  }
}
