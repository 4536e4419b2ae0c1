/**
 * The tools of a systemd that is newer than Debian's own, in a root that stage5 composes of the backports suite: on the
 * machine's kernel, in a mount namespace and a chroot, without an init.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findTool, run } from '../../src/host/run.ts'
import { stage5 } from './console.ts'
import { STORE } from './guest.ts'

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

export const cannotCompose: string | false =
  process.getuid?.() !== 0 || !existsSync('/dev/loop-control')
    ? 'needs root and loop devices'
    : !findTool('gpgv') || !findTool('apt-get') || !findTool('unshare') || !existsSync(KEYRING)
      ? 'needs a Debian machine with gpgv and unshare'
      : false

const PROFILE = `stage5: 1
parents: [base]
repositories: [debian, backports]
kernel: none
network: none
packages: [systemd>=254, systemd-container>=254, gpg]
strip:
  classes: [-systemd, interpreter-orphans]
  drop: [/etc/modules-load.d/modules.conf, /etc/sysctl.d/99-sysctl.conf, /usr/lib/environment.d/99-environment.conf]
provided:
  - {name: dbus-system-bus, reason: nothing runs but the tools}
  - {name: debconf, reason: no package script runs}
  - {name: mount, reason: busybox has it}
  - {name: readline-common, reason: nobody types}
scripts:
  libc6: it guards upgrades of a running system
  systemd: only its tools are run
`

/** Where apt finds the machine's own suite, which has the backports beside it. */
async function backports(): Promise<string | undefined> {
  const release = readFileSync('/etc/os-release', 'utf8')
  const suite = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1]
  const listed = await run(['apt-get', 'indextargets', '--format', '$(CODENAME) $(REPO_URI)'], {
    accept: 'any',
  })
  const uri = new RegExp(`^${suite} (\\S+)$`, 'm').exec(listed.stdout.toString())?.[1]
  if (suite !== 'bookworm' || uri === undefined) return undefined
  return `stage5: 1\nkind: debian\nsources: [{uri: "${uri}", suites: [${suite}-backports], signedBy: ${KEYRING}}]\n`
}

export interface Tools {
  /** A root of its own, which may be written to. */
  readonly root: string
  /**
   * A shell script inside, with /proc, /sys, /dev, an empty /run, and this folder as /mnt. What it mounts is gone afterwards.
   * @returns everything that was printed
   */
  inside(script: string, mnt?: string): Promise<{ readonly code: number | null; readonly said: string }>
}

const ENTER = `mount --bind "$1" "$1" && mount --make-shared "$1" && mount -t proc proc "$1/proc" &&
mount -t sysfs sysfs "$1/sys" && mount --rbind /dev "$1/dev" && mount -t tmpfs none "$1/run" &&
mount --bind "$2" "$1/mnt" && exec chroot "$1" /bin/sh -c "exec 2>&1; $3"`

/** @returns why it cannot be had, when the archive has none */
export async function newerSystemd(project: string): Promise<Tools | { readonly skip: string }> {
  const repository = await backports()
  if (repository === undefined) return { skip: 'needs Debian 12, whose backports have systemd 254' }
  for (const [path, text] of [
    ['repos/backports.yaml', repository],
    ['profiles/tools-254.yaml', PROFILE],
  ] as const) {
    mkdirSync(join(project, path, '..'), { recursive: true })
    writeFileSync(join(project, path), text)
  }
  const root = join(project, 'tools-254')
  for (const words of [
    ['lock', 'tools-254'],
    ['checkout', 'tools-254', root, '--copy'],
  ]) {
    const ran = await stage5(project, words, { STAGE5_STORE: STORE })
    if (/S5_FETCH_FAILED|S5_OFFLINE/.test(ran.stderr))
      return { skip: 'needs a Debian archive that can be reached' }
    if (ran.code !== 0) throw new Error(`stage5 ${words.join(' ')}: ${ran.stderr}`)
  }
  return {
    root,
    inside: async (script, mnt = project) => {
      const argv = ['unshare', '--mount', 'sh', '-c', ENTER, 'sh', root, mnt, script]
      const { code, stdout, stderr } = await run(argv, { accept: 'any' })
      return { code, said: stdout.toString() + stderr.toString() }
    },
  }
}
