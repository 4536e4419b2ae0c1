/** What a group of guests should be: a profile after parents, variant and defaults are worked in. Plain data. */
import type { Json } from '../base/json.ts'

/** Where something was written, for errors: file as given, line and column from 1. */
export interface Where {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** One wanted package: `atom` in the writing of its scheme, such as `nginx`, `libc6 (>= 2.36)` or `app/shop: ^2.1`. */
export interface Request {
  readonly atom: string
  /** Flags that bind for this package: `ssl`, `-ldap`. */
  readonly use: readonly string[]
  readonly where: Where
  /** Gentoo: accepted for this package besides. */
  readonly keywords?: readonly string[]
  readonly licenses?: readonly string[]
}

/** Flags for the packages of an atom, or for all when it is ''. */
export interface Forced {
  readonly atom: string
  readonly flags: readonly string[]
}

/** Gentoo: what holds for the packages of an atom (which may have wildcards), wanted or not. */
export interface Setting {
  readonly atom: string
  readonly use: readonly string[]
  readonly keywords: readonly string[]
  readonly licenses: readonly string[]
  readonly where: Where
}

export interface FileSpec {
  /** Absolute path in the guest, as a byte string. */
  readonly path: string
  readonly type: 'file' | 'dir' | 'symlink' | 'char' | 'block' | 'fifo'
  /** Bytes of a file, as a byte string; read in by the loader when the profile says `from:`. */
  readonly content: string
  /** Of a symlink, as a byte string. */
  readonly target: string
  /** Permission bits, such as 0o644. */
  readonly mode: number
  readonly owner: string
  readonly group: string
  readonly major: number
  readonly minor: number
  /** Value of security.capability in the writing of cap_from_text(3), such as `cap_net_bind_service=ep`; '' for none. */
  readonly capabilities: string
}

export interface UserSpec {
  readonly name: string
  /** -1: taken from the ledger of the lock. */
  readonly uid: number
  readonly group: string
  readonly home: string
  readonly shell: string
  readonly gecos: string
  readonly groups: readonly string[]
}

export interface GroupSpec {
  readonly name: string
  readonly gid: number
}

export interface ServiceSpec {
  readonly name: string
  /** Command line run by /bin/sh -c `exec …`. */
  readonly run: string
  /** `respawn`: kept running; `once`: run to its end before the ready line; `console`: respawn on the console. */
  readonly kind: 'respawn' | 'once' | 'console'
}

/** Formats of the data by number, from 1: what software reads, and what it leaves behind. */
export interface DataSchema {
  /** Lowest and highest. */
  readonly reads: readonly [number, number]
  readonly writes: number
}

export interface DataArea {
  readonly name: string
  /** ext4 label, at most 16 bytes. */
  readonly label: string
  /** Bytes; 0 for an immutable area, which needs none. */
  readonly size: number
  /** Absolute directories of the guest. */
  readonly paths: readonly string[]
  /** Absent: a disk with the guest's own copy of each directory, made once from the root. */
  readonly kind?: DataKind
}

/**
 * Where an area lives when it is not a disk with copies. `overlay`: a disk that has only what differs from the base;
 * `tmpfs`, `zram`: memory, filled from the base at each start; `immutable`: the base itself, read-only.
 */
type DataKind = 'overlay' | 'tmpfs' | 'zram' | 'immutable'

/** Whether an area outlives a reboot: it is a disk. */
export function isKept({ kind }: Pick<DataArea, 'kind'>): boolean {
  return kind === undefined || kind === 'overlay'
}

export interface KernelSpec {
  /** `none`: the output has no kernel, initrd or boot record. */
  readonly wanted: boolean
  /** Modules by name beside those of the boot path; dependencies follow. */
  readonly modules: readonly string[]
  /** Words appended to the kernel command line. */
  readonly cmdline: readonly string[]
}

export interface ImageSpec {
  readonly format: string
  readonly options: { readonly [key: string]: Json | undefined }
}

/** Boot test that the profile declares. */
export interface BootTest {
  /** Text on the console that means the guest is up. */
  readonly ready: string
  /** MiB. */
  readonly memory: number
  readonly timeoutSeconds: number
  /** Absent: a writable overlay over the base, of half the memory. */
  readonly root?: RamRoot
}

/** Where the root of a running guest lives. */
export interface RamRoot {
  /** `overlay`: the base read-only with changes in tmpfs; `zram`, `tmpfs`: the whole tree unpacked into memory. */
  readonly kind: 'overlay' | 'zram' | 'tmpfs'
  /** Bytes; 0: the default. */
  readonly size: number
  /** 0: the default. */
  readonly inodes: number
  readonly compressor: 'lzo-rle' | 'lzo' | 'lz4' | 'zstd'
}

/** Signed changes that guests fetch. */
export interface ConfigSpec {
  /** Ed25519 public keys, 64 hex digits. */
  readonly keys: readonly string[]
  readonly mode: 'immutable' | 'ephemeral' | 'persistent'
  readonly urls: readonly string[]
}

/** How a guest can be started: kernel, initrd and base on their own, or one of the images. */
export const BOOT_WAYS = ['kernel', 'initrd', 'netboot', 'disk', 'qcow2', 'vhd'] as const
export type BootWay = (typeof BOOT_WAYS)[number]

export interface HttpCheck {
  readonly port: number
  readonly path: string
  readonly status: number
  /** '' for anything. */
  readonly contains: string
}

export interface CommandCheck {
  readonly run: string
  /** '' for anything. */
  readonly expect: string
  readonly status: number
}

/** One of the tests that `stage5 test` runs. 0 and '' stand for what `boot` says. */
export interface GuestTest {
  readonly name: string
  readonly images: readonly BootWay[]
  readonly firmware: 'bios' | 'uefi'
  /** MiB. */
  readonly memory: number
  readonly timeoutSeconds: number
  readonly ready: string
  readonly http: readonly HttpCheck[]
  readonly console: readonly CommandCheck[]
  /** `fail`: the guest must not come up. */
  readonly expect: 'pass' | 'fail'
  /** With `fail`: what the reason on the console must have in it. */
  readonly reason: string
}

export interface Profile {
  /** `www-nginx` or `www-nginx@php`. */
  readonly name: string
  /** IMAGE_ID: `a-z 0-9 . -`; default the name with `@` written `-`. */
  readonly id: string
  /** IMAGE_VERSION, or '' to have it made from the lock. */
  readonly version: string
  readonly description: string
  readonly arch: string
  /** Names of files in `repos/`, first is preferred. */
  readonly repositories: readonly string[]
  readonly packages: readonly Request[]
  /** Flags that bind for every package. */
  readonly use: readonly string[]
  /** Atoms that may not be chosen. */
  readonly mask: readonly { readonly atom: string; readonly where: Where }[]
  /** Names taken as present although no package brings them. */
  readonly provided: readonly { readonly name: string; readonly version: string; readonly reason: string }[]
  /** Debian Recommends: of every package (`true`), of none, or of these packages. */
  readonly recommends: boolean | readonly string[]
  /** Gentoo: accepted keywords; empty: the stable one of `arch`. */
  readonly keywords: readonly string[]
  /** Gentoo: accepted licences, `@GROUP`, `-X`, `*`; empty: all. */
  readonly licenses: readonly string[]
  readonly licenseGroups: { readonly [name: string]: readonly string[] }
  /** Gentoo: which flags of a build must stand as configured: those named, all of its IUSE, or none. */
  readonly usePolicy: 'listed' | 'exact' | 'any'
  readonly settings: readonly Setting[]
  /** Atoms that may be chosen although `mask` names them. */
  readonly unmask: readonly { readonly atom: string; readonly where: Where }[]
  /** Lists of packages that `packages` may name as `@set`. */
  readonly sets: { readonly [name: string]: readonly string[] }
  /** Gentoo: needed shared libraries are reported, demanded, or not looked at. */
  readonly soname: 'check' | 'require' | 'off'
  /** Gentoo: whether what no binhost has is built by the builder of the repository. */
  readonly policy: 'binary-only' | 'build-missing'
  /** `newest` versions everywhere, or (beside what is asked for) the fewest packages. */
  readonly prefer: 'newest' | 'minimal'
  /** Whether a package that is asked for must be at its newest version. */
  readonly strict: boolean
  /** Gentoo: whether IDEPEND goes into the root. */
  readonly idepend: boolean
  /** `newest` version first, or what the preferred repository or binhost has. */
  readonly rank: 'newest' | 'priority-first'
  /** Gentoo: whether another sub-slot than the one a build was made against may do. */
  readonly ignoreSlotOperators: boolean
  /** Flags of a Gentoo profile: they count as configured, but bind nothing under `listed`. */
  readonly profileUse: readonly Forced[]
  /** Flags that are on, or off, whatever else is said. */
  readonly useForce: readonly Forced[]
  readonly useMask: readonly Forced[]
  readonly strip: {
    /** Names of classes in `stages/strip.yaml`. */
    readonly classes: readonly string[]
    /** Globs that no class may remove. */
    readonly keep: readonly string[]
    /** Globs removed as class `profile`. */
    readonly drop: readonly string[]
  }
  /** Findings of the check that are accepted: glob over the path with the finding, and why. */
  readonly allow: readonly { readonly path: string; readonly reason: string }[]
  /** Maintainer scripts that are acknowledged: package name to reason. */
  readonly scripts: { readonly [pkg: string]: string }
  readonly collisions: readonly { readonly path: string; readonly owner: string }[]
  readonly users: readonly UserSpec[]
  readonly groups: readonly GroupSpec[]
  readonly files: readonly FileSpec[]
  readonly services: readonly ServiceSpec[]
  /** systemd: names of units with their endings, in order; `-name` is disabled. */
  readonly units: readonly string[]
  /** OpenRC: scripts by runlevel; `-name` is taken out of it. */
  readonly runlevels: { readonly [level: string]: readonly string[] }
  readonly hostname: string
  readonly timezone: string
  /** `dhcp`: the first ethernet is configured at boot; `none`: only the loopback. */
  readonly network: 'none' | 'dhcp'
  readonly kernel: KernelSpec
  readonly data: readonly DataArea[]
  /** Absent: nothing is said of what the data is like. */
  readonly dataSchema?: DataSchema | undefined
  readonly images: readonly ImageSpec[]
  readonly boot: BootTest
  /** MiB that guests have; 0: not said. */
  readonly memory: number
  /** Most bytes by name of an output: `base`, `initrd`, `total`… */
  readonly budget: { readonly [output: string]: number }
  readonly config: ConfigSpec
  /** What `stage5 test` starts; none: the ready line of `boot`. */
  readonly tests: readonly GuestTest[]
  /** Name of the pipeline in `stages/`, without `.yaml`. */
  readonly pipeline: string
}

/** A file of `repos/` after reading. */
export interface RepositorySpec {
  readonly name: string
  readonly kind: 'debian' | 'native' | 'gentoo'
  /** `apt`: sources come from the machine's own apt configuration; otherwise they are listed. */
  readonly from: 'apt' | 'listed'
  /** Debian, listed: base addresses with their suites. */
  readonly sources: readonly {
    readonly uri: string
    readonly suites: readonly string[]
    readonly components: readonly string[]
    /** Keyring files (absolute, or relative to the repository file) or one armoured key block. */
    readonly signedBy: readonly string[]
  }[]
  /** Debian: only these suites of the apt configuration; empty for all. */
  readonly suites: readonly string[]
  readonly components: readonly string[]
  readonly checkValidUntil: boolean
  /** Native: folder (absolute, or relative to the repository file) or http(s) address. */
  readonly url: string
  /** Kind gentoo only. */
  readonly gentoo?: GentooSpec
  /** Gentoo: program and arguments that make a missing build (`policy: build-missing`). */
  readonly builder?: readonly string[]
  /** Absolute path of the YAML file, for relative paths. */
  readonly file: string
}

/** Binhosts of a repository of kind gentoo. */
export interface GentooSpec {
  /** `binrepos`: those that the machine's Portage uses. */
  readonly from: 'listed' | 'binrepos'
  /** With `binrepos`: the folder of binrepos.conf, or that file. */
  readonly config: string
  readonly binhosts: readonly {
    /** '' when it is the only one. */
    readonly name: string
    /** http(s) or file address, or folder (absolute, or relative to the repository file). */
    readonly uri: string
    readonly priority: number
    /** Name of the index to try first; '' for the usual ones. */
    readonly index: string
    /** Atoms, wildcards too, of the only packages that are taken from it; empty: of all. */
    readonly include: readonly string[]
    /** Atoms of packages that are not taken from it. */
    readonly exclude: readonly string[]
  }[]
  readonly signatures: 'require' | 'if-present' | 'off'
  /** Whether `signatures` was written; otherwise verify-signature of binrepos.conf decides. */
  readonly isPolicyWritten: boolean
  /** Keyring files (absolute, or relative to the repository file), fingerprints, or one armoured key block. */
  readonly keyring: readonly string[]
  /** Whether an index that is older than before, or of the future, is refused. */
  readonly checkTimestamp: boolean
}
