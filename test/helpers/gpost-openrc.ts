/** OpenRC and sysvinit of Debian, repacked where Gentoo has their files; the scripts, which Debian leaves out, are written here. */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { BinhostPackage } from './gentoo-packages.ts'
import type { TarSpec } from './pack.ts'

/** What `fetchDebs` must bring, below one folder. */
export const OPENRC_DEBS = ['openrc', 'librc1', 'libeinfo1', 'sysvinit-core'] as const

const LIBRARIES = 'lib/x86_64-linux-gnu'
/** What Debian links the two with; of this machine. */
const MACHINE = ['libselinux.so.1', 'libpcre2-8.so.0', 'libaudit.so.1', 'libcap-ng.so.0', 'libpam.so.0']
const INITTAB = `id:3:initdefault:
si::sysinit:/sbin/openrc sysinit
rc::bootwait:/sbin/openrc boot
l3:3:wait:/sbin/openrc default
l0:0:wait:/sbin/openrc shutdown
l9:0:wait:/sbin/halt -d -f -p
sh:3:respawn:/bin/busybox cttyhack /bin/bash -l
`
/** Two services, the second started because the first needs it, and one that nobody asks for. */
const GREETER = `#!/sbin/openrc-run
supervisor=supervise-daemon
command=/usr/bin/greeter
depend() {
	need ground
}
`
const GROUND = `#!/sbin/openrc-run
start() {
	echo "ground of $RC_RUNLEVEL" >/dev/console
}
`
const PROGRAM = `#!/bin/sh
echo "greeter in $(cat /run/openrc/softlevel)" >/dev/console
exec sleep 100000
`

/** Folders, files and links below a folder, as they are there. */
function below(folder: string, path: string, to: string = path): TarSpec[] {
  const full = join(folder, path)
  const stat = lstatSync(full)
  if (stat.isSymbolicLink()) return [{ name: to, type: '2', link: readlinkSync(full) }]
  if (!stat.isDirectory()) return [{ name: to, data: readFileSync(full), mode: stat.mode & 0o7777 }]
  const names = readdirSync(full).toSorted()
  return [{ name: `${to}/` }, ...names.flatMap((name) => below(folder, `${path}/${name}`, `${to}/${name}`))]
}

function folders(...names: readonly string[]): TarSpec[] {
  return names.map((name) => ({ name: `${name}/` }))
}

/** @param debs the folder that `fetchDebs` unpacked {@link OPENRC_DEBS} into */
export function openrcPackages(debs: string): BinhostPackage[] {
  const openrc = join(debs, 'openrc')
  const library = (name: string): TarSpec => ({
    name: `lib64/${name}`,
    data: readFileSync(`/${LIBRARIES}/${name}`),
    mode: 0o755,
  })
  const levels = ['boot', 'default', 'nonetwork', 'shutdown', 'sysinit'].map(
    (name) => `etc/runlevels/${name}`,
  )
  return [
    {
      cpv: 'sys-apps/openrc-0.45.2-r2',
      fields: {
        DEFINED_PHASES: 'compile configure install postinst preinst',
        RDEPEND: '>=sys-apps/sysvinit-2.86-r6 sys-libs/openrc-needs',
      },
      files: [
        ...folders('bin', 'sbin', 'lib', 'lib64', 'etc', 'etc/init.d', 'etc/runlevels', ...levels),
        ...below(openrc, 'bin/rc-status'),
        ...readdirSync(join(openrc, 'sbin')).flatMap((name) => below(openrc, `sbin/${name}`)),
        ...below(openrc, 'lib/rc'),
        ...below(openrc, 'etc/rc.conf'),
        ...below(openrc, 'etc/init.d/savecache'),
        ...below(join(debs, 'librc1'), `${LIBRARIES}/librc.so.1`, 'lib64/librc.so.1'),
        ...below(join(debs, 'libeinfo1'), `${LIBRARIES}/libeinfo.so.1`, 'lib64/libeinfo.so.1'),
      ],
    },
    {
      cpv: 'sys-apps/sysvinit-3.06-r1',
      fields: { DEFINED_PHASES: 'compile install postinst prepare' },
      files: [
        ...folders('sbin', 'etc'),
        ...['halt', 'init', 'poweroff', 'reboot', 'shutdown', 'telinit'].flatMap((name) =>
          below(join(debs, 'sysvinit-core'), `sbin/${name}`),
        ),
        { name: 'etc/inittab', data: INITTAB },
      ],
    },
    {
      cpv: 'sys-libs/openrc-needs-1',
      files: [...folders('lib64'), ...[...MACHINE, 'libpam_misc.so.0'].map(library)],
    },
    {
      cpv: 'app-misc/greeter-1',
      files: [
        ...folders('etc', 'etc/init.d', 'usr', 'usr/bin'),
        { name: 'etc/init.d/greeter', data: GREETER, mode: 0o755 },
        { name: 'etc/init.d/ground', data: GROUND, mode: 0o755 },
        { name: 'usr/bin/greeter', data: PROGRAM, mode: 0o755 },
      ],
    },
  ]
}
