/** What would make a refused profile solvable: each proposal was solved. */
import { splitVersion } from '../pkg/ebuild-atom.ts'
import { type Package, type Index, titleOf } from '../pkg/package.ts'
import { printUseTest } from '../pkg/use.ts'
import type { ResolveInput } from './choose.ts'
import type { Setting } from './profile.ts'
import { type Refusal, openSession } from './resolve.ts'

/** One change of the profile after which there is a solution. */
export interface Relaxation {
  readonly kind: 'drop' | 'keyword' | 'unmask' | 'license' | 'flags'
  /** What the change is about: a request, or a build as an atom. */
  readonly atom: string
  readonly text: string
}

/** Guesses: nobody reads more proposals, and nobody waits long for them. */
const MOST_TRIED = 12
const BOUNDS = { conflicts: 5_000, decisions: 300_000, wishes: false, proof: false }

/** Single changes that suffice, those that keep all requests first; empty when none does or the bounds end first. */
export function relaxations(
  input: ResolveInput,
  indexes: readonly Index[],
  refusal: Refusal,
): readonly Relaxation[] {
  if (refusal.code !== 'S5_NO_SOLUTION' || input.strict) return []
  const found = new Map<string, Relaxation>()
  for (const [relaxation, changed] of proposals(input, indexes, refusal).slice(0, MOST_TRIED)) {
    if (found.has(relaxation.text)) continue
    const { problem } = openSession(changed, indexes)
    if (problem.solve([], BOUNDS).status === 'found') found.set(relaxation.text, relaxation)
  }
  return [...found.values()]
}

type Proposal = readonly [Relaxation, ResolveInput]

function proposals(input: ResolveInput, indexes: readonly Index[], { conflict }: Refusal): Proposal[] {
  const { catalog, choice } = openSession(input, indexes)
  const titles = conflict.flatMap((reason) =>
    'rejected' in reason ? reason.rejected.map(({ pkg }) => pkg) : [],
  )
  const builds = [...new Set(titles)].flatMap((title) =>
    catalog.named(nameIn(title)).filter((pkg) => titleOf(pkg) === title),
  )
  const kept = builds.flatMap((pkg) => proposalFor(input, pkg, choice.hidden(pkg)))
  const drops = conflict.flatMap((reason): Proposal[] => {
    if (reason.kind !== 'request') return []
    const packages = input.packages.filter(({ where }) => where !== reason.where)
    if (packages.length === 0) return []
    return [
      [
        { kind: 'drop', atom: reason.atom, text: `without asking for ${reason.atom}` },
        { ...input, packages },
      ],
    ]
  })
  return [...kept, ...drops]
}

function proposalFor(
  input: ResolveInput,
  pkg: Package,
  hidden: ReturnType<ReturnType<typeof openSession>['choice']['hidden']>,
): Proposal[] {
  const atom = pkg.scheme === 'ebuild' ? `=${pkg.name}-${pkg.version}` : pkg.name
  const setting: Setting = {
    atom,
    use: [],
    keywords: [],
    licenses: [],
    where: { file: '', line: 1, column: 1 },
  }
  const withSetting = (more: Partial<Setting>): ResolveInput => ({
    ...input,
    settings: [...(input.settings ?? []), { ...setting, ...more }],
  })
  switch (hidden?.kind) {
    case 'keyword': {
      const testing = hidden.keywords.find((word) => word.startsWith('~')) ?? '**'
      const text = `with the keyword ${testing} accepted for ${atom}`
      return [[{ kind: 'keyword', atom, text }, withSetting({ keywords: [testing] })]]
    }
    case 'mask': {
      const { where } = setting
      const changed = { ...input, unmask: [...(input.unmask ?? []), { atom, where }] }
      return [[{ kind: 'unmask', atom, text: `with ${atom} under unmask` }, changed]]
    }
    case 'license': {
      const { licenses } = hidden
      const text = `with the licence ${licenses.join(' ')} accepted for ${atom}`
      return [[{ kind: 'license', atom, text }, withSetting({ licenses })]]
    }
    case 'use': {
      const flags = new Set(hidden.tests.map(({ flag }) => flag))
      const isFree = (word: string): boolean => !flags.has(word.replace(/^[+-]/, ''))
      const without = <T extends { readonly atom: string; readonly use: readonly string[] }>(item: T): T =>
        item.atom.includes(pkg.name) ? { ...item, use: item.use.filter(isFree) } : item
      const changed = {
        ...input,
        use: input.use.filter(isFree),
        packages: input.packages.map(without),
        settings: (input.settings ?? []).map(without),
      }
      const named = hidden.tests.map((test) => printUseTest(test).replace(/\([+-]\)$/, '')).join(' ')
      const text = `without USE=${named} for ${pkg.name}`
      return [[{ kind: 'flags', atom: pkg.name, text }, changed]]
    }
    case undefined:
    case 'arch':
    case 'chost':
    case 'eapi':
    case 'signature':
    case 'unreadable':
      return []
  }
}

/** Of a title of `titleOf`. */
function nameIn(title: string): string {
  const cpv = title.replace(/#[0-9]+$/, '')
  const label = title.replace(/_b[0-9]+$/, '')
  return splitVersion(cpv)?.name ?? label.slice(0, label.lastIndexOf('_'))
}
