/** The only clock of stage5: milliseconds since 1970. */
export function now(): number {
  return Date.now()
}

/** Milliseconds since some fixed moment, never going back: for durations. */
export function monotonicMs(): number {
  return performance.now()
}

/**
 * Milliseconds since some moment that is the same for all processes of this machine until it starts anew: never going
 * back, whatever is done to the time of day.
 */
export function machineMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n)
}
