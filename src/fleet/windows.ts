/** Maintenance windows: when guests of a group may be restarted. The only place where a rollout looks at a calendar. */
import type { Window } from '../resolve/group.ts'

const DAY = 1440
const WEEK = 7 * DAY
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const

/** UTC as the controller sees it. */
export interface Moment {
  /** 0 is Sunday. */
  readonly day: number
  readonly minute: number
}

/**
 * No windows means always. One that ends before it begins reaches into the next day.
 * @example
 * isOpen([{ days: [6], fromMinute: 1380, toMinute: 60 }], { day: 0, minute: 30 }) // => true
 */
export function isOpen(windows: readonly Window[], { day, minute }: Moment): boolean {
  return (
    windows.length === 0 ||
    windows.some(({ days, fromMinute, toMinute }) => {
      const length = (toMinute - fromMinute + DAY) % DAY || DAY
      return days.some((begin) => {
        const since = (day * DAY + minute - begin * DAY - fromMinute + 2 * WEEK) % WEEK
        return since < length
      })
    })
  )
}

/**
 * When the next window opens, such as `Mon 02:00 UTC`.
 * @example
 * nextOpening([{ days: [1], fromMinute: 120, toMinute: 240 }], { day: 1, minute: 300 }) // => 'Mon 02:00 UTC'
 */
export function nextOpening(windows: readonly Window[], { day, minute }: Moment): string {
  const at = day * DAY + minute
  const begins = windows.flatMap(({ days, fromMinute }) => days.map((begin) => begin * DAY + fromMinute))
  const until = (begin: number): number => (begin - at + WEEK) % WEEK
  const next = begins.sort((a, b) => until(a) - until(b))[0]
  if (next === undefined) return 'never'
  const two = (number: number): string => String(number).padStart(2, '0')
  return `${DAYS[Math.floor(next / DAY)]} ${two(Math.floor((next % DAY) / 60))}:${two(next % 60)} UTC`
}
