/** The files of /etc/portage, and those that stand elsewhere on the same machine. */
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'

/** The text of each file by its path below /etc/portage, in the order in which Portage reads them. */
export type PortageFiles = ReadonlyMap<string, string>

/** Files of a Gentoo machine by the names that the import knows, as seen from /etc/portage. */
const ELSEWHERE: readonly (readonly [string, string])[] = [
  ['world', '../../var/lib/portage/world'],
  ['world_sets', '../../var/lib/portage/world_sets'],
  ['binrepos.shipped', '../../usr/share/portage/config/binrepos.conf'],
  ['license_groups', '../../var/db/repos/gentoo/profiles/license_groups'],
]

/** Folders whose files say nothing about which packages are chosen. */
const SKIPPED = new Set(['patches', 'savedconfig', 'gnupg', 'postsync.d', 'repo.postsync.d'])

/**
 * Every file below a folder such as /etc/portage, folders in the order of their names; hidden ones and backups are not
 * read. The folders of the profile that make.profile leads to are `make.profile/0000/`, `make.profile/0001/`…, parents
 * first. Where the folder itself is one of a profile, it is the profile alone.
 *
 * @throws S5_FILE_MISSING
 */
export async function readPortage(directory: string): Promise<PortageFiles> {
  const files = new Map<string, string>()
  const isFolder = await stat(directory).then(
    (found) => found.isDirectory(),
    () => false,
  )
  if (!isFolder) throw new Stage5Error('S5_FILE_MISSING', `no folder ${directory}, such as /etc/portage`)
  const visit = async (path: string): Promise<void> => {
    for (const entry of (await readdir(join(directory, path), { withFileTypes: true })).sort(byName)) {
      if (/^\.|~$/.test(entry.name) || SKIPPED.has(entry.name)) continue
      const name = path === '' ? entry.name : `${path}/${entry.name}`
      const found = await stat(join(directory, name)).catch(() => undefined)
      if (found?.isDirectory()) {
        if (name !== 'make.profile') await visit(name)
      } else if (found?.isFile()) files.set(name, await readFile(join(directory, name), 'utf8'))
    }
  }
  const isProfile = await isThere(join(directory, 'parent'))
  if (!isProfile) await visit('')
  const profile = isProfile ? directory : join(directory, 'make.profile')
  if (await isThere(profile)) await readChain(await realpath(profile), directory, files)
  for (const [name, place] of ELSEWHERE) {
    const text = await readFile(resolve(directory, place), 'utf8').catch(() => undefined)
    if (text !== undefined && !files.has(name)) files.set(name, text)
  }
  return files
}

/** Files of a profile's folder that say which packages are chosen. */
const OF_PROFILE = [
  'make.defaults',
  'packages',
  'package.accept_keywords',
  'package.keywords',
  'package.mask',
  'package.provided',
  'package.unmask',
  'package.use',
  'package.use.force',
  'package.use.mask',
  'use.force',
  'use.mask',
]

/** Parents first; a folder that several name is read for each, as Portage does. @see PMS 8, section 5.2.1 */
async function readChain(profile: string, config: string, files: Map<string, string>): Promise<void> {
  const chain: string[] = []
  const follow = async (folder: string, below: readonly string[]): Promise<void> => {
    if (below.includes(folder))
      throw new Stage5Error('S5_USAGE', `profiles in a circle: ${[...below, folder].join(' > ')}`)
    if (chain.length >= MAX_FOLDERS)
      throw new Stage5Error('S5_USAGE', `${profile} has more than ${MAX_FOLDERS} parents`)
    const text = await textOf(join(folder, 'parent'))
    for (const [at, line] of text.split('\n').entries()) {
      const words = line.replace(/#.*$/, '').trim()
      if (words === '') continue
      const parent = await parentOf(folder, words, config)
      if (parent === undefined)
        throw new Stage5Error(
          'S5_FILE_MISSING',
          `${join(folder, 'parent')}:${at + 1}: there is no profile ${words}`,
          { hint: 'copy the profiles/ folder of the ebuild repository as a whole' },
        )
      await follow(parent, [...below, folder])
    }
    chain.push(folder)
  }
  await follow(profile, [])
  for (const [at, folder] of chain.entries())
    for (const name of OF_PROFILE)
      for (const file of await filesOf(join(folder, name)))
        files.set(
          `make.profile/${String(at).padStart(4, '0')}/${file.slice(folder.length + 1)}`,
          await readFile(file, 'utf8'),
        )
  const repository = await repositoryOf(profile)
  const groups = repository === undefined ? '' : await textOf(join(repository, 'profiles/license_groups'))
  if (groups !== '') files.set('license_groups', groups)
}

/** A guess: real profiles have about 20. */
const MAX_FOLDERS = 200

/** `path`, `:path` of the same repository, or `repository:path`. */
async function parentOf(folder: string, words: string, config: string): Promise<string | undefined> {
  const [, name, path = ''] = /^([A-Za-z0-9_][A-Za-z0-9_-]*)?:(.*)$/.exec(words) ?? []
  const own = await repositoryOf(folder)
  const isOwn = own !== undefined && (name === undefined || (await nameOf(own)) === name)
  const candidates = !words.includes(':')
    ? [resolve(folder, words)]
    : isOwn
      ? [join(own, 'profiles', path)]
      : [join(dirname(own ?? config), name ?? ''), resolve(config, '../../var/db/repos', name ?? '')].map(
          (place) => join(place, 'profiles', path),
        )
  for (const candidate of candidates) if (await isThere(candidate)) return await realpath(candidate)
  return undefined
}

/** The repository that a profile is in: above it, with profiles/repo_name. */
async function repositoryOf(folder: string): Promise<string | undefined> {
  for (let place = folder; dirname(place) !== place; place = dirname(place))
    if (await isThere(join(place, 'profiles/repo_name'))) return place
  return undefined
}

async function nameOf(repository: string): Promise<string> {
  return (await textOf(join(repository, 'profiles/repo_name'))).trim()
}

/** The file, or the files of the folder; none where there is neither. */
async function filesOf(path: string): Promise<string[]> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isFile()) return [path]
  if (!found?.isDirectory()) return []
  const names = (await readdir(path)).filter((name) => !/^\.|~$/.test(name)).sort()
  return (await Promise.all(names.map((name) => filesOf(join(path, name))))).flat()
}

async function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function byName(left: { readonly name: string }, right: { readonly name: string }): number {
  return left.name < right.name ? -1 : 1
}
