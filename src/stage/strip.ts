/** Takes out what a guest can do without: named classes of `stages/strip.yaml`, and what the profile drops itself. */
import { Stage5Error } from '../base/errors.ts'
import { compileGlobs, type Globs } from '../base/glob.ts'
import type { Json } from '../base/json.ts'
import { nearest } from '../base/near.ts'
import type { Removed } from '../tree/root.ts'
import { type Pruning, pruning } from '../tree/prune.ts'
import type { Entry, Name, TreePath } from '../tree/tree.ts'
import { asJson, removal, withTree } from './generated.ts'
import { linkChain } from './links.ts'
import { isReadyEntry } from './ready.ts'
import type { Stage, StageWorld } from './stage.ts'
import { COMPUTED, type ComputedFacts, isLast } from './strip-computed.ts'

/** A class after reading; what the file leaves out is absent. */
export interface StripClass {
  /** Globs of what goes; a computed class without any looks at every name. */
  readonly remove?: readonly string[]
  /** Globs of what stays all the same. */
  readonly keep?: readonly string[]
  readonly only?: 'symlink' | 'file' | 'any'
  /** `false`: symlinks stay. */
  readonly symlinks?: boolean
  /** Name of a rule in `strip-computed.ts` that must agree. */
  readonly computed?: string
  readonly note?: string
}

interface Params extends ComputedFacts {
  readonly classes: readonly (readonly [name: string, rules: StripClass])[]
  readonly unknown: readonly string[]
  /** Filled only when a name is unknown. */
  readonly known: readonly string[]
  readonly keep: readonly string[]
  readonly drop: readonly string[]
  /** The profile says itself what its init starts. */
  readonly starts?: true
}

/** Directories that stay however empty they are: mount points, and places that programs expect to find. */
const LASTING: ReadonlySet<TreePath> = new Set([
  '',
  ...[
    'bin',
    'boot',
    'dev',
    'etc',
    'home',
    'lib',
    'lib64',
    'media',
    'mnt',
    'opt',
    'proc',
    'root',
    'run',
    'sbin',
  ],
  ...[
    'srv',
    'sys',
    'tmp',
    'usr',
    'usr/bin',
    'usr/lib',
    'usr/lib64',
    'usr/local',
    'usr/sbin',
    'usr/share',
    'var',
  ],
  ...['etc/init.d', 'etc/ld.so.conf.d', 'etc/modprobe.d', 'etc/profile.d', 'etc/sysctl.d'],
])

/** What the profile itself put there is not taken away again by a class. */
const LASTING_OWNERS: ReadonlySet<string> = new Set(['stage:files', 'stage:services'])

/**
 * Removes the classes of the profile, in its order but for those that look at what the others left, which come last.
 * Every name goes with a record of its class. A directory goes with a class that emptied it, unless it is a mount point or
 * one of those that programs expect. What a kept symlink points to is kept.
 */
export const strip: Stage = {
  name: 'strip',
  version: 2,
  pick: ({ profile, stripClasses }) => {
    const { classes, keep, drop } = profile.strip
    const starts = profile.units.length > 0 || Object.keys(profile.runlevels).length > 0
    const unknown = classes.filter((name) => !Object.hasOwn(stripClasses, name))
    return asJson({
      classes: classes
        .filter((name) => !unknown.includes(name))
        .map((name) => [name, bare(stripClasses[name])]),
      unknown,
      known: unknown.length > 0 ? Object.keys(stripClasses).sort() : [],
      keep,
      drop,
      timezone: profile.timezone,
      ...(starts ? { starts } : {}),
    })
  },
  async run(input, json, world) {
    const params = json as unknown as Params
    const classes = checked(params)
    const kept = compileGlobs(params.keep)
    const order: Params['classes'] = [
      ...classes.filter(([, { computed }]) => !isLast(computed)),
      ...(params.drop.length > 0 ? [['profile', { remove: params.drop }] as const] : []),
      ...classes.filter(([, { computed }]) => isLast(computed)),
    ]
    const names = pruning(input.tree)
    const wanted = wantedBy(
      names,
      order.map(([, { remove = [] }]) => remove),
    )
    const removed: Removed[] = []
    for (const [name, rules] of order) {
      world.signal.throwIfAborted()
      const before = [...input.removed, ...removed]
      const gone = await removeClass(names, before, { name, rules, wanted, kept, params, world })
      mustKeepStart(gone, name, params)
      for (const one of gone) removed.push(one)
    }
    return withTree(input, names.tree(), removed)
  },
}

/**
 * What the init of a guest starts belongs to a class for guests that another init starts.
 * @throws S5_STAGE_INVALID when a class takes what this profile has its init start, or the line that says it is up
 */
function mustKeepStart(removed: readonly Removed[], name: string, { starts, classes }: Params): void {
  if (!classes.some(([each]) => each === name)) return
  const lost = removed.findLast(
    ({ path, owner }) => owner === 'stage:init' && (starts === true || isReadyEntry(path)),
  )
  if (!lost) return
  throw new Stage5Error(
    'S5_STAGE_INVALID',
    `strip: class ${name} takes /${lost.path}, by which the init of this root starts what it should`,
    {
      hint: `strip: {classes: [-${name}]} in the profile, or take units: and runlevels: out of it`,
      data: { stage: 'strip', class: name, path: lost.path },
    },
  )
}

/** A class without its note, which changes nothing. */
function bare(rules: Json | undefined): Json {
  return { ...(rules as { readonly [key: string]: Json }), note: undefined }
}

function checked({ classes, unknown, known }: Params): Params['classes'] {
  const wrong = unknown[0]
  if (wrong !== undefined) {
    const near = nearest(wrong, known, 1)[0]
    throw new Stage5Error(
      'S5_STAGE_INVALID',
      `strip: unknown class ${wrong}${near === undefined ? '' : `, did you mean ${near}`}`,
      { hint: `known classes: ${known.join(' ')}`, data: { stage: 'strip', class: wrong } },
    )
  }
  for (const [name, { computed }] of classes)
    if (computed !== undefined && !COMPUTED.has(computed)) {
      const near = nearest(computed, COMPUTED.keys(), 1)[0]
      throw new Stage5Error(
        'S5_STAGE_INVALID',
        `strip: class ${name} has an unknown rule ${computed}${near === undefined ? '' : `, did you mean ${near}`}`,
        {
          hint: `known rules: ${[...COMPUTED.keys()].join(' ')}`,
          data: { stage: 'strip', class: name, computed },
        },
      )
    }
  return classes
}

interface Work {
  readonly name: string
  readonly rules: StripClass
  /** Names that a class with globs can take. */
  readonly wanted: readonly number[]
  readonly kept: Globs
  readonly params: Params
  readonly world: StageWorld
}

/** The names of a class go, and with them directories that are empty because of it, or were named and are empty. */
async function removeClass(
  names: Pruning,
  before: readonly Removed[],
  { name, rules, wanted, kept, params, world }: Work,
): Promise<readonly Removed[]> {
  const remove = rules.remove && rules.remove.length > 0 ? compileGlobs(rules.remove) : undefined
  if (!remove && rules.computed === undefined) return []
  const keep = rules.keep && compileGlobs(rules.keep)
  const saved = ({ path, owner }: Entry): boolean =>
    kept.matches(path) || keep?.matches(path) === true || LASTING_OWNERS.has(owner)
  const places = new Map<TreePath, number>()
  const candidates: Entry[] = []
  const savedLinks: Entry[] = []
  for (const at of remove ? wanted : names.names.keys()) {
    if (!names.isLeft(at)) continue
    const entry = names.entryAt(at)
    const { path, inode } = entry
    if (inode.type === 'dir' || remove?.matches(path) === false) continue
    if (saved(entry)) {
      if (inode.type === 'symlink') savedLinks.push(entry)
    } else if (isKind(entry, rules)) {
      candidates.push(entry)
      places.set(path, at)
    }
  }
  const rule = rules.computed === undefined ? undefined : COMPUTED.get(rules.computed)
  const { contents } = world
  const chosen = rule
    ? await rule.choose({ tree: names.tree(), removed: before, candidates, contents, facts: params })
    : candidates
  const pointedAt = new Set(savedLinks.flatMap(({ path }) => linkChain(names.tree(), path)))
  const going = chosen.flatMap(({ path }) => (pointedAt.has(path) ? [] : [places.get(path) as number]))
  const isNamed = (entry: Entry): boolean => remove?.matches(entry.path) === true && !saved(entry)
  const gone = names.remove(
    going,
    (entry, isEmptied) => !LASTING.has(entry.path) && ((isEmptied && !isVar(entry.path)) || isNamed(entry)),
  )
  return gone.map((entry) => removal(entry, name))
}

/** Names that any of the lists may want. Most names of a root are in none, and are looked at once instead of by each. */
function wantedBy(names: Pruning, lists: readonly (readonly string[])[]): readonly number[] {
  const any = compileGlobs(lists.flat().filter((pattern) => !pattern.startsWith('-')))
  return [...names.names.keys()].filter((at) => any.matches((names.names[at] as Name).path))
}

function isKind({ inode }: Entry, { only, symlinks }: StripClass): boolean {
  if (inode.type === 'symlink') return symlinks !== false && only !== 'file'
  return only !== 'symlink' && (only !== 'file' || inode.type === 'file')
}

/** Programs expect their directories below /var; only a pattern that names one takes it. */
function isVar(path: TreePath): boolean {
  return path === 'var' || path.startsWith('var/')
}
