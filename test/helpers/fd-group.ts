/** A group of one guest with everything usual. */
import type { Group } from '../../src/resolve/group.ts'

export function group(driver: Group['driver'], more: Partial<Group> = {}): Group {
  return {
    name: 'toys',
    line: 'toy',
    guests: [{ name: 'toy-1', canary: false, values: {} }],
    driver,
    templates: {},
    waves: [],
    maxUnavailable: { count: 1 },
    minAvailable: { count: 0 },
    allowedFailures: { count: 0 },
    health: [],
    soakSeconds: 1,
    bootSeconds: 60,
    recoverSeconds: 60,
    tries: 3,
    windows: [],
    approvers: [],
    require: 'built',
    trustSteadyState: false,
    ...more,
  }
}
