/** What changed between two locks, as data and as lines. */
import { compareText } from './catalog.ts'
import type { Lock, Locked } from './lock.ts'
import { nameOf } from './select.ts'

export interface LockedBrief {
  /** The name, with the slot where that is not 0. */
  readonly name: string
  readonly version: string
  readonly build: number
  readonly use: readonly string[]
  readonly repo: string
  readonly sha256: string
}

export interface LockDiff {
  /** Each list by name. */
  readonly added: readonly LockedBrief[]
  readonly removed: readonly LockedBrief[]
  readonly changed: readonly { readonly before: LockedBrief; readonly after: LockedBrief }[]
  /** Bytes: growth of all packages when unpacked. */
  readonly installedSize: number
}

/** @param before `undefined` when there was no lock: everything is added */
export function diffLocks(before: Lock | undefined, after: Lock): LockDiff {
  const old = byName(before?.packages ?? [])
  const fresh = byName(after.packages)
  const names = [...new Set([...old.keys(), ...fresh.keys()])].sort(compareText)
  const added: LockedBrief[] = []
  const removed: LockedBrief[] = []
  const changed: { before: LockedBrief; after: LockedBrief }[] = []
  for (const name of names) {
    const left = old.get(name)
    const right = fresh.get(name)
    if (left && right) {
      if (isOther(left, right)) changed.push({ before: left, after: right })
    } else if (right) added.push(right)
    else if (left) removed.push(left)
  }
  return { added, removed, changed, installedSize: sizeOf(after) - (before ? sizeOf(before) : 0) }
}

/** One line for each package, `+`, `-` or `~`; empty when nothing changed. */
export function printLockDiff({ added, removed, changed }: LockDiff): string {
  const lines = [
    ...added.map((one) => ({ name: one.name, line: `+ ${one.name} ${stateOf(one)}` })),
    ...removed.map((one) => ({ name: one.name, line: `- ${one.name} ${stateOf(one)}` })),
    ...changed.map(({ before, after }) => ({
      name: after.name,
      line: `~ ${after.name} ${changeOf(before, after)}`,
    })),
  ]
  lines.sort((left, right) => compareText(left.name, right.name))
  return lines.map(({ line }) => `${line}\n`).join('')
}

function byName(packages: readonly Locked[]): Map<string, LockedBrief> {
  return new Map(packages.map((pkg) => [nameOf(pkg), briefOf(pkg)]))
}

function briefOf(pkg: Locked): LockedBrief {
  const { version, buildId, use, repo, sha256 } = pkg
  return { name: nameOf(pkg), version, build: buildId, use, repo, sha256 }
}

function isOther(left: LockedBrief, right: LockedBrief): boolean {
  return (
    left.version !== right.version ||
    left.build !== right.build ||
    left.use.join(' ') !== right.use.join(' ') ||
    left.repo !== right.repo ||
    left.sha256 !== right.sha256
  )
}

function sizeOf({ packages }: Lock): number {
  return packages.reduce((sum, { installedSize }) => sum + installedSize, 0)
}

function stateOf({ version, build, use }: LockedBrief): string {
  return version + (build === 0 ? '' : ` build ${build}`) + (use.length === 0 ? '' : ` [${use.join(' ')}]`)
}

function changeOf(before: LockedBrief, after: LockedBrief): string {
  const parts: string[] = []
  if (before.version !== after.version) parts.push(`${before.version} -> ${after.version}`)
  else parts.push(after.version)
  if (before.build !== after.build) parts.push(`build ${before.build} -> ${after.build}`)
  const on = after.use.filter((flag) => !before.use.includes(flag)).map((flag) => `+${flag}`)
  const off = before.use.filter((flag) => !after.use.includes(flag)).map((flag) => `-${flag}`)
  if (on.length + off.length > 0) parts.push(`[${[...on, ...off].join(' ')}]`)
  if (before.repo !== after.repo) parts.push(`repository ${before.repo} -> ${after.repo}`)
  if (parts.length === 1 && before.version === after.version) parts.push('other bytes')
  return parts.join(', ')
}
