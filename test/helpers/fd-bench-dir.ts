/** A guest of the driver dir: busybox in a root of its own, which notes each start in its data area. */
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { WhileOff } from '../../src/deploy/driver.ts'
import { openDriver } from '../../src/deploy/drivers/open.ts'
import { findTool } from '../../src/host/run.ts'
import type { Group } from '../../src/resolve/group.ts'
import { driverGuest } from '../../src/resolve/template.ts'
import type { Bench } from './fd-contract.ts'
import { group } from './fd-group.ts'
import { makeOutput } from './fd-output.ts'

const START = `#!/bin/sh
echo $STAGE5_GENERATION >>/var/log/starts
echo $STAGE5_GENERATION >>/etc/toy/starts
echo ready
exec sleep 1000000
`

/** The tree that stands beside an output: what `checkout` copies. */
function tree(folder: string, version: string, start: string): void {
  const root = join(folder, 'trees', version)
  for (const name of ['bin', 'etc/toy', 'usr/lib', 'var/log', 'proc'])
    mkdirSync(join(root, name), { recursive: true })
  copyFileSync(findTool('busybox') as string, join(root, 'bin/busybox'))
  for (const name of ['sh', 'sleep', 'cat']) cpSync(join(root, 'bin/busybox'), join(root, 'bin', name))
  writeFileSync(join(root, 'start'), start, { mode: 0o755 })
  writeFileSync(join(root, 'etc/hostname'), 'toy\n')
  writeFileSync(join(root, 'usr/lib/os-release'), `IMAGE_ID=toy\nIMAGE_VERSION="${version}"\n`)
  writeFileSync(join(root, 'var/log/seeded'), 'from the base\n')
  writeFileSync(join(root, 'etc/toy/default'), `default ${version}\n`)
}

const CHROOT = ['chroot', '{root}', '/bin/sh', '/start']

const DIR_GROUP: Group = group(
  {
    kind: 'dir',
    options: {
      root: '',
      run: CHROOT,
      writable: 1_048_576,
      stopSeconds: 5,
    },
  },
  { health: [{ kind: 'console', text: 'ready', timeoutMs: 5000 }] },
)

/** @param program what runs in the root; default: its /start, by chroot */
export function openBench(
  given: string,
  program: readonly string[] = CHROOT,
  whileOff?: WhileOff,
): Omit<Bench, keyof AsyncDisposable> {
  const folder = realpathSync(given)
  const disk = { size: 8_388_608, label: 'any' }
  const data = [
    { ...disk, name: 'log', file: 'log.ext4', paths: ['/var/log'] },
    { ...disk, name: 'conf', file: 'conf.ext4', paths: ['/etc/toy'], kind: 'overlay' },
  ]
  // A guest whose areas cannot be mounted does not start.
  const areas = [
    { name: 'cache', size: 65_536, paths: ['/var/cache'], kind: 'tmpfs' },
    { name: 'fixed', size: 0, paths: ['/srv/fixed'], kind: 'immutable' },
  ]
  if (!existsSync(join(folder, 'trees'))) {
    tree(folder, '1', START)
    tree(folder, '2', START)
    tree(folder, '3', '#!/bin/sh\nexit 3\n')
  }
  const [first, second, broken] = ['1', '2', '3'].map((version) =>
    makeOutput(folder, Number(version), { version, boot: { data, areas } }),
  ) as [Bench['first'], Bench['first'], Bench['first']]
  const { driver: usual } = DIR_GROUP
  const toys: Group = { ...DIR_GROUP, driver: { ...usual, options: { ...usual.options, run: program } } }
  const driver = openDriver(toys, {
    directory: folder,
    whileOff,
    checkout: async ({ seq }, directory) =>
      cpSync(join(folder, 'trees', `${seq}`), directory, { recursive: true, preserveTimestamps: true }),
  })
  const guest = driverGuest(DIR_GROUP, DIR_GROUP.guests[0] as Group['guests'][number])
  return {
    driver,
    guest,
    first,
    second,
    broken,
    module: import.meta.filename,
    folder,
    starts: async () => {
      const file = join(folder, '.stage5/guests', guest.name, 'data/log/var/log/starts')
      return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
    },
  }
}
