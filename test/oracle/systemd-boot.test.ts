/** A guest whose init is systemd: the units of the profile are started, and the ready line is said without busybox init. */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { waitReady } from '../../src/deploy/qemu.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { bootBuilt, buildProfile, cannotBoot } from '../helpers/guest.ts'

const PROFILE = `parents: [minimal]
packages: [systemd-sysv]
services: null
units: [hello]
provided:
  - {name: debconf, reason: no package script runs}
strip:
  classes: [-systemd, interpreter-orphans]
  drop: [/etc/modules-load.d/modules.conf, /etc/sysctl.d/99-sysctl.conf, /usr/lib/environment.d/99-environment.conf]
scripts:
  libc6: it guards upgrades of a running system
  libpam-modules: nobody logs in
  libpam-runtime: nobody logs in
  login: nobody logs in
  mount: no script runs
  passwd: nobody logs in
  systemd: its units are those of the profile
  systemd-sysv: it only speaks
  util-linux: no script runs
files:
  - path: /usr/lib/systemd/system/hello.service
    content: |
      [Service]
      Type=oneshot
      ExecStart=/bin/sh -c 'echo "hello of $$(readlink /proc/1/exe)" >/dev/console'
      [Install]
      WantedBy=multi-user.target
`

test('systemd starts the units of the profile and says that it is ready', { timeout: 600_000 }, async (t) => {
  if (cannotBoot) return t.skip(cannotBoot)
  using project = temporaryDirectory()
  mkdirSync(join(project.path, 'profiles'))
  writeFileSync(join(project.path, 'profiles/sd.yaml'), PROFILE)
  const built = await buildProfile(project.path, 'sd')
  if (!('file' in built)) return t.skip(built.skip)
  await using guest = await bootBuilt(built, t.signal, { memoryMiB: 512 })
  await waitReady(guest, 'stage5: ready', 300_000)
  assert.ok(guest.last(200).includes('hello of /usr/lib/systemd/systemd'), guest.last(30).join('\n'))
})
