/** Writes `Packages` of a PKGDIR: what build-info of each Gentoo package below it says, with sizes and checksums. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Stage5Error } from '../base/errors.ts'
import { parseGentooIndex } from '../format/gentoo-index.ts'
import { keepWhole, readIfThere } from './cache-files.ts'
import { readBuildInfo } from './unpack-gentoo.ts'

const PACKAGE = /\.(?:gpkg\.tar|xpak|tbz2)$/

/** Values of build-info that an entry has, when they are not empty. @see formats of Portage: binarytree.py, `_pkgindex_keys` */
const KEYS =
  'BDEPEND BUILD_ID BUILD_TIME DEFINED_PHASES DEPEND EAPI IDEPEND IUSE KEYWORDS LICENSE PDEPEND PROPERTIES PROVIDES RDEPEND REQUIRED_USE REQUIRES RESTRICT SLOT USE'.split(
    ' ',
  )

/** What a first index says of the flags that are not in IUSE; a later one keeps the header it finds. */
const FLAGS: { readonly [key: string]: string } = {
  IUSE_IMPLICIT: 'abi_x86_64 prefix prefix-guest prefix-stack',
  USE_EXPAND: 'ABI_X86 ELIBC KERNEL',
  USE_EXPAND_HIDDEN: 'ELIBC KERNEL',
  USE_EXPAND_IMPLICIT: 'ARCH ELIBC KERNEL',
  USE_EXPAND_UNPREFIXED: 'ARCH',
  USE_EXPAND_VALUES_ARCH: 'alpha amd64 arm arm64 hppa loong m68k mips ppc ppc64 riscv s390 sparc x86',
  USE_EXPAND_VALUES_ELIBC: 'glibc musl',
  USE_EXPAND_VALUES_KERNEL: 'linux',
}

/** Whether a folder holds Gentoo packages, at the top or in folders of categories, or the index of such. */
export async function isPkgdir(directory: string): Promise<boolean> {
  return (
    (await packageFiles(directory)).length > 0 ||
    (await readIfThere(join(directory, 'Packages'))) !== undefined
  )
}

/**
 * Writes `Packages` and `Packages.gz`. When nothing changed, neither do they; otherwise TIMESTAMP is later than before.
 * @throws S5_FILE_MISSING; S5_ARCHIVE_REFUSED for a package that cannot be read
 */
export async function indexPkgdir(
  directory: string,
  signal: AbortSignal = new AbortController().signal,
): Promise<{ packages: number; file: string }> {
  const entries: { readonly [key: string]: string }[] = []
  for (const path of await packageFiles(directory)) entries.push(await entryOf(directory, path, signal))
  entries.sort((a, b) => byBytes(a['CPV'] ?? '', b['CPV'] ?? '') || byBytes(a['PATH'] ?? '', b['PATH'] ?? ''))
  const file = join(directory, 'Packages')
  const before = await readIfThere(file)
  const old = before && parseGentooIndex(file, before)
  const kept: { [key: string]: string } = old ? Object.fromEntries(old.header) : headerOf(entries)
  const body = entries.map((entry) => `\n${block(entry)}`).join('')
  const newest = Math.max(0, ...entries.map((entry) => Number(entry['MTIME'])))
  const text = (timestamp: number): string =>
    block({ ...kept, PACKAGES: String(entries.length), TIMESTAMP: String(timestamp), VERSION: '0' }) + body
  const same = old && before.toString() === text(old.timestamp)
  const index = same ? before.toString() : text(old ? Math.max(old.timestamp + 1, newest) : newest)
  if (!same) await keepWhole(file, index)
  const zipped = gzipSync(index, { level: 9 })
  if (!(await readIfThere(`${file}.gz`))?.equals(zipped)) await keepWhole(`${file}.gz`, zipped)
  return { packages: entries.length, file }
}

/** Paths below the folder, sorted by bytes. */
async function packageFiles(directory: string): Promise<string[]> {
  const found = await readdir(directory, { recursive: true, withFileTypes: true }).catch((cause: unknown) => {
    throw new Stage5Error('S5_FILE_MISSING', `there is no directory ${directory}`, { cause })
  })
  return found
    .filter((entry) => entry.isFile() && PACKAGE.test(entry.name) && !entry.name.startsWith('.'))
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .filter((path) => !path.split('/').some((part) => part.startsWith('.')))
    .sort(byBytes)
}

async function entryOf(
  directory: string,
  path: string,
  signal: AbortSignal,
): Promise<{ readonly [key: string]: string }> {
  const file = join(directory, path)
  const info = await readBuildInfo(file, { label: path, signal })
  const value = (key: string): string =>
    Buffer.from(info[key] ?? '', 'latin1')
      .toString()
      .split(/\s+/)
      .join(' ')
      .trim()
  const [md5, sha1] = [createHash('md5'), createHash('sha1')]
  for await (const chunk of createReadStream(file, {
    highWaterMark: 1 << 20,
    signal,
  }) as AsyncIterable<Buffer>) {
    md5.update(chunk)
    sha1.update(chunk)
  }
  const { size, mtimeMs } = await stat(file)
  return {
    ...Object.fromEntries(KEYS.map((key) => [key, value(key)])),
    CHOST: value('CHOST'),
    CPV: `${value('CATEGORY')}/${value('PF')}`,
    DESC: value('DESCRIPTION'),
    MD5: md5.digest('hex'),
    MTIME: String(Math.max(0, Math.floor(mtimeMs / 1000))),
    PATH: path,
    REPO: value('repository'),
    SHA1: sha1.digest('hex'),
    SIZE: String(size),
    SLOT: value('SLOT') === '0' ? '' : value('SLOT'),
  }
}

/** The header of a first index: the machine that most packages are for. */
function headerOf(entries: readonly { readonly [key: string]: string }[]): { [key: string]: string } {
  const keyword = (entries[0]?.['KEYWORDS'] ?? '').split(' ')[0]?.replace(/^[~-]/, '') ?? ''
  return {
    ...FLAGS,
    ...(keyword !== '' && keyword !== '*' && { ARCH: keyword, ACCEPT_KEYWORDS: keyword }),
    ...(entries[0]?.['CHOST'] && { CHOST: entries[0]['CHOST'] }),
    ELIBC: 'glibc',
    KERNEL: 'linux',
  }
}

function block(fields: { readonly [key: string]: string }): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== '')
    .sort(([a], [b]) => byBytes(a, b))
    .map(([key, value]) => `${key}: ${value}\n`)
    .join('')
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
