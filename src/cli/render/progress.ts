/** Events to what a person reads on stderr: a living line on a terminal, plain lines elsewhere. */
import type { Event, Report } from '../../base/events.ts'

interface Screen {
  write(text: string): void
  readonly isTerminal: boolean
  readonly columns: number
}

/** Steps shorter than this are not worth a line where nothing can be overwritten. */
const SHOWN_MS = 1000
const REDRAW_MS = 80

export interface Progress {
  readonly report: Report
  /** Clears the living line. */
  end(): void
}

/**
 * @param now milliseconds of a monotonic clock
 */
export function openProgress(screen: Screen, now: () => number): Progress {
  let drawn = ''
  let drawnAt = -REDRAW_MS
  let step = ''
  let detail = ''

  function clear(): void {
    if (drawn !== '') screen.write(`\r${' '.repeat(drawn.length)}\r`)
    drawn = ''
  }

  function line(text: string): void {
    clear()
    screen.write(`${text}\n`)
  }

  function draw(force: boolean): void {
    if (!screen.isTerminal || step === '' || (!force && now() - drawnAt < REDRAW_MS)) return
    const text = `${step} ${detail}`.slice(0, Math.max(10, screen.columns - 1))
    if (text === drawn) return
    clear()
    screen.write(text)
    drawn = text
    drawnAt = now()
  }

  return {
    report: (event) => {
      if (event.kind === 'warning') line(`warning: ${event.message}`)
      else if (event.kind === 'rollout.moved') line(event.text)
      else if (event.kind === 'step.started' && !event.step.startsWith('stage ')) {
        step = event.step
        detail = ''
        draw(true)
      } else if (event.kind === 'step.finished') {
        if (!event.step.startsWith('stage ') && event.ms >= SHOWN_MS)
          line(`${event.step}: ${seconds(event.ms)}`)
        detail = ''
      } else {
        detail = detailOf(event) || detail
        draw(false)
      }
    },
    end: clear,
  }
}

function detailOf(event: Event): string {
  switch (event.kind) {
    case 'download.progress':
      return `${event.name} ${mebibytes(event.received)}${event.total > 0 ? ` of ${mebibytes(event.total)}` : ''}`
    case 'package.fetched':
    case 'package.unpacked':
      return event.name
    case 'index.fetched':
      return `${event.repo} ${event.name}`
    case 'image.progress':
      return `${event.total > 0 ? Math.floor((100 * event.done) / event.total) : 0} %`
    case 'image.written':
      return `${event.name} ${mebibytes(event.bytes)}`
    case 'stage.finished':
      return event.stage
    case 'blocks.counted':
    case 'rollout.moved':
    case 'warning':
    case 'step.started':
    case 'step.finished':
      return ''
  }
}

export function mebibytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  return bytes < 1 << 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`
}
