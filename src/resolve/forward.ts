/** `HOST:GUEST`: a TCP port of 127.0.0.1 that leads to a port of a guest. */
import type { Group } from './group.ts'
import type { QemuOptions } from './shape-driver.ts'
import { driverGuest, filled } from './template.ts'

export interface Forward {
  readonly host: number
  readonly guest: number
}

export const FORWARD_EXPECTED = 'HOST:GUEST such as 8081:80, each from 1 to 65535'

/**
 * @returns undefined when it is none
 * @example
 * parseForward('8081:80') // => { host: 8081, guest: 80 }
 * parseForward('8081:0') // => undefined
 */
export function parseForward(text: string): Forward | undefined {
  const [, host, guest] = (/^(\d{1,5}):(\d{1,5})$/.exec(text) ?? []).map(Number)
  const isPort = (port: number | undefined): port is number =>
    port !== undefined && port > 0 && port <= 65_535
  return isPort(host) && isPort(guest) ? { host, guest } : undefined
}

/** The forwards of a guest whose group was loaded, and so checked. */
export function forwardsOf(
  options: Pick<QemuOptions, 'forward'>,
  values: Readonly<Record<string, string>>,
): readonly Forward[] {
  return options.forward.map((template) => {
    const found = parseForward(filled(template, values))
    if (!found) throw new Error(`forward ${JSON.stringify(template)} was not checked`)
    return found
  })
}

/** Guests of the driver qemu that want one port of this host, by the first that wants it. */
export function portsTakenTwice(
  groups: readonly Group[],
): readonly { readonly port: number; readonly guests: readonly string[] }[] {
  const takers = new Map<number, string[]>()
  for (const group of groups) {
    if (group.driver.kind !== 'qemu') continue
    const options = group.driver.options as unknown as QemuOptions
    for (const guest of group.guests)
      for (const { host } of forwardsOf(options, driverGuest(group, guest).values))
        takers.set(host, [...(takers.get(host) ?? []), guest.name])
  }
  return [...takers].flatMap(([port, guests]) => (guests.length > 1 ? [{ port, guests }] : []))
}
