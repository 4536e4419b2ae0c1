/** Packages, atoms and dependency expressions: one shape for Debian, Gentoo and native packages. */

/** Whose law orders versions and reads atoms. A name never mixes schemes. */
export type Scheme = 'deb' | 'semver' | 'ebuild'

/** What an atom demands of a version. `range` is a semver range; `=*` is Gentoo's prefix match. */
export type VersionTest =
  | { readonly op: '<' | '<=' | '=' | '>=' | '>' | '~' | '=*'; readonly version: string }
  | { readonly range: string }

/** One USE dependency: `[flag]`, `[-flag]`, with `(+)` or `(-)` as `otherwise`; the conditional forms look at the parent. */
export interface UseTest {
  readonly flag: string
  readonly state: 'on' | 'off' | 'same' | 'opposite' | 'if-parent-on' | 'if-parent-off'
  /** What an unknown flag counts as; without it an unknown flag never matches (PMS 8.3.4). */
  readonly otherwise?: boolean
}

/** A demand on one package. */
export interface Atom {
  readonly name: string
  /** As written: shown to people, and the identity of the atom together with its scheme. */
  readonly text: string
  readonly version?: VersionTest
  readonly slot?: string
  readonly subslot?: string
  readonly slotOperator?: '=' | '*'
  readonly use?: readonly UseTest[]
  readonly repo?: string
  /** Debian architecture qualifier: `any`, `native` or an architecture. */
  readonly arch?: string
  readonly buildId?: number
}

/** A dependency expression. `if` depends on the parent's own USE; an empty `any` is false, an empty `all` is true. */
export type DepExpr =
  | { readonly all: readonly DepExpr[] }
  | { readonly any: readonly DepExpr[] }
  | { readonly need: Atom }
  | { readonly block: Atom; readonly strong: boolean }
  | { readonly flag: string; readonly on: boolean; readonly then: DepExpr }

export interface Provide {
  readonly name: string
  readonly version?: string
}

export interface PackageFile {
  /** Relative to the base address of the repository (of the archive that holds `origin`); no leading slash, no `..`. */
  readonly path: string
  /** Debian: the suite whose archive holds the file; Gentoo: the binhost, where there are several. Otherwise ''. */
  readonly origin: string
  /** Bytes; -1 when the index does not say. */
  readonly size: number
  readonly sums: { readonly [algorithm in 'md5' | 'sha1' | 'sha256' | 'sha512' | 'blake2b']?: string }
}

/** One build of one version, as an index lists it. */
export interface Package {
  readonly scheme: Scheme
  readonly name: string
  readonly version: string
  /** `all`, `any`, or Debian's name of an architecture. */
  readonly arch: string
  /** Name of the repository that lists it. */
  readonly repo: string
  /** `0` where the scheme has no slots. */
  readonly slot: string
  readonly subslot: string
  /** Enabled flags, sorted. */
  readonly use: readonly string[]
  /** Known flags, sorted; a superset of `use`. */
  readonly iuse: readonly string[]
  /** 0 when the scheme or the index has none. */
  readonly buildId: number
  /** Seconds since 1970; 0 when unknown. */
  readonly buildTime: number
  readonly provides: readonly Provide[]
  /** What must be in the root with it; blockers are `block` leaves (Conflicts and Breaks of Debian are strong ones). */
  readonly needs: DepExpr
  /** The part of `needs` that must be installed before it starts (Debian Pre-Depends): weighs more in the install order. */
  readonly before?: DepExpr
  /** Debian Recommends; holds only where the profile asks. */
  readonly recommends: DepExpr
  /** Debian Essential: yes. */
  readonly essential: boolean
  /** Among several packages that provide one name the least is taken first: Debian's priority, required 0 to extra 4. */
  readonly rank?: number
  readonly multiArch: 'no' | 'same' | 'foreign' | 'allowed'
  /** Bytes when unpacked; 0 when unknown. */
  readonly installedSize: number
  readonly summary: string
  readonly file: PackageFile
  /** The part of `needs` that adds no order (Gentoo PDEPEND). */
  readonly after?: DepExpr
  /** Flags that begin so are known beside `iuse`. */
  readonly knownPrefixes?: readonly string[]
  /** Gentoo: what only its rules look at. */
  readonly gentoo?: GentooFacts
}

/** The kinds of run-time dependencies of an ebuild. */
export type RuntimeDependency = 'RDEPEND' | 'PDEPEND' | 'IDEPEND'

/** What a `Packages` entry of a Gentoo binhost says beside what all packages have. */
export interface GentooFacts {
  /** All fields of its entry, as written. */
  readonly entry: ReadonlyMap<string, string>
  /** As written. */
  readonly eapi: string
  /** The ebuild repository (`gentoo`), which `::gentoo` in an atom means. */
  readonly repository: string
  readonly keywords: readonly string[]
  /** As written, conditionals included. */
  readonly license: string
  readonly chost: string
  /** Flags of IUSE itself, sorted: not the implicit ones. */
  readonly ownFlags: readonly string[]
  /** Those of `ownFlags` that are written with a plus. */
  readonly defaultFlags: readonly string[]
  /** Its repository demands signatures, and a file of its kind cannot have one. */
  readonly isUnsigned: boolean
  /** Seconds since 1970; part of a build's identity. */
  readonly mtime: number
  /** Libraries that it needs and brings, as `soname.ts` names them. */
  readonly requires: readonly string[]
  readonly sonames: readonly string[]
  /**
   * One class of its dependencies, reduced by its own flags.
   * @throws S5_ATOM_SYNTAX
   */
  dependencies(kind: RuntimeDependency): DepExpr
}

/** What a repository offered at one moment, verified. */
export interface Index {
  readonly repo: string
  readonly kind: 'debian' | 'native' | 'gentoo'
  /** Digest of what was verified (the signed releases, or index.yaml): the identity of the snapshot. */
  readonly snapshot: string
  /** Seconds since 1970 when the repository was made, 0 when it does not say. Clamps times and orders versions. */
  readonly date: number
  /** Gentoo: the policy for signatures of packages; of several binhosts the weakest. */
  readonly signatures?: 'require' | 'if-present' | 'off'
  readonly packages: readonly Package[]
  /** Gentoo: fields of the header of each binhost, preferred ones first; `origin` is that of its files. */
  readonly headers?: readonly { readonly origin: string; readonly fields: ReadonlyMap<string, string> }[]
  /** The same packages, made by name when asked for. What has it should not be asked for `packages`. */
  readonly byName?: PackagesByName
}

/** Packages of an index that are made when a name is asked for. */
export interface PackagesByName {
  names(): Iterable<string>
  has(name: string): boolean
  named(name: string): readonly Package[]
  /** Names of which some build says that it brings a library of this name, for some ABI. */
  bringing(library: string): Iterable<string>
}

/** How a package is named to people and as an owner of files: `name_version`, with `_b3` for build 3. */
export function labelOf(pkg: {
  readonly name: string
  readonly version: string
  readonly buildId: number
}): string {
  return pkg.buildId === 0 ? `${pkg.name}_${pkg.version}` : `${pkg.name}_${pkg.version}_b${pkg.buildId}`
}

/** How a package is named in answers of the resolver: as `labelOf`, a Gentoo one as Portage does, with `#3` for build 3. */
export function titleOf(pkg: {
  readonly scheme: Scheme
  readonly name: string
  readonly version: string
  readonly buildId: number
}): string {
  if (pkg.scheme !== 'ebuild') return labelOf(pkg)
  return `${pkg.name}-${pkg.version}${pkg.buildId === 0 ? '' : `#${pkg.buildId}`}`
}
