/** Numbers for users and groups: who is wanted, and which number each gets without ever changing an old one. */
import { Stage5Error } from '../base/errors.ts'
import type { IdLedger } from '../resolve/lock.ts'
import type { GroupSpec, UserSpec } from '../resolve/profile.ts'
import { namesIn } from '../tree/below.ts'
import type { Contents } from '../tree/contents.ts'
import { follow } from '../tree/resolve-path.ts'
import { baseOf, type Tree } from '../tree/tree.ts'
import { byteText } from './generated.ts'
import { parseSysusers, type SysUser } from './sysusers.ts'

/** The last number for a package without one; then downwards to the first, as systemd-sysusers does. */
const LAST = 999
const FIRST = 100

interface WantedGroup {
  readonly name: string
  /** -1: the next free number. */
  readonly id: number
  /** The number is a demand; otherwise it is a wish of a package, which an older user of the number overrules. */
  readonly firm: boolean
}

export interface WantedUser extends WantedGroup {
  /** Name of the primary group. */
  readonly group: string
  readonly gecos: string
  readonly home: string
  readonly shell: string
  /** Further groups, sorted. */
  readonly groups: readonly string[]
  /** base: an account of every Debian or Gentoo; profile and sysusers: one that wants its home made. */
  readonly from: 'base' | 'sysusers' | 'profile'
}

export interface WantedIds {
  /** In the order in which they were found, each name once. */
  readonly users: readonly WantedUser[]
  readonly groups: readonly WantedGroup[]
}

const ALWAYS: readonly WantedUser[] = [
  account({ name: 'root', id: 0, group: 'root', home: '/root', shell: '/bin/sh', gecos: 'root' }),
  account({
    name: 'nobody',
    id: 65_534,
    group: 'nogroup',
    home: '/nonexistent',
    shell: '/bin/false',
    gecos: 'nobody',
  }),
]

function account(given: Pick<WantedUser, 'name' | 'id' | 'group' | 'home' | 'shell' | 'gecos'>): WantedUser {
  return { ...given, firm: true, groups: [], from: 'base' }
}

/**
 * Everyone whom the root and the profile want: the masters of base-passwd or baselayout (or root and nobody), then
 * `usr/lib/sysusers.d/*.conf` and `etc/sysusers.d/*.conf`, then the profile. Of several definitions of one name the
 * profile's wins, then the first; a number comes from the first that has one.
 */
export async function wantedIds(
  tree: Tree,
  contents: Contents,
  profile: { readonly users: readonly UserSpec[]; readonly groups: readonly GroupSpec[] },
): Promise<WantedIds> {
  const users = new Map<string, WantedUser>()
  const groups = new Map<string, WantedGroup>()
  const read = async (path: string): Promise<string | undefined> => {
    const inode = follow(tree, path)?.inode
    return inode?.type === 'file' ? byteText(await contents.read(inode.content)) : undefined
  }
  await addMasters(users, groups, read)
  await addSysusers(users, groups, tree, read)
  for (const { name, gid } of profile.groups)
    groups.set(
      name,
      gid < 0 ? (groups.get(name) ?? { name, id: -1, firm: false }) : { name, id: gid, firm: true },
    )
  for (const user of profile.users) {
    const old = users.get(user.name)
    const number =
      user.uid < 0 ? { id: old?.id ?? -1, firm: old?.firm ?? false } : { id: user.uid, firm: true }
    users.set(user.name, {
      name: user.name,
      ...number,
      group: user.group,
      gecos: user.gecos,
      home: user.home,
      shell: user.shell,
      groups: sorted([...user.groups, ...(old?.groups ?? [])]),
      from: 'profile',
    })
  }
  for (const user of users.values())
    for (const name of [user.group, ...user.groups])
      if (!groups.has(name)) groups.set(name, { name, id: -1, firm: false })
  return { users: [...users.values()], groups: [...groups.values()] }
}

type Read = (path: string) => Promise<string | undefined>

async function addMasters(
  users: Map<string, WantedUser>,
  groups: Map<string, WantedGroup>,
  read: Read,
): Promise<void> {
  const fields = (text: string): string[][] =>
    text
      .split('\n')
      .filter((line) => line.includes(':'))
      .map((line) => line.split(':'))
  const passwd =
    (await read('usr/share/base-passwd/passwd.master')) ?? (await read('usr/share/baselayout/passwd'))
  const group =
    (await read('usr/share/base-passwd/group.master')) ?? (await read('usr/share/baselayout/group'))
  const names = new Map([
    ['0', 'root'],
    ['65534', 'nogroup'],
  ])
  for (const [name = '', , id = ''] of fields(group ?? '')) names.set(id, name)
  for (const [id, name] of names) groups.set(name, { name, id: Number(id), firm: true })
  for (const user of ALWAYS) users.set(user.name, user)
  for (const [name = '', , id = '', gid = '', gecos = '', home = '', shell = ''] of fields(passwd ?? ''))
    users.set(
      name,
      account({ name, id: Number(id), group: names.get(gid) ?? name, home, shell, gecos: decoded(gecos) }),
    )
  for (const [name = '', , , members = ''] of fields(group ?? ''))
    for (const member of members.split(',')) {
      const user = users.get(member)
      if (user && user.group !== name) users.set(member, { ...user, groups: sorted([...user.groups, name]) })
    }
}

/** Text of what was read as bytes. */
function decoded(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString()
}

async function addSysusers(
  users: Map<string, WantedUser>,
  groups: Map<string, WantedGroup>,
  tree: Tree,
  read: Read,
): Promise<void> {
  const members: { user: string; group: string }[] = []
  const numberOf = (each: { id: number; idFrom: string }, kind: 'uid' | 'gid'): number =>
    each.idFrom === '' ? each.id : (follow(tree, each.idFrom)?.inode[kind] ?? -1)
  const groupOf = (user: SysUser): string =>
    /^[0-9]+$/.test(user.group)
      ? ([...groups.values()].find(({ id }) => id === Number(user.group))?.name ?? user.name)
      : user.group || user.name
  for (const path of sysusersFiles(tree)) {
    const found = parseSysusers((await read(path)) ?? '')
    for (const each of found.groups)
      if (!groups.has(each.name))
        groups.set(each.name, { name: each.name, id: numberOf(each, 'gid'), firm: false })
    for (const each of found.users) {
      if (users.has(each.name)) continue
      const id = numberOf(each, 'uid')
      const group = groupOf(each)
      users.set(each.name, {
        name: each.name,
        id,
        firm: false,
        group,
        gecos: decoded(each.gecos),
        home: each.home || '/',
        shell: each.shell || '/usr/sbin/nologin',
        groups: [],
        from: 'sysusers',
      })
      if (!groups.has(group))
        groups.set(group, { name: group, id: group === each.name ? id : -1, firm: false })
    }
    members.push(...found.members)
  }
  for (const { user, group } of members) {
    const found = users.get(user)
    if (found) users.set(user, { ...found, groups: sorted([...found.groups, group]) })
  }
}

/** By base name, those of /etc instead of those of /usr/lib, merged or not; a link to /dev/null masks. */
function sysusersFiles(tree: Tree): string[] {
  const byName = new Map<string, string>()
  for (const folder of ['lib/sysusers.d', 'usr/lib/sysusers.d', 'etc/sysusers.d'])
    for (const { path } of namesIn(tree, folder)) if (path.endsWith('.conf')) byName.set(baseOf(path), path)
  return [...byName.keys()].sort().map((name) => byName.get(name) as string)
}

function sorted(names: readonly string[]): string[] {
  return [...new Set(names)].sort()
}

/**
 * The ledger with a number for everyone wanted. Numbers that are in the ledger stay, also of those who are wanted no
 * more; firm numbers come next, then the wishes of packages that are still free, then free ones from 999 down to 100 in
 * order of names. A user and the group of its name get one number where that is free; nobody else shares one.
 * @throws S5_STAGE_INVALID when a firm number is another one than the ledger's, or is taken
 */
export function allocateIds(ledger: IdLedger, wanted: WantedIds): IdLedger {
  const users = table('user', ledger.users)
  const groups = table('group', ledger.groups)
  for (const each of wanted.users) if (each.firm) users.demand(each)
  for (const each of wanted.groups) if (each.firm) groups.demand(each)
  for (const each of byName(wanted.groups)) groups.wish(each.name, each.id)
  for (const each of byName(wanted.users)) users.wish(each.name, each.id)
  for (const { name } of byName(wanted.groups)) {
    const twin = users.get(name)
    if (groups.get(name) === undefined && twin !== undefined) groups.wish(name, twin)
  }
  for (const { name } of byName(wanted.users)) users.wish(name, groups.get(name) ?? -1)
  const names = sorted([...wanted.users, ...wanted.groups].map(({ name }) => name))
  for (const name of names) {
    const pending = [
      ...(wanted.users.some((each) => each.name === name) ? [users] : []),
      ...(wanted.groups.some((each) => each.name === name) ? [groups] : []),
    ].filter((each) => each.get(name) === undefined)
    if (pending.length === 0) continue
    const id = nextFree([users, groups])
    for (const each of pending) each.wish(name, id)
  }
  return { users: users.ledger(), groups: groups.ledger() }
}

function byName<T extends { readonly name: string }>(all: readonly T[]): T[] {
  return all.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

interface IdTable {
  get(name: string): number | undefined
  free(id: number): boolean
  demand(wanted: WantedGroup): void
  wish(name: string, id: number): void
  ledger(): { readonly [name: string]: number }
}

function table(kind: 'user' | 'group', ledger: { readonly [name: string]: number }): IdTable {
  const ids = new Map(Object.entries(ledger))
  const owners = new Map(Object.entries(ledger).map(([name, id]) => [id, name]))
  const set = (name: string, id: number): void => {
    ids.set(name, id)
    owners.set(id, name)
  }
  const clash = (message: string, name: string, id: number): Stage5Error =>
    new Stage5Error('S5_STAGE_INVALID', `users: ${message}`, {
      hint: `give ${name} its number in the profile, under ${kind}s`,
      data: { kind, name, id },
    })
  return {
    get: (name) => ids.get(name),
    free: (id) => !owners.has(id),
    demand({ name, id }) {
      const old = ids.get(name)
      if (old === id) return
      if (old !== undefined)
        throw clash(
          `${kind} ${name} is to have number ${id}, but the lock gave it ${old}, and files on data disks may have that`,
          name,
          id,
        )
      const owner = owners.get(id)
      if (owner !== undefined)
        throw clash(`${kind} ${name} is to have number ${id}, which ${owner} has`, name, id)
      set(name, id)
    },
    wish(name, id) {
      if (id >= 0 && !ids.has(name) && !owners.has(id)) set(name, id)
    },
    ledger: () => Object.fromEntries([...ids].sort(([a], [b]) => (a < b ? -1 : 1))),
  }
}

function nextFree(tables: readonly IdTable[]): number {
  for (let id = LAST; id >= FIRST; id--) if (tables.every((each) => each.free(id))) return id
  throw new Stage5Error('S5_STAGE_INVALID', `users: no number from ${FIRST} to ${LAST} is free`)
}
