/** The files of /etc/portage, and those that stand elsewhere on the same machine. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Stage5Error } from '../base/errors.ts'
import type { PortageFiles } from './import-portage.ts'

/** Files of a Gentoo machine by the names that the import knows, as seen from /etc/portage. */
const ELSEWHERE: readonly (readonly [string, string])[] = [
  ['world', '../../var/lib/portage/world'],
  ['world_sets', '../../var/lib/portage/world_sets'],
  ['license_groups', '../../var/db/repos/gentoo/profiles/license_groups'],
]

/** Folders whose files say nothing about which packages are chosen. */
const SKIPPED = new Set(['patches', 'savedconfig', 'gnupg', 'postsync.d', 'repo.postsync.d'])

/**
 * Every file below a folder such as /etc/portage, folders in the order of their names; hidden ones and backups are not
 * read.
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
  await visit('')
  for (const [name, place] of ELSEWHERE) {
    const text = await readFile(resolve(directory, place), 'utf8').catch(() => undefined)
    if (text !== undefined && !files.has(name)) files.set(name, text)
  }
  return files
}

function byName(left: { readonly name: string }, right: { readonly name: string }): number {
  return left.name < right.name ? -1 : 1
}
