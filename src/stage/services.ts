/** The busybox init of a guest: inittab, the boot and shutdown scripts, and one small script per service. */
import { Stage5Error } from '../base/errors.ts'
import type { IdLedger } from '../resolve/lock.ts'
import type { ConfigSpec, DataArea, ServiceSpec } from '../resolve/profile.ts'
import { namesIn } from '../tree/below.ts'
import { follow } from '../tree/resolve-path.ts'
import { type Entry, lookup, type Tree } from '../tree/tree.ts'
import { bootScript, DHCP_SCRIPT, inittab, serviceScript, STOP_SCRIPT } from './boot-scripts.ts'
import { busyboxOf } from './busybox.ts'
import { CONFIG_PROGRAM, configKeys, configScript, rememberingDisk, SIGNIFY } from './config-script.ts'
import { PROFILE_OWNER } from './files.ts'
import { asJson, byteText, landing, maker, placed, withTree } from './generated.ts'
import type { Stage } from './stage.ts'
import { type RunDirectory, runDirectories } from './tmpfiles.ts'

interface Params {
  readonly services: readonly ServiceSpec[]
  readonly network: 'none' | 'dhcp'
  readonly modules: readonly string[]
  readonly ready: string
  readonly ids: IdLedger
  readonly date: number
  readonly config: ConfigSpec
  readonly data: readonly DataArea[]
}

export const services: Stage = {
  name: 'services',
  version: 7,
  pick: ({ profile: { services: specs, network, kernel, boot, config, data }, ids, date }) =>
    asJson({
      ...{ services: specs, network, modules: kernel.modules, ready: boot.ready, ids, date, config },
      data:
        config.mode === 'persistent'
          ? data.filter(({ kind }) => kind === undefined || kind === 'overlay')
          : [],
    }),
  async run(input, params, { contents }) {
    const { services: specs, network, modules, ready, ids, date, config, data } = params as unknown as Params
    const { tree } = input
    const other = otherInit(tree)
    if (other || !busyboxOf(tree)) {
      if (specs.length === 0 && config.keys.length === 0) return input
      const why = other ? `/${other.path} of ${other.owner} is the init` : 'the root has no busybox'
      throw new Stage5Error(
        'S5_STAGE_INVALID',
        `services: services and config packages are the work of busybox init, but ${why}`,
        {
          hint: 'add the package busybox-static, or take the services out of the profile',
        },
      )
    }
    const make = maker('services', date, contents)
    const script = { mode: 0o755 }
    const directories: RunDirectory[] = []
    for (const path of folder(tree, 'usr/lib/tmpfiles.d', '.conf')) {
      const inode = follow(tree, path)?.inode
      if (inode?.type === 'file')
        directories.push(...runDirectories(byteText(await contents.read(inode.content))))
    }
    const sysctls = ['usr/lib/sysctl.d', 'etc/sysctl.d'].some(
      (path) => folder(tree, path, '.conf').length > 0,
    )
    const owned = directories.map((each) => numbered(each, ids))
    const applied = config.keys.length > 0 ? { config: `/${CONFIG_PROGRAM}` } : {}
    if (applied.config) mustApply(tree, config, network, data)
    const facts = { services: specs, network, modules, ready, directories: owned, sysctls }
    const text = bootScript({ ...facts, ...applied })
    const program = follow(tree, 'bin/busybox') ? '/bin/busybox' : '/usr/bin/busybox'
    const wanted = [
      await make.file('etc/inittab', inittab(specs, program)),
      await make.file('etc/init.d/rcS', text, script),
      await make.file('etc/init.d/rcK', STOP_SCRIPT, script),
    ]
    if (network === 'dhcp') wanted.push(await make.file('etc/stage5/udhcpc', DHCP_SCRIPT, script))
    if (applied.config) {
      wanted.push(await make.file(CONFIG_PROGRAM, configScript(config, data), script))
      for (const { name, text: key } of configKeys(config))
        wanted.push(await make.file(`etc/stage5/config/keys/${name}`, key))
    }
    for (const spec of specs)
      wanted.push(await make.file(`etc/stage5/services/${spec.name}`, serviceScript(spec), script))
    for (const path of ['sbin', 'usr/sbin']) {
      if (!follow(tree, path) || follow(tree, `${path}/init`)) continue
      wanted.push(make.link(landing(tree, `${path}/init`, 'services'), program))
      break
    }
    return withTree(input, placed(tree, unlessDeclared(tree, wanted), date))
  },
}

/** @throws S5_STAGE_INVALID when guests of this root could not apply config packages */
function mustApply(
  tree: Tree,
  { mode }: ConfigSpec,
  network: 'none' | 'dhcp',
  data: readonly DataArea[],
): void {
  const refused = (what: string, hint: string): Stage5Error =>
    new Stage5Error('S5_STAGE_INVALID', `config: ${what}`, { hint, data: { stage: 'services' } })
  if (!follow(tree, SIGNIFY))
    throw refused(
      `guests check signatures with /${SIGNIFY}, which no package brings`,
      'add signify-openbsd to packages:',
    )
  if (network === 'none')
    throw refused('packages are fetched over the network, but network: is none', 'set network: dhcp')
  if (mode === 'persistent' && !rememberingDisk(data))
    throw refused(
      'mode: persistent keeps packages on a data disk, and the profile has none',
      'add a data area to data:',
    )
}

/** Names as numbers, so that booting asks no name service. */
function numbered(directory: RunDirectory, ids: IdLedger): RunDirectory {
  const number = (name: string, ledger: { readonly [name: string]: number }): string =>
    name === 'root' ? '0' : String(ledger[name] ?? name)
  return {
    ...directory,
    owner: number(directory.owner, ids.users),
    group: number(directory.group, ids.groups),
  }
}

/** What the profile declares under `files:` is not written over. */
function unlessDeclared(tree: Tree, entries: readonly Entry[]): Entry[] {
  return entries.filter(({ path }) => lookup(tree, path)?.owner !== PROFILE_OWNER)
}

/** An init that a package brings and that is not busybox. */
function otherInit(tree: Tree): Entry | undefined {
  const found = follow(tree, 'sbin/init') ?? follow(tree, 'usr/sbin/init')
  return found && found.path !== busyboxOf(tree)?.path ? found : undefined
}

function folder(tree: Tree, path: string, ending: string): string[] {
  return namesIn(tree, path).flatMap((name) => (name.path.endsWith(ending) ? [name.path] : []))
}
