/** A root with systemd, and the links that enabling its units makes. */
import type { Outcome } from '../stage/scene.ts'

const unit = (install: string): string =>
  `[Unit]\nDescription=x\n[Service]\nExecStart=/bin/x\n${install === '' ? '' : `[Install]\n${install}\n`}`

export const SYSTEMD_FILES: { readonly [path: string]: string } = {
  'usr/lib/systemd/systemd': 'x',
  'usr/lib/systemd/system/multi-user.target': '[Unit]\nDescription=x\n',
  'usr/lib/systemd/system/sshd.service': unit(
    'WantedBy=multi-user.target\nAlias=ssh.service\nAlso=sshd.socket',
  ),
  'usr/lib/systemd/system/sshd.socket': unit('WantedBy=sockets.target'),
  'usr/lib/systemd/system/getty@.service': unit('WantedBy=getty.target\nDefaultInstance=tty1'),
  'usr/lib/systemd/system/serial@.service': unit(
    'WantedBy=dev-%i.device getty.target\nAlias=console-%p-%N.service',
  ),
  'usr/lib/systemd/system/both.service': unit(
    'WantedBy=a.target \\\n  b.target\n# WantedBy=no.target\nRequiredBy=c.target',
  ),
  'usr/lib/systemd/system/reset.service': unit('WantedBy=a.target\nWantedBy=\nWantedBy=d.target'),
  'usr/lib/systemd/system/static.service': unit(''),
  'usr/lib/systemd/system/off.timer': unit('WantedBy=timers.target'),
  'usr/lib/systemd/system/kept.service': unit('WantedBy=multi-user.target'),
  'usr/lib/systemd/system-preset/90-systemd.preset':
    '# c\nenable getty@.service\nenable sshd.*\nenable both.service\nenable reset.service\nenable serial@.service ttyS0 ttyS1\n',
  'usr/lib/systemd/system-preset/99-default.preset': 'disable *\n',
  'usr/lib/systemd/system-preset/80-masked.preset': 'enable off.timer\n',
  'etc/systemd/system-preset/80-masked.preset': 'ignore nothing\n',
}

/** Symlinks below a folder, as `PATH -> TARGET`. */
export function linksOf({ paths, inode }: Outcome, folder: string): string[] {
  return paths().flatMap((path) => {
    const found = inode(path)
    return path.startsWith(`${folder}/`) && found?.type === 'symlink'
      ? [`${path.slice(folder.length + 1)} -> ${found.target}`]
      : []
  })
}
