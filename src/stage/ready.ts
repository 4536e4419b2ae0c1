/** The line by which `stage5 boot` knows that a guest is up, said by systemd or OpenRC once their services are started. */
import { follow } from '../tree/resolve-path.ts'
import type { Entry, Tree, TreePath } from '../tree/tree.ts'
import { busyboxOf } from './busybox.ts'
import type { Maker } from './generated.ts'

const UNIT = 'stage5-ready.service'
const UNIT_FILE = `usr/lib/systemd/system/${UNIT}`
const SCRIPT = 'etc/init.d/stage5-ready'
/** Where packages put the program that goes through runlevels. */
const OPENRC = ['sbin/openrc', 'usr/bin/openrc', 'usr/sbin/openrc'] as const

export function hasOpenrc(tree: Tree): boolean {
  return OPENRC.some((path) => follow(tree, path))
}

/**
 * Nothing for a root whose init is another one, or which has no shell.
 * @param line one line of text
 */
export async function readyEntries(tree: Tree, line: string, make: Maker): Promise<Entry[]> {
  if (!follow(tree, 'bin/sh')) return []
  const echo = `echo '${line.replaceAll("'", String.raw`'\''`)}' >/dev/console`
  const init = follow(tree, 'sbin/init')?.path
  if (init === undefined) return []
  if (/(?:^|\/)lib\/systemd\/systemd$/.test(init))
    return [
      await make.file(UNIT_FILE, unitText(echo)),
      make.link(`etc/systemd/system/multi-user.target.wants/${UNIT}`, `/${UNIT_FILE}`),
    ]
  if (hasOpenrc(tree) && init !== busyboxOf(tree)?.path)
    return [
      await make.file(SCRIPT, scriptText(echo), { mode: 0o755 }),
      make.link('etc/runlevels/default/stage5-ready', `/${SCRIPT}`),
    ]
  return []
}

/** Whether a name is among what {@link readyEntries} made. */
export function isReadyEntry(path: TreePath): boolean {
  return path === SCRIPT || path === UNIT_FILE
}

/** Started behind everything else of its runlevel. */
function scriptText(command: string): string {
  return `#!/sbin/openrc-run
description="Tell the console that the guest is up"
depend() {
	after *
}
start() {
	${command}
}
`
}

/** `Type=idle` waits until no other job is left. In Exec lines `%` and `$` are doubled, and `\` begins an escape. */
function unitText(command: string): string {
  const quoted = command.replaceAll(/["\\]/g, String.raw`\$&`).replaceAll('%', '%%').replaceAll('$', '$$$$')
  return `[Unit]
Description=Tell the console that the guest is up
After=basic.target
[Service]
Type=idle
ExecStart=/bin/sh -c "${quoted}"
RemainAfterExit=yes
[Install]
WantedBy=multi-user.target
`
}
