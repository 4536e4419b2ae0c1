/** The build-info of a Gentoo package that `stage5 pack` makes: checked, and as Portage writes it. */
import { Stage5Error } from '../base/errors.ts'
import { parseDependencies } from '../pkg/ebuild-depends.ts'
import { isPackageName, NEWEST_EAPI } from '../pkg/ebuild-atom.ts'
import { isEbuildVersion } from '../pkg/ebuild-version.ts'

export interface GpkgOptions {
  /** `category/name`. */
  readonly name: string
  /** As of ebuilds: `1.2.3_rc1-r1`. */
  readonly version: string
  /** BUILD_ID, from 1. */
  readonly build: number
  /** In the words of Debian. */
  readonly arch: string
  /** `ssl -ldap`: both are known, `ssl` is on. */
  readonly use: string
  /** IUSE with its `+` and `-` defaults; '' for the flags of `use`. */
  readonly iuse: string
  /** `0` or `0/1.2`. */
  readonly slot: string
  readonly eapi: string
  /** KEYWORDS; '' for the stable one of `arch`. */
  readonly keywords: string
  readonly license: string
  /** Dependency expressions, joined to RDEPEND. */
  readonly depends: readonly string[]
  /** Joined to PDEPEND. */
  readonly pdepend: readonly string[]
  /** Atoms, which become weak blockers. */
  readonly conflicts: readonly string[]
  readonly summary: string
}

/** What a folder holds. */
interface GpkgContent {
  /** Bytes. */
  readonly size: number
  /** Seconds since 1970. */
  readonly time: number
  /** As of `parseSonames`. */
  readonly provides: string
  readonly requires: string
}

const MACHINES: { readonly [arch: string]: { readonly keyword: string; readonly chost: string } } = {
  amd64: { keyword: 'amd64', chost: 'x86_64-pc-linux-gnu' },
  arm64: { keyword: 'arm64', chost: 'aarch64-unknown-linux-gnu' },
  armhf: { keyword: 'arm', chost: 'armv7a-unknown-linux-gnueabihf' },
  i386: { keyword: 'x86', chost: 'i686-pc-linux-gnu' },
  ppc64el: { keyword: 'ppc64', chost: 'powerpc64le-unknown-linux-gnu' },
  riscv64: { keyword: 'riscv', chost: 'riscv64-unknown-linux-gnu' },
  s390x: { keyword: 's390', chost: 's390x-ibm-linux-gnu' },
}
/** PMS 3.1.3 and 3.1.4. */
const SLOT = /^[A-Za-z0-9_][A-Za-z0-9+_.-]*(?:\/[A-Za-z0-9_][A-Za-z0-9+_.-]*)?$/
const FLAG = /^[A-Za-z0-9][A-Za-z0-9+_@-]*$/
const KEYWORD = /^[~-]?[A-Za-z0-9_][A-Za-z0-9_-]*$/

/** Values of build-info by key, in the order of keys; texts end with a newline as in files of Portage. */
interface BuildInfo {
  readonly category: string
  /** Name without category. */
  readonly package: string
  /** `demo-1.0-r1` */
  readonly full: string
  readonly values: ReadonlyMap<string, string>
}

/** @throws S5_PACKAGE_INVALID with what was expected and found */
export function gpkgBuildInfo(options: GpkgOptions, content: GpkgContent): BuildInfo {
  const [category = '', name = ''] = options.name.split('/')
  const found = JSON.stringify(options.name)
  if (!isPackageName(options.name)) throw invalid(`expected a name such as dev-lang/php, found ${found}`)
  if (!isEbuildVersion(options.version))
    throw invalid(
      `expected a version of ebuilds such as 1.2.3_rc1-r1, found ${JSON.stringify(options.version)}`,
    )
  if (!SLOT.test(options.slot))
    throw invalid(`expected a slot such as 0 or 0/1.2, found ${JSON.stringify(options.slot)}`)
  if (!/^[0-8]$/.test(options.eapi))
    throw invalid(`expected an EAPI from 0 to ${NEWEST_EAPI}, found ${JSON.stringify(options.eapi)}`)
  const machine = Object.hasOwn(MACHINES, options.arch) ? MACHINES[options.arch] : undefined
  if (!machine)
    throw invalid(
      `expected an architecture of ${Object.keys(MACHINES).join(', ')}, found ${JSON.stringify(options.arch)}`,
    )
  const flags = wordsOf(options.use, 'use', FLAG, /^-/)
  const known =
    options.iuse === ''
      ? flags.map(({ bare }) => bare)
      : wordsOf(options.iuse, 'iuse', FLAG, /^[+-]/).map(({ word }) => word)
  const unknown = flags.find(({ bare }) => !known.some((flag) => flag.replace(/^[+-]/, '') === bare))
  if (unknown) throw invalid(`the flag ${unknown.bare} of --use is not in --iuse`)
  const keywords = options.keywords === '' ? machine.keyword : options.keywords
  wordsOf(keywords, 'keywords', KEYWORD, /^$/)
  const eapi = Number(options.eapi)
  const rdepend = [
    ...options.depends,
    ...options.conflicts.map((atom) => (atom.startsWith('!') ? atom : `!${atom}`)),
  ]
  const full = `${name}-${options.version}`
  const on = flags.filter(({ word }) => !word.startsWith('-')).map(({ bare }) => bare)
  const implicit = [machine.keyword, 'elibc_glibc', 'kernel_linux']
  const text: { readonly [key: string]: string } = {
    BUILD_ID: String(options.build),
    BUILD_TIME: String(content.time),
    CATEGORY: category,
    CHOST: machine.chost,
    DEFINED_PHASES: '-',
    DESCRIPTION: options.summary,
    EAPI: options.eapi,
    IUSE: [...known].sort().join(' '),
    KEYWORDS: keywords,
    LICENSE: options.license,
    PDEPEND: dependency(options.pdepend, 'pdepend', eapi),
    PF: full,
    PROVIDES: content.provides,
    RDEPEND: dependency(rdepend, 'depends', eapi),
    REQUIRES: content.requires,
    SIZE: String(content.size),
    SLOT: options.slot,
    USE: [...new Set([...implicit, ...on])].sort().join(' '),
    repository: 'stage5',
  }
  const values = new Map<string, string>()
  for (const [key, value] of Object.entries(text)) {
    if (/[\n\r\0]/.test(value)) throw invalid(`expected one line for ${key}, found several`)
    if (value !== '') values.set(key, `${value}\n`)
  }
  values.set(`${full}.ebuild`, ebuildText(text))
  return { category, package: name, full, values }
}

function wordsOf(
  text: string,
  option: string,
  syntax: RegExp,
  mark: RegExp,
): { readonly word: string; readonly bare: string }[] {
  const seen = new Set<string>()
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => {
      const bare = word.replace(mark, '')
      if (!syntax.test(bare) || seen.has(bare))
        throw invalid(`expected words for --${option}, each once, found ${JSON.stringify(word)}`)
      seen.add(bare)
      return { word, bare }
    })
}

function dependency(parts: readonly string[], option: string, eapi: number): string {
  for (const part of parts)
    try {
      parseDependencies(part, eapi)
    } catch (error) {
      throw invalid(
        `--${option} ${JSON.stringify(part)}: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
  return parts.join(' ')
}

function invalid(message: string): Stage5Error {
  return new Stage5Error('S5_PACKAGE_INVALID', message)
}

/** An ebuild that says the same, without phases. */
function ebuildText(text: { readonly [key: string]: string }): string {
  const keys = ['DESCRIPTION', 'LICENSE', 'SLOT', 'KEYWORDS', 'IUSE', 'RDEPEND', 'PDEPEND']
  const lines = keys.flatMap((key) => (text[key] ? [`${key}=${quoted(text[key])}\n`] : []))
  return `EAPI=${text['EAPI']}\n${lines.join('')}`
}

/**
 * The environment that Portage sources before it would run phases: variables and no function.
 * @see ebuild(5), environment.bz2
 */
export function gpkgEnvironment({ category, package: name, full, values }: BuildInfo): string {
  const value = (key: string): string => (values.get(key) ?? '').trimEnd()
  const version = full.slice(name.length + 1)
  const variables: { readonly [key: string]: string } = {
    CATEGORY: category,
    DEFINED_PHASES: '-',
    DESCRIPTION: value('DESCRIPTION'),
    EAPI: value('EAPI'),
    INHERITED: '',
    IUSE: value('IUSE'),
    KEYWORDS: value('KEYWORDS'),
    LICENSE: value('LICENSE'),
    P: `${name}-${version.replace(/-r[0-9]+$/, '')}`,
    PDEPEND: value('PDEPEND'),
    PF: full,
    PN: name,
    PR: /-(r[0-9]+)$/.exec(version)?.[1] ?? 'r0',
    PV: version.replace(/-r[0-9]+$/, ''),
    PVR: version,
    RDEPEND: value('RDEPEND'),
    SLOT: value('SLOT'),
    USE: value('USE'),
  }
  const lines = Object.entries(variables).map(([key, text]) => `declare -- ${key}=${quoted(text)}\n`)
  return lines.join('')
}

/** In double quotes for bash. */
function quoted(text: string): string {
  return `"${text.replaceAll(/["$`\\]/g, String.raw`\$&`)}"`
}
