/** Events to the Chrome trace format: one more fold over the same stream. */
import type { Event } from '../../base/events.ts'

interface TraceEvent {
  readonly name: string
  readonly ph: 'X' | 'i'
  readonly ts: number
  readonly dur?: number
  readonly pid: 1
  readonly tid: number
  readonly args?: object
}

interface Trace {
  add(event: Event, nowMs: number): void
  print(): string
}

/** Steps become spans, everything else an instant. Times are microseconds since the first event. */
export function openTrace(): Trace {
  const events: TraceEvent[] = []
  let first: number | undefined
  return {
    add: (event, nowMs) => {
      first ??= nowMs
      const ts = Math.round((nowMs - first) * 1000)
      if (event.kind === 'step.started' || event.kind.endsWith('.progress')) return
      if (event.kind === 'step.finished') {
        const dur = Math.round(event.ms * 1000)
        events.push({
          name: event.step,
          ph: 'X',
          ts: ts - dur,
          dur,
          pid: 1,
          tid: event.step.startsWith('stage ') ? 2 : 1,
        })
      } else events.push({ name: event.kind, ph: 'i', ts, pid: 1, tid: 3, args: event })
    },
    print: () => `${JSON.stringify({ traceEvents: events })}\n`,
  }
}
