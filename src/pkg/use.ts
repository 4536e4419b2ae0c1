/** USE flags: tests that an atom makes, and what they hold of. */
import { Stage5Error } from '../base/errors.ts'
import type { UseTest } from './package.ts'

/** What a flag looks like (PMS 8, 3.1.4; `@` for LINGUAS of old). */
const FLAG = '[A-Za-z0-9][A-Za-z0-9+_@-]*'
const TEST = new RegExp(`^([-!]?)(${FLAG})(?:\\(([+-])\\))?([?=]?)$`)

/** Whose flags are looked at. */
export interface Flags {
  readonly use: readonly string[]
  readonly iuse: readonly string[]
  /** Every flag that begins so is known too (EAPI 0 to 4). */
  readonly knownPrefixes?: readonly string[]
}

/**
 * The text between the brackets of an atom.
 *
 * @throws S5_ATOM_SYNTAX
 * @see PMS 8, section 8.3.4
 * @example
 * parseUseTests('ssl,-ldap(-)').length // => 2
 */
export function parseUseTests(text: string): UseTest[] {
  return text.split(',').map((word) => parseUseTest(word.trim()))
}

/** @throws S5_ATOM_SYNTAX */
export function parseUseTest(text: string): UseTest {
  const found = TEST.exec(text)
  const state = found ? stateOf(found[1] as string, found[4] as string) : undefined
  if (!found || !state)
    throw new Stage5Error(
      'S5_ATOM_SYNTAX',
      `expected a USE flag such as ssl or -ldap, found ${JSON.stringify(text)}`,
    )
  const flag = found[2] as string
  return found[3] === undefined ? { flag, state } : { flag, state, otherwise: found[3] === '+' }
}

function stateOf(sign: string, condition: string): UseTest['state'] | undefined {
  switch (sign + condition) {
    case '':
      return 'on'
    case '-':
      return 'off'
    case '=':
      return 'same'
    case '!=':
      return 'opposite'
    case '?':
      return 'if-parent-on'
    case '!?':
      return 'if-parent-off'
    default:
      return undefined
  }
}

export function printUseTest({ flag, state, otherwise }: UseTest): string {
  const name = otherwise === undefined ? flag : `${flag}(${otherwise ? '+' : '-'})`
  switch (state) {
    case 'on':
      return name
    case 'off':
      return `-${name}`
    case 'same':
      return `${name}=`
    case 'opposite':
      return `!${name}=`
    case 'if-parent-on':
      return `${name}?`
    case 'if-parent-off':
      return `!${name}?`
  }
}

/**
 * Whether a build passes a USE test of an atom that `parent` wrote.
 *
 * A flag that the build does not know counts as the test's default; without a default it never passes, not even `[-flag]`.
 * @see PMS 8, section 8.3.4
 */
export function passesUseTest(test: UseTest, build: Flags, parent?: Flags): boolean {
  const wanted = wantedState(test, parent)
  if (wanted === undefined) return true
  if (knows(build, test.flag)) return build.use.includes(test.flag) === wanted
  return test.otherwise === wanted
}

function knows({ iuse, knownPrefixes }: Flags, flag: string): boolean {
  return iuse.includes(flag) || (knownPrefixes?.some((prefix) => flag.startsWith(prefix)) ?? false)
}

/** The state that the test demands, or `undefined` when the parent's flags switch it off. */
export function wantedState({ flag, state }: UseTest, parent?: Flags): boolean | undefined {
  const isOn = parent?.use.includes(flag) ?? false
  switch (state) {
    case 'on':
      return true
    case 'off':
      return false
    case 'same':
      return isOn
    case 'opposite':
      return !isOn
    case 'if-parent-on':
      return isOn ? true : undefined
    case 'if-parent-off':
      return isOn ? undefined : false
  }
}

/** A build's flags as people write them: enabled ones, then the others with a minus. */
export function printFlags({ use, iuse }: Flags): string {
  return [...use, ...iuse.filter((flag) => !use.includes(flag)).map((flag) => `-${flag}`)].join(' ')
}
