/**
 * Alternatives as `update-alternatives` would leave them: LINK leads to /etc/alternatives/NAME, and that to the choice with
 * the highest priority. They are read out of the postinsts, which declare them nowhere else.
 */
import type { Tree } from '../tree/tree.ts'
import { type Entry, lookup } from '../tree/tree.ts'
import { follow } from '../tree/resolve-path.ts'
import { asJson, landing, maker, placed, withTree } from './generated.ts'
import { type Alternative, NOTHING_KNOWN, parseInstall, type Present, presentIn } from './script-commands.ts'
import { callsOf, type Scripted, scriptedPackages } from './scripts.ts'
import type { Stage } from './stage.ts'

export type { Alternative, Link } from './script-commands.ts'

/** What the postinst of a package registers, in its order. */
export function alternativesOf(pkg: Scripted, present: Present = NOTHING_KNOWN): Alternative[] {
  return (callsOf(pkg, 'postinst', present) ?? []).flatMap(({ words }) => {
    const found = parseInstall(words)
    return found ? [found] : []
  })
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
