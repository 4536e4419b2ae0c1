/**
 * The container of a Gentoo package of GLEP 78: which members an outer tar may have, and what its Manifest promises.
 *
 * DIR/gpkg-1, DIR/metadata.tar[.EXT], DIR/image.tar[.EXT], signatures of both, DIR/Manifest.
 */
import { type Refusal, refuse } from '../base/errors.ts'

type GpkgRole = 'marker' | 'metadata' | 'image' | 'signature' | 'manifest' | 'other'

export interface GpkgMember {
  /** Without the directory. */
  readonly name: string
  readonly role: GpkgRole
  readonly size: number
}

/** Hashes of the Manifest that count, by their names there and in Node. */
export const GPKG_HASHES = { BLAKE2B: 'blake2b512', SHA512: 'sha512', SHA256: 'sha256' } as const
export type GpkgHash = keyof typeof GPKG_HASHES

export interface ManifestEntry {
  readonly size: number
  /** Lower-case hex; the hashes that count, at least one. */
  readonly hashes: { readonly [name in GpkgHash]?: string }
}

/** Bytes of the Manifest, and of one signature. */
const MAX_MANIFEST: number = 2 ** 20
const MAX_SIGNATURE: number = 2 ** 16
const MAX_MEMBERS = 100
const HEX_LENGTH: { readonly [name in GpkgHash]: number } = { BLAKE2B: 128, SHA512: 128, SHA256: 64 }

/** Collects the members of one container in their order. */
interface GpkgContainer {
  readonly members: readonly GpkgMember[]
  /**
   * Takes the next member.
   * @throws S5_ARCHIVE_REFUSED `layout`, `duplicate`, `version`, `absolute-path`, `traversal`, `too-big`
   */
  add(path: string, type: string, size: number): GpkgMember
  /**
   * The members that every package has, when all were added.
   * @throws S5_ARCHIVE_REFUSED `missing-member`, `version`
   */
  finish(): { readonly metadata: GpkgMember; readonly image: GpkgMember; readonly manifest: GpkgMember }
}

export function gpkgContainer(file: string): GpkgContainer {
  const members: GpkgMember[] = []
  let directory: string | undefined
  const fail = (reason: Refusal, message: string, entry?: string) =>
    refuse(reason, file, message, entry === undefined ? {} : { entry })

  function add(path: string, type: string, size: number): GpkgMember {
    if (path.startsWith('/')) throw fail('absolute-path', 'an absolute name in the container', path)
    const [above, name, ...rest] = path.split('/')
    if ([above, name, ...rest].includes('..')) throw fail('traversal', 'a name with ".."', path)
    if (!above || !name || rest.length > 0 || above === '.')
      throw fail('layout', 'expected DIRECTORY/MEMBER in the container', path)
    if (type !== 'file') throw fail('layout', `a ${type} in the container`, path)
    directory ??= above
    if (above !== directory)
      throw fail('layout', `expected only members of ${JSON.stringify(directory)} in the container`, path)
    if (members.some((known) => known.name === name)) throw fail('duplicate', 'twice in the container', path)
    const role = roleOf(name)
    if (/^gpkg-/.test(name) && role !== 'marker')
      throw fail('version', 'expected the format gpkg-1, found', path)
    if ((role === 'metadata' || role === 'image') && members.some((known) => known.role === role))
      throw fail('layout', `a second ${role} archive`, path)
    if (members.length === MAX_MEMBERS) throw fail('too-big', `more than ${MAX_MEMBERS} members`)
    if (role === 'manifest' && size > MAX_MANIFEST) throw fail('too-big', `a Manifest of ${size} bytes`, path)
    if (role === 'signature' && size > MAX_SIGNATURE)
      throw fail('too-big', `a signature of ${size} bytes`, path)
    const member = { name, role, size }
    members.push(member)
    return member
  }

  function only(role: GpkgRole, what: string): GpkgMember {
    const found = members.find((member) => member.role === role)
    if (found === undefined) throw fail('missing-member', `there is no ${what}`)
    return found
  }

  return {
    members,
    add,
    finish() {
      only('marker', 'gpkg-1')
      return {
        metadata: only('metadata', 'metadata archive'),
        image: only('image', 'image archive'),
        manifest: only('manifest', 'Manifest'),
      }
    },
  }
}

function roleOf(name: string): GpkgRole {
  if (name === 'gpkg-1') return 'marker'
  if (name === 'Manifest') return 'manifest'
  if (name.endsWith('.sig')) return 'signature'
  if (/^metadata\.tar(?:\.[a-z0-9]+)?$/.test(name)) return 'metadata'
  if (/^image\.tar(?:\.[a-z0-9]+)?$/.test(name)) return 'image'
  return 'other'
}

/**
 * The lines `DATA NAME SIZE ALGORITHM HEX…` of a Manifest. The text must be what was signed, where it was signed.
 * @throws S5_ARCHIVE_REFUSED `manifest`, `duplicate`, `weak-digest`
 */
export function parseManifest(file: string, text: string): Map<string, ManifestEntry> {
  const entries = new Map<string, ManifestEntry>()
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue
    const [kind, name = '', size = '', ...sums] = line.trim().split(/[ \t]+/)
    const fail = (message: string) => refuse('manifest', file, `Manifest line ${at + 1}: ${message}`)
    if (kind !== 'DATA') throw fail(`expected DATA, found ${JSON.stringify((kind ?? '').slice(0, 40))}`)
    if (!/^[0-9]{1,15}$/.test(size)) throw fail('the size is not a number')
    if (sums.length % 2 !== 0) throw fail('a hash without its value')
    if (entries.has(name)) throw refuse('duplicate', file, 'twice in the Manifest', { entry: name })
    entries.set(name, { size: Number(size), hashes: hashesOf(file, name, sums, fail) })
  }
  return entries
}

function hashesOf(
  file: string,
  name: string,
  sums: readonly string[],
  fail: (message: string) => Error,
): ManifestEntry['hashes'] {
  const hashes: { [name in GpkgHash]?: string } = {}
  for (let at = 0; at < sums.length; at += 2) {
    const algorithm = sums[at] as GpkgHash
    if (!Object.hasOwn(GPKG_HASHES, algorithm)) continue
    const value = (sums[at + 1] as string).toLowerCase()
    if (!/^[0-9a-f]+$/.test(value) || value.length !== HEX_LENGTH[algorithm])
      throw fail(`${algorithm} is not ${HEX_LENGTH[algorithm]} hex digits`)
    if (hashes[algorithm] !== undefined) throw fail(`${algorithm} stands there twice`)
    hashes[algorithm] = value
  }
  if (Object.keys(hashes).length === 0) {
    const found = sums.filter((_, at) => at % 2 === 0).join(', ')
    throw refuse('weak-digest', file, `expected BLAKE2B, SHA512 or SHA256, found ${found || 'no hash'}`, {
      entry: name,
    })
  }
  return hashes
}

/**
 * Compares what a container holds with its Manifest: each member but the Manifest is listed with its size and hashes, and
 * nothing else is listed.
 * @param found hashes of a member's bytes, in lower-case hex
 * @throws S5_ARCHIVE_REFUSED `unlisted`, `missing-member`, `size`, `digest`
 */
export function checkManifest(
  file: string,
  entries: ReadonlyMap<string, ManifestEntry>,
  members: readonly GpkgMember[],
  found: (member: GpkgMember, hash: GpkgHash) => string,
): void {
  const names = new Set<string>()
  for (const member of members) {
    if (member.role === 'manifest') continue
    names.add(member.name)
    const entry = entries.get(member.name)
    if (entry === undefined)
      throw refuse('unlisted', file, 'a member that the Manifest does not list', { entry: member.name })
    if (entry.size !== member.size)
      throw refuse('size', file, `expected ${entry.size} bytes, found ${member.size}`, {
        entry: member.name,
        expected: entry.size,
        actual: member.size,
      })
    for (const [hash, expected] of Object.entries(entry.hashes) as [GpkgHash, string][]) {
      const actual = found(member, hash)
      if (actual !== expected)
        throw refuse('digest', file, `expected ${hash} ${expected}, found ${actual}`, {
          entry: member.name,
          expected,
          actual,
        })
    }
  }
  for (const name of entries.keys())
    if (!names.has(name))
      throw refuse('missing-member', file, 'the Manifest lists a member that is not there', { entry: name })
}
