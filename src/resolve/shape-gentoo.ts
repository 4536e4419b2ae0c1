/** The keys of a profile that are about Gentoo packages, and those about how a choice is made. */
import {
  annotated,
  boolean,
  describe,
  list,
  object,
  oneOf,
  optional,
  refined,
  required,
  shortOrLong,
  type Shape,
  type Source,
  string,
} from '../base/shape.ts'
import type { Forced, Profile } from './profile.ts'
import { flagName, placeOf } from './shape-entries.ts'
import { type Field, scalar, stack } from './shape-layers.ts'
import { atom, keyword, license, useFlag, word } from './shape-words.ts'

type Keys =
  | 'keywords'
  | 'licenses'
  | 'licenseGroups'
  | 'usePolicy'
  | 'settings'
  | 'unmask'
  | 'sets'
  | 'soname'
  | 'policy'
  | 'prefer'
  | 'strict'
  | 'idepend'
  | 'rank'
  | 'ignoreSlotOperators'
  | 'profileUse'
  | 'useForce'
  | 'useMask'

export const gentooFields: { readonly [K in Keys]: Field<Profile[K]> } = {
  keywords: stack(
    keyword(),
    { nameOf: String },
    'Gentoo: accepted keywords: `amd64`, `~amd64`, `**`; default: the stable one of the architecture.',
  ),
  licenses: stack(
    license(),
    { nameOf: (name) => name.replace(/^-/, ''), negative: true },
    'Gentoo: accepted licences, as in ACCEPT_LICENSE: `MIT`, `@FREE`, `-@EULA`, `*`; default: all.',
  ),
  licenseGroups: listsByName(
    string({ pattern: /^[A-Za-z0-9_][A-Za-z0-9+_.-]*$/, expected: 'the name of a group of licences' }),
    license(),
    'Gentoo: groups of licences that `licenses` names as @GROUP; members may be @groups.',
  ),
  usePolicy: scalar(
    oneOf('listed', 'exact', 'any'),
    'listed',
    'Gentoo: which flags of a build must stand as configured: those that the profile names (the nearest build wins), all of its IUSE, or none.',
  ),
  settings: stack(
    refined(
      object('a setting such as {atom: dev-lang/php, use: [fpm]}', {
        atom: required(atom(), 'Packages it holds for; wildcards as in `"*/*"`.'),
        use: optional(list(useFlag(), flagName), [], 'USE flags that bind for them.'),
        keywords: optional(list(keyword(), String), [], 'Keywords accepted besides.'),
        licenses: optional(list(license(), String), [], 'Licences accepted besides.'),
      }),
      (setting, node, to) => ({ ...setting, where: placeOf(node, to) }),
    ),
    { nameOf: (setting) => setting.atom },
    'Gentoo: flags, keywords and licences of packages that the profile need not ask for.',
  ),
  unmask: stack(
    refined(atom(), (text, node, to) => ({ atom: text, where: placeOf(node, to) })),
    { nameOf: (item) => item.atom },
    'Packages that may be chosen although a mask names them.',
  ),
  sets: listsByName(
    word('the name of a set'),
    atom(),
    'Lists of packages that `packages` names as `"@set"`; members may be sets.',
  ),
  soname: scalar(
    oneOf('check', 'require', 'off'),
    'check',
    'Gentoo: shared libraries that a member needs and none brings: reported, brought in, or not looked at.',
  ),
  policy: scalar(
    oneOf('binary-only', 'build-missing'),
    'binary-only',
    'Gentoo: whether the builder of the repository is run for builds that no binhost has.',
  ),
  prefer: scalar(
    oneOf('newest', 'minimal'),
    'newest',
    'What matters beside the packages asked for: newest versions, or fewest packages.',
  ),
  strict: scalar(boolean(), false, 'Whether a package that is asked for must be at its newest version.'),
  idepend: scalar(
    boolean(),
    false,
    'Gentoo: whether IDEPEND goes into the root, for guests that run phases.',
  ),
  rank: scalar(
    oneOf('newest', 'priority-first'),
    'newest',
    'Which build is the best: the newest version, or that of the preferred repository or binhost, then the newest.',
  ),
  ignoreSlotOperators: scalar(
    boolean(),
    false,
    'Gentoo: whether another sub-slot than the one a build was made against may do. Each case is warned of: such programs may not start.',
  ),
  profileUse: flags(
    'Gentoo: flags as the profile of Gentoo has them; builds that have them so are preferred, others may be chosen.',
  ),
  useForce: flags('Gentoo: flags that must be on wherever a build knows them, as in use.force.'),
  useMask: flags('Gentoo: flags that must be off wherever a build knows them, as in use.mask.'),
}

/** Flags for all packages, and `{atom, use}` for some. */
function flags(description: string): Field<readonly Forced[]> {
  const some = object('flags such as {atom: sys-libs/glibc, use: [multilib]}', {
    atom: required(atom(), 'Packages they hold for; wildcards as in `"*/*"`.'),
    use: required(list(useFlag(), flagName), 'Their flags.'),
  })
  return stack(
    shortOrLong(
      refined(useFlag(), (flag): Forced => ({ atom: '', flags: [flag] })),
      refined(some, ({ atom: pattern, use }): Forced => ({ atom: pattern, flags: use })),
    ),
    { nameOf: (one) => (one.atom === '' ? flagName(one.flags[0] as string) : one.atom), negative: true },
    description,
  )
}

/** A map of lists that merges by key: later lists override, `null` removes one. */
function listsByName(
  key: Shape<string>,
  item: Shape<string>,
  description: string,
): Field<{ readonly [name: string]: readonly string[] }> {
  const value = list(item, String)
  return {
    schema: annotated(
      {
        type: 'object',
        propertyNames: key.schema,
        additionalProperties: { anyOf: [value.schema, { type: 'null' }] },
      },
      description,
    ),
    start: {},
    apply(before, node, to) {
      if (node.kind === 'scalar' && node.value === null) return {}
      if (node.kind !== 'map') {
        to.report(node, `expected a map of lists, found ${describe(node)}`)
        return before
      }
      const result = new Map(Object.entries(before))
      for (const member of node.members) {
        const written: Source = { kind: 'scalar', value: member.key, text: member.key, ...member.at }
        const name = key.decode(written, to)
        if (name === undefined) continue
        if (member.value.kind === 'scalar' && member.value.value === null) result.delete(name)
        else {
          const decoded = value.decode(member.value, to)
          if (decoded) result.set(name, decoded)
        }
      }
      return Object.fromEntries(result)
    },
  }
}
