/** The port of repositories: the two things that differ between a Debian archive, a native folder and a binhost. */
import type { Index } from '../pkg/package.ts'
import type { Digest } from '../base/digest.ts'
import type { Locked } from '../resolve/lock.ts'
import type { SignaturePolicy, Trust } from './package-trust.ts'

export interface Repository {
  readonly name: string
  readonly kind: 'debian' | 'native' | 'gentoo'
  /**
   * The verified index for one architecture; conditional requests, cached for `--offline`.
   * @throws S5_INDEX_REFUSED, S5_SIGNATURE_BAD, S5_FETCH_FAILED, S5_OFFLINE
   */
  index(arch: string, signal: AbortSignal): Promise<Index>
  /**
   * Path of the package file on this machine, size and sums checked.
   * @throws S5_DIGEST_MISMATCH, S5_FETCH_FAILED, S5_OFFLINE
   */
  fetch(pkg: Locked, signal: AbortSignal): Promise<string>
  /**
   * SHA256 of a package that the index lists with weaker sums only: fetched, and checked as far as that goes without
   * unpacking. Where there is none, indexes have SHA256.
   * @throws as `fetch`; S5_ARCHIVE_REFUSED, S5_SIGNATURE_BAD
   */
  pin?(pkg: Locked, signal: AbortSignal): Promise<Digest>
  /** Whose signature a package needs; without it, signatures are those of the index. */
  trust?(pkg: Locked): Promise<Trust>
  /** What the lock shows of it. */
  policy?(): Promise<SignaturePolicy>
  /** Gentoo: program and arguments that make a build, followed by its atom, with USE in the environment. */
  readonly builder?: readonly string[]
  /** What was read of the index is forgotten: the next `index` reads it anew. */
  forget?(): void
}
