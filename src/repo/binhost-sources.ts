/** Where the binhosts of a repository are: listed in its file, or those that this machine's Portage uses. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { digestOf, hexOf } from '../base/digest.ts'
import { isStage5Error, Stage5Error } from '../base/errors.ts'
import type { Report } from '../base/events.ts'
import type { Binrepo } from '../format/binrepos.ts'
import { localPath } from '../host/fetch.ts'
import { parseEbuildAtom } from '../pkg/ebuild-atom.ts'
import type { Atom } from '../pkg/package.ts'
import type { GentooSpec, RepositorySpec } from '../resolve/profile.ts'
import { keyringsOf } from './keyrings-of.ts'
import type { SignaturePolicy, Trust } from './package-trust.ts'

export interface BinhostSource {
  /** What the lock calls it; '' for the only one of a repository. */
  readonly name: string
  /** Of the cache: tells addresses apart. */
  readonly id: string
  /** For messages. */
  readonly label: string
  /** http(s) address, or absolute path of a folder; no slash at its end. */
  readonly uri: string
  readonly priority: number
  /** Names of the index, to be tried in turn. */
  readonly indexes: readonly string[]
  /** Once there is an index it is kept. */
  readonly frozen: boolean
  readonly trust: Trust
  /** Patterns of the only packages that are taken from it; empty: of all. */
  readonly include: readonly Atom[]
  /** Patterns of packages that are not taken from it. */
  readonly exclude: readonly Atom[]
}

/** What Portage itself brings, read before the machine's own. */
const SHIPPED = 'usr/share/portage/config/binrepos.conf'
const MACHINE = '/etc/portage'
const USUAL_INDEXES = ['Packages.gz', 'Packages']

/**
 * Preferred first: by priority, then in the order they are listed in.
 * @throws S5_SOURCES_MISSING, S5_FILE_MISSING
 */
export async function binhostSources(
  spec: RepositorySpec,
  report: Report,
  root = '/',
): Promise<readonly BinhostSource[]> {
  const gentoo = spec.gentoo as GentooSpec
  const found =
    gentoo.from === 'binrepos' ? await fromPortage(spec, gentoo, report, root) : listed(spec, gentoo)
  if (found.length === 0)
    throw new Stage5Error('S5_SOURCES_MISSING', `${spec.name}: ${gentoo.config} names no usable binhost`, {
      hint: `list the binhosts in ${spec.file} under binhosts:`,
      data: { repository: spec.name },
    })
  return found.toSorted((left, right) => right.priority - left.priority)
}

function listed(spec: RepositorySpec, gentoo: GentooSpec): BinhostSource[] {
  const keyring = keyringFiles(spec, gentoo.keyring)
  return gentoo.binhosts.map((binhost) =>
    sourceOf(spec, { ...binhost, frozen: false }, trustOf(gentoo.signatures, keyring)),
  )
}

/** Paths in `keyring:` are relative to the repository file. */
function keyringFiles(spec: RepositorySpec, keyring: readonly string[]): Trust['keyrings'] {
  const keyrings = keyringsOf(keyring, { files: [], blocks: [], fingerprints: [] })
  const base = dirname(resolve(spec.file))
  const files = keyring
    .filter((item) => keyrings.files.includes(resolve('/', item)))
    .map((item) => resolve(base, item))
  return { ...keyrings, files }
}

function trustOf(signatures: SignaturePolicy, keyrings: Trust['keyrings']): Trust {
  return { signatures, keyrings }
}

async function fromPortage(
  spec: RepositorySpec,
  gentoo: GentooSpec,
  report: Report,
  root: string,
): Promise<BinhostSource[]> {
  const config = resolve(root, gentoo.config.replace(/^\/+/, root === '/' ? '/' : ''))
  const isFile = (await stat(config).catch(() => undefined))?.isFile() === true
  const own = isFile ? config : join(config, 'binrepos.conf')
  const files = [
    ...(gentoo.config === MACHINE ? await configFiles(join(root, SHIPPED)) : []),
    ...(await configFiles(own)),
  ]
  const variables = isFile ? new Map<string, string>() : await variablesOf(config)
  const words = variables.get('PORTAGE_BINHOST') ?? ''
  if (files.length === 0 && words.trim() === '')
    throw new Stage5Error('S5_FILE_MISSING', `${spec.name}: there is no ${own}`, {
      hint: `correct config: in ${spec.file}, or list the binhosts there under binhosts:`,
      data: { file: own },
    })
  const { binhostsOfVariable, parseBinrepos } = await import('../format/binrepos.ts')
  const { repositories, problems } = parseBinrepos(files, {
    EPREFIX: '',
    EROOT: '/',
    ROOT: '/',
    PORTAGE_CONFIGROOT: '/',
  })
  for (const problem of problems)
    report({ kind: 'warning', code: 'S5_SOURCES_MISSING', message: `${spec.name}: ${own}: ${problem}` })
  const machineRing = join(isFile ? dirname(config) : config, 'gnupg', 'pubring.kbx')
  const keyring =
    gentoo.keyring.length > 0
      ? keyringFiles(spec, gentoo.keyring)
      : { files: [machineRing], blocks: [], fingerprints: [] }
  const tell = (message: string) => report({ kind: 'warning', code: 'S5_SOURCES_MISSING', message })
  return [...repositories, ...binhostsOfVariable(words, repositories)].map((repository) => {
    const atoms = (key: 'include' | 'exclude'): string[] =>
      repository[key].filter((atom) => {
        if (isPattern(atom)) return true
        tell(`${spec.name}: ${own}: [${repository.name}]: getbinpkg-${key}: ${atom} is no atom`)
        return false
      })
    const binhost = { ...repository, include: atoms('include'), exclude: atoms('exclude'), index: '' }
    return sourceOf(
      spec,
      binhost,
      trustOf(policyOf(gentoo, repository, variables.get('FEATURES') ?? ''), keyring),
    )
  })
}

/** Of make.conf, which is a file or a folder. */
async function variablesOf(config: string): Promise<ReadonlyMap<string, string>> {
  const files = await configFiles(join(config, 'make.conf'))
  const { readMakeConf } = await import('../format/make-conf.ts')
  return readMakeConf(files.map(({ text }) => text))
}

function isPattern(text: string): boolean {
  try {
    patternOf(text)
    return true
  } catch (error) {
    if (isStage5Error(error, 'S5_ATOM_SYNTAX')) return false
    throw error
  }
}

function patternOf(text: string): Atom {
  return parseEbuildAtom(text, { kind: 'pattern' })
}

/** What the repository file says, then FEATURES, then binrepos.conf. @see make.conf(5): binpkg-request-signature */
function policyOf(gentoo: GentooSpec, { verifySignature }: Binrepo, features: string): SignaturePolicy {
  if (gentoo.isPolicyWritten) return gentoo.signatures
  const found = features.split(/\s+/)
  const isSet = (name: string): boolean => found.lastIndexOf(name) > found.lastIndexOf(`-${name}`)
  if (isSet('binpkg-request-signature')) return 'require'
  if (isSet('binpkg-ignore-signature')) return 'off'
  return verifySignature ? 'require' : 'off'
}

/** The file, or all files below the folder in byte order. */
async function configFiles(path: string): Promise<{ file: string; text: string }[]> {
  const found = await stat(path).catch(() => undefined)
  if (!found) return []
  if (found.isFile()) return [{ file: path, text: await readFile(path, 'utf8') }]
  const names = (await readdir(path)).filter((name) => !name.startsWith('.') && !name.endsWith('~')).sort()
  return (await Promise.all(names.map((name) => configFiles(join(path, name))))).flat()
}

function sourceOf(
  spec: RepositorySpec,
  {
    name,
    uri,
    priority,
    index,
    frozen,
    include,
    exclude,
  }: Omit<Binrepo, 'verifySignature'> & { index: string },
  trust: Trust,
): BinhostSource {
  const isAddress = /^https?:/i.test(uri)
  const local = isAddress ? uri : (localPath(uri) ?? resolve(dirname(resolve(spec.file)), uri))
  const clean = local.replace(/\/+$/, '') || '/'
  return {
    name,
    id: hexOf(digestOf(clean)).slice(0, 16),
    label: name === '' ? spec.name : `${spec.name} ${name}`,
    uri: clean,
    priority,
    indexes: index === '' ? USUAL_INDEXES : [index, ...USUAL_INDEXES.filter((usual) => usual !== index)],
    frozen,
    trust,
    include: include.map(patternOf),
    exclude: exclude.map(patternOf),
  }
}
