/** Users and groups: /etc/passwd, group, shadow and gshadow with locked passwords, and home directories. */
import { Stage5Error } from '../base/errors.ts'
import type { IdLedger } from '../resolve/lock.ts'
import type { GroupSpec, UserSpec } from '../resolve/profile.ts'
import { follow } from '../tree/resolve-path.ts'
import { type Entry, lookup, type Tree } from '../tree/tree.ts'
import { asJson, landing, type Maker, maker, placed, withTree } from './generated.ts'
import { wantedIds, type WantedIds, type WantedUser } from './ids.ts'
import type { Stage } from './stage.ts'

interface Params {
  readonly ids: IdLedger
  readonly users: readonly UserSpec[]
  readonly groups: readonly GroupSpec[]
  readonly date: number
}

/** Homes that mean “none”, and places that a boot fills. */
const NO_HOME = /^\/(?:|nonexistent|dev\/.*|proc(?:\/.*)?|run(?:\/.*)?|var\/run(?:\/.*)?|var\/empty)$/

export const users: Stage = {
  name: 'users',
  version: 2,
  pick: ({ ids, profile, date }) => asJson({ ids, users: profile.users, groups: profile.groups, date }),
  async run(input, params, { contents }) {
    const { ids, users: wantedUsers, groups, date } = params as unknown as Params
    const wanted = await wantedIds(input.tree, contents, { users: wantedUsers, groups })
    const make = maker('users', date, contents)
    const shadowGroup = ids.groups['shadow']
    const secret = shadowGroup === undefined ? { mode: 0o600 } : { mode: 0o640, gid: shadowGroup }
    const text = accounts(input.tree, ids, wanted)
    const files = [
      await make.file('etc/passwd', text.passwd),
      await make.file('etc/group', text.group),
      await make.file('etc/shadow', text.shadow, secret),
      await make.file('etc/gshadow', text.gshadow, secret),
    ]
    const tree = placed(input.tree, files, date)
    return withTree(input, placed(tree, homes(tree, ids, wanted, make), date))
  },
}

/** The number of a user or group. @throws S5_STAGE_INVALID when the ledger does not have it */
function idOf(ledger: { readonly [name: string]: number }, kind: 'user' | 'group', name: string): number {
  const id = ledger[name]
  if (id === undefined)
    throw new Stage5Error('S5_STAGE_INVALID', `users: ${kind} ${name} has no number in the ledger`)
  return id
}

/** The four files; lines by number. A shell that is not in the root becomes /bin/sh or /bin/false. */
function accounts(
  tree: Tree,
  ids: IdLedger,
  wanted: WantedIds,
): { readonly passwd: string; readonly group: string; readonly shadow: string; readonly gshadow: string } {
  const shellOf = (user: WantedUser): string => {
    if (user.from === 'profile' || follow(tree, user.shell)) return user.shell
    return user.name === 'root' ? '/bin/sh' : '/bin/false'
  }
  const people = wanted.users
    .map((user) => ({ user, id: idOf(ids.users, 'user', user.name) }))
    .sort((a, b) => a.id - b.id)
  const groups = wanted.groups
    .map(({ name }) => ({ name, id: idOf(ids.groups, 'group', name) }))
    .sort((a, b) => a.id - b.id)
    .map(({ name, id }) => {
      const members = wanted.users.filter((user) => user.groups.includes(name)).map((user) => user.name)
      return { name, id, members: members.sort().join(',') }
    })
  const lines = (all: readonly string[]): string => all.map((line) => `${line}\n`).join('')
  return {
    passwd: lines(
      people.map(({ user, id }) => {
        const gid = idOf(ids.groups, 'group', user.group)
        return `${user.name}:x:${id}:${gid}:${user.gecos}:${user.home}:${shellOf(user)}`
      }),
    ),
    group: lines(groups.map(({ name, id, members }) => `${name}:x:${id}:${members}`)),
    shadow: lines(people.map(({ user }) => `${user.name}:!*:::::::`)),
    gshadow: lines(groups.map(({ name, members }) => `${name}:!*::${members}`)),
  }
}

function homes(tree: Tree, ids: IdLedger, wanted: WantedIds, make: Maker): Entry[] {
  return wanted.users.flatMap((user) => {
    const own = user.name === 'root' || user.from !== 'base'
    if (!own || NO_HOME.test(user.home)) return []
    const path = landing(tree, user.home, 'users')
    if (lookup(tree, path)) return []
    const meta = { uid: idOf(ids.users, 'user', user.name), gid: idOf(ids.groups, 'group', user.group) }
    return [make.dir(path, user.name === 'root' ? { ...meta, mode: 0o700 } : meta)]
  })
}
