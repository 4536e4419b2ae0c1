/** The lock: exactly which builds a profile is today. Written for review in git; names no mirror. */
import type { Digest } from '../base/digest.ts'
import type { PackageFile, Scheme } from '../pkg/package.ts'

export interface Locked {
  readonly scheme: Scheme
  readonly name: string
  readonly version: string
  readonly arch: string
  readonly repo: string
  readonly slot: string
  readonly use: readonly string[]
  readonly buildId: number
  readonly file: PackageFile
  /** Our own sum of the package file; what is fetched must have it before a byte is unpacked. */
  readonly sha256: Digest
  readonly installedSize: number
  /** Why it is here: `profile: nginx`, or `nginx: libpcre2-8-0 (>= 10.22)`. */
  readonly because: readonly string[]
}

export interface LockedRepository {
  readonly name: string
  readonly kind: 'debian' | 'native' | 'gentoo'
  readonly snapshot: string
  /** Seconds since 1970, 0 when unknown. */
  readonly date: number
  /** Gentoo: the policy for signatures of packages that the lock was made with. */
  readonly signatures?: 'require' | 'if-present' | 'off'
}

/** Numbers given to users and groups, so that a new package never changes an old number. */
export interface IdLedger {
  readonly users: { readonly [name: string]: number }
  readonly groups: { readonly [name: string]: number }
}

export interface Lock {
  readonly version: 1
  /** Profile name with variant. */
  readonly profile: string
  /** Digest of the effective profile as far as resolving goes. */
  readonly input: Digest
  readonly repositories: readonly LockedRepository[]
  /** In install order: dependencies first. */
  readonly packages: readonly Locked[]
  readonly ids: IdLedger
}
