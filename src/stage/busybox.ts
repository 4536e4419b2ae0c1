/** Links for the busybox applets that no package brings, as `busybox --install -s` would make them. */
import { resolvePath } from '../tree/resolve-path.ts'
import { type Entry, lookup, parentOf, type Tree } from '../tree/tree.ts'
import { appletsOf } from './applets.ts'
import { asJson, landing, maker, placed, withTree } from './generated.ts'
import type { Stage } from './stage.ts'

const FOLDERS = ['bin', 'sbin', 'usr/bin', 'usr/sbin'] as const

/** busybox itself, and the applet for kernels of the last century that belongs into the root directory. */
const NEVER = new Set(['busybox', 'linuxrc'])

/** The busybox binary of a root: the entry at its real path. */
export function busyboxOf(tree: Tree): Entry | undefined {
  for (const folder of FOLDERS) {
    const found = resolvePath(tree, `${folder}/busybox`)
    if ('inode' in found && found.inode.type === 'file') return found
  }
  return undefined
}

export const busybox: Stage = {
  name: 'busybox',
  version: 1,
  pick: ({ date }) => asJson({ date }),
  async run(input, params, { contents }) {
    const { date } = params as { readonly date: number }
    const binary = busyboxOf(input.tree)
    if (binary?.inode.type !== 'file') return input
    const make = maker('busybox', date, contents)
    const links = new Map<string, Entry>()
    for (const { name, folder } of appletsOf(await contents.read(binary.inode.content))) {
      if (NEVER.has(name) || FOLDERS.some((each) => brought(input.tree, each, name))) continue
      const path = landing(input.tree, `${folder === '' ? 'bin' : folder}/${name}`, 'busybox')
      links.set(path, make.link(path, between(path, binary.path)))
    }
    return withTree(input, placed(input.tree, [...links.values()], date))
  },
}

function brought(tree: Tree, folder: string, name: string): boolean {
  const real = resolvePath(tree, folder)
  return 'inode' in real && lookup(tree, `${real.path}/${name}`) !== undefined
}

/** The relative target of a link at `path` that leads to `goal`; neither has symlinks among its parents. */
function between(path: string, goal: string): string {
  const here = parentOf(path) === '' ? [] : parentOf(path).split('/')
  const there = goal.split('/')
  let same = 0
  while (same < here.length && same < there.length - 1 && here[same] === there[same]) same++
  return [...here.slice(same).map(() => '..'), ...there.slice(same)].join('/')
}
