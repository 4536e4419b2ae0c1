/** What stages may know beside the root: parts of the profile and the lock, as plain values. */
import type { Profile } from '../resolve/profile.ts'
import type { IdLedger } from '../resolve/lock.ts'
import type { Json } from '../base/json.ts'

export interface PackageFacts {
  /** Owner label of its files. */
  readonly label: string
  readonly name: string
  readonly version: string
  readonly arch: string
  readonly scheme: string
  /** Members of the control archive by name, as byte strings. */
  readonly control: { readonly [member: string]: string }
}

export interface Facts {
  readonly profile: Profile
  /** IMAGE_VERSION of this build. */
  readonly version: string
  /** Seconds since 1970: no mtime in the result is later, and generated files have exactly this one. */
  readonly date: number
  readonly ids: IdLedger
  /** In install order. */
  readonly packages: readonly PackageFacts[]
  /** `stages/strip.yaml` after reading: class name to rules. */
  readonly stripClasses: { readonly [name: string]: Json }
}
