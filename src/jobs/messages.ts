/** The jobs that worker threads do, with what goes in and what comes out. All of it survives structured clone. */
import type { Codec } from '../emit/emitter.ts'
import type { Growth } from '../host/growth.ts'
import type { Trust } from '../repo/package-trust.ts'
import type { Expected } from '../repo/unpack-control.ts'
import type { ExpectedBuild } from '../repo/unpack-metadata.ts'
import type { Staged } from '../store/store.ts'
import type { Ranges } from './parts.ts'

/** Unpack one package file into a staging directory of the store. */
export interface IngestInput {
  readonly kind: 'deb' | 'native' | 'gentoo'
  readonly file: string
  /** Owner label of every name. */
  readonly label: string
  readonly expect: Expected & ExpectedBuild
  /** Gentoo: whose signature the package needs. */
  readonly trust?: Trust
  /** Directory of the transaction. */
  readonly staging: string
  /** Path of the store: contents that are there already are not written again. */
  readonly store: string
}

export interface IngestOutput {
  /** `printTree` of the package's files. */
  readonly tree: string
  readonly control: { readonly [member: string]: string }
  /** New contents in the staging directory. */
  readonly written: readonly Staged[]
}

/** Size and digest of a file, for which the answer is a `Measured` of host/file-sink.ts. */
export interface MeasureInput {
  readonly file: string
}

/** A stretch of a disk image that is not all zeros. */
export type DiskPart = { readonly at: number } & (
  | { readonly bytes: Uint8Array }
  /**
   * `isSparse`: zeros in it are looked for, so that they take no space; else it is stored as it is. Without `offset`
   * and `length` it is the whole file. `growth`: it is read while it is written.
   */
  | {
      readonly file: string
      readonly isSparse: boolean
      readonly offset?: number
      readonly length?: number
      readonly growth?: Growth
    }
)

/** Write a disk image, for which the answer is a `Measured` of host/file-sink.ts. */
export interface DiskImageInput {
  readonly target: string
  readonly format: 'raw' | 'qcow2'
  /** Bytes of the disk. */
  readonly size: number
  /** None touches another; what is between them is zeros. */
  readonly parts: readonly DiskPart[]
}

/** Pack blocks. */
export interface CompressInput {
  readonly codec: Codec
  readonly level: number
  readonly blocks: readonly Ranges[]
}

export interface CompressOutput {
  /** All results, end to end: of each block its stored bytes, then the digest of its run. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Of each block: its stored size without the digest, negative when it is stored as it is. */
  readonly sizes: Int32Array
}
