/** A group of guests as its YAML says it: who they are, what they run, and how they may be updated. */

/**
 * One health check, tried until it passes or the time for coming up is over, then repeated while soaking. Texts are
 * templates; `address` is HOST:PORT.
 */
export type HealthCheck =
  | {
      readonly kind: 'http'
      readonly url: string
      readonly status: number
      readonly contains: string
      readonly timeoutMs: number
    }
  | { readonly kind: 'tcp'; readonly address: string; readonly timeoutMs: number }
  | { readonly kind: 'command'; readonly command: readonly string[]; readonly timeoutMs: number }
  | { readonly kind: 'console'; readonly text: string; readonly timeoutMs: number }
  | { readonly kind: 'systemd'; readonly states: readonly string[]; readonly timeoutMs: number }

/** An absolute number, or a share of the group in percent (rounded down for budgets, up for waves; at least 1). */
export type Quantity = { readonly count: number } | { readonly percent: number }

export interface GuestSpec {
  /** Unique in the fleet: letters, digits, `.` and `-`. */
  readonly name: string
  /** Goes into the first wave whatever its hash says. */
  readonly canary: boolean
  /** Values for templates: `{name}`, `{index}` and these; never secrets, which stand in files named here. */
  readonly values: Readonly<Record<string, string>>
}

export type DriverKind = 'dir' | 'qemu' | 'libvirt' | 'exec' | 'pull'

/** UTC, `days` 0 (Sunday) to 6. */
export interface Window {
  readonly days: readonly number[]
  readonly fromMinute: number
  readonly toMinute: number
}

export interface Group {
  readonly name: string
  /** The line: a profile, with @variant. */
  readonly line: string
  readonly guests: readonly GuestSpec[]
  readonly driver: { readonly kind: DriverKind; readonly options: Readonly<Record<string, unknown>> }
  /** Templates by what they make: `hostname`, `network`, `machine-id`, … */
  readonly templates: Readonly<Record<string, string>>
  /** Files of the host (templates) by their path in the guest; absent: none. */
  readonly secrets?: Readonly<Record<string, string>>
  /** Bytes of data areas that differ from the profile; absent: as the profile says. */
  readonly data?: Readonly<Record<string, number>>
  /** Absent means every wave rule is the default: 1 guest, 10 %, 40 %, 100 %. */
  readonly waves: readonly Quantity[]
  readonly maxUnavailable: Quantity
  readonly minAvailable: Quantity
  /** Failed guests per wave that are forgiven. */
  readonly allowedFailures: Quantity
  readonly health: readonly HealthCheck[]
  readonly soakSeconds: number
  readonly bootSeconds: number
  readonly recoverSeconds: number
  readonly tries: number
  readonly windows: readonly Window[]
  /** Key names of those who may approve; empty: nobody needs to. */
  readonly approvers: readonly string[]
  /** `booted`: only generations whose signed boot record matches. */
  readonly require: 'built' | 'booted'
  readonly trustSteadyState: boolean
  /**
   * Whether a guest whose overlay hides a change of the next base holds a rollout; absent: it is only told.
   * `reset-unmodified`: what it only touched is reset on the way, anything else holds.
   */
  readonly shadows?: 'hold' | 'reset-unmodified'
}
