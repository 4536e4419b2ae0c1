/** The entries of a profile's lists: packages, users, groups, services, data areas and images. */
import {
  bytes,
  type Decoder,
  integer,
  list,
  object,
  oneOf,
  optional,
  refined,
  required,
  type Shape,
  shortOrLong,
  type Source,
  string,
} from '../base/shape.ts'
import type { DataArea, GroupSpec, Request, ServiceSpec, UserSpec, Where } from './profile.ts'
import {
  absolutePath,
  atom,
  keyword,
  license,
  line,
  packageName,
  useFlag,
  userName,
  word,
} from './shape-words.ts'

/** Where a node was written. */
export function placeOf(node: Source, to: Decoder): Where {
  return { file: to.file, line: node.line, column: node.column }
}

export function request(): Shape<Request> {
  const short = refined(
    atom(),
    (text, node, to): Request => ({ atom: text, use: [], where: placeOf(node, to) }),
  )
  const long = refined(
    object('a package such as {atom: nginx, use: [ssl]}', {
      atom: required(atom(), 'The package, with constraints where needed.'),
      use: optional(list(useFlag(), flagName), [], 'USE flags that bind for this package.'),
      keywords: optional(list(keyword(), String), undefined, 'Gentoo: keywords accepted for it besides.'),
      licenses: optional(list(license(), String), undefined, 'Gentoo: licences accepted for it besides.'),
    }),
    ({ atom, use, keywords, licenses }, node, to) => ({
      atom,
      use,
      where: placeOf(node, to),
      ...(keywords && { keywords }),
      ...(licenses && { licenses }),
    }),
  )
  const range: Shape<Request> = {
    expected: 'a package such as app/shop: ^2.1',
    schema: {
      type: 'object',
      minProperties: 1,
      maxProperties: 1,
      propertyNames: packageName().schema,
      additionalProperties: { type: ['string', 'number'] },
    },
    decode(node, to) {
      const member = node.kind === 'map' ? node.members[0] : undefined
      if (!member) return to.report(node, `expected ${atom().expected}`)
      const name = packageName().decode(
        { kind: 'scalar', value: member.key, text: member.key, ...member.at },
        to,
      )
      const version = string({ plain: true, expected: 'a version range such as ^2.1' }).decode(
        member.value,
        to,
      )
      if (name === undefined || version === undefined) return undefined
      return { atom: `${name}: ${version}`, use: [], where: placeOf(node, to) }
    },
  }
  const isRange = (node: Source): boolean =>
    node.kind === 'map' && node.members.length === 1 && node.members[0]?.key !== 'atom'
  const map = shortOrLong(range, long, isRange)
  return { ...shortOrLong(short, map), expected: atom().expected }
}

export function flagName(flag: string): string {
  return flag.replace(/^-/, '')
}

export function user(): Shape<UserSpec> {
  const build = (name: string): UserSpec => ({
    name,
    uid: -1,
    group: name,
    home: '/nonexistent',
    shell: '/bin/false',
    gecos: '',
    groups: [],
  })
  const long = object('a user such as {name: www, home: /var/www}', {
    name: required(userName(), 'Login name.'),
    uid: optional(id(), -1, 'Number; default: the next free system number, kept in the lock.'),
    group: optional(userName(), undefined, 'Primary group; default: a group of the same name.'),
    home: optional(accountPath(), '/nonexistent', 'Home directory.'),
    shell: optional(accountPath(), '/bin/false', 'Login shell.'),
    gecos: optional(
      string({ pattern: /^[^:\n]*$/, expected: 'text without colons', empty: true }),
      '',
      'Comment.',
    ),
    groups: optional(list(userName(), String), [], 'Further groups.'),
  })
  return shortOrLong(
    refined(userName(), (name) => build(name)),
    refined(long, (spec) => ({ ...spec, group: spec.group ?? spec.name })),
  )
}

/** A field of /etc/passwd ends at a colon. */
function accountPath(): Shape<string> {
  return refined(absolutePath({ top: true }), (path, node, to) =>
    path.includes(':')
      ? to.report(node, `expected a path without colons, found ${JSON.stringify(path)}`)
      : path,
  )
}

function id(): Shape<number> {
  return integer(0, 4_294_967_293)
}

export function groupEntry(): Shape<GroupSpec> {
  return shortOrLong(
    refined(userName(), (name) => ({ name, gid: -1 })),
    object('a group such as {name: www, gid: 33}', {
      name: required(userName(), 'Name of the group.'),
      gid: optional(id(), -1, 'Number; default: the next free system number, kept in the lock.'),
    }),
  )
}

export function service(): Shape<ServiceSpec> {
  return object('a service such as {name: web, run: /usr/sbin/nginx}', {
    name: required(word('a service name of a-z 0-9 . _ -'), 'Name, shown on the console.'),
    run: required(line('a command line'), 'Command line; /bin/sh runs it with exec.'),
    kind: optional(
      oneOf('respawn', 'once', 'console'),
      'respawn',
      'respawn: kept running; once: run to its end before the ready line; console: kept running on the console.',
    ),
  })
}

export function dataArea(): Shape<DataArea> {
  const area = object('a data area such as {name: data, size: 64M, paths: [/var/www]}', {
    name: required(word('a name of a-z 0-9 . _ -'), 'Name of the area and of its file.'),
    label: optional(
      string({ pattern: /^[A-Za-z0-9._-]+$/, expected: 'a label of A-Z a-z 0-9 . _ -', maxBytes: 16 }),
      undefined,
      'Label of the ext4 file system, at most 16 bytes; default: the name.',
    ),
    size: optional(bytes(), 0, 'Size of the disk, or most memory, such as 64M.'),
    paths: required(list(absolutePath(), String), 'Directories of the guest, seeded from the base.'),
    mode: optional(
      oneOf('persistent', 'ephemeral', 'immutable'),
      'persistent',
      'persistent: kept on a disk; ephemeral: in memory, as in the base after each start; immutable: read-only.',
    ),
    on: optional(
      oneOf('disk', 'overlay', 'tmpfs', 'zram'),
      undefined,
      'persistent: disk (default), a copy of its own, or overlay, which keeps only what differs from the base; ephemeral: tmpfs (default) or zram.',
    ),
  })
  return refined(area, (found, node, to) => {
    const { name, label = name, size, paths, mode } = found
    if (Buffer.byteLength(label) > 16)
      return to.report(node, `expected a label of at most 16 bytes, found ${JSON.stringify(label)}`)
    if (paths.length === 0) return to.report(node, 'expected at least one path, found an empty list')
    const on = found.on ?? USUAL_PLACE[mode]
    if (!PLACES[mode].includes(on))
      return to.report(
        node,
        `expected on: ${PLACES[mode].join(' or ') || 'left out'} with mode: ${mode}, found ${on}`,
      )
    if (on !== '' && size === 0) return to.report(node, 'expected a size such as 64M, found none')
    if (on === '' && size !== 0)
      return to.report(node, `expected no size with mode: ${mode}, found ${size} bytes`)
    const program = on === 'overlay' ? paths.find(isProgram) : undefined
    if (program !== undefined)
      return to.report(
        node,
        `expected no overlay over programs and libraries, found ${program}: what a guest keeps there would hide updates for ever`,
      )
    const odd = on === 'overlay' ? paths.find((path) => /[\s,:"\\]/.test(path)) : undefined
    if (odd !== undefined)
      return to.report(
        node,
        `expected paths of an overlay without spaces, commas, colons, quotes and backslashes, found ${JSON.stringify(odd)}`,
      )
    if (on === 'disk') return { name, label, size, paths }
    return { name, label, size, paths, kind: on === '' ? 'immutable' : on }
  })
}

const USUAL_PLACE = { persistent: 'disk', ephemeral: 'tmpfs', immutable: '' } as const
type AreaPlace = 'disk' | 'overlay' | 'tmpfs' | 'zram' | ''
const PLACES: { readonly [mode in keyof typeof USUAL_PLACE]: readonly AreaPlace[] } = {
  persistent: ['disk', 'overlay'],
  ephemeral: ['tmpfs', 'zram'],
  immutable: [''],
}

function isProgram(path: string): boolean {
  return /^\/(?:usr|bin|sbin|lib[0-9x]*|boot)(?:\/|$)/.test(path)
}
