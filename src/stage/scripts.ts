/**
 * Maintainer scripts are read and never run: what a stage replaces is passed over, everything else must be acknowledged by
 * name in the profile, or there is no image.
 */
import { printable, Stage5Error } from '../base/errors.ts'
import { parseShell } from '../format/shell.ts'
import { lookup } from '../tree/tree.ts'
import { follow } from '../tree/resolve-path.ts'
import type { Root } from '../tree/root.ts'
import type { Entry, Tree } from '../tree/tree.ts'
import { ebuildPhases } from './ebuild-phases.ts'
import type { PackageFacts } from './facts.ts'
import { asJson, landing, placed, withTree } from './generated.ts'
import { isKnown, NOTHING_KNOWN, type Present, presentIn, ucfCopy } from './script-commands.ts'
import { type Call, walkScript } from './script-walk.ts'
import type { Stage } from './stage.ts'

/** One line of a script that nothing replaces. */
export interface ScriptLine {
  /** `preinst` or `postinst`; of an ebuild `pkg_preinst` or `pkg_postinst`. */
  readonly member: string
  /** From 1; 0 when the text is not there. */
  readonly line: number
  /** As written, without blanks around it; byte string. */
  readonly text: string
}

interface ScriptVerdict {
  /** In the order of the script; empty when nothing has to be acknowledged. */
  readonly unknown: readonly ScriptLine[]
  /** Configuration files that `ucf` would put in place: absolute paths. */
  readonly copies: readonly { readonly from: string; readonly to: string }[]
}

/** The part of a package that its scripts depend on. */
export type Scripted = Pick<PackageFacts, 'name' | 'label' | 'version' | 'arch' | 'control'>

/**
 * The scripts that run when a package is installed for the first time. `config` asks questions only (debconf-devel(7)), and
 * prerm and postrm have nothing to remove in an image.
 */
const MEMBERS = ['preinst', 'postinst'] as const
const INTERPRETER = /^#! ?(?:\/usr)?\/bin\/(?:sh|dash|bash)(?: -[a-z]+)?[ \t]*(?:\n|$)/

/** Calls that a script comes to on a first installation; undefined when the script cannot be read. */
export function callsOf(pkg: Scripted, member: string, present: Present): readonly Call[] | undefined {
  const text = pkg.control[member]
  if (text === undefined) return []
  const script = INTERPRETER.test(text) ? parseShell(text) : undefined
  return (
    script &&
    walkScript(script, {
      positional: member === 'preinst' ? ['install'] : ['configure', ''],
      variables: {
        DPKG_ROOT: '',
        DPKG_MAINTSCRIPT_PACKAGE: pkg.name,
        DPKG_MAINTSCRIPT_NAME: member,
        DPKG_MAINTSCRIPT_ARCH: pkg.arch,
        DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT: '1',
      },
      file: present.test,
      arch: pkg.arch,
    })
  )
}

/**
 * What the scripts of a package would do that no stage does.
 * @param tree the merged packages, where they are known: what stands there already needs no script
 */
export function classifyScripts(pkg: Scripted, tree?: Tree): ScriptVerdict {
  const unknown: ScriptLine[] = []
  const copies: { from: string; to: string }[] = []
  for (const member of MEMBERS) {
    const present = tree ? presentIn(tree, member === 'postinst') : NOTHING_KNOWN
    const calls = callsOf(pkg, member, present)
    const lines = (pkg.control[member] ?? '').split('\n')
    if (calls === undefined) unknown.push(...unreadable(member, lines))
    const seen = new Set<number>()
    for (const call of calls ?? []) {
      const copy = call.writes ? undefined : ucfCopy(call.words)
      if (copy) copies.push(copy)
      if (seen.has(call.line) || isKnown(call, member, present)) continue
      seen.add(call.line)
      unknown.push({ member, line: call.line, text: (lines[call.line - 1] ?? '').trim() })
    }
  }
  return { unknown, copies }
}

/** All lines that say something, of a script in another language or one that the parser does not follow. */
function unreadable(member: string, lines: readonly string[]): ScriptLine[] {
  return lines.flatMap((line, at) =>
    /^\s*(?:$|#(?!!))/.test(line) ? [] : [{ member, line: at + 1, text: line.trim() }],
  )
}

interface Params {
  readonly packages: readonly Scripted[]
  /** Gentoo packages whose phases would do something. */
  readonly phased: readonly Open[]
  /** Package name to reason. */
  readonly acknowledged: { readonly [name: string]: string }
  readonly date: number
}

/** The members of `control` that hold scripts, of the packages that have any. */
export function scriptedPackages(packages: readonly PackageFacts[], members: readonly string[]): Scripted[] {
  return packages.flatMap(({ name, label, version, arch, scheme, control }) => {
    const scripts = members.flatMap((member) =>
      control[member] === undefined ? [] : [[member, control[member]] as const],
    )
    if (scheme !== 'deb' || scripts.length === 0) return []
    return [{ name, label, version, arch, control: Object.fromEntries(scripts) }]
  })
}

/** A package with lines that nothing replaces. */
interface Open {
  readonly pkg: Pick<Scripted, 'name' | 'version'>
  readonly unknown: readonly ScriptLine[]
}

function phasedPackages(packages: readonly PackageFacts[]): Open[] {
  return packages
    .filter(({ scheme }) => scheme === 'ebuild')
    .map(({ name, version, control }) => ({ pkg: { name, version }, unknown: ebuildPhases(control) }))
    .filter(({ unknown }) => unknown.length > 0)
}

export const scripts: Stage = {
  name: 'scripts',
  version: 2,
  pick: ({ packages, profile, date }) =>
    asJson({
      packages: scriptedPackages(packages, MEMBERS),
      phased: phasedPackages(packages),
      acknowledged: profile.scripts,
      date,
    }),
  async run(input, params) {
    const { packages, phased, acknowledged, date } = params as unknown as Params
    const verdicts = packages.map((pkg) => ({ pkg, ...classifyScripts(pkg, input.tree) }))
    const open = [...verdicts, ...phased].filter(
      ({ pkg, unknown }) => unknown.length > 0 && !Object.hasOwn(acknowledged, pkg.name),
    )
    if (open.length > 0) throw unacknowledged(open)
    return withCopies(
      input,
      verdicts.flatMap(({ copies }) => copies),
      date,
    )
  },
}

/** Lines shown of each package. */
const SHOWN = 3

function unacknowledged(open: readonly Open[]): Stage5Error {
  const lines = open.flatMap(({ pkg, unknown }) => [
    `  ${pkg.name} ${pkg.version}`,
    ...unknown
      .slice(0, SHOWN)
      .map(({ member, line, text }) => `    ${member}${line === 0 ? '' : `:${line}`}: ${printable(text)}`),
    ...(unknown.length > SHOWN ? [`    and ${unknown.length - SHOWN} more`] : []),
  ])
  const [first] = open
  const what = open.length === 1 ? 'a package brings scripts' : `${open.length} packages bring scripts`
  return new Stage5Error('S5_SCRIPT_UNKNOWN', `${what} that no stage replaces:\n${lines.join('\n')}`, {
    hint: `declare in the profile what they do, then acknowledge them: scripts: {${first?.pkg.name}: why it is not needed}`,
    data: {
      packages: open.map(({ pkg, unknown }) => ({
        name: pkg.name,
        version: pkg.version,
        unknown: unknown.map(({ member, line, text }) => ({ member, line, text })),
      })),
    },
  })
}

/** Files that `ucf` would put where nothing is: the same content and mode, under the name of the stage. */
function withCopies(root: Root, copies: ScriptVerdict['copies'], date: number): Root {
  const entries: Entry[] = []
  for (const { from, to } of copies) {
    const source = follow(root.tree, from)
    const path = landing(root.tree, to, 'scripts')
    if (source?.inode.type !== 'file' || lookup(root.tree, path)) continue
    entries.push({ path, owner: 'stage:scripts', inode: { ...source.inode } })
  }
  return entries.length === 0 ? root : withTree(root, placed(root.tree, entries, date))
}
