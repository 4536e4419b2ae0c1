/** Home directories that acct-user packages bring: whose they are, as their eclass says when they are merged. */
import { parseAssignments } from '../format/assignments.ts'
import type { IdLedger } from '../resolve/lock.ts'
import { withEntries } from '../tree/edit.ts'
import { follow } from '../tree/resolve-path.ts'
import type { Entry } from '../tree/tree.ts'
import { asJson, byteText, withTree } from './generated.ts'
import type { Stage } from './stage.ts'
import { parseSysusers } from './sysusers.ts'

interface Account {
  readonly label: string
  /** As the package is called, without its category. */
  readonly name: string
  /** `user:group`, or '' for the account itself. */
  readonly owner: string
  /** Octal text. */
  readonly mode: string
}

interface Params {
  readonly accounts: readonly Account[]
  readonly ids: IdLedger
}

export const acct: Stage = {
  name: 'acct',
  version: 1,
  pick: ({ packages, ids }) => {
    const accounts = packages.flatMap(({ scheme, name, label, control }): Account[] => {
      if (scheme !== 'ebuild' || !name.startsWith('acct-user/')) return []
      const ebuild = Object.entries(control).find(([member]) => member.endsWith('.ebuild'))?.[1] ?? ''
      const values = parseAssignments(ebuild) ?? new Map<string, string>()
      const mode = values.get('ACCT_USER_HOME_PERMS') ?? ''
      const owner = values.get('ACCT_USER_HOME_OWNER') ?? ''
      return [
        {
          label,
          name: name.slice('acct-user/'.length),
          owner: /^[A-Za-z0-9_-]+:[A-Za-z0-9_-]+$/.test(owner) ? owner : '',
          mode: /^[0-7]{3,5}$/.test(mode) ? mode : '0755',
        },
      ]
    })
    return asJson({ accounts, ids: accounts.length === 0 ? { users: {}, groups: {} } : ids })
  },
  async run(input, params, { contents }) {
    const { accounts, ids } = params as unknown as Params
    const homes: Entry[] = []
    for (const { label, name, owner, mode } of accounts) {
      const file = follow(input.tree, `usr/lib/sysusers.d/acct-user-${name}.conf`)
      if (file?.inode.type !== 'file') continue
      const [user] = parseSysusers(byteText(await contents.read(file.inode.content))).users
      const home = user && user.home !== '' ? follow(input.tree, user.home) : undefined
      if (!user || home?.inode.type !== 'dir' || home.owner !== label) continue
      const [who = user.name, group = user.group || user.name] = owner === '' ? [] : owner.split(':')
      const [uid, gid] = [ids.users[who], ids.groups[group]]
      if (uid === undefined || gid === undefined) continue
      homes.push({ ...home, inode: { ...home.inode, uid, gid, mode: Number.parseInt(mode, 8) } })
    }
    return homes.length === 0 ? input : withTree(input, withEntries(input.tree, homes))
  },
}
