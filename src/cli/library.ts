/** The resolver as a library: plain data in, plain data out, nothing fetched. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { Stage5Error } from '../base/errors.ts'
import { type GentooIndex, parseGentooIndex } from '../format/gentoo-index.ts'
import { parseEbuildAtom, splitVersion } from '../pkg/ebuild-atom.ts'
import { matches } from '../pkg/match.ts'
import type { Atom, Package } from '../pkg/package.ts'
import { type RawIndex, rawIndexOf, UNIVERSE_FORMAT } from '../resolve/universe.ts'
import { resolveUniverse } from '../resolve/universe-answer.ts'

type Fields = { readonly [key: string]: string }

/** A `Packages` index: its header, and one record of fields for each build, all as written. */
export interface PackagesIndex {
  readonly header: Fields
  readonly packages: readonly Fields[]
}

/**
 * Read the `Packages` index of a Gentoo binhost, plain or compressed by gzip, zstd or xz; for the last the program xz is run.
 *
 * @throws S5_INDEX_REFUSED
 * @example
 * parsePackagesIndex(Buffer.from('VERSION: 0\nTIMESTAMP: 1\n\nCPV: a/b-1\n')).packages // => [{ CPV: 'a/b-1' }]
 */
export function parsePackagesIndex(bytes: Uint8Array): PackagesIndex {
  const index = parseGentooIndex('Packages', unpackedOrRefused(bytes))
  return {
    header: Object.fromEntries(index.header),
    packages: [...index.entries()].map(({ fields }) => Object.fromEntries(fields)),
  }
}

function unpackedOrRefused(bytes: Uint8Array): Uint8Array {
  try {
    return unpacked(bytes)
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    const problem = isMissing ? 'the program xz is not installed' : 'the compressed bytes are damaged'
    throw new Stage5Error('S5_INDEX_REFUSED', `Packages: ${problem}`, {
      ...(isMissing && { hint: 'apt-get install xz-utils' }),
      data: { reason: 'decompress', file: 'Packages' },
      cause: error,
    })
  }
}

/** What an atom may ask of a build. What is left out is unknown or as in an index: slot 0, no flags. */
export interface PackageFacts {
  /** `category/package-version`. */
  readonly cpv: string
  /** `0`, or `0/3` with its sub-slot. */
  readonly slot?: string
  /** Enabled flags. */
  readonly use?: readonly string[]
  /** Known flags; those of `use` are known anyway. */
  readonly iuse?: readonly string[]
  readonly buildId?: number
  /** The ebuild repository: `gentoo`. */
  readonly repository?: string
}

/**
 * Whether a build is what an atom demands.
 *
 * @param atom as text, or as `parseAtom` reads it
 * @param parent flags of the package that wrote the atom: they decide `[flag?]` and `[flag=]`
 * @throws S5_ATOM_SYNTAX
 * @see PMS 8, section 8.3
 * @example
 * matchAtom('>=dev-lang/php-8.3:8.3[fpm]', { cpv: 'dev-lang/php-8.3.9', slot: '8.3', use: ['fpm'] }) // => true
 */
export function matchAtom(
  atom: Atom | string,
  facts: PackageFacts,
  parent: { readonly use: readonly string[] } = { use: [] },
): boolean {
  const { cpv, use = [], iuse = [], buildId = 0, repository = '' } = facts
  const split = splitVersion(cpv)
  if (!split || split.buildId !== undefined)
    throw new Stage5Error('S5_ATOM_SYNTAX', `expected category/package-version, found ${JSON.stringify(cpv)}`)
  const [slot = '0', subslot = slot] = (facts.slot ?? '0').split('/')
  const pkg: Package = {
    ...{ scheme: 'ebuild', name: split.name, version: split.version, arch: 'any', repo: repository },
    ...{ slot, subslot, use, iuse: [...iuse, ...use], buildId, buildTime: 0, provides: [] },
    ...{ needs: { all: [] }, recommends: { all: [] }, essential: false, multiArch: 'no' },
    ...{ installedSize: 0, summary: '', file: { path: '', origin: '', size: -1, sums: {} } },
  }
  return matches(typeof atom === 'string' ? parseEbuildAtom(atom) : atom, pkg, { use: parent.use, iuse: [] })
}

/** Flags, keywords or licences for the packages of an atom, which may have wildcards. */
type For<Key extends string> = { readonly atom: string } & { readonly [K in Key]: readonly string[] }

/** A question to the resolver. Words mean what they mean to Portage; what is left out binds nothing. */
export interface ResolveRequest {
  /** Paths of `Packages` files (plain, .gz, .zst or .xz) or read indexes; of equally good builds those of the first are taken. */
  readonly indexes: readonly (string | PackagesIndex)[]
  /** Wanted atoms, and `@set` for those of `sets`. */
  readonly atoms: readonly string[]
  /** Gentoo's name of the architecture. Default: what the first index says, else `amd64`. */
  readonly arch?: string
  /** Default: the stable keyword of `arch`. */
  readonly acceptKeywords?: readonly string[]
  readonly packageAcceptKeywords?: readonly For<'keywords'>[]
  /** As ACCEPT_LICENSE; default: all. */
  readonly acceptLicense?: readonly string[]
  readonly licenseGroups?: { readonly [group: string]: readonly string[] }
  readonly packageLicense?: readonly For<'licenses'>[]
  /** `listed`: flags that the request names bind, and the nearest build wins; `exact`: all of IUSE; `any`: none. Default: `listed`. */
  readonly usePolicy?: 'listed' | 'exact' | 'any'
  /** `ssl`, `-X`. */
  readonly use?: readonly string[]
  readonly packageUse?: readonly For<'use'>[]
  readonly packageMask?: readonly string[]
  readonly packageUnmask?: readonly string[]
  /** `category/package-version`: taken as present. */
  readonly packageProvided?: readonly string[]
  readonly sets?: { readonly [set: string]: readonly string[] }
  /** Shared libraries that nothing brings: reported, demanded, or not looked at. Default: `check`. */
  readonly soname?: 'check' | 'require' | 'off'
  /** Default: RDEPEND and PDEPEND. */
  readonly depTypes?: readonly ('RDEPEND' | 'PDEPEND' | 'IDEPEND')[]
  readonly rank?: 'newest' | 'priority-first'
  readonly prefer?: 'newest' | 'minimal'
  readonly ignoreSlotOperators?: boolean
}

/** One chosen build. */
export interface ChosenPackage {
  readonly cpv: string
  /** `null` when the index has none. */
  readonly buildId: number | null
  /** `0`, or `0/3` with its sub-slot. */
  readonly slot: string
  readonly repo: string
  /** Number of the index in `indexes`, from 0. */
  readonly index: number
  readonly use: readonly string[]
  /** Who asked for it (`request` or a package), with which dependency. */
  readonly why: readonly { readonly by: string; readonly dep: string }[]
}

/** What the resolver says. Every demand of an answer can be checked against the indexes. */
export type ResolveAnswer =
  | {
      readonly ok: true
      /** In install order. */
      readonly packages: readonly ChosenPackage[]
      readonly heldBack: readonly {
        readonly name: string
        readonly chosen: string
        readonly best: string
        readonly because: readonly string[]
      }[]
      readonly sonameMissing: readonly {
        readonly abi: string
        readonly soname: string
        readonly neededBy: readonly string[]
        readonly providers: readonly string[]
      }[]
      /** Whether every single improvement was tried within the budget. */
      readonly optimal: boolean
    }
  | {
      readonly ok: false
      readonly kind: 'unsatisfiable' | 'no-match' | 'invalid'
      /** The chain of facts, one in a line. */
      readonly message: string
      readonly steps: readonly {
        readonly package: string
        readonly dep: string
        readonly rejected: readonly { readonly package: string; readonly because: string }[]
      }[]
      /** Commands for the builds that are missing. */
      readonly builds: readonly string[]
    }

/**
 * Choose builds of Gentoo indexes for a request: complete, and the same for equal input in any order.
 *
 * @example
 * resolve({ indexes: [{ header: {}, packages: [{ CPV: 'a/b-1', KEYWORDS: 'amd64' }] }], atoms: ['a/b'] }).ok // => true
 */
export function resolve(request: ResolveRequest): ResolveAnswer {
  const { indexes, atoms, depTypes, sets, usePolicy = 'listed', soname = 'check', ...config } = request
  const answer = resolveUniverse(
    {
      format: UNIVERSE_FORMAT,
      name: 'the request',
      binhosts: indexes.map((_, at) => ({ name: String(at), priority: -at, index: String(at) })),
      config: { ...config, respectUse: usePolicy, ...(sets && { sets }) },
      request: { atoms, sonameDeps: soname === 'require', soname, ...(depTypes && { depTypes }) },
    },
    (at) => {
      const index = indexes[Number(at)] as string | PackagesIndex
      if (typeof index === 'string') return readPackagesIndex(index)
      const mapOf = (fields: Fields): ReadonlyMap<string, string> => new Map(Object.entries(fields))
      return rawIndexOf(mapOf(index.header), index.packages.map(mapOf))
    },
  ) as unknown as Told
  if (answer.ok) {
    const { packages, heldBack, sonameMissing, optimal } = answer
    const chosen = packages.map(({ binhost, ...one }) => ({ ...one, index: Number(binhost) }))
    return { ok: true, packages: chosen, heldBack, sonameMissing, optimal }
  }
  const { kind, message, steps, builds = [] } = answer.error
  return { ok: false, kind, message, steps, builds }
}

type Told =
  | (Omit<Extract<ResolveAnswer, { ok: true }>, 'packages'> & {
      readonly packages: readonly (Omit<ChosenPackage, 'index'> & { readonly binhost: string })[]
    })
  | {
      readonly ok: false
      readonly error: Omit<Extract<ResolveAnswer, { ok: false }>, 'ok' | 'builds'> & {
        readonly builds?: readonly string[]
      }
    }

/** Bytes; formats.md 3.1. */
const MAX_INDEX = 512 * 2 ** 20

/**
 * A `Packages` file, plain or compressed by gzip, zstd or xz; for the last the program xz is run.
 * @throws S5_UNIVERSE_INVALID, S5_INDEX_REFUSED
 */
export function readPackagesIndex(path: string): GentooIndex & RawIndex {
  let bytes: Uint8Array | undefined
  try {
    bytes = readFileSync(path) as Uint8Array
    bytes = unpacked(bytes)
  } catch (error) {
    const { code = 'damaged' } = error as NodeJS.ErrnoException
    const isUnpacked = bytes !== undefined && code === 'ENOENT'
    const reason = isUnpacked ? 'the program xz is not installed' : code
    throw new Stage5Error('S5_UNIVERSE_INVALID', `the index ${path} cannot be read: ${reason}`, {
      ...(isUnpacked && { hint: 'apt-get install xz-utils' }),
      cause: error,
    })
  }
  return parseGentooIndex(path, bytes)
}

/** By its first bytes. */
function unpacked(bytes: Uint8Array): Uint8Array {
  const limit = { maxOutputLength: MAX_INDEX }
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return gunzipSync(bytes, limit)
  if (bytes[0] === 0x28 && bytes[1] === 0xb5) return zstdDecompressSync(bytes, limit)
  if (bytes[0] === 0xfd && bytes[1] === 0x37) return unxz(bytes)
  return bytes
}

/** @see formats.md 3.1 for the bound of memory */
function unxz(bytes: Uint8Array): Uint8Array {
  const words = ['-dc', '-q', '--memlimit-decompress=512MiB']
  try {
    return execFileSync('xz', words, {
      input: bytes,
      maxBuffer: MAX_INDEX,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw Object.assign(new Error('xz'), { code: code === 'ENOENT' ? code : 'damaged', cause: error })
  }
}
