/** Writes the container of a Gentoo package of GLEP 78: its small members, and what goes in front of and behind each. */
import { createHash } from 'node:crypto'
import { GPKG_HASHES } from './gpkg.ts'
import { TAR_BLOCK, tarHeader, tarPadding } from './tar-write.ts'

/** A member as the Manifest names it. */
export interface ManifestMember {
  readonly name: string
  readonly size: number
  /** Lower-case hex. */
  readonly blake2b: string
  readonly sha512: string
}

/** Size and hashes of a member whose bytes are at hand. */
export function manifestMember(name: string, bytes: Uint8Array): ManifestMember {
  const hex = (algorithm: string): string => createHash(algorithm).update(bytes).digest('hex')
  return {
    name,
    size: bytes.length,
    blake2b: hex(GPKG_HASHES.BLAKE2B),
    sha512: hex(GPKG_HASHES.SHA512),
  }
}

/** One line, without its end. @see GLEP 74, and GLEP 78 “Manifest”: BLAKE2B and SHA512 */
export function manifestLine({ name, size, blake2b, sha512 }: ManifestMember): string {
  return `DATA ${name} ${size} SHA512 ${sha512} BLAKE2B ${blake2b}`
}

/** What stands in front of a member of `size` bytes; `tarPadding(size)` follows it. */
export function memberHeader(directory: string, name: string, size: number, time: number): Uint8Array {
  return fileHeader(`${directory}/${name}`, size, time)
}

/** Two blocks of zeros end the container. */
export function containerEnd(): Uint8Array {
  return new Uint8Array(2 * TAR_BLOCK)
}

/** metadata.tar: `metadata/KEY` for each value (byte strings), sorted by key. */
export function metadataTar(values: ReadonlyMap<string, Uint8Array>, time: number): Uint8Array {
  const pieces = [...values]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([key, value]) => [
      fileHeader(`metadata/${key}`, value.length, time),
      value,
      tarPadding(value.length),
    ])
  return Buffer.concat([...pieces, containerEnd()])
}

function fileHeader(path: string, size: number, time: number): Uint8Array {
  return tarHeader({
    path,
    type: 'file',
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: time,
    size,
    linkname: '',
    major: 0,
    minor: 0,
    xattrs: [],
  })
}
