// Sets a checkout up: npm packages, and Debian tools where this is root on Debian. Plain JavaScript for any Node >= 18.
//
//   node src/setup.js [--tools demo|test] [--dry-run]
import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Program (or file, from a folder of programs) to the Debian package that brings it. */
const DEMO = {
  gpgv: 'gpgv',
  xz: 'xz-utils',
  mke2fs: 'e2fsprogs',
  debugfs: 'e2fsprogs',
  'qemu-system-x86_64': 'qemu-system-x86',
}
const TEST = {
  ...DEMO,
  unsquashfs: 'squashfs-tools',
  cpio: 'cpio',
  gpg: 'gpg',
  depmod: 'kmod',
  setpriv: 'util-linux',
  getfattr: 'attr',
  setcap: 'libcap2-bin',
  strace: 'strace',
  'dpkg-deb': 'dpkg',
  'apt-ftparchive': 'apt-utils',
  zstd: 'zstd',
  python3: 'python3',
  chromium: 'chromium',
  '../lib/python3/dist-packages/jsonschema': 'python3-jsonschema',
  busybox: 'busybox-static',
  openssl: 'openssl',
  lz4: 'lz4',
  lzip: 'lzip',
  lzop: 'lzop',
  bzip2: 'bzip2',
  pwck: 'passwd',
  systemctl: 'systemd',
  veritysetup: 'cryptsetup-bin',
  objdump: 'binutils',
  mformat: 'mtools',
  sgdisk: 'gdisk',
  'fsck.vfat': 'dosfstools',
  'fsck.erofs': 'erofs-utils',
  'qemu-img': 'qemu-utils',
  skopeo: 'skopeo',
  'ssh-keygen': 'openssh-client',
  virsh: 'libvirt-clients',
  libvirtd: 'libvirt-daemon-system',
  etcd: 'etcd-server',
  'mkfs.btrfs': 'btrfs-progs',
  'mkfs.xfs': 'xfsprogs',
  fsverity: 'fsverity',
  syslinux: 'syslinux',
  '../share/ovmf/OVMF.fd': 'ovmf',
  '../lib/syslinux/mbr/gptmbr.bin': 'syslinux-common',
  '../lib/systemd/boot/efi/linuxx64.efi.stub': 'systemd-boot-efi',
  'systemd-sysext': 'systemd',
  'systemd-nspawn': 'systemd-container',
  'qemu-system-aarch64': 'qemu-system-arm',
  '../share/qemu-efi-aarch64/QEMU_EFI.fd': 'qemu-efi-aarch64',
  dracut: 'dracut',
  'signify-openbsd': 'signify-openbsd',
  'docker-registry': 'docker-registry',
  jdupes: 'jdupes',
  rdfind: 'rdfind',
  hardlink: 'util-linux',
  ostree: 'ostree',
  time: 'time',
}

const top = fileURLToPath(new URL('..', import.meta.url))
const wanted = process.argv[process.argv.indexOf('--tools') + 1] === 'test' ? TEST : DEMO
const dryRun = process.argv.includes('--dry-run')

function has(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => existsSync(join(folder, program)))
}

function run(command, ...words) {
  console.error(`setup: ${[command, ...words].join(' ')}`)
  if (dryRun) return true
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return spawnSync(command, words, { cwd: top, env, stdio: ['ignore', 2, 2] }).status === 0
}

function fail(message) {
  console.error(`setup: ${message}`)
  process.exit(1)
}

const installed = join(top, 'node_modules', '.package-lock.json')
const stale =
  !existsSync(installed) || statSync(installed).mtimeMs < statSync(join(top, 'package-lock.json')).mtimeMs
// Not `npm ci`: it refuses a lock file without the optional packages of other platforms, and a mirror need not have those.
if (stale && !run('npm', 'install', '--no-save', '--no-audit', '--no-fund'))
  fail('npm install failed; see above')

const missing = [
  ...new Set(
    Object.keys(wanted)
      .filter((program) => !has(program))
      .map((program) => wanted[program]),
  ),
]
const canInstall = process.getuid?.() === 0 && has('apt-get')
// Tests compare with apt's own lists, which must be of today.
if (canInstall && (missing.length > 0 || wanted === TEST)) run('apt-get', 'update', '-q')
if (missing.length > 0) {
  const line = `apt-get install -y --no-install-recommends ${missing.join(' ')}`
  if (!canInstall) fail(`these Debian packages are missing; type: sudo ${line}`)
  if (!run(...line.split(' '))) fail(`apt-get failed; type: ${line}`)
}
