/** Packages from short literals, right or wrong on purpose: tar, ar, .deb and native. Bytes are written by hand here. */
import { spawnSync } from 'node:child_process'
import { gzipSync, zstdCompressSync } from 'node:zlib'

export interface TarSpec {
  readonly name: string
  /** Typeflag; default `0`, or `5` when the name ends with a slash. */
  readonly type?: string
  readonly data?: string | Uint8Array
  readonly link?: string
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly mtime?: number
  /** Written instead of the length of `data`: a number, or the twelve bytes themselves. */
  readonly size?: number | string
  /** Default gnu. */
  readonly magic?: 'gnu' | 'ustar' | 'v7'
  readonly prefix?: string
  /** Records of a pax header that goes before; `type: 'x'`-headers by hand are possible too. */
  readonly pax?: { readonly [key: string]: string }
  /** Changes the header before its checksum is made. */
  readonly patch?: (header: Buffer) => void
  /** Changes the header after its checksum was made. */
  readonly damage?: (header: Buffer) => void
}

const MAGIC = { gnu: 'ustar  \0', ustar: 'ustar\x0000', v7: '' }

/** Byte strings (one character per byte) into bytes. */
export function bytesOf(text: string | Uint8Array): Buffer {
  return typeof text === 'string' ? Buffer.from(text, 'latin1') : Buffer.from(text)
}

/** Entries with the two zero blocks behind them. */
export function makeTar(
  entries: readonly (TarSpec | Uint8Array)[],
  end: Uint8Array = Buffer.alloc(1024),
): Buffer {
  return Buffer.concat([
    ...entries.map((entry) => (entry instanceof Uint8Array ? entry : tarEntry(entry))),
    end,
  ])
}

/** One entry with its padding; a pax header before it where asked for. */
export function tarEntry(spec: TarSpec): Buffer {
  const data = bytesOf(spec.data ?? '')
  const header = Buffer.alloc(512)
  const put = (at: number, text: string): void => void header.write(text, at, 'latin1')
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0')
  put(0, spec.name.slice(0, 100))
  put(100, octal(spec.mode ?? (spec.name.endsWith('/') ? 0o755 : 0o644), 7))
  put(108, octal(spec.uid ?? 0, 7))
  put(116, octal(spec.gid ?? 0, 7))
  const size = spec.size ?? data.length
  put(124, typeof size === 'string' ? size : octal(size, 11))
  put(136, octal(spec.mtime ?? 1_700_000_000, 11))
  put(156, spec.type ?? (spec.name.endsWith('/') ? '5' : '0'))
  put(157, (spec.link ?? '').slice(0, 100))
  put(257, MAGIC[spec.magic ?? 'gnu'])
  if (spec.prefix !== undefined) put(345, spec.prefix)
  spec.patch?.(header)
  header.fill(0x20, 148, 156)
  put(
    148,
    `${octal(
      header.reduce((sum, byte) => sum + byte, 0),
      6,
    )}\0 `,
  )
  spec.damage?.(header)
  const padding = Buffer.alloc((512 - (data.length % 512)) % 512)
  return Buffer.concat([...(spec.pax ? [paxHeader(spec.pax)] : []), header, data, padding])
}

/** An extended header for the next entry, or a global one. */
export function paxHeader(records: { readonly [key: string]: string }, type = 'x'): Buffer {
  const data = Object.entries(records)
    .map(([key, value]) => paxRecord(key, value))
    .join('')
  return tarEntry({ name: 'PaxHeaders/x', type, data, magic: 'ustar' })
}

/** `LEN KEY=VALUE\n`, where LEN counts itself. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length
  while (`${length}${rest}`.length !== length) length = `${length}${rest}`.length
  return `${length}${rest}`
}

export interface ArSpec {
  readonly name: string
  readonly data: string | Uint8Array
  /** Written instead of the length of `data`. */
  readonly size?: string
}

export function makeAr(members: readonly (ArSpec | Uint8Array)[]): Buffer {
  return Buffer.concat([
    Buffer.from('!<arch>\n'),
    ...members.map((member) => (member instanceof Uint8Array ? member : arMember(member))),
  ])
}

function arMember({ name, data, size }: ArSpec): Buffer {
  const bytes = bytesOf(data)
  const header = `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${(size ?? String(bytes.length)).padEnd(10)}\`\n`
  return Buffer.concat([Buffer.from(header, 'latin1'), bytes, Buffer.alloc(bytes.length % 2, '\n')])
}

export type Packing = 'none' | 'gz' | 'zst' | 'xz' | 'bz2' | 'lzma' | 'lz4'

/** @throws when the program of xz, lzma, bz2 or lz4 is missing */
export function packed(bytes: Uint8Array, kind: Packing): Buffer {
  if (kind === 'none') return Buffer.from(bytes)
  if (kind === 'gz') return gzipSync(bytes)
  if (kind === 'zst') return zstdCompressSync(bytes)
  const argv =
    kind === 'bz2' ? ['bzip2', '-c'] : kind === 'lz4' ? ['lz4', '-c'] : ['xz', `--format=${kind}`, '-c', '-0']
  const { stdout, error, status } = spawnSync(argv[0] as string, argv.slice(1), {
    input: bytes,
    maxBuffer: 2 ** 30,
  })
  if (error || status !== 0) throw error ?? new Error(`${argv[0]} ended with ${status}`)
  return stdout
}

export interface DebSpec {
  /** Fields of control beside Package: demo, Version: 1.0-1, Architecture: all; an undefined one is left out. */
  readonly fields?: { readonly [field: string]: string | undefined }
  /** More members of the control archive. */
  readonly control?: { readonly [member: string]: string }
  readonly data?: readonly (TarSpec | Uint8Array)[]
  readonly packing?: Packing
}

export const DEMO_FIELDS: { readonly [field: string]: string } = {
  Package: 'demo',
  Version: '1.0-1',
  Architecture: 'all',
}

/** A whole Debian package. */
export function makeDeb(spec: DebSpec = {}): Buffer {
  const packing = spec.packing ?? 'none'
  return makeAr([
    { name: 'debian-binary', data: '2.0\n' },
    { name: `control.tar${suffix(packing)}`, data: packed(makeTar(controlEntries(spec)), packing) },
    {
      name: `data.tar${suffix(packing)}`,
      data: packed(makeTar([{ name: './' }, ...(spec.data ?? [])]), packing),
    },
  ])
}

/** A package whose data archive is given as bytes. */
export function debOf(data: Uint8Array, name = 'data.tar'): Buffer {
  return makeAr([
    { name: 'debian-binary', data: '2.0\n' },
    { name: 'control.tar', data: makeTar(controlEntries()) },
    { name, data },
  ])
}

/** Members of the control archive of a package. */
export function controlEntries(spec: DebSpec = {}): TarSpec[] {
  const fields = Object.entries({ ...DEMO_FIELDS, ...spec.fields })
  const control = fields.map(([field, value]) => (value === undefined ? '' : `${field}: ${value}\n`)).join('')
  return [
    { name: './' },
    { name: './control', data: control },
    ...Object.entries(spec.control ?? {}).map(([name, data]) => ({ name: `./${name}`, data, mode: 0o755 })),
  ]
}

function suffix(packing: Packing): string {
  return packing === 'none' ? '' : `.${packing}`
}

/** A whole native package: `package.yaml`, then what is below `root/`. */
export function makeNative(
  data: readonly (TarSpec | Uint8Array)[] = [],
  yaml = 'name: app/demo\nversion: 1.0.0\n',
): Buffer {
  return zstdCompressSync(makeTar([{ name: 'package.yaml', data: yaml }, { name: 'root/' }, ...data]))
}
