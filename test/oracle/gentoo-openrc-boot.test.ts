/** A guest of Gentoo packages whose init is OpenRC: it starts what the runlevels of the profile say, and nothing else. */
import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { waitReady } from '../../src/deploy/qemu.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { stage5 } from '../helpers/console.ts'
import { fetchDebs } from '../helpers/debs.ts'
import { GENTOO_CERTIFICATE } from '../helpers/gpost-certificate.ts'
import { kernelFolder, packKernel } from '../helpers/gpost-kernel.ts'
import { OPENRC_DEBS, openrcPackages } from '../helpers/gpost-openrc.ts'
import { writeGentooPkgdir } from '../helpers/gpost-pkgdir.ts'
import { bootBuilt, buildProfile, cannotBoot, shell } from '../helpers/guest.ts'

const DEADLINE_MS = 600_000
const PROFILE = `stage5: 1
repositories: [binpkgs]
packages:
  - sys-apps/baselayout
  - sys-apps/busybox
  - app-shells/bash
  - sys-libs/glibc
  - sys-devel/gcc
  - sys-apps/openrc
  - sys-kernel/gentoo-kernel-bin
  - app-misc/greeter
runlevels: {default: [greeter]}
strip: {classes: [headers, static, devlinks, compiler, env, src, kernel-aux]}
kernel: {}
images: [squashfs]
variants:
  without:
    runlevels: null
`

test('OpenRC starts the runlevels of the profile and says that it is ready', {
  timeout: 1_800_000,
}, async (t) => {
  if (cannotBoot) return t.skip(cannotBoot)
  if (!existsSync('/lib/x86_64-linux-gnu/libc.so.6')) return t.skip('needs the libraries of an amd64 Debian')
  using scratch = temporaryDirectory()
  using project = temporaryDirectory()
  const why = fetchDebs(scratch.path, OPENRC_DEBS)
  if (why !== undefined) return t.skip(why)
  const kernel = kernelFolder(scratch.path, join(scratch.path, 'kernel'))
  if ('skip' in kernel) return t.skip(kernel.skip)
  cpSync(resolve(import.meta.dirname, '../fixtures/gentoo/repos'), join(project.path, 'repos'), {
    recursive: true,
  })
  mkdirSync(join(project.path, 'profiles'))
  writeFileSync(join(project.path, 'profiles/rc.yaml'), PROFILE)
  writeGentooPkgdir(join(project.path, 'pkgdir'), GENTOO_CERTIFICATE, openrcPackages(scratch.path))
  await packKernel(project.path, join(scratch.path, 'kernel'))
  const indexed = await stage5(project.path, ['index', 'pkgdir'])
  assert.equal(indexed.code, 0, indexed.stderr)

  const upAtShell = async (profile: string) => {
    const built = await buildProfile(project.path, profile)
    assert.ok('file' in built)
    const guest = await bootBuilt(built, t.signal, { memoryMiB: 256 })
    try {
      await waitReady(guest, 'stage5: ready', DEADLINE_MS)
      await guest.waitFor('# ', DEADLINE_MS)
      return guest
    } catch (error) {
      await guest[Symbol.asyncDispose]()
      throw error
    }
  }

  await t.test('a service with a link is up, and what it needs', async () => {
    await using guest = await upAtShell('rc')
    assert.ok(guest.last(200).includes('ground of default'), guest.last(50).join('\n'))
    assert.deepEqual(await shell(guest, 'readlink /proc/1/exe; readlink /etc/runlevels/default/greeter'), [
      '/usr/bin/init',
      '/etc/init.d/greeter',
    ])
    const status = (await shell(guest, 'rc-service greeter status; rc-status default')).join('\n')
    assert.match(status, /status: started/)
    assert.match(status, /^ greeter\s+\[ +started/m)
    assert.match(status, /^ stage5-ready\s+\[ +started/m)
    guest.write('poweroff\n')
    assert.equal((await guest.exited).code, 0)
  })

  await t.test('without its link the same service is not', async () => {
    await using guest = await upAtShell('rc@without')
    assert.ok(!guest.last(500).some((line) => /greeter in|ground of/.test(line)), guest.last(50).join('\n'))
    assert.deepEqual(
      await shell(
        guest,
        'rc-service greeter status 2>/dev/null | sed "s/.*status/status/"; ls /etc/init.d/greeter',
      ),
      ['status: stopped', '/etc/init.d/greeter'],
    )
  })
})
