/** The line by which `stage5 boot` knows that a guest is up, said by systemd or OpenRC once their services are started. */
import { follow } from '../tree/resolve-path.ts'
import { type Entry, lookup, type Tree } from '../tree/tree.ts'
import type { Maker } from './generated.ts'

const UNIT = 'stage5-ready.service'

/**
 * Nothing for a root whose init is another one, or which has no shell.
 * @param line one line of text
 */
export async function readyEntries(tree: Tree, line: string, make: Maker): Promise<Entry[]> {
  if (!follow(tree, 'bin/sh')) return []
  const echo = `echo '${line.replaceAll("'", String.raw`'\''`)}' >/dev/console`
  if (/(?:^|\/)lib\/systemd\/systemd$/.test(follow(tree, 'sbin/init')?.path ?? ''))
    return [
      await make.file(`usr/lib/systemd/system/${UNIT}`, unitText(echo)),
      make.link(`etc/systemd/system/multi-user.target.wants/${UNIT}`, `/usr/lib/systemd/system/${UNIT}`),
    ]
  if (lookup(tree, 'etc/init.d/local') && follow(tree, 'sbin/openrc'))
    return [await make.file('etc/local.d/stage5-ready.start', `#!/bin/sh\n${echo}\n`, { mode: 0o755 })]
  return []
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
