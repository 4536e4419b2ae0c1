/** The texts by which busybox init brings a guest up and down. */
import type { ServiceSpec } from '../resolve/profile.ts'
import type { RunDirectory } from './tmpfiles.ts'

interface Boot {
  readonly services: readonly ServiceSpec[]
  readonly network: 'none' | 'dhcp'
  readonly modules: readonly string[]
  readonly ready: string
  readonly directories: readonly RunDirectory[]
  readonly sysctls: boolean
  /** Path of the program that applies config packages. */
  readonly config?: string
}

/** One word for a POSIX shell. */
function quoted(text: string): string {
  return /^[A-Za-z0-9_./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

/** busybox init (`busybox` is its path): `terminal::action:process`; respawn begins when everything before has ended. */
export function inittab(services: readonly ServiceSpec[], busybox: string): string {
  const lines = services.flatMap(({ name, kind }) => {
    if (kind === 'once') return []
    const script = `/etc/stage5/services/${name}`
    return kind === 'console' ? [`::respawn:${busybox} cttyhack ${script}`] : [`::respawn:${script}`]
  })
  return `${[
    '# Written by stage5 from the services of the profile.',
    '::sysinit:/etc/init.d/rcS',
    ...lines,
    '::ctrlaltdel:/sbin/reboot',
    '::shutdown:/etc/init.d/rcK',
  ].join('\n')}\n`
}

/** The command line of a service, replacing the shell. */
export function serviceScript({ run }: ServiceSpec): string {
  return `#!/bin/sh\nexport PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexec ${run}\n`
}

const HEAD = `#!/bin/sh
# Written by stage5: brings the guest up; then init starts what /etc/inittab names.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

# Mounts TYPE at DIRECTORY, unless the initramfs already did.
mount_at() {
  grep -q " $2 " /proc/mounts && return
  mkdir -p "$2" && mount -t "$1" -o "$3" "$1" "$2"
}
[ -e /proc/mounts ] || mount -t proc -o nosuid,noexec,nodev proc /proc
mount_at sysfs /sys nosuid,noexec,nodev
mount_at devtmpfs /dev mode=0755,nosuid
mount_at devpts /dev/pts mode=0620,gid=5,nosuid,noexec
mount_at tmpfs /dev/shm mode=1777,nosuid,nodev
mount_at tmpfs /run mode=0755,nosuid,nodev
mount_at tmpfs /tmp mode=1777,nosuid,nodev
mkdir -p /run/lock

# The last value of stage5.NAME= on the kernel command line or in a seed.
word() {
  sed -n "s/^stage5\\.$1=//p" /run/stage5/words 2>/dev/null | tail -n 1
}
`

const NAME = `
name=$(word hostname)
if [ "$name" ]; then hostname "$name"; else hostname -F /etc/hostname; fi
ip link set lo up
`

const NETWORK = `
# The first ethernet that has a device behind it: stage5.ip=ADDRESS/BITS, stage5.gateway= and stage5.dns=, or by DHCP.
for port in /sys/class/net/*; do
  [ "$(cat "$port/type")" = 1 ] && [ -e "$port/device" ] || continue
  port=\${port##*/}
  ip link set "$port" up
  address=$(word ip)
  if [ "$address" ]; then
    ip addr add "$address" dev "$port"
    gateway=$(word gateway)
    [ -z "$gateway" ] || ip route add default via "$gateway" dev "$port"
    for server in $(word dns | tr , ' '); do echo "nameserver $server"; done >/run/resolv.conf
  else
    udhcpc -b -i "$port" -s /etc/stage5/udhcpc -p "/run/udhcpc.$port.pid" -t 5 -T 1 >/dev/null 2>&1
  fi
  break
done
`

/** /etc/init.d/rcS: everything before the first respawn, with the ready line as the last. */
export function bootScript({
  services,
  network,
  modules,
  ready,
  directories,
  sysctls,
  config,
}: Boot): string {
  const parts = [HEAD]
  if (modules.length > 0) parts.push(`modprobe -a ${modules.map(quoted).join(' ')}\n`)
  parts.push(NAME)
  if (sysctls)
    parts.push(`
for file in /usr/lib/sysctl.d/*.conf /etc/sysctl.d/*.conf; do
  [ -e "$file" ] && sysctl -q -p "$file"
done
`)
  if (directories.length > 0)
    parts.push(
      '\n',
      ...directories.map(({ path, mode, owner, group }) => {
        const place = quoted(path)
        return `mkdir -p ${place} && chmod ${mode} ${place} && chown ${owner}:${group} ${place}\n`
      }),
    )
  if (network === 'dhcp') parts.push(NETWORK)
  if (config !== undefined) parts.push(`\n${config}\n`)
  const once = services.filter(({ kind }) => kind === 'once')
  if (once.length > 0) parts.push('\n')
  for (const { name } of once)
    parts.push(`/etc/stage5/services/${name} || echo "stage5: ${name} ended with $?"\n`)
  parts.push(`\necho ${quoted(ready)} >/dev/console\n`)
  return parts.join('')
}

/** /etc/init.d/rcK: init runs it before it signals anyone, so it signals for itself; a shell's `kill -1` spares the shell. */
export const STOP_SCRIPT = `#!/bin/sh
# Written by stage5: ends what still runs, then leaves every disk clean.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
kill -TERM -1 2>/dev/null
sleep 1
kill -KILL -1 2>/dev/null
sync
umount -a -r 2>/dev/null
`

/** What udhcpc calls at each change of the lease. */
export const DHCP_SCRIPT = `#!/bin/sh
# Written by stage5: puts the lease that udhcpc got into effect.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
case $1 in
  deconfig)
    ip addr flush dev "$interface"
    ip link set "$interface" up
    ;;
  bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/\${mask:-24}" dev "$interface"
    for gateway in $router; do
      ip route replace default via "$gateway" dev "$interface"
      break
    done
    {
      [ -n "$domain" ] && echo "search $domain"
      for server in $dns; do echo "nameserver $server"; done
    } >/run/resolv.conf.new
    mv /run/resolv.conf.new /run/resolv.conf
    ;;
esac
`
