/** Why a package is in a lock, and why one is not. */
import { Stage5Error } from '../base/errors.ts'
import { nearest } from '../base/near.ts'
import { type Index, type Package, titleOf } from '../pkg/package.ts'
import type { Hidden, ResolveInput } from './choose.ts'
import { buildsOf, explain, printHidden, printWhere, rejectionText } from './explain.ts'
import { improve } from './improve.ts'
import type { Lock, Locked } from './lock.ts'
import { buildCommand } from './missing-builds.ts'
import { type Session, openSession } from './resolve.ts'
import { nameOf } from './select.ts'

/** One link of a chain: a package and what asked for it. */
interface Link {
  readonly pkg: string
  readonly because: string
}

/** Categories that repeat the names of others. */
const SHADOWS = /^(?:acct-user|acct-group|virtual)\//

/** With its category, where one package alone has the name: `php`, `php:8.3`. Accounts and virtuals stand back. */
export function fullName(given: string, names: Iterable<string>): string {
  if (given.includes('/')) return given
  const [, name = '', slot = ''] = /^([^:]*)(.*)$/.exec(given) ?? []
  const found = new Set<string>()
  for (const one of names) {
    if (one === given || one === name) return given
    if (one.endsWith(`/${name}`)) found.add(one)
  }
  const real = [...found].filter((one) => !SHADOWS.test(one))
  const [only, more] = real.length > 0 ? real : found
  return only === undefined || more !== undefined ? given : only + slot
}

/**
 * The chain from the profile down to each package of this name: the first link was asked for by the profile itself.
 *
 * @param name as `nginx`, or `name:slot`
 * @returns one chain for each package of the name, empty when the lock has none
 */
export function why(lock: Lock, name: string): Link[][] {
  const byName = new Map(lock.packages.map((pkg) => [nameOf(pkg), pkg]))
  return lock.packages
    .filter((pkg) => pkg.name === name || nameOf(pkg) === name)
    .map((pkg) => chain(byName, pkg))
}

function chain(byName: ReadonlyMap<string, Locked>, pkg: Locked): Link[] {
  const links: Link[] = []
  const seen = new Set<Locked>()
  for (let next: Locked | undefined = pkg; next && !seen.has(next); ) {
    seen.add(next)
    const because = next.because[0] ?? ''
    links.unshift({ pkg: titleOf(next), because })
    next = byName.get(because.slice(0, because.indexOf(': ')))
  }
  return links
}

/** One build that is not chosen (or is), with the reason. */
interface WhyNot {
  readonly pkg: string
  readonly repo: string
  readonly arch: string
  readonly use: readonly string[]
  readonly kind: Hidden['kind'] | 'chosen' | 'request' | 'conflict' | 'outranked' | 'unneeded'
  /** Sentences; more than one where a chain of facts is in the way. */
  readonly because: readonly string[]
}

const UNBOUNDED = { conflicts: Infinity, decisions: Infinity, wishes: false }

/**
 * Every build of a name that the indexes have, best first, with the reason why the profile does not get it.
 *
 * @param given as `fullName` takes it
 * @throws S5_PACKAGE_UNKNOWN when no index has or provides the name
 */
export function whyNot(
  input: ResolveInput,
  indexes: readonly Index[],
  given: string,
  pins?: Lock,
): readonly WhyNot[] {
  const session = openSession(input, indexes, pins)
  const { catalog, choice, problem } = session
  const name = fullName(given, catalog.names())
  const builds = [...catalog.named(name), ...catalog.providing(name)]
  if (builds.length === 0) {
    const near = nearest(name, catalog.names())
    throw new Stage5Error('S5_PACKAGE_UNKNOWN', `no repository of ${input.name} has a package ${name}`, {
      hint: near.length > 0 ? `perhaps ${near.join(', ')}` : undefined,
      data: { near },
    })
  }
  const found = problem.solve([], UNBOUNDED).status === 'found'
  const kept = found ? improve(problem, choice).kept : []
  const chosen = new Set(kept.flatMap((variable) => problem.packageOf(variable) ?? []))
  return builds.map((pkg) => ({
    pkg: titleOf(pkg),
    repo: pkg.repo,
    arch: pkg.arch,
    use: pkg.use,
    ...verdict(session, pkg, chosen),
  }))
}

function verdict(
  { catalog, choice, problem }: Session,
  pkg: Package,
  chosen: ReadonlySet<Package>,
): Pick<WhyNot, 'kind' | 'because'> {
  if (chosen.has(pkg)) return { kind: 'chosen', because: ['it is chosen'] }
  const hidden = choice.hidden(pkg)
  if (hidden) return { kind: hidden.kind, because: [printHidden(hidden)] }
  const outcome = problem.solve([problem.variableOf(pkg) * 2], UNBOUNDED)
  const wanted = choice.wanted.find(({ atom }) => atom.name === pkg.name)
  const mismatch = wanted && rejectionText(choice, wanted.atom, pkg)
  const other: Pick<WhyNot, 'kind' | 'because'> | undefined =
    wanted && mismatch !== undefined
      ? {
          kind: 'request',
          because: [`the profile asks for ${wanted.text} (${printWhere(wanted.where)}), this is ${mismatch}`],
        }
      : undefined
  if (outcome.status === 'refused') {
    if (other) return other
    const reasons = explain(problem, choice, catalog, outcome.facts, outcome.assumptions)
    const builds = buildsOf(reasons).map((build) => `a build is missing: ${buildCommand(build)}`)
    return { kind: 'conflict', because: [...reasons.map(({ text }) => text), ...builds] }
  }
  const peer = [...chosen].find((other) => other.name === pkg.name && other.slot === pkg.slot)
  if (!peer) return other ?? { kind: 'unneeded', because: ['nothing in the profile needs it'] }
  return { kind: 'outranked', because: [`${titleOf(peer)} is preferred${peerReason(peer, pkg)}`] }
}

function peerReason(peer: Package, pkg: Package): string {
  if (peer.version !== pkg.version) return ''
  if (peer.buildTime !== pkg.buildTime) return ': built later'
  if (peer.repo !== pkg.repo) return `: repository ${peer.repo} comes first`
  return peer.buildId === pkg.buildId ? '' : ': higher build number'
}
