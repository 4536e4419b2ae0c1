/** REQUIRED_USE and LICENSE: strings of groups over words. */
import { Stage5Error } from '../base/errors.ts'
import { readGroups } from './ebuild-depends.ts'
import { NEWEST_EAPI } from './ebuild-atom.ts'

/** Whether a part holds; `undefined` when its condition is off, so that it does not count. */
type Verdict = { readonly text: string; readonly holds: boolean | undefined }

/**
 * The parts of a REQUIRED_USE that do not hold, as text.
 *
 * @throws S5_ATOM_SYNTAX also for a flag that is not in `iuse`
 * @see PMS 8, section 7.3.5 and 8.2.4 to 8.2.6
 */
export function unmetRequiredUse(
  text: string,
  use: readonly string[],
  iuse: readonly string[],
  eapi: number = NEWEST_EAPI,
): string[] {
  const stateOf = (flag: string): boolean => {
    if (!iuse.includes(flag))
      throw new Stage5Error('S5_ATOM_SYNTAX', `REQUIRED_USE: the flag ${JSON.stringify(flag)} is not in IUSE`)
    return use.includes(flag)
  }
  const parts = readGroups<Verdict>(text, {
    what: 'REQUIRED_USE',
    operators: eapi >= 5 ? ['||', '^^', '??'] : ['||', '^^'],
    leaf: (token) => {
      const isOff = token.startsWith('!')
      return { text: token, holds: stateOf(isOff ? token.slice(1) : token) !== isOff }
    },
    group: (operator, inner) => {
      const written = `${operator} ( ${inner.map((part) => part.text).join(' ')} )`.trimStart()
      return { text: written, holds: groupHolds(operator, inner, stateOf, eapi) }
    },
  })
  return parts.filter(({ holds }) => holds === false).map((part) => part.text)
}

function groupHolds(
  operator: string,
  inner: readonly Verdict[],
  stateOf: (flag: string) => boolean,
  eapi: number,
): boolean | undefined {
  const active = inner.filter(({ holds }) => holds !== undefined)
  const count = active.filter(({ holds }) => holds).length
  const isAll = active.length === 0 ? undefined : count === active.length
  switch (operator) {
    case '||':
      return active.length === 0 ? eapi < 7 : count > 0
    case '^^':
      return active.length === 0 ? eapi < 7 : count === 1
    case '??':
      return count <= 1
    case '':
      return isAll
  }
  const isOff = operator.startsWith('!')
  return stateOf(operator.slice(isOff ? 1 : 0, -1)) === isOff ? undefined : isAll
}

/**
 * Whether flags satisfy a REQUIRED_USE.
 *
 * @throws S5_ATOM_SYNTAX
 * @example
 * checkRequiredUse('^^ ( a b )', ['a'], ['a', 'b']) // => true
 */
export function checkRequiredUse(
  text: string,
  use: readonly string[],
  iuse: readonly string[],
  eapi: number = NEWEST_EAPI,
): boolean {
  return unmetRequiredUse(text, use, iuse, eapi).length === 0
}

/**
 * The licences of a LICENSE string that would have to be accepted; empty when those accepted suffice.
 *
 * @throws S5_ATOM_SYNTAX
 * @see PMS 8, section 7.3 (LICENSE)
 */
export function missingLicenses(
  text: string,
  use: readonly string[],
  isAccepted: (license: string) => boolean,
): string[] {
  type Missing = readonly string[] | undefined
  const parts = readGroups<Missing>(text, {
    what: 'LICENSE',
    operators: ['||'],
    leaf: (license) => (isAccepted(license) ? [] : [license]),
    group: (operator, inner) => {
      const active = inner.filter((part) => part !== undefined)
      if (operator === '||')
        return active.length === 0 || active.some(({ length }) => length === 0) ? [] : active.flat()
      const isOff = operator.startsWith('!')
      const isOn = operator === '' || use.includes(operator.slice(isOff ? 1 : 0, -1)) !== isOff
      return isOn ? active.flat() : undefined
    },
  })
  return [...new Set(parts.flatMap((part) => part ?? []))]
}
