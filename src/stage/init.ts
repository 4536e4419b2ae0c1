/**
 * Which services a package's own init starts: links of systemd as `systemctl preset-all` and `enable` make them, and
 * runlevels of OpenRC; and that such an init says when it is done.
 */
import { nearest } from '../base/near.ts'
import { Stage5Error } from '../base/errors.ts'
import { entriesBelow, namesIn } from '../tree/below.ts'
import type { Contents } from '../tree/contents.ts'
import { withoutPaths } from '../tree/edit.ts'
import { follow } from '../tree/resolve-path.ts'
import { baseOf, type Entry, lookup, type Tree } from '../tree/tree.ts'
import { asJson, byteText, type Maker, maker, placed, rawBytes, removal, withTree } from './generated.ts'
import { hasOpenrc, readyEntries } from './ready.ts'
import type { Stage } from './stage.ts'
import { enabledLinks, fileOfUnit, type Install, parseInstall, parsePreset, presetOf } from './units.ts'

const SYSTEM = 'etc/systemd/system'
const UNITS = ['etc/systemd/system', 'usr/lib/systemd/system', 'lib/systemd/system'] as const
const PRESETS = [
  'lib/systemd/system-preset',
  'usr/lib/systemd/system-preset',
  'etc/systemd/system-preset',
] as const
const OWN_PRESET = 'etc/systemd/system-preset/00-stage5.preset'

interface Params {
  readonly units: readonly string[]
  readonly runlevels: { readonly [level: string]: readonly string[] }
  /** Whether packages come without scripts that have enabled their units already. */
  readonly presets: boolean
  readonly openrc: boolean
  /** '' for a root that does not boot. */
  readonly ready: string
  readonly date: number
}

export const init: Stage = {
  name: 'init',
  version: 3,
  pick: ({ profile: { units, runlevels, boot, kernel }, packages, date }) => {
    const has = (wanted: string): boolean =>
      packages.some(({ scheme, name }) => scheme === 'ebuild' && name === wanted)
    return asJson({
      units,
      runlevels,
      presets: has('sys-apps/systemd'),
      openrc: has('sys-apps/openrc'),
      ready: kernel.wanted ? boot.ready : '',
      date,
    })
  },
  async run(input, params, { contents }) {
    const { units, runlevels, presets, openrc, ready, date } = params as unknown as Params
    const make = maker('init', date, contents)
    const links =
      presets || units.length > 0 ? await systemd(input.tree, units, presets, contents, make) : NONE
    const levels =
      openrc || Object.keys(runlevels).length > 0 ? openrcLevels(input.tree, runlevels, make) : NONE
    const gone = [...links.gone, ...levels.gone]
    const said = ready === '' ? [] : await readyEntries(input.tree, ready, make)
    const made = [...links.made, ...levels.made, ...said]
    if (gone.length === 0 && made.length === 0) return input
    const rest = withoutPaths(
      input.tree,
      gone.map(({ path }) => path),
    )
    return withTree(
      input,
      placed(rest, made, date),
      gone.map((entry) => removal(entry, 'init')),
    )
  },
}

interface Change {
  readonly gone: readonly Entry[]
  readonly made: readonly Entry[]
}

const NONE: Change = { gone: [], made: [] }

/** Entries right in a directory, by name. */
function inside(tree: Tree, directory: string): Entry[] {
  const real = follow(tree, directory)?.path
  if (real === undefined || real === '') return []
  return namesIn(tree, real).map(({ path }) => lookup(tree, path) as Entry)
}

async function textAt(tree: Tree, path: string, contents: Contents): Promise<string | undefined> {
  const inode = follow(tree, path)?.inode
  return inode?.type === 'file' ? byteText(await contents.read(inode.content)) : undefined
}

async function systemd(
  tree: Tree,
  wanted: readonly string[],
  presets: boolean,
  contents: Contents,
  make: Maker,
): Promise<Change> {
  if (!follow(tree, 'usr/lib/systemd/systemd') && !follow(tree, 'lib/systemd/systemd'))
    throw new Stage5Error('S5_STAGE_INVALID', 'init: the profile has units, but the root has no systemd', {
      hint: 'add a package with systemd, or use services: (busybox) or runlevels: (OpenRC)',
    })
  const files = unitFiles(tree)
  const made = new Map<string, Entry>()
  const seen = new Set<string>()
  const enable = async (name: string, asked: boolean): Promise<void> => {
    if (seen.has(name)) return
    seen.add(name)
    const file = files.get(name) ?? files.get(fileOfUnit(name))
    if (file === undefined) {
      if (asked) throw unknownUnit(name, [...files.keys()])
      return
    }
    const install: Install | undefined = parseInstall((await textAt(tree, file, contents)) ?? '')
    const links = install && enabledLinks(name, install)
    if (asked && !links)
      throw new Stage5Error(
        'S5_STAGE_INVALID',
        install
          ? `init: ${name} is a template: expected an instance such as ${name.replace('@.', '@NAME.')}`
          : `init: /${file} has no [Install]: it cannot be enabled, others start it`,
        { data: { unit: name } },
      )
    for (const link of links ?? []) made.set(link, make.link(`${SYSTEM}/${link}`, `/${file}`))
    for (const also of install?.also ?? []) await enable(also, false)
  }
  const off = wanted.filter((name) => name.startsWith('-')).map((name) => name.slice(1))
  const on = wanted.filter((name) => !name.startsWith('-'))
  for (const name of off) if (!files.has(fileOfUnit(name))) throw unknownUnit(name, [...files.keys()])
  for (const name of on) await enable(name, true)
  if (presets) {
    const rules = parsePreset(await presetText(tree, contents))
    for (const [name, file] of files) {
      if (off.includes(name) || on.some((each) => fileOfUnit(each) === name)) continue
      if (parseInstall((await textAt(tree, file, contents)) ?? ''))
        for (const each of presetOf(rules, name)) await enable(each, false)
    }
  }
  const gone = off.flatMap((name) => linksTo(tree, name))
  if (wanted.length === 0) return { gone, made: [...made.values()] }
  const lines = wanted.map((name) =>
    name.startsWith('-') ? `disable ${name.slice(1)}\n` : `enable ${name}\n`,
  )
  return { gone, made: [...made.values(), await make.file(OWN_PRESET, rawBytes(lines.join('')))] }
}

/** Unit files by name; those of /etc hide others. Links (aliases) are left aside. */
function unitFiles(tree: Tree): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  for (const folder of UNITS)
    for (const { path, inode } of inside(tree, folder))
      if (inode.type === 'file' && /\.(?:service|socket|timer|target|path|mount|automount|swap)$/.test(path))
        if (!found.has(baseOf(path))) found.set(baseOf(path), path)
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Preset files one after the other, by their names; of one name that of /etc. */
async function presetText(tree: Tree, contents: Contents): Promise<string> {
  const byName = new Map<string, string>()
  for (const folder of PRESETS)
    for (const { path } of inside(tree, folder)) if (path.endsWith('.preset')) byName.set(baseOf(path), path)
  let text = ''
  for (const name of [...byName.keys()].sort())
    text += `${(await textAt(tree, byName.get(name) as string, contents)) ?? ''}\n`
  return text
}

/** Links that enabled a unit. */
function linksTo(tree: Tree, name: string): Entry[] {
  return entriesBelow(tree, SYSTEM).filter(
    ({ inode }) => inode.type === 'symlink' && baseOf(inode.target) === fileOfUnit(name),
  )
}

function unknownUnit(name: string, known: readonly string[]): Stage5Error {
  const [best] = nearest(name, known, 1)
  const meant = best === undefined ? '' : `, did you mean ${best}`
  return new Stage5Error('S5_STAGE_INVALID', `init: no package of the root has a unit ${name}${meant}`, {
    hint: 'correct units: in the profile, or add the package that brings the unit',
    data: { unit: name },
  })
}

/** The runlevels that OpenRC brings, when nothing has made them yet, and what the profile says of them. */
function openrcLevels(tree: Tree, wanted: Params['runlevels'], make: Maker): Change {
  if (!hasOpenrc(tree))
    throw new Stage5Error('S5_STAGE_INVALID', 'init: the profile has runlevels, but the root has no OpenRC', {
      hint: 'add the package sys-apps/openrc, or use services: (busybox) or units: (systemd)',
    })
  const made = new Map<string, Entry>()
  const gone: Entry[] = []
  const shipped = 'usr/share/openrc/runlevels'
  if (!lookup(tree, 'etc/runlevels'))
    for (const { path, inode } of entriesBelow(tree, shipped)) {
      const to = `etc/runlevels${path.slice(shipped.length)}`
      made.set(to, { path: to, owner: 'stage:init', inode: { ...inode } })
    }
  const scripts = inside(tree, 'etc/init.d').map(({ path }) => baseOf(path))
  const levels = [
    ...new Set([...made.keys(), ...inside(tree, 'etc/runlevels').map(({ path }) => path)].map(levelOf)),
  ]
  for (const [level, names] of Object.entries(wanted).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [meant] = levels.includes(level) ? [] : nearest(level, levels, 1)
    if (meant !== undefined) throw strangeLevel(level, meant)
    if (!made.has(`etc/runlevels/${level}`) && !lookup(tree, `etc/runlevels/${level}`))
      made.set(`etc/runlevels/${level}`, make.dir(`etc/runlevels/${level}`))
    for (const written of names) {
      const name = written.replace(/^-/, '')
      const path = `etc/runlevels/${level}/${name}`
      if (written.startsWith('-')) {
        made.delete(path)
        const old = lookup(tree, path)
        if (old) gone.push(old)
      } else if (!scripts.includes(name)) throw unknownScript(name, scripts)
      else made.set(path, make.link(path, `/etc/init.d/${name}`))
    }
  }
  return { gone, made: [...made.values()] }
}

/** `default` of `etc/runlevels/default` and of what is below it. */
function levelOf(path: string): string {
  return path.split('/', 3)[2] ?? ''
}

function strangeLevel(level: string, meant: string): Stage5Error {
  return new Stage5Error(
    'S5_STAGE_INVALID',
    `init: the root has no runlevel ${level}, did you mean ${meant}`,
    {
      hint: `correct runlevels: in the profile, or make the level with files: [{path: /etc/runlevels/${level}, type: dir}]`,
      data: { level },
    },
  )
}

function unknownScript(name: string, known: readonly string[]): Stage5Error {
  const [best] = nearest(name, known, 1)
  const meant = best === undefined ? '' : `, did you mean ${best}`
  return new Stage5Error('S5_STAGE_INVALID', `init: no package of the root has /etc/init.d/${name}${meant}`, {
    hint: 'correct runlevels: in the profile, or add the package that brings the script',
    data: { script: name },
  })
}
