/** Every format at once, made by nobody without new privileges: nothing is mounted, and the bytes are those of root. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findTool } from '../../src/host/run.ts'
import { archiveMissing, lendDownloads, runReal, type Workplace, workplace } from '../helpers/real.ts'

const TOOLS = ['setpriv', 'strace', 'mformat', 'syslinux', 'qemu-img', 'mke2fs', 'debugfs']
const FILES = ['/usr/lib/syslinux/mbr/gptmbr.bin', '/usr/lib/systemd/boot/efi/linuxx64.efi.stub']
const missing = TOOLS.find((tool) => findTool(tool) === undefined) ?? FILES.find((file) => !existsSync(file))
const notRoot = process.getuid?.() === 0 ? undefined : 'needs root, to become nobody'
const skip = archiveMissing() ?? notRoot ?? (missing === undefined ? undefined : `needs ${missing}`)

const PROFILE = `stage5: 1
parents: [minimal]
images: [squashfs, erofs, verity, tar, oci, initrd, netboot, disk, qcow2, vhd, containerdisk]
data: [{name: data, size: 16M, paths: [/var/log]}]
`
const CALLS = 'trace=mount,unshare,chroot,pivot_root,fsopen,move_mount,setns,mknod,mknodat'

let place: Workplace
before(() => {
  if (!skip) place = workplace()
})
after(() => place?.[Symbol.dispose]())

/** @returns the sums of the output */
function build(name: string, prefix: string[], env: Record<string, string> = {}): string {
  const project = join(place.directory, name)
  const store = join(place.directory, `${name}-store`)
  mkdirSync(join(project, 'profiles'), { recursive: true })
  writeFileSync(join(project, 'profiles/every.yaml'), PROFILE)
  const downloads = lendDownloads(store)
  spawnSync('chmod', ['-R', 'a+rwX', project, store])
  const ran = runReal(place, { project, store, words: ['build', 'every', '--quiet'], prefix, env })
  assert.equal(ran.code, 0, ran.stderr)
  downloads.takeBack()
  return readFileSync(join(project, 'out/every/SHA256SUMS'), 'utf8')
}

test('nobody makes every format with the bytes of root, and without a call that needs privileges', {
  skip,
}, () => {
  const log = join(place.directory, 'calls')
  const nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--no-new-privs']
  const strace = ['strace', '-f', '-qq', '-e', 'signal=none', '-o', log, '-e', CALLS]
  const sums = build('nobody', [...strace, ...nobody])
  assert.equal(readFileSync(log, 'utf8'), '')
  for (const ending of [
    'squashfs',
    'erofs',
    'verity',
    'roothash',
    'tar',
    'one.initrd',
    'ipxe',
    'raw',
    'qcow2',
    'vhd',
  ])
    assert.match(sums, new RegExp(`_[^ ]*\\.${ending}$`, 'm'), ending)
  assert.match(sums, /\.oci\/index\.json$/m)
  assert.match(sums, /\.containerdisk\.oci\/index\.json$/m)
  const env = { TZ: 'Pacific/Auckland', LC_ALL: 'tr_TR.UTF-8' }
  assert.equal(build('root', ['sh', '-c', 'umask 077; exec "$@"', 'sh'], env), sums)
  const control = join(place.directory, 'control')
  spawnSync('strace', [...strace.slice(1, 5), '-o', control, '-e', CALLS, 'unshare', '-m', 'true'])
  assert.match(readFileSync(control, 'utf8'), /unshare\(/, 'strace would have seen it')
})
