/** What every guest's /etc has, and what no image may carry from one machine to another. */
import { Stage5Error } from '../base/errors.ts'
import { entriesBelow } from '../tree/below.ts'
import { withoutPaths } from '../tree/edit.ts'
import { follow } from '../tree/resolve-path.ts'
import { type Entry, type Tree } from '../tree/tree.ts'
import { PROFILE_OWNER } from './files.ts'
import { asJson, maker, type Maker, missing, placed, removal, withTree } from './generated.ts'
import type { Stage } from './stage.ts'

interface Params {
  readonly hostname: string
  readonly timezone: string
  readonly network: 'none' | 'dhcp'
  readonly date: number
}

/** Identities and caches of one machine; the profile's own files are kept. @see systemd, BUILDING_IMAGES */
const RESET =
  /^(?:etc\/(?:machine-id|machine-info|hostname|resolv\.conf|ssh\/ssh_host_[a-z0-9]+_key(?:\.pub)?|pki\/ca-trust\/extracted\/java\/cacerts)|var\/lib\/systemd\/(?:random-seed|credential\.secret|catalog\/database)|var\/lib\/dbus\/machine-id|loader\/random-seed|var\/cache\/ldconfig\/aux-cache)$/
const RESET_BELOW = ['etc', 'loader', 'var']

const HOSTS = '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n'

const NSSWITCH = `passwd: files
group: files
shadow: files
gshadow: files
hosts: files dns
networks: files
protocols: files
services: files
ethers: files
rpc: files
`

const PROFILE = `export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PS1='\\u@\\h:\\w\\$ '
umask 022
`

export const etc: Stage = {
  name: 'etc',
  version: 1,
  pick: ({ profile: { hostname, timezone, network }, date }) => asJson({ hostname, timezone, network, date }),
  async run(input, params, { contents }) {
    const { hostname, timezone, network, date } = params as unknown as Params
    const make = maker('etc', date, contents)
    const gone = RESET_BELOW.flatMap((top) => entriesBelow(input.tree, top)).filter(
      ({ path, owner }) => RESET.test(path) && owner !== PROFILE_OWNER,
    )
    const tree = withoutPaths(
      input.tree,
      gone.map(({ path }) => path),
    )
    const entries = missing(tree, [
      await make.file('etc/hosts', `${HOSTS}127.0.1.1 ${hostname}\n`),
      await make.file('etc/hostname', `${hostname}\n`),
      await make.file('etc/nsswitch.conf', NSSWITCH),
      await make.file('etc/machine-id', ''),
      await make.file('etc/profile', PROFILE),
      await make.file('etc/shells', '/bin/sh\n'),
      make.link('etc/mtab', '../proc/self/mounts'),
      ...(network === 'dhcp' ? [make.link('etc/resolv.conf', '../run/resolv.conf')] : []),
      ...(await zone(tree, timezone, make)),
      ...skeleton(make),
    ])
    return withTree(
      input,
      placed(tree, entries, date),
      gone.map((entry) => removal(entry, 'etc')),
    )
  },
}

/** @throws S5_STAGE_INVALID when a zone other than UTC has no file in the root */
async function zone(tree: Tree, timezone: string, make: Maker): Promise<Entry[]> {
  const file = `usr/share/zoneinfo/${timezone}`
  if (follow(tree, file))
    return [make.link('etc/localtime', `../${file}`), await make.file('etc/timezone', `${timezone}\n`)]
  if (timezone === 'UTC') return []
  throw new Stage5Error('S5_STAGE_INVALID', `etc: time zone ${timezone}: there is no /${file} in the root`, {
    hint: 'add the package tzdata, or correct timezone: in the profile',
  })
}

/** Mount points and the directories that every program takes for granted. */
function skeleton(make: Maker): Entry[] {
  const usual = [
    'dev',
    'etc',
    'home',
    'mnt',
    'opt',
    'proc',
    'run',
    'srv',
    'sys',
    'var',
    'var/cache',
    'var/lib',
    'var/log',
    'var/spool',
  ]
  return [
    ...usual.map((path) => make.dir(path)),
    make.dir('root', { mode: 0o700 }),
    make.dir('tmp', { mode: 0o1777 }),
    make.dir('var/tmp', { mode: 0o1777 }),
    make.link('var/run', '../run'),
    make.link('var/lock', '../run/lock'),
  ]
}
