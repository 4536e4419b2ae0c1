/** The files that depmod writes beside the modules of a release: what modprobe reads in the guest. */
import { type KmodEntry, writeKmodIndex } from '../format/kmod-index.ts'
import type { ModuleFact, ModuleIndex } from './module-index.ts'

/** Contents by file name, as byte strings (text) and bytes (`.bin`). */
export function depmodFiles(index: ModuleIndex): ReadonlyMap<string, Uint8Array> {
  const modules = [...index.modules.values()]
  const lines = dependencyLines(index)
  const aliases = modules.flatMap(({ name, aliases: list }) => list.map((alias) => [alias, name] as const))
  const symbols = modules
    .flatMap(({ name, exports }) => exports.map((symbol) => [`symbol:${symbol}`, name] as const))
    .sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0))
  const priorities = new Map(modules.map(({ name }, at) => [name, at]))
  const entry = (key: string, value: string, owner: string): KmodEntry => ({
    key,
    value,
    priority: priorities.get(owner) ?? 0,
  })
  const files = new Map<string, Uint8Array>()
  const text = (name: string, head: string, body: readonly string[]): void =>
    void files.set(name, Buffer.from([...(head === '' ? [] : [head]), ...body, ''].join('\n'), 'latin1'))

  text(
    'modules.dep',
    '',
    lines.map(({ line }) => line),
  )
  files.set('modules.dep.bin', writeKmodIndex(lines.map(({ name, line }) => entry(name, line, name))))
  text(
    'modules.alias',
    '# Aliases extracted from modules themselves.',
    aliases.map(([alias, name]) => `alias ${alias} ${name}`),
  )
  files.set(
    'modules.alias.bin',
    writeKmodIndex(aliases.map(([alias, name]) => entry(underscores(alias), name, name))),
  )
  text(
    'modules.softdep',
    '# Soft dependencies extracted from modules themselves.',
    modules.flatMap(({ name, softdeps }) => softdeps.map((softdep) => `softdep ${name} ${softdep}`)),
  )
  text(
    'modules.symbols',
    '# Aliases for symbols, used by symbol_request().',
    symbols.map(([symbol, name]) => `alias ${symbol} ${name}`),
  )
  files.set('modules.symbols.bin', writeKmodIndex(symbols.map(([symbol, name]) => entry(symbol, name, name))))
  const devices = modules.flatMap(deviceLine)
  text('modules.devname', '# Device nodes to trigger on-demand module loading.', devices)
  files.set(
    'modules.builtin.bin',
    writeKmodIndex([...index.builtin].map((name) => ({ key: name, value: '', priority: 0 }))),
  )
  files.set(
    'modules.builtin.alias.bin',
    writeKmodIndex(
      index.builtinInfo.flatMap(({ name, aliases: list }) =>
        list.map((alias) => ({ key: underscores(alias), value: name, priority: 0 })),
      ),
    ),
  )
  return files
}

/** `-` and `_` are one in names, but not inside `[…]` of a pattern. */
function underscores(alias: string): string {
  return alias.replace(/\[[^\]]*\]?|-/g, (part) => (part === '-' ? '_' : part))
}

/** Lines of modules.dep: the file, and everything it needs, each before what it needs itself. */
function dependencyLines(index: ModuleIndex): readonly { readonly name: string; readonly line: string }[] {
  const rank = topologicalRanks(index)
  const relative = ({ path }: ModuleFact): string => path.slice(index.directory.length + 1)
  return [...index.modules.values()].map((module) => {
    const needed = [...closureOf(index, module)].toSorted(
      (a, b) => (rank.get(a.name) as number) - (rank.get(b.name) as number),
    )
    return { name: module.name, line: [`${relative(module)}:`, ...needed.map(relative)].join(' ') }
  })
}

function closureOf(index: ModuleIndex, module: ModuleFact): ReadonlySet<ModuleFact> {
  const found = new Set<ModuleFact>()
  const pending = [module]
  for (let next = pending.pop(); next; next = pending.pop())
    for (const name of next.depends) {
      const dependency = index.modules.get(name)
      if (!dependency || dependency === module || found.has(dependency)) continue
      found.add(dependency)
      pending.push(dependency)
    }
  return found
}

/** A rank for every module, lower than those of the modules it needs: Kahn's algorithm with a stack, as depmod does. */
function topologicalRanks(index: ModuleIndex): ReadonlyMap<string, number> {
  const users = new Map<string, number>()
  const names = [...index.modules.keys()]
  for (const { depends } of index.modules.values())
    for (const name of depends) users.set(name, (users.get(name) ?? 0) + 1)
  const ready = names.filter((name) => !users.has(name))
  const rank = new Map<string, number>()
  for (let name = ready.pop(); name !== undefined; name = ready.pop()) {
    rank.set(name, rank.size)
    for (const dependency of index.modules.get(name)?.depends ?? []) {
      const left = (users.get(dependency) as number) - 1
      users.set(dependency, left)
      if (left === 0) ready.push(dependency)
    }
  }
  // what is left needs itself in a circle; modpost makes no such modules
  for (const name of names) if (!rank.has(name)) rank.set(name, rank.size)
  return rank
}

function deviceLine({ name, aliases }: ModuleFact): readonly string[] {
  let node: string | undefined
  let numbers: string | undefined
  for (const alias of aliases) {
    const device = /^(char|block)-major-(\d+)-(\d+)$/.exec(alias)
    if (device) numbers ??= `${device[1] === 'char' ? 'c' : 'b'}${device[2]}:${device[3]}`
    if (alias.startsWith('devname:')) node ??= alias.slice(8)
  }
  return node !== undefined && numbers !== undefined ? [`${name} ${node} ${numbers}`] : []
}
