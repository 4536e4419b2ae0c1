/** A guest of Gentoo packages boots: its kernel was packed by `stage5 pack`, everything else is a PKGDIR as Portage leaves it. */
import assert from 'node:assert/strict'
import { cpSync, existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { waitReady } from '../../src/deploy/qemu.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { stage5 } from '../helpers/console.ts'
import { GENTOO_CERTIFICATE } from '../helpers/gpost-certificate.ts'
import { kernelFolder, packKernel } from '../helpers/gpost-kernel.ts'
import { writeGentooPkgdir } from '../helpers/gpost-pkgdir.ts'
import { bootBuilt, buildProfile, cannotBoot, shell } from '../helpers/guest.ts'

const DEADLINE_MS = 240_000

test('a root of Gentoo packages boots and runs what it holds', { timeout: 600_000 }, async (t) => {
  if (cannotBoot) return t.skip(cannotBoot)
  if (!existsSync('/lib/x86_64-linux-gnu/libc.so.6')) return t.skip('needs the libraries of an amd64 Debian')
  using scratch = temporaryDirectory()
  using project = temporaryDirectory()
  const kernel = kernelFolder(scratch.path, join(scratch.path, 'kernel'))
  if ('skip' in kernel) return t.skip(kernel.skip)
  cpSync(resolve(import.meta.dirname, '../fixtures/gentoo'), project.path, { recursive: true })
  writeGentooPkgdir(join(project.path, 'pkgdir'), GENTOO_CERTIFICATE)
  await packKernel(project.path, join(scratch.path, 'kernel'))
  const indexed = await stage5(project.path, ['index', 'pkgdir'])
  assert.equal(indexed.code, 0, indexed.stderr)
  const built = await buildProfile(project.path, 'www-nginx@boot')
  assert.ok('file' in built)
  await using guest = await bootBuilt(built, t.signal)
  await waitReady(guest, 'stage5: ready', DEADLINE_MS)
  await guest.waitFor('# ', DEADLINE_MS)
  assert.deepEqual(await shell(guest, 'echo $BASH_VERSION | cut -c1; echo $PATH'), [
    '5',
    '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin',
  ])
  assert.deepEqual(await shell(guest, 'uname -r; id -un; id nginx'), [
    kernel.release,
    'root',
    'uid=82(nginx) gid=82(nginx) groups=82(nginx),1(bin)',
  ])
  const loads = `LD_PRELOAD=libstdc++.so.6 bash -c 'mapfile -t a </proc/self/maps; printf "%s\\n" "\${a[@]##* }"' | grep stdc | sort -u`
  assert.deepEqual(await shell(guest, loads), ['/usr/lib/gcc/x86_64-pc-linux-gnu/14/libstdc++.so.6.0.30'])
  assert.deepEqual(await shell(guest, 'stat -c "%a %U %G" /var/lib/nginx; readlink /bin/sh'), [
    '750 nginx nginx',
    'bash',
  ])
  guest.write('poweroff\n')
  assert.equal((await guest.exited).code, 0)
})
