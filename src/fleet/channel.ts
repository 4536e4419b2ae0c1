/** What guests that follow static files read: a generation as it was published, and the channel that points to it. */
import { shareOf } from './waves.ts'

export interface PublishedFile {
  readonly role: string
  /** Below the folder of the line. */
  readonly name: string
  readonly size: number
  /** 64 hex digits. */
  readonly sha256: string
}

export interface PublishedDelta extends PublishedFile {
  /** Role of the image that it makes. */
  readonly makes: string
  /** Name of the generation that it begins at, and the digest of that one's image. */
  readonly from: string
  readonly base: string
}

/** `generations/<line>/<name>.json`, signed for by the release keys. */
export interface PublishedGeneration {
  readonly stage5: 1
  readonly line: string
  readonly seq: number
  /** `g<seq>-<12 hex>` */
  readonly name: string
  readonly version: string
  /** Digest of its manifest. */
  readonly manifest: string
  /** A key that the publisher trusts signed that it boots. */
  readonly booted: boolean
  readonly files: readonly PublishedFile[]
  readonly deltas: readonly PublishedDelta[]
}

/** From `after` on (seconds since 1970), the guests whose share is below `ppm` millionths. */
export interface ChannelWave {
  readonly ppm: number
  readonly after: number
}

/** `channels/<line>.json`, signed for by the delegated keys: it can only point to what the release keys signed. */
export interface Channel {
  readonly stage5: 1
  readonly line: string
  /** In the hash of the waves: other guests come first each time. */
  readonly rollout: string
  readonly head: string
  readonly seq: number
  /** Where guests stay whose wave has not come; '' is wherever they are. */
  readonly previous: string
  /** No guest goes to a generation with a lower number. */
  readonly floor: number
  readonly paused: boolean
  readonly waves: readonly ChannelWave[]
  readonly issued: number
}

const MILLION = 1_000_000

/**
 * Whether the channel asks this guest to run its head by now.
 * @param now seconds since 1970: of the guest's clock, and never before `issued` of the newest timestamp it believes
 */
export function isDue(
  channel: Pick<Channel, 'rollout' | 'paused' | 'waves'>,
  guest: string,
  now: number,
): boolean {
  if (channel.paused) return false
  const share = shareOf(channel.rollout, guest) * MILLION
  return channel.waves.some(({ ppm, after }) => after <= now && share < ppm)
}

/**
 * Waves of a group as shares and times: each opens a soak time after the one before.
 * @param shares percent, ascending; a last wave for everyone is added when it is missing
 */
export function channelWaves(
  shares: readonly number[],
  now: number,
  soakSeconds: number,
): readonly ChannelWave[] {
  const all = shares.at(-1) === 100 ? shares : [...shares, 100]
  return all.map((percent, at) => ({ ppm: Math.round(percent * 10_000), after: now + at * soakSeconds }))
}

/** Waves of guests that nobody counts when the group names none. */
export const DEFAULT_PERCENTS: readonly number[] = [1, 10, 40, 100]
