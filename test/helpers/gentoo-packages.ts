/**
 * Gentoo packages and binhosts from short literals, right or wrong on purpose: gpkg by the writer of `stage5 pack`, with
 * changes on the way; the bytes of xpak are written by hand.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { manifestLine, manifestMember, metadataTar } from '../../src/format/gpkg-write.ts'
import { bytesOf, makeTar, packed, type Packing, type TarSpec } from './pack.ts'

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export interface XpakEntry {
  readonly name: string
  readonly value: string | Uint8Array
  /** Written instead of where the value really is. */
  readonly offset?: number
  readonly length?: number
  readonly nameLength?: number
}

export type BuildInfo = { readonly [key: string]: string | Uint8Array | undefined }

/** Build-info of the demo package; an undefined value is left out. */
export const DEMO_INFO: { readonly [key: string]: string } = {
  CATEGORY: 'app-misc\n',
  PF: 'demo-1.0\n',
  SLOT: '0\n',
  EAPI: '8\n',
  BUILD_ID: '1\n',
  USE: 'amd64 elibc_glibc\n',
  repository: 'gentoo\n',
}

function entriesOf(info: BuildInfo): { name: string; value: string | Uint8Array }[] {
  return Object.entries({ ...DEMO_INFO, ...info }).flatMap(([name, value]) =>
    value === undefined ? [] : [{ name, value }],
  )
}

/** The segment with its mark and length behind it. */
export function makeXpakSegment(
  entries: readonly XpakEntry[],
  wrong: { indexLength?: number; dataLength?: number; offset?: number; start?: string; stop?: string } = {},
): Buffer {
  const index: Buffer[] = []
  const data: Buffer[] = []
  let at = 0
  for (const { name, value, offset, length, nameLength } of entries) {
    const bytes = bytesOf(value)
    const written = bytesOf(name)
    index.push(u32(nameLength ?? written.length), written, u32(offset ?? at), u32(length ?? bytes.length))
    data.push(bytes)
    at += bytes.length
  }
  const [indexBytes, dataBytes] = [Buffer.concat(index), Buffer.concat(data)]
  const segment = Buffer.concat([
    Buffer.from(wrong.start ?? 'XPAKPACK'),
    u32(wrong.indexLength ?? indexBytes.length),
    u32(wrong.dataLength ?? dataBytes.length),
    indexBytes,
    dataBytes,
    Buffer.from(wrong.stop ?? 'XPAKSTOP'),
  ])
  return Buffer.concat([segment, u32(wrong.offset ?? segment.length), Buffer.from('STOP')])
}

export interface XpakSpec {
  readonly info?: BuildInfo
  readonly files?: readonly (TarSpec | Uint8Array)[]
  readonly packing?: Packing
}

/** A whole `.xpak`. */
export function makeXpak({ info = {}, files = [], packing = 'zst' }: XpakSpec = {}): Buffer {
  const image = makeTar([{ name: './' }, ...files])
  return Buffer.concat([packed(image, packing), makeXpakSegment(entriesOf(info))])
}

export interface GpkgMemberSpec {
  readonly name: string
  readonly data: Uint8Array
  /** Written to the Manifest instead of the real line; '' leaves it out. */
  readonly line?: string
}

export interface Signer {
  /** Clear-signed Manifest. */
  manifest(text: string): Uint8Array
  /** Armoured detached signature. */
  member(bytes: Uint8Array): Uint8Array
}

export interface GpkgSpec {
  readonly info?: BuildInfo
  readonly files?: readonly (TarSpec | Uint8Array)[]
  readonly packing?: Packing
  /** Default `demo-1.0-1`. */
  readonly directory?: string
  readonly sign?: Signer
  /** Changes the members before the Manifest is made. */
  readonly members?: (members: readonly GpkgMemberSpec[]) => readonly GpkgMemberSpec[]
  /** Changes the text of the Manifest before it is signed. */
  readonly manifest?: (text: string) => string
  /** Changes the entries of the container, Manifest included. */
  readonly container?: (entries: readonly TarSpec[]) => readonly (TarSpec | Uint8Array)[]
}

const ENDINGS: { readonly [kind in Packing]: string } = {
  none: '',
  gz: '.gz',
  zst: '.zst',
  xz: '.xz',
  bz2: '.bz2',
  lzma: '.lzma',
  lz4: '.lz4',
}

export function manifestLineOf({ name, data }: GpkgMemberSpec): string {
  return manifestLine(manifestMember(name, data))
}

/** A whole `.gpkg.tar`, members in the order of Portage. */
export function makeGpkg(spec: GpkgSpec = {}): Buffer {
  const { info = {}, files = [], packing = 'zst', directory = 'demo-1.0-1', sign } = spec
  const ending = ENDINGS[packing]
  const values = new Map(entriesOf(info).map(({ name, value }) => [name, bytesOf(value)]))
  const metadata = metadataTar(values, 1_700_000_000)
  const image = makeTar([{ name: 'image/' }, ...files])
  const plain: GpkgMemberSpec[] = [
    { name: 'gpkg-1', data: Buffer.alloc(0) },
    { name: `metadata.tar${ending}`, data: packed(metadata, packing) },
    { name: `image.tar${ending}`, data: packed(image, packing) },
  ]
  const signed = plain.flatMap((member) =>
    sign && member.name !== 'gpkg-1'
      ? [member, { name: `${member.name}.sig`, data: sign.member(member.data) }]
      : [member],
  )
  const members = spec.members?.(signed) ?? signed
  const lines = members.map((member) => member.line ?? manifestLineOf(member)).filter((line) => line !== '')
  const text = `${lines.join('\n')}\n`
  const manifest = spec.manifest?.(text) ?? text
  const entries: TarSpec[] = [
    ...members.map(({ name, data }) => ({ name: `${directory}/${name}`, data })),
    { name: `${directory}/Manifest`, data: sign ? sign.manifest(manifest) : manifest },
  ]
  return makeTar(spec.container?.(entries) ?? entries)
}

export interface BinhostPackage {
  /** `dev-lang/php-8.3.9` */
  readonly cpv: string
  /** Default 1. */
  readonly build?: number
  readonly use?: string
  readonly iuse?: string
  readonly slot?: string
  /** More fields of the index and of build-info alike: RDEPEND, PROVIDES, DEFINED_PHASES… */
  readonly fields?: { readonly [key: string]: string }
  /** Only in the index; an undefined one is left out there. */
  readonly listed?: { readonly [key: string]: string | undefined }
  /** Below the root, without a leading slash. */
  readonly files?: readonly TarSpec[]
  /** Default gpkg. */
  readonly format?: 'gpkg' | 'xpak'
  readonly packing?: Packing
}

export interface BinhostSpec {
  readonly packages: readonly BinhostPackage[]
  /** Over the usual header; an undefined one is left out. */
  readonly header?: { readonly [key: string]: string | undefined }
  readonly sign?: Signer
  /** Default: plain `Packages` and `Packages.gz`. */
  readonly indexes?: readonly ('' | '.gz' | '.xz' | '.zst')[]
}

export const BINHOST_TIME = 1_760_000_000

/** The header of a real index, shortened. */
export const BINHOST_HEADER: { readonly [key: string]: string } = {
  ACCEPT_KEYWORDS: 'amd64',
  ACCEPT_LICENSE: '@FREE',
  ARCH: 'amd64',
  CBUILD: 'x86_64-pc-linux-gnu',
  CHOST: 'x86_64-pc-linux-gnu',
  ELIBC: 'glibc',
  IUSE_IMPLICIT: 'abi_x86_64 prefix prefix-guest',
  KERNEL: 'linux',
  PROFILE: 'default/linux/amd64/23.0',
  REPO: 'gentoo',
  REPO_REVISIONS: '{"gentoo": "0123456789abcdef"}',
  TIMESTAMP: String(BINHOST_TIME),
  USE_EXPAND: 'ABI_X86 ELIBC KERNEL',
  USE_EXPAND_HIDDEN: 'ELIBC KERNEL',
  USE_EXPAND_IMPLICIT: 'ARCH ELIBC KERNEL',
  USE_EXPAND_UNPREFIXED: 'ARCH',
  USE_EXPAND_VALUES_ARCH: 'amd64 arm64',
  USE_EXPAND_VALUES_ELIBC: 'glibc musl',
  USE_EXPAND_VALUES_KERNEL: 'linux',
  VERSION: '0',
}

/** Files of a PKGDIR by path, with the text of its index. */
export function makeBinhost({ packages, header = {}, sign }: BinhostSpec): {
  readonly files: ReadonlyMap<string, Buffer>
  readonly index: string
} {
  const files = new Map<string, Buffer>()
  const entries = packages.map((pkg, at) => {
    const { path, bytes, info } = packageOf(pkg, sign, at)
    files.set(path, bytes)
    const hex = (algorithm: string): string => createHash(algorithm).update(bytes).digest('hex')
    const shown = Object.fromEntries(
      Object.entries(info).filter(([key]) => !['CATEGORY', 'PF', 'repository'].includes(key)),
    )
    return block({
      CPV: pkg.cpv,
      ...shown,
      MD5: hex('md5'),
      MTIME: String(BINHOST_TIME),
      PATH: path,
      SHA1: hex('sha1'),
      SIZE: String(bytes.length),
      ...pkg.listed,
    })
  })
  const head = block({ ...BINHOST_HEADER, PACKAGES: String(packages.length), ...header })
  return { files, index: [head, ...entries].join('\n') }
}

function block(fields: { readonly [key: string]: string | undefined }): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== '')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}: ${value}\n`)
    .join('')
}

function packageOf(
  pkg: BinhostPackage,
  sign: Signer | undefined,
  at: number,
): { path: string; bytes: Buffer; info: { [key: string]: string } } {
  const [category = '', full = ''] = pkg.cpv.split('/')
  const name = /^(.+?)-[0-9]/.exec(full)?.[1] ?? full
  const build = pkg.build ?? 1
  const info: { [key: string]: string } = {
    CATEGORY: category,
    PF: full,
    SLOT: pkg.slot ?? '0',
    EAPI: '8',
    BUILD_ID: String(build),
    BUILD_TIME: String(BINHOST_TIME - 1000 + at),
    KEYWORDS: 'amd64',
    LICENSE: 'GPL-2',
    USE: `abi_x86_64 amd64 elibc_glibc kernel_linux${pkg.use === undefined ? '' : ` ${pkg.use}`}`,
    IUSE: pkg.iuse ?? '',
    DEFINED_PHASES: '-',
    repository: 'gentoo',
    ...pkg.fields,
  }
  const values = Object.fromEntries(Object.entries(info).map(([key, value]) => [key, `${value}\n`]))
  const format = pkg.format ?? 'gpkg'
  const packing = pkg.packing === undefined ? {} : { packing: pkg.packing }
  const at5 = (prefix: string): TarSpec[] =>
    (pkg.files ?? []).map((file) => ({ ...file, name: `${prefix}/${file.name}` }))
  const bytes =
    format === 'xpak'
      ? makeXpak({ info: values, files: at5('.'), ...packing })
      : makeGpkg({
          info: values,
          files: at5('image'),
          directory: `${full}-${build}`,
          ...packing,
          ...(sign ? { sign } : {}),
        })
  return {
    path: `${category}/${name}/${full}-${build}.${format === 'xpak' ? 'xpak' : 'gpkg.tar'}`,
    bytes,
    info,
  }
}

/** Writes what `makeBinhost` made below a folder. */
export function writeBinhost(folder: string, spec: BinhostSpec): void {
  const { files, index } = makeBinhost(spec)
  for (const [path, bytes] of files) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), bytes)
  }
  for (const ending of spec.indexes ?? ['', '.gz']) {
    const kind = (ending.slice(1) || 'none') as Packing
    const bytes = kind === 'gz' ? gzipSync(index) : packed(Buffer.from(index), kind)
    writeFileSync(join(folder, `Packages${ending}`), bytes)
  }
}
