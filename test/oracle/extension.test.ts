/** System extensions: systemd itself takes ours on a host that it fits, and refuses it on one that it does not. */
import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { findTool, run } from '../../src/host/run.ts'
import { temporaryDirectory } from '../../src/host/temp.ts'
import { type Built, buildProfile, cannotBoot } from '../helpers/guest.ts'

const project = temporaryDirectory()
process.on('exit', () => project[Symbol.dispose]())
let output: Promise<Built | { skip: string }> | undefined

async function built(t: TestContext): Promise<Built | undefined> {
  if (cannotBoot) {
    t.skip(cannotBoot)
    return undefined
  }
  mkdirSync(join(project.path, 'profiles'), { recursive: true })
  writeFileSync(
    join(project.path, 'profiles/tools.yaml'),
    'stage5: 1\nparents: [minimal]\nkernel: none\npackages: [-linux-image-cloud-amd64]\nnetwork: none\n' +
      'images: [{format: sysext, os: debian, osVersion: 12}, {format: confext, type: erofs, os: _any, name: conf}]\n',
  )
  output ??= buildProfile(project.path, 'tools')
  const found = await output
  if ('file' in found) return found
  t.skip(found.skip)
  return undefined
}

/** A host as systemd-sysext sees it, with one extension. @returns what systemd-sysext said */
async function merged(image: string, osRelease: string): Promise<string> {
  using folder = temporaryDirectory()
  for (const path of ['usr/lib', 'opt', 'etc', 'run', 'var/lib/extensions'])
    mkdirSync(join(folder.path, path), { recursive: true })
  writeFileSync(join(folder.path, 'usr/lib/os-release'), osRelease)
  copyFileSync(image, join(folder.path, 'var/lib/extensions/tools.raw'))
  const script = 'mount -t tmpfs none /run && mount --make-rslave / && exec systemd-sysext --root="$1" merge'
  const { stdout, stderr } = await run(['unshare', '-m', 'sh', '-c', script, 'sh', folder.path], {
    accept: 'any',
  })
  return stdout.toString() + stderr
}

const cannotMerge: string | false =
  findTool('systemd-sysext') === undefined || findTool('systemd-dissect') === undefined
    ? 'needs systemd-sysext'
    : process.getuid?.() !== 0 || !existsSync('/dev/loop-control')
      ? 'needs root and loop devices'
      : false

test('systemd merges the sysext into a host of its version, and into no other', async (t) => {
  const found = await built(t)
  if (!found) return
  if (cannotMerge) return t.skip(cannotMerge)
  const image = found.file('.sysext.raw')
  assert.match(
    await merged(image, 'ID=debian\nVERSION_ID=12\n'),
    /Using extensions 'tools'\.\nMerged extensions/,
  )
  const refused = /No suitable extensions found \(1 ignored due to incompatible/
  assert.match(await merged(image, 'ID=debian\nVERSION_ID=13\n'), refused)
  assert.match(await merged(image, 'ID=fedora\nVERSION_ID=12\n'), refused)
})

test('systemd-dissect calls it an extension under its name, and no system', async (t) => {
  const found = await built(t)
  if (!found) return
  if (cannotMerge) return t.skip(cannotMerge)
  using folder = temporaryDirectory()
  const image = join(folder.path, 'tools.raw')
  copyFileSync(found.file('.sysext.raw'), image)
  const said = (await run(['systemd-dissect', image])).stdout.toString()
  assert.match(said, /[✓+] extension for system/)
  assert.match(said, /[✗-] bootable system for container/)
  const wrong = join(folder.path, 'other.raw')
  copyFileSync(image, wrong)
  assert.match((await run(['systemd-dissect', wrong])).stdout.toString(), /[✗-] extension for system/)
})

test('other readers find /usr in the one and /etc in the other, and nothing else', async (t) => {
  const found = await built(t)
  if (!found) return
  if (!findTool('fsck.erofs') || !findTool('unsquashfs'))
    return t.skip('needs erofs-utils and squashfs-tools')
  const listed = (await run(['unsquashfs', '-l', '-n', found.file('.sysext.raw')])).stdout.toString()
  const names = listed.split('\n').filter((line) => line.startsWith('squashfs-root/'))
  assert.ok(names.every((name) => /^squashfs-root\/(?:usr|opt)(?:\/|$)/.test(name)))
  assert.ok(names.includes('squashfs-root/usr/bin/busybox'))
  assert.ok(!names.includes('squashfs-root/usr/lib/os-release'))
  using folder = temporaryDirectory()
  await run(['fsck.erofs', `--extract=${join(folder.path, 'x')}`, found.file('.confext.raw')])
  assert.ok(existsSync(join(folder.path, 'x/etc/extension-release.d/extension-release.conf')))
  assert.ok(existsSync(join(folder.path, 'x/etc/hostname')))
  assert.ok(!existsSync(join(folder.path, 'x/usr')))
})
