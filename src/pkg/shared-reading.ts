/** What entries of one index say in equal words is read once: the builds of a package differ little. */
import { parseDependencies } from './ebuild-depends.ts'
import type { GentooHeader } from './gentoo-header.ts'
import type { DepExpr } from './package.ts'

export interface FlagLists {
  /** Enabled flags, sorted. */
  readonly use: readonly string[]
  /** The flags of IUSE without their marks, sorted. */
  readonly ownFlags: readonly string[]
  /** Those that IUSE marks with `+`. */
  readonly defaultFlags: readonly string[]
  /** Known flags, sorted. */
  readonly iuse: readonly string[]
}

interface SharedReading {
  /** @see PMS 8, section 11.1.1: IUSE_EFFECTIVE */
  flags(iuse: string, use: string, isOld: boolean): FlagLists
  /** @throws S5_ATOM_SYNTAX */
  dependencies(text: string, eapi: number): DepExpr
}

/** Flags that packages of EAPI 0 to 4 know without naming them. */
const OLD_FLAGS = [
  'alpha',
  'amd64',
  'arm',
  'arm64',
  'bootstrap',
  'build',
  'hppa',
  'ia64',
  'loong',
  'm68k',
  'mips',
  'ppc',
  'ppc64',
  'riscv',
  's390',
  'sparc',
  'x86',
]

const readings = new WeakMap<GentooHeader, SharedReading>()

/** Lives as long as the header. */
export function sharedReading(header: GentooHeader): SharedReading {
  const found = readings.get(header)
  if (found) return found
  const flags = new Map<string, FlagLists>()
  const dependencies = new Map<string, DepExpr>()
  const reading: SharedReading = {
    flags: (iuse, use, isOld) => {
      const key = `${isOld ? 'old' : ''}\n${iuse}\n${use}`
      const known = flags.get(key) ?? flagLists(iuse, use, isOld ? OLD_FLAGS : header.iuseEffective)
      flags.set(key, known)
      return known
    },
    dependencies: (text, eapi) => {
      const key = `${eapi}\n${text}`
      const known = dependencies.get(key) ?? parseDependencies(text, eapi)
      dependencies.set(key, known)
      return known
    },
  }
  readings.set(header, reading)
  return reading
}

function flagLists(iuse: string, use: string, implicit: readonly string[]): FlagLists {
  const words = wordsOf(iuse)
  const enabled = sorted(wordsOf(use))
  const ownFlags = sorted(words.map((flag) => flag.replace(/^[+-]/, '')))
  const defaultFlags = words.flatMap((flag) => (flag.startsWith('+') ? [flag.slice(1)] : []))
  return { use: enabled, ownFlags, defaultFlags, iuse: sorted([...ownFlags, ...implicit, ...enabled]) }
}

export function wordsOf(text: string): string[] {
  return text.match(/\S+/g) ?? []
}

function sorted(values: readonly string[]): readonly string[] {
  if (values.every((value, at) => at === 0 || (values[at - 1] as string) < value)) return values
  return [...new Set(values)].sort()
}
