/** Links that packages of Gentoo leave to a choice: /bin/sh, PHP's SAPIs, and what python-exec stands for where it is not kept. */
import { compileGlobs } from '../base/glob.ts'
import { compareEbuildVersions } from '../pkg/ebuild-version.ts'
import { namesBelow } from '../tree/below.ts'
import { follow } from '../tree/resolve-path.ts'
import { baseOf, type Entry, entriesOf, lookup, type Tree } from '../tree/tree.ts'
import { asJson, landing, type Maker, maker, placed, withTree } from './generated.ts'
import { phpLinks } from './php-links.ts'
import type { Stage } from './stage.ts'

const SCRIPTS = 'usr/lib/python-exec'
const WRAPPER = /(?:^|\/)python-exec2(?:c)?$/

interface Params {
  readonly gentoo: boolean
  /** What the profile takes out later, and what it keeps of that. */
  readonly drop: readonly string[]
  readonly keep: readonly string[]
  readonly date: number
}

export const eselect: Stage = {
  name: 'eselect',
  version: 3,
  pick: ({ packages, profile: { strip }, date }) => {
    const gentoo = packages.some(({ scheme }) => scheme === 'ebuild')
    return asJson({ gentoo, drop: gentoo ? strip.drop : [], keep: gentoo ? strip.keep : [], date })
  },
  async run(input, params, { contents }) {
    const { gentoo, drop, keep, date } = params as unknown as Params
    if (!gentoo) return input
    const dropped = compileGlobs(drop)
    const kept = compileGlobs(keep)
    const stays = (path: string): boolean => !dropped.matches(path) || kept.matches(path)
    const make = maker('eselect', date, contents)
    const links = [
      ...shell(input.tree, make),
      ...(await phpLinks(input.tree, make)),
      ...pythons(input.tree, make, stays),
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
 * python-exec picks the newest Python of the root that has a script, each time one is called. Without it the links that
 * lead to it lead there at once.
 */
function pythons(tree: Tree, make: Maker, stays: (path: string) => boolean): Entry[] {
  const leads = (path: string): boolean => {
    const real = follow(tree, path)
    return real !== undefined && stays(real.path)
  }
  const newest = new Map<string, { version: string; path: string }>()
  for (const { path } of namesBelow(tree, SCRIPTS)) {
    const found = /^\/python([0-9.]+)\/([^/]+)$/.exec(path.slice(SCRIPTS.length))
    if (!found) continue
    const [, version = '', name = ''] = found
    if (!follow(tree, `usr/bin/python${version}`)) continue
    const known = newest.get(name)
    if (!known || compareEbuildVersions(known.version, version) < 0) newest.set(name, { version, path })
  }
  if (newest.size === 0) return []
  const links: Entry[] = []
  for (const { path, inode } of entriesOf(tree)) {
    if (inode.type !== 'symlink' || !WRAPPER.test(inode.target) || leads(path)) continue
    const script = newest.get(baseOf(path))
    if (script) links.push(make.link(path, `/${script.path}`))
  }
  const python = newest.get('python3')
  if (python && !leads('usr/bin/python3') && !links.some(({ path }) => path === 'usr/bin/python3'))
    for (const name of ['python3', 'python']) {
      const path = landing(tree, `usr/bin/${name}`, 'eselect')
      if (!lookup(tree, path)) links.push(make.link(path, `/${python.path}`))
    }
  return links
}
