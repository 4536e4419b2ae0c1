/** Links that packages of Gentoo leave to a choice: /bin/sh, PHP's SAPIs, and what python-exec stands for where it is not kept. */
import { compareEbuildVersions } from '../pkg/ebuild-version.ts'
import { follow } from '../tree/resolve-path.ts'
import { baseOf, type Entry, entriesOf, lookup, type Tree } from '../tree/tree.ts'
import { asJson, landing, type Maker, maker, placed, withTree } from './generated.ts'
import { phpLinks } from './php-links.ts'
import type { Stage } from './stage.ts'

const SCRIPTS = 'usr/lib/python-exec/'
const WRAPPER = /(?:^|\/)python-exec2(?:c)?$/

export const eselect: Stage = {
  name: 'eselect',
  version: 2,
  pick: ({ packages, date }) => asJson({ gentoo: packages.some(({ scheme }) => scheme === 'ebuild'), date }),
  async run(input, params, { contents }) {
    const { gentoo, date } = params as { readonly gentoo: boolean; readonly date: number }
    if (!gentoo) return input
    const make = maker('eselect', date, contents)
    const links = [
      ...shell(input.tree, make),
      ...(await phpLinks(input.tree, make)),
      ...pythons(input.tree, make),
    ]
    return links.length === 0 ? input : withTree(input, placed(input.tree, links, date))
  },
}

/** bash provides /bin/sh where nobody does. */
function shell(tree: Tree, make: Maker): Entry[] {
  if (follow(tree, 'bin/sh') || !follow(tree, 'bin/bash')) return []
  return [make.link(landing(tree, 'bin/sh', 'eselect'), 'bash')]
}

/**
 * python-exec picks the newest Python that has a script, each time one is called. Without it the links that lead to it
 * lead there at once.
 */
function pythons(tree: Tree, make: Maker): Entry[] {
  const newest = new Map<string, { version: string; path: string }>()
  for (const { path } of tree.names) {
    const found = path.startsWith(SCRIPTS) && /^python([0-9.]+)\/([^/]+)$/.exec(path.slice(SCRIPTS.length))
    if (!found) continue
    const [, version = '', name = ''] = found
    const known = newest.get(name)
    if (!known || compareEbuildVersions(known.version, version) < 0) newest.set(name, { version, path })
  }
  if (newest.size === 0) return []
  const links: Entry[] = []
  for (const { path, inode } of entriesOf(tree)) {
    if (inode.type !== 'symlink' || !WRAPPER.test(inode.target) || follow(tree, path)) continue
    const script = newest.get(baseOf(path))
    if (script) links.push(make.link(path, `/${script.path}`))
  }
  const python = newest.get('python3')
  if (python && !follow(tree, 'usr/bin/python3') && !links.some(({ path }) => path === 'usr/bin/python3'))
    for (const name of ['python3', 'python']) {
      const path = landing(tree, `usr/bin/${name}`, 'eselect')
      if (!lookup(tree, path)) links.push(make.link(path, `/${python.path}`))
    }
  return links
}
