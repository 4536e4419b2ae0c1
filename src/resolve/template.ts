/** Templates of groups: `{name}`, `{index+8080}` and a guest's own values, filled for one guest. */
import { suggestion } from '../base/shape.ts'
import type { Group, GuestSpec } from './group.ts'

/** `{{` and `}}` stand for the braces themselves; braces around anything but a word are left alone. */
const HOLE = /\{\{|\}\}|\{([a-z][A-Za-z0-9_-]*?)(?:([+-])([0-9]{1,9}))?\}/g

export type Values = Readonly<Record<string, string>>

/**
 * @returns the text, or what is wrong with it as one line
 * @example
 * fillTemplate('{name}:{index+8080}', { name: 'web-2', index: '2' }) // => { text: 'web-2:8082' }
 * fillTemplate('{nmae}', { name: 'web-2' }) // => { problem: 'unknown {nmae}, did you mean "name"' }
 */
export function fillTemplate(
  template: string,
  values: Values,
): { readonly text: string } | { readonly problem: string } {
  let problem: string | undefined
  const text = template.replace(HOLE, (hole, word?: string, sign?: string, count?: string) => {
    if (word === undefined) return hole === '{{' ? '{' : '}'
    const value = Object.hasOwn(values, word) ? values[word] : undefined
    if (value === undefined) problem ??= `unknown {${word}}${suggestion(word, Object.keys(values))}`
    else if (count === undefined) return value
    else if (/^[0-9]{1,15}$/.test(value))
      return `${sign === '-' ? Number(value) - Number(count) : Number(value) + Number(count)}`
    else problem ??= `expected a number for {${word}} in ${hole}, found ${JSON.stringify(value)}`
    return hole
  })
  return problem === undefined ? { text } : { problem }
}

/** As {@link fillTemplate}, for templates that were checked when their group was loaded. */
export function filled(template: string, values: Values): string {
  const result = fillTemplate(template, values)
  if ('problem' in result) throw new Error(`${JSON.stringify(template)}: ${result.problem}`)
  return result.text
}

/** What a template of this guest may name: `name`, `group`, `index` when its name ends in a number, and its values. */
export function guestValues(group: string, { name, values }: Pick<GuestSpec, 'name' | 'values'>): Values {
  const digits = /[0-9]+$/.exec(name)?.[0]
  return { name, group, ...(digits !== undefined && { index: `${Number(digits)}` }), ...values }
}

/** A guest as a driver is given it: the values of its templates, and the filled templates by their names. */
export function driverGuest(
  { name: group, templates }: Pick<Group, 'name' | 'templates'>,
  guest: Pick<GuestSpec, 'name' | 'values'>,
): { readonly name: string; readonly group: string; readonly values: Values } {
  const values = guestValues(group, guest)
  const made = Object.entries(templates).map(([key, template]) => [key, filled(template, values)] as const)
  return { name: guest.name, group, values: { hostname: guest.name, ...values, ...Object.fromEntries(made) } }
}

/**
 * Names that a pattern stands for: `{01..12}` counts with leading zeros, `{a,b}` is either; several multiply.
 * @returns undefined when there would be more than `most`
 * @example
 * expandNames('web-{08..10}', 100) // => ['web-08', 'web-09', 'web-10']
 */
export function expandNames(pattern: string, most: number): readonly string[] | undefined {
  let names = ['']
  for (const part of pattern.split(/(\{[^{}]*\})/)) {
    const range = /^\{([0-9]{1,9})\.\.([0-9]{1,9})\}$/.exec(part)
    const choices = range
      ? count(range[1] as string, range[2] as string, most)
      : /^\{.*,.*\}$/.test(part)
        ? part.slice(1, -1).split(',')
        : [part]
    if (choices === undefined || choices.length * names.length > most) return undefined
    names = names.flatMap((name) => choices.map((choice) => name + choice))
  }
  return names
}

function count(from: string, to: string, most: number): string[] | undefined {
  const [first, last] = [Number(from), Number(to)]
  if (last - first >= most) return undefined
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) =>
    `${first + at}`.padStart(from.startsWith('0') ? from.length : 0, '0'),
  )
}
