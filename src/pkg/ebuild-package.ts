/** An entry of a Gentoo `Packages` index to a Package. */
import { NEWEST_EAPI, splitVersion } from './ebuild-atom.ts'
import { reduceExpr } from './dep-expr.ts'
import type { GentooHeader } from './gentoo-header.ts'
import type {
  DepExpr,
  GentooFacts,
  Package,
  PackageFile,
  Provide,
  RuntimeDependency,
  Scheme,
} from './package.ts'
import { type FlagLists, sharedReading, wordsOf } from './shared-reading.ts'
import { parseSonames } from './soname.ts'

/** Debian's names of Gentoo's architectures; others are called alike. */
const ARCHES: { readonly [gentoo: string]: string } = {
  arm: 'armhf',
  ppc64: 'ppc64el',
  riscv: 'riscv64',
  s390: 's390x',
  x86: 'i386',
}

/** First parts of CHOST by Debian's name of the architecture. */
const CHOST_ARCHES: readonly (readonly [RegExp, string])[] = [
  [/^x86_64-/, 'amd64'],
  [/^aarch64-/, 'arm64'],
  [/^i[3-6]86-/, 'i386'],
  [/^armv?[67].*hf$/, 'armhf'],
  [/^powerpc64le-/, 'ppc64el'],
  [/^riscv64-/, 'riscv64'],
  [/^s390x-/, 's390x'],
]

const SLOT = /^([A-Za-z0-9_][A-Za-z0-9+_.-]*)(?:\/([A-Za-z0-9_][A-Za-z0-9+_.-]*))?$/
const NOTHING: DepExpr = { all: [] }
const NO_PROVIDES: readonly Provide[] = []

/** Debian's name of an architecture that Gentoo calls `arch`. */
export function archOfGentoo(arch: string): string {
  return ARCHES[arch] ?? arch
}

/** The number of an EAPI that this program knows. */
export function knownEapi(text: string): number | undefined {
  return /^[0-8]$/.test(text) ? Number(text) : undefined
}

interface EntryOrigin {
  /** Which binhost of the repository has the file; '' for the only one. */
  readonly origin?: string
  readonly needsSignature?: boolean
}

/**
 * One build of a Gentoo binhost.
 *
 * Flags and dependencies are read when they are first asked for: an index has some ten thousand entries, a root some
 * hundred. Reading `needs` may throw S5_ATOM_SYNTAX.
 * @param repo name of the repository of stage5 that lists it
 */
export function packageOfEntry(
  entry: ReadonlyMap<string, string>,
  header: GentooHeader,
  repo: string,
  { origin = '', needsSignature = false }: EntryOrigin = {},
): Package | { readonly problem: string } {
  const cpv = entry.get('CPV') ?? ''
  const split = splitVersion(cpv)
  if (!split || split.buildId !== undefined)
    return { problem: `expected CPV as category/package-version, found ${JSON.stringify(cpv.slice(0, 200))}` }
  const slots = SLOT.exec(entry.get('SLOT') || '0')
  if (!slots)
    return { problem: `${cpv}: SLOT is no slot: ${JSON.stringify(entry.get('SLOT')?.slice(0, 80))}` }
  const path = entry.get('PATH') || `${cpv}.tbz2`
  if (!isPath(path))
    return { problem: `${cpv}: PATH leaves the binhost: ${JSON.stringify(path.slice(0, 200))}` }
  const numbers: { [field: string]: number } = {}
  for (const [field, missing] of [
    ['BUILD_ID', 0],
    ['BUILD_TIME', 0],
    ['SIZE', -1],
  ] as const) {
    const text = entry.get(field) ?? ''
    if (!/^[0-9]{0,15}$/.test(text))
      return { problem: `${cpv}: ${field} is no number: ${JSON.stringify(text.slice(0, 80))}` }
    numbers[field] = text === '' ? missing : Number(text)
  }
  return new EbuildPackage(entry, header, {
    name: split.name,
    version: split.version,
    repo,
    slot: slots[1] as string,
    subslot: slots[2] ?? (slots[1] as string),
    isUnsigned: needsSignature && !path.endsWith('.gpkg.tar'),
    buildId: numbers['BUILD_ID'] as number,
    buildTime: numbers['BUILD_TIME'] as number,
    file: {
      path,
      origin,
      size: numbers['SIZE'] as number,
      get sums() {
        return sumsOf(entry)
      },
    },
  })
}

type Stated = Pick<
  Package,
  'name' | 'version' | 'repo' | 'slot' | 'subslot' | 'buildId' | 'buildTime' | 'file'
> &
  Pick<GentooFacts, 'isUnsigned'>

class EbuildPackage implements Package, GentooFacts {
  readonly scheme: Scheme = 'ebuild'
  readonly name: string
  readonly version: string
  readonly repo: string
  readonly slot: string
  readonly subslot: string
  readonly buildId: number
  readonly buildTime: number
  readonly file: PackageFile
  readonly isUnsigned: boolean
  readonly provides: readonly Provide[] = NO_PROVIDES
  readonly recommends: DepExpr = NOTHING
  readonly essential: boolean = false
  readonly multiArch = 'no'
  readonly installedSize: number = 0
  readonly entry: ReadonlyMap<string, string>
  readonly #header: GentooHeader
  #dependencies: Map<RuntimeDependency, DepExpr> | undefined
  #needs: DepExpr | undefined
  #arch: string | undefined
  #eapi: string | undefined
  #chost: string | undefined
  #keywords: readonly string[] | undefined
  #flags: FlagLists | undefined

  constructor(entry: ReadonlyMap<string, string>, header: GentooHeader, stated: Stated) {
    this.entry = entry
    this.#header = header
    this.name = stated.name
    this.version = stated.version
    this.repo = stated.repo
    this.slot = stated.slot
    this.subslot = stated.subslot
    this.buildId = stated.buildId
    this.buildTime = stated.buildTime
    this.file = stated.file
    this.isUnsigned = stated.isUnsigned
  }

  get gentoo(): GentooFacts {
    return this
  }

  get arch(): string {
    return (this.#arch ??= this.#archOfChost())
  }

  #archOfChost(): string {
    const { chost } = this
    for (const [pattern, arch] of CHOST_ARCHES) if (pattern.test(chost)) return arch
    return this.#header.arch === '' ? 'any' : archOfGentoo(this.#header.arch)
  }

  get summary(): string {
    return this.#text('DESC') || this.#text('DESCRIPTION')
  }

  get eapi(): string {
    return (this.#eapi ??= this.#text('EAPI') || '0')
  }

  get repository(): string {
    return this.#text('REPO') || this.#text('repository') || this.#header.repo
  }

  get keywords(): readonly string[] {
    return (this.#keywords ??= wordsOf(this.#text('KEYWORDS')))
  }

  get license(): string {
    return this.#text('LICENSE')
  }

  get chost(): string {
    return (this.#chost ??= this.#text('CHOST') || this.#header.chost)
  }

  get mtime(): number {
    return Number(this.#text('MTIME') || this.#text('_mtime_')) || 0
  }

  get requires(): readonly string[] {
    return parseSonames(this.#text('REQUIRES'))
  }

  get sonames(): readonly string[] {
    return parseSonames(this.#text('PROVIDES'))
  }

  get use(): readonly string[] {
    return this.#flagLists.use
  }

  get ownFlags(): readonly string[] {
    return this.#flagLists.ownFlags
  }

  get defaultFlags(): readonly string[] {
    return this.#flagLists.defaultFlags
  }

  get iuse(): readonly string[] {
    return this.#flagLists.iuse
  }

  get knownPrefixes(): readonly string[] {
    return this.#isOld ? this.#header.hiddenPrefixes : []
  }

  get needs(): DepExpr {
    return (this.#needs ??= { all: [this.dependencies('RDEPEND'), this.dependencies('PDEPEND')] })
  }

  get after(): DepExpr {
    return this.dependencies('PDEPEND')
  }

  dependencies(kind: RuntimeDependency): DepExpr {
    const found = this.#dependencies?.get(kind)
    if (found) return found
    const eapi = knownEapi(this.eapi) ?? NEWEST_EAPI
    const text = kind === 'IDEPEND' && eapi < 8 ? '' : this.#text(kind)
    const made =
      text === ''
        ? NOTHING
        : reduceExpr(sharedReading(this.#header).dependencies(text, eapi), this.use, eapi >= 7)
    this.#dependencies ??= new Map()
    this.#dependencies.set(kind, made ?? NOTHING)
    return made ?? NOTHING
  }

  get #isOld(): boolean {
    return (knownEapi(this.eapi) ?? NEWEST_EAPI) < 5
  }

  #text(field: string): string {
    return this.entry.get(field) ?? ''
  }

  get #flagLists(): FlagLists {
    return (this.#flags ??= sharedReading(this.#header).flags(
      this.#text('IUSE'),
      this.#text('USE'),
      this.#isOld,
    ))
  }
}

function isPath(path: string): boolean {
  return (
    !/^[/\\]|^[a-z]+:|[\0\\]|\/$/i.test(path) && !path.split('/').some((part) => part === '..' || part === '')
  )
}

function sumsOf(entry: ReadonlyMap<string, string>): PackageFile['sums'] {
  const sums: { -readonly [algorithm in keyof PackageFile['sums']]: string } = {}
  for (const [field, algorithm] of [
    ['MD5', 'md5'],
    ['SHA1', 'sha1'],
    ['SHA256', 'sha256'],
    ['SHA512', 'sha512'],
    ['BLAKE2B', 'blake2b'],
  ] as const) {
    const value = entry.get(field)
    if (value !== undefined && value !== '') sums[algorithm] = value.toLowerCase()
  }
  return sums
}
