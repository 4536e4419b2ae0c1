/**
 * Alternatives as `update-alternatives` would leave them: LINK leads to /etc/alternatives/NAME, and that to the choice with
 * the highest priority. They are read out of the postinsts, which declare them nowhere else.
 */
import type { Tree } from '../tree/tree.ts'
import { type Entry, lookup } from '../tree/tree.ts'
import { follow } from '../tree/resolve-path.ts'
import { asJson, landing, maker, placed, withTree } from './generated.ts'
import { NOTHING_KNOWN, type Present, presentIn } from './script-commands.ts'
import type { Value } from './script-values.ts'
import { callsOf, type Scripted, scriptedPackages } from './scripts.ts'
import type { Stage } from './stage.ts'

export interface Link {
  /** Absolute path of the generic name. */
  readonly link: string
  /** File name below /etc/alternatives. */
  readonly name: string
  /** Absolute path of the real file. */
  readonly path: string
}

export interface Alternative extends Link {
  readonly priority: number
  readonly slaves: readonly Link[]
}

/** What the postinst of a package registers, in its order. */
export function alternativesOf(pkg: Scripted, present: Present = NOTHING_KNOWN): Alternative[] {
  return (callsOf(pkg, 'postinst', present) ?? []).flatMap(({ words }) => {
    const found = parseInstall(words)
    return found ? [found] : []
  })
}

/** `update-alternatives … --install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]…` @see update-alternatives(1) */
function parseInstall(words: readonly Value[]): Alternative | undefined {
  if (!/^(?:(?:\/usr)?\/s?bin\/)?update-alternatives$/.test(words[0] ?? '') || words.includes(undefined))
    return undefined
  const rest = (words as readonly string[]).slice(1)
  const at = rest.indexOf('--install')
  const priority = Number(rest[at + 4])
  const main = at < 0 ? undefined : linkOf(rest.slice(at + 1))
  if (!main || !Number.isSafeInteger(priority)) return undefined
  const slaves = rest.flatMap((word, index) => (word === '--slave' ? [linkOf(rest.slice(index + 1))] : []))
  return { ...main, priority, slaves: slaves.filter((slave) => slave !== undefined) }
}

function linkOf([link, name, path]: readonly string[]): Link | undefined {
  if (!link?.startsWith('/') || !path?.startsWith('/') || !name || /[/\n]|^\.\.?$/.test(name))
    return undefined
  return { link, name, path }
}

/** Of each name the choice that automatic mode takes: present, of highest priority, of equal ones the first. */
function chosen(all: readonly Alternative[], tree: Tree): Alternative[] {
  const best = new Map<string, Alternative>()
  for (const each of all) {
    if (!follow(tree, each.path)) continue
    const rival = best.get(each.name)
    if (!rival || each.priority > rival.priority) best.set(each.name, each)
  }
  return [...best.values()]
}

interface Params {
  readonly packages: readonly Scripted[]
  readonly date: number
}

export const alternatives: Stage = {
  name: 'alternatives',
  version: 1,
  pick: ({ packages, date }) => asJson({ packages: scriptedPackages(packages, ['postinst']), date }),
  async run(input, params, { contents }) {
    const { packages, date } = params as unknown as Params
    const { tree } = input
    const present = presentIn(tree)
    const make = maker('alternatives', date, contents)
    const entries = new Map<string, Entry>()
    const all = packages.flatMap((pkg) => alternativesOf(pkg, present))
    for (const { slaves, ...main } of chosen(all, tree))
      for (const { link, name, path } of [main, ...slaves.filter((slave) => follow(tree, slave.path))]) {
        const generic = landing(tree, link, 'alternatives')
        const choice = landing(tree, `/etc/alternatives/${name}`, 'alternatives')
        if (lookup(tree, generic) || entries.has(generic)) continue
        entries.set(generic, make.link(generic, `/etc/alternatives/${name}`))
        if (!lookup(tree, choice)) entries.set(choice, make.link(choice, path))
      }
    return entries.size === 0 ? input : withTree(input, placed(tree, [...entries.values()], date))
  },
}
