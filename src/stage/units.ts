/** systemd units: what `systemctl enable` and `systemctl preset-all` would link. */
import { compileGlobs, type Globs } from '../base/glob.ts'
import { baseOf } from '../tree/tree.ts'

/** The section [Install] of a unit. */
export interface Install {
  readonly wantedBy: readonly string[]
  readonly requiredBy: readonly string[]
  readonly upheldBy: readonly string[]
  readonly alias: readonly string[]
  readonly also: readonly string[]
  /** '' for none. */
  readonly defaultInstance: string
}

/**
 * @returns undefined when the unit has no such section, or nothing in it
 * @see systemd.unit(5), [INSTALL] SECTION OPTIONS
 */
export function parseInstall(text: string): Install | undefined {
  const lists = new Map<string, string[]>()
  let section = ''
  for (const raw of text.replaceAll(/\\\r?\n/g, ' ').split('\n')) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue
    const head = /^\[(.*)\]$/.exec(line)
    if (head) section = head[1] as string
    if (section !== 'Install' || head) continue
    const found = /^([A-Za-z]+)\s*=\s*(.*)$/.exec(line)
    if (!found) continue
    const [, key = '', value = ''] = found
    const words = value.split(/\s+/).filter((word) => word !== '')
    lists.set(key, value === '' ? [] : [...(lists.get(key) ?? []), ...words])
  }
  const list = (key: string): readonly string[] => lists.get(key) ?? []
  const install = {
    wantedBy: list('WantedBy'),
    requiredBy: list('RequiredBy'),
    upheldBy: list('UpheldBy'),
    alias: list('Alias'),
    also: list('Also'),
    defaultInstance: list('DefaultInstance').at(-1) ?? '',
  }
  const isEmpty = [...lists.values()].every((words) => words.length === 0)
  return isEmpty ? undefined : install
}

/** `getty@tty1.service` in its parts; of a template the instance is ''. */
interface UnitName {
  readonly prefix: string
  /** undefined where there is no `@`. */
  readonly instance: string | undefined
  readonly suffix: string
}

function unitName(name: string): UnitName {
  const dot = name.lastIndexOf('.')
  const [stem, suffix] = dot < 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot)]
  const at = stem.indexOf('@')
  if (at < 0) return { prefix: stem, instance: undefined, suffix }
  return { prefix: stem.slice(0, at), instance: stem.slice(at + 1), suffix }
}

/** The file that a unit is read from: its own name, or that of its template. */
export function fileOfUnit(name: string): string {
  const { prefix, instance, suffix } = unitName(name)
  return instance === undefined ? name : `${prefix}@${suffix}`
}

/**
 * Links below /etc/systemd/system that enabling makes, by path, each leading to the file of the unit.
 * @param name a unit, an instance, or a template, of which the default instance is taken
 * @returns undefined for a template without a default instance
 */
export function enabledLinks(name: string, install: Install): readonly string[] | undefined {
  const { prefix, instance, suffix } = unitName(name)
  const isTemplate = instance === ''
  if (isTemplate && install.defaultInstance === '') return undefined
  const real = isTemplate ? `${prefix}@${install.defaultInstance}${suffix}` : name
  const expand = (text: string): string => expanded(text, unitName(real), real)
  const beside = (folder: string, targets: readonly string[]): string[] =>
    targets.map((target) => `${expand(target)}.${folder}/${real}`)
  return [
    ...install.alias.map(expand).filter((alias) => alias !== real),
    ...beside('wants', install.wantedBy),
    ...beside('requires', install.requiredBy),
    ...beside('upholds', install.upheldBy),
  ]
}

/** Specifiers that [Install] may have. @see systemd.unit(5), SPECIFIERS */
function expanded(text: string, { prefix, instance = '' }: UnitName, name: string): string {
  const stem = name.slice(0, name.lastIndexOf('.'))
  const last = prefix.slice(prefix.lastIndexOf('-') + 1)
  const values: { readonly [letter: string]: string } = {
    i: instance,
    j: last,
    n: name,
    N: stem,
    p: prefix,
    '%': '%',
  }
  return text.replaceAll(/%(.)/g, (whole, letter: string) => values[letter] ?? whole)
}

/** One line of a preset file. */
interface PresetRule {
  readonly verb: 'enable' | 'disable' | 'ignore'
  readonly globs: Globs
  /** Instances that `enable x@.service a b` names. */
  readonly instances: readonly string[]
}

/** @see systemd.preset(5) */
export function parsePreset(text: string): readonly PresetRule[] {
  return text.split('\n').flatMap((line): PresetRule[] => {
    const [verb = '', glob = '', ...instances] = line.trim().split(/\s+/)
    if (glob === '' || (verb !== 'enable' && verb !== 'disable' && verb !== 'ignore')) return []
    return [{ verb, globs: compileGlobs([glob]), instances }]
  })
}

/**
 * What the first rule that matches says of a unit file; without one it is enabled.
 * @returns names to enable: the unit, or the instances that the rule names
 */
export function presetOf(rules: readonly PresetRule[], name: string): readonly string[] {
  const rule = rules.find(({ globs }) => globs.matches(baseOf(name)))
  if (rule && rule.verb !== 'enable') return []
  const { prefix, instance, suffix } = unitName(name)
  if (instance !== '' || !rule || rule.instances.length === 0) return [name]
  return rule.instances.map((each) => `${prefix}@${each}${suffix}`)
}
