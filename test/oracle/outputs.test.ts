/** Every format at once, made by nobody without new privileges: nothing is mounted, and the bytes are those of root. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findTool, run } from '../../src/host/run.ts'
import { type TwoKernels, twoKernels } from '../helpers/i5c-kernels.ts'
import { archiveMissing, lendDownloads, runReal, type Workplace, workplace } from '../helpers/real.ts'

const TOOLS = ['setpriv', 'strace', 'mformat', 'syslinux', 'qemu-img', 'mke2fs', 'debugfs', 'cpio', 'tar']
const FILES = ['/usr/lib/syslinux/mbr/gptmbr.bin', '/usr/lib/systemd/boot/efi/linuxx64.efi.stub']
const missing = TOOLS.find((tool) => findTool(tool) === undefined) ?? FILES.find((file) => !existsSync(file))
const notRoot = process.getuid?.() === 0 ? undefined : 'needs root, to become nobody'
const kernels = archiveMissing() === undefined ? twoKernels() : { skip: archiveMissing() as string }
const unable = 'skip' in kernels ? kernels.skip : undefined
const skip = unable ?? notRoot ?? (missing === undefined ? undefined : `needs ${missing}`)

const KEY = generateKeyPairSync('ed25519')
  .publicKey.export({ format: 'der', type: 'spki' })
  .toString('base64')
const EXTENSIONS = '{format: sysext, os: debian, osVersion: 12}, {format: confext, type: erofs, os: _any}'
const PROFILES: Readonly<Record<string, string>> = {
  every: `stage5: 1
parents: [minimal]
packages: [signify-openbsd, linux-image-${'other' in kernels ? kernels.other : ''}]
scripts: {libc6: it guards upgrades of a running system}
config: {mode: persistent, keys: ["${KEY}"]}
images: [squashfs, erofs, verity, tar, dir, oci, initrd, netboot, uki, disk, qcow2, vhd, containerdisk, ${EXTENSIONS}]
data: [{name: data, size: 16M, paths: [/var/log]}]
`,
  arm: `stage5: 1
parents: [minimal]
arch: arm64
network: none
packages: [-linux-image-cloud-amd64, linux-image-cloud-arm64, systemd-boot-efi]
strip: {drop: [/usr/lib/systemd]}
images: [disk, initrd]
`,
}
const ENDINGS =
  'squashfs erofs verity roothash cmdline vmlinuz tar one.initrd ipxe efi raw qcow2 vhd sysext.raw confext.raw ext4 oci/index.json containerdisk.oci/index.json'
const CALLS = 'trace=mount,unshare,chroot,pivot_root,fsopen,move_mount,setns,mknod,mknodat'

let place: Workplace
before(() => {
  if (!skip) place = workplace()
})
after(() => place?.[Symbol.dispose]())

interface Person {
  readonly name: string
  /** Words before the program. */
  readonly prefix: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Runs the program as this person, in a project of their own. */
function program({ name, prefix, env = {} }: Person, ...words: readonly string[]): void {
  const project = join(place.directory, name)
  const store = join(place.directory, `${name}-store`)
  const ran = runReal(place, { project, store, words, prefix, env })
  assert.equal(ran.code, 0, `${words.join(' ')}: ${ran.stderr}`)
}

/** A project with the profiles, a folder to pack and an old initrd, that anybody may write to. */
function prepare({ name }: Person): string {
  const project = join(place.directory, name)
  const store = join(place.directory, `${name}-store`)
  for (const folder of ['profiles', 'site/root/etc']) mkdirSync(join(project, folder), { recursive: true })
  for (const [profile, text] of Object.entries(PROFILES))
    writeFileSync(join(project, `profiles/${profile}.yaml`), text)
  writeFileSync(join(project, 'site/root/etc/motd'), 'hello\n')
  writeFileSync(join(project, 'site/apply'), 'echo applied\n')
  mkdirSync(store)
  lendDownloads(store)
  spawnSync('chmod', ['-R', 'a+rwX', project, store])
  return project
}

/** Digests of the files of a folder. */
function digests(folder: string): string {
  const lines = readdirSync(folder)
    .sort()
    .map(
      (file) =>
        `${createHash('sha256')
          .update(readFileSync(join(folder, file)))
          .digest('hex')} ${file}\n`,
    )
  return lines.join('')
}

/** Everything that does not need a guest: images, config packages, an initrd that is converted. @returns all digests */
async function makeAll(person: Person, old: string): Promise<string> {
  const project = prepare(person)
  program(person, 'build', 'every', '--quiet')
  lendDownloads(join(place.directory, `${person.name}-store`)).takeBack()
  const made = join(project, 'out/every')
  if (!existsSync(old)) await oldInitrd(made, old)
  const { usual } = kernels as TwoKernels
  program(person, 'convert', old, '--kernel', usual, '--to', 'one', '-o', 'converted', '--level', '3')
  program(person, 'key', 'new', 'house')
  program(person, 'config', 'pack', 'site', '--key', 'house', '--out', 'site.tar.gz')
  const packed = createHash('sha256').update(readFileSync(join(project, 'site.tar.gz')))
  return [
    readFileSync(join(made, 'SHA256SUMS'), 'utf8'),
    digests(join(project, 'converted')),
    packed.digest('hex'),
  ].join('\n')
}

/** The root of a build as one big archive. */
async function oldInitrd(made: string, target: string): Promise<void> {
  const tar = readdirSync(made).find((name) => name.endsWith('.tar')) as string
  const root = join(place.directory, 'old-root')
  const script =
    'mkdir "$1" && cd "$1" && tar -xf "$2" && ln -s sbin/init init && ' +
    'find . | LC_ALL=C sort | cpio -o -H newc --quiet >"$3"'
  await run(['sh', '-c', script, 'sh', root, join(made, tar), target])
}

test('nobody makes every format with the bytes of root, and without a call that needs privileges', {
  skip,
}, async () => {
  const log = join(place.directory, 'calls')
  const nobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--no-new-privs']
  const strace = ['strace', '-f', '--seccomp-bpf', '-qq', '-A', '-e', 'signal=none', '-o', log, '-e', CALLS]
  const old = join(place.directory, 'old.cpio')
  const traced: Person = { name: 'nobody', prefix: [...strace, ...nobody] }
  const sums = await makeAll(traced, old)
  program(traced, 'build', 'arm', '--quiet')
  assert.equal(readFileSync(log, 'utf8'), '')
  for (const ending of ENDINGS.split(' '))
    assert.match(sums, new RegExp(`_[^ ]*\\.${ending.replaceAll('.', '\\.')}$`, 'm'), ending)
  assert.match(readFileSync(join(place.directory, 'nobody/out/arm/SHA256SUMS'), 'utf8'), /\.raw$/m)
  const env = { TZ: 'Pacific/Auckland', LC_ALL: 'tr_TR.UTF-8' }
  assert.equal(
    await makeAll({ name: 'root', prefix: ['sh', '-c', 'umask 077; exec "$@"', 'sh'], env }, old),
    sums,
  )
  const control = join(place.directory, 'control')
  spawnSync('strace', [
    '-f',
    '--seccomp-bpf',
    '-qq',
    '-e',
    'signal=none',
    '-o',
    control,
    '-e',
    CALLS,
    'unshare',
    '-m',
    'true',
  ])
  assert.match(readFileSync(control, 'utf8'), /unshare\(/, 'strace would have seen it')
})
