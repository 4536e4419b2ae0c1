/** The keys of a profile that say what the init of a package starts: units of systemd, runlevels of OpenRC. */
import { describe, list, refined, type Schema, type Source, string, annotated } from '../base/shape.ts'
import type { Profile } from './profile.ts'
import { type Field, stack } from './shape-layers.ts'

const UNIT = /^-?[A-Za-z0-9:_.\\@-]*[A-Za-z0-9_\\@-]$/
const SUFFIX = /\.(?:service|socket|timer|target|path|mount|automount|swap)$/

const unit = refined(
  string({ pattern: UNIT, expected: 'the name of a unit such as sshd.service or getty@tty1' }),
  (name) => (SUFFIX.test(name) ? name : `${name}.service`),
)

const level = string({ pattern: /^[a-z0-9][a-z0-9_-]*$/, expected: 'the name of a runlevel such as default' })
const script = string({
  pattern: /^-?[A-Za-z0-9][A-Za-z0-9_.+-]*$/,
  expected: 'the name of a script in /etc/init.d, such as sshd, or -sshd',
})

export const initFields: { readonly [K in 'units' | 'runlevels']: Field<Profile[K]> } = {
  units: stack(
    unit,
    { nameOf: (name) => name.replace(/^-/, ''), negative: true },
    'systemd: units that are enabled: `sshd`, `getty@tty1.service`; `-sshd` is disabled. Presets of packages hold besides.',
  ),
  runlevels: runlevels(),
}

/** A map of lists that add up: `-name` takes one out, also of what OpenRC brings; `null` forgets a level. */
function runlevels(): Field<Profile['runlevels']> {
  const names = list(script, (name) => name.replace(/^-/, ''))
  const schema: Schema = {
    type: 'object',
    propertyNames: level.schema,
    additionalProperties: { anyOf: [names.schema, { type: 'null' }] },
  }
  return {
    schema: annotated(
      schema,
      'OpenRC: services by runlevel, such as {default: [sshd]}; `-netmount` takes one out of it.',
    ),
    start: {},
    apply(before, node, to) {
      if (node.kind === 'scalar' && node.value === null) return {}
      if (node.kind !== 'map') {
        to.report(node, `expected a map of lists such as {default: [sshd]}, found ${describe(node)}`)
        return before
      }
      const result = new Map(Object.entries(before))
      for (const member of node.members) {
        const written: Source = { kind: 'scalar', value: member.key, text: member.key, ...member.at }
        const name = level.decode(written, to)
        if (name === undefined) continue
        if (member.value.kind === 'scalar' && member.value.value === null) result.delete(name)
        else result.set(name, merged(result.get(name) ?? [], names.decode(member.value, to) ?? []))
      }
      return Object.fromEntries(result)
    },
  }
}

function merged(before: readonly string[], more: readonly string[]): string[] {
  const bare = (name: string): string => name.replace(/^-/, '')
  const named = new Set(more.map(bare))
  return [...before.filter((name) => !named.has(bare(name))), ...more]
}
