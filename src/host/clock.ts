/** The only clock of stage5: milliseconds since 1970. */
export function now(): number {
  return Date.now()
}

/** Milliseconds since some fixed moment, never going back: for durations. */
export function monotonicMs(): number {
  return performance.now()
}
