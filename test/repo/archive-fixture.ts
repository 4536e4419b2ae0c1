/** A real signed Debian archive in memory: .deb files by dpkg-deb, indexes and Release by hand, signed by gpg. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Keys } from './keys.ts'

export interface Deb {
  readonly bytes: Buffer
  readonly control: string
  readonly fileName: string
}

export interface ArchiveOptions {
  readonly suite: string
  /** Seconds since 1970. */
  readonly date: number
  readonly debs?: readonly Deb[]
  readonly key: string
  readonly component?: string
  readonly arch?: string
  /** Endings of the Packages files that are made. */
  readonly endings?: readonly ('' | '.gz' | '.xz')[]
  readonly byHash?: boolean
  /** Further or other fields of Release; undefined removes one. */
  readonly fields?: { readonly [field: string]: string | undefined }
  /** Packages file as it shall be. */
  readonly packages?: string
  /** Changes the sums section before it is signed. */
  readonly sums?: (lines: string[]) => string[]
  readonly sumsField?: string
  /** Release and Release.gpg instead of InRelease. */
  readonly detached?: boolean
  /** ISO time of the signature; the date of the release when not given. */
  readonly signedAt?: string
}

export const TOOLS_MISSING: string | false = ['dpkg-deb', 'xz', 'gpg', 'gpgv'].some(
  (tool) => spawnSync(tool, ['--version']).status !== 0,
)
  ? 'needs dpkg-deb, xz, gpg and gpgv'
  : false

export const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

export function makeDeb(
  name: string,
  version: string,
  fields: { readonly [field: string]: string } = {},
): Deb {
  const folder = mkdtempSync(join(tmpdir(), 's5deb-'))
  try {
    mkdirSync(join(folder, 'r/DEBIAN'), { recursive: true })
    mkdirSync(join(folder, 'r/usr/share', name), { recursive: true })
    writeFileSync(join(folder, 'r/usr/share', name, 'version'), `${version}\n`)
    const all = {
      Package: name,
      Version: version,
      Architecture: 'all',
      Maintainer: 'T <t@t>',
      Description: name,
      ...fields,
    }
    const control = Object.entries(all)
      .map(([field, value]) => `${field}: ${value}\n`)
      .join('')
    writeFileSync(join(folder, 'r/DEBIAN/control'), control)
    const file = join(folder, 'x.deb')
    const done = spawnSync('dpkg-deb', ['--root-owner-group', '-Znone', '--build', join(folder, 'r'), file])
    if (done.status !== 0) throw new Error(done.stderr.toString())
    const fileName = `${name}_${version.replace(/^\d+:/, '')}_${all.Architecture}.deb`
    return { bytes: readFileSync(file), control, fileName }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export function poolPath(deb: Deb): string {
  return `pool/main/${deb.fileName[0]}/${deb.fileName}`
}

export function stanzaOf(deb: Deb): string {
  return `${deb.control}Filename: ${poolPath(deb)}\nSize: ${deb.bytes.length}\nSHA256: ${sha256(deb.bytes)}\n`
}

/** How apt and stage5 write a path of an archive in an address. */
export function onWire(path: string): string {
  return path.replaceAll('+', '%2b').replaceAll('~', '%7e')
}

/** Puts an archive below `base` (such as `/debian`) into `files`, which are served or written as they are. */
export function publish(
  files: Map<string, Uint8Array>,
  base: string,
  keys: Keys,
  options: ArchiveOptions,
): void {
  const { suite, debs = [], component = 'main', arch = 'amd64', endings = ['.xz', '.gz', ''] } = options
  const isFlat = suite.endsWith('/')
  const directory = isFlat ? `${base}/${suite}`.replace(/\/\.?\/?$/, '') : `${base}/dists/${suite}`
  const packages = Buffer.from(options.packages ?? debs.map(stanzaOf).join('\n'), 'latin1')
  const folder = isFlat ? '' : `${component}/binary-${arch}/`
  const made = {
    '': packages,
    '.gz': gzipSync(packages),
    '.xz': spawnSync('xz', ['-c'], { input: packages }).stdout,
  }
  const lines: string[] = []
  for (const ending of ['', '.gz', '.xz'] as const) {
    const bytes = made[ending]
    if (endings.includes(ending) || ending === '')
      lines.push(` ${sha256(bytes)} ${bytes.length} ${folder}Packages${ending}`)
    if (!endings.includes(ending)) continue
    files.set(`${directory}/${folder}Packages${ending}`, bytes)
    if (options.byHash !== false) files.set(`${directory}/${folder}by-hash/SHA256/${sha256(bytes)}`, bytes)
  }
  const fields: { [field: string]: string | undefined } = {
    Origin: 'Test',
    Suite: suite,
    Codename: suite,
    Date: rfc2822(options.date),
    'Acquire-By-Hash': options.byHash === false ? 'no' : 'yes',
    Architectures: `all ${arch}`,
    'No-Support-for-Architecture-all': 'Packages',
    Components: component,
    ...options.fields,
  }
  const head = Object.entries(fields).flatMap(([field, value]) =>
    value === undefined ? [] : [`${field}: ${value}`],
  )
  const sums = (options.sums ?? ((all) => all))(lines)
  const release = [...head, `${options.sumsField ?? 'SHA256'}:`, ...sums, ''].join('\n')
  const at = { at: options.signedAt ?? isoTime(options.date) }
  if (options.detached === true) {
    files.delete(`${directory}/InRelease`)
    files.set(`${directory}/Release`, Buffer.from(release))
    files.set(`${directory}/Release.gpg`, keys.detach(release, options.key, { ...at, armor: true }))
  } else files.set(`${directory}/InRelease`, keys.sign(release, [options.key], at))
  for (const deb of debs) files.set(onWire(`${base}/${poolPath(deb)}`), deb.bytes)
}

export function rfc2822(seconds: number): string {
  return new Date(seconds * 1000).toUTCString().replace('GMT', 'UTC')
}

/** `20260711T000000`, as gpg takes times. */
function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(/[-:]|\.\d+Z/g, '')
}
