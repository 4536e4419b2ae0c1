/** What drivers say of guests, kept for as long as it may be believed; a guest that hangs keeps nobody waiting. */
import type { Limit } from '../base/limit.ts'
import type { Observation } from '../fleet/view.ts'
import { monotonicMs } from '../host/clock.ts'

export type AskStatus = (guest: string, signal: AbortSignal) => Promise<Observation>

export interface WatcherOptions {
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
  /** What was heard lately. */
  readonly seen: () => ReadonlyMap<string, Observation>
  forget(guest: string): void
}

interface Heard {
  readonly at: number
  readonly seen: Observation
}

export function watchGuests(ask: AskStatus, { limit, callMs, signal }: WatcherOptions): Watcher {
  const heard = new Map<string, Heard>()
  const asked = new Map<string, Promise<void>>()

  async function one(guest: string): Promise<void> {
    const at = monotonicMs()
    try {
      const timeout = AbortSignal.any([signal, AbortSignal.timeout(callMs)])
      heard.set(guest, { at, seen: await abandonable(ask(guest, timeout), timeout) })
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      heard.set(guest, { at, seen: unknown(detail) })
    } finally {
      asked.delete(guest)
    }
  }

  return {
    refresh: async (guests, maxAgeMs, graceMs) => {
      const now = monotonicMs()
      const due = guests.filter(
        (guest) => !asked.has(guest) && now - (heard.get(guest)?.at ?? -Infinity) >= maxAgeMs,
      )
      const calls = due.map((guest) => {
        const call = limit(() => one(guest))
        asked.set(guest, call)
        return call
      })
      if (calls.length === 0) return 0
      let timer: NodeJS.Timeout | undefined
      const grace = new Promise<void>((done) => {
        timer = setTimeout(done, graceMs)
      })
      await Promise.race([Promise.all(calls), grace])
      clearTimeout(timer)
      return calls.length
    },
    seen: () => new Map([...heard].map(([guest, { seen }]) => [guest, seen])),
    forget: (guest) => void heard.delete(guest),
  }
}

/** Rejects when `signal` aborts, also for a call that does not listen to it. */
export async function abandonable<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
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
