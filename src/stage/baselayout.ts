/**
 * What sys-apps/baselayout makes when it is merged: its directories and links, and /etc/fstab where none is. Its users
 * and groups are read by the stage users.
 */
import { follow } from '../tree/resolve-path.ts'
import { withoutPaths } from '../tree/edit.ts'
import { type Entry, lookup, type Tree } from '../tree/tree.ts'
import { asJson, byteText, landing, type Maker, maker, placed, removal, withTree } from './generated.ts'
import type { Stage } from './stage.ts'

const SHARE = 'usr/share/baselayout'
const LIBRARIES = ['lib32', 'lib64', 'libx32']

export const baselayout: Stage = {
  name: 'baselayout',
  version: 1,
  pick: ({ date }) => asJson({ date }),
  async run(input, params, { contents }) {
    const { date } = params as { readonly date: number }
    if (lookup(input.tree, SHARE)?.inode.type !== 'dir') return input
    const make = maker('baselayout', date, contents)
    const makefile = lookup(input.tree, `${SHARE}/Makefile`)
    const text = makefile?.inode.type === 'file' ? byteText(await contents.read(makefile.inode.content)) : ''
    const kept = keptDirectories(text)
      .filter((path) => !follow(input.tree, path))
      .map((path) => make.dir(landing(input.tree, path, 'baselayout')))
    const entries = [...kept, ...special(input.tree, make), ...tables(input.tree)]
    const tree = placed(input.tree, entries, date)
    if (!makefile) return withTree(input, tree)
    return withTree(input, withoutPaths(tree, [makefile.path]), [removal(makefile, 'baselayout')])
  },
}

/** `KEEP_DIRS` of the Makefile that the package brings along for this. */
export function keptDirectories(makefile: string): string[] {
  const joined = makefile.replaceAll(/\\\r?\n/g, ' ')
  return [...joined.matchAll(/^KEEP_DIRS[ \t]*\+?=(.*)$/gm)]
    .flatMap(([, list = '']) => list.split(/\s+/))
    .filter((path) => /^\/[A-Za-z0-9_.+/-]+$/.test(path) && !path.split('/').includes('..'))
}

/** The same as `multilib_layout`, and what the Makefile says of /root, /tmp and /var. */
function special(tree: Tree, make: Maker): Entry[] {
  return [
    ...LIBRARIES.filter((name) => lookup(tree, `usr/${name}`)?.inode.type === 'dir').map((name) =>
      make.link(name, `usr/${name}`),
    ),
    make.dir('root', { mode: 0o700 }),
    make.dir('tmp', { mode: 0o1777 }),
    make.dir('var/tmp', { mode: 0o1777 }),
    make.link('var/run', '../run'),
    make.link('var/lock', '../run/lock'),
  ].filter(({ path }) => !lookup(tree, path))
}

/** Tables of /usr/share/baselayout whose copy in /etc is missing; the accounts are made of several sources. */
function tables(tree: Tree): Entry[] {
  const source = follow(tree, `${SHARE}/fstab`)
  if (source?.inode.type !== 'file' || follow(tree, 'etc/fstab')) return []
  return [{ path: 'etc/fstab', owner: 'stage:baselayout', inode: { ...source.inode } }]
}
