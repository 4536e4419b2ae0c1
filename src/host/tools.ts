/** The programs that stage5 calls: what each is for, and which Debian package has it. */

export interface Tool {
  /** As it is called. */
  readonly name: string
  readonly debianPackage: string
  /** What stage5 cannot do without it. */
  readonly purpose: string
}

/** Sorted by name. */
export const TOOLS: readonly Tool[] = [
  { name: 'apt-config', debianPackage: 'apt', purpose: "read this machine's own Debian sources" },
  {
    name: 'bzip2',
    debianPackage: 'bzip2',
    purpose: 'unpack packages and indexes that are compressed with bzip2',
  },
  { name: 'cp', debianPackage: 'coreutils', purpose: 'copy data disks with their holes' },
  { name: 'debugfs', debianPackage: 'e2fsprogs', purpose: 'fill data disks without root' },
  { name: 'du', debianPackage: 'coreutils', purpose: 'room that a copy of data needs' },
  { name: 'e2fsck', debianPackage: 'e2fsprogs', purpose: 'check data disks before they grow' },
  { name: 'flock', debianPackage: 'util-linux', purpose: 'run a guest once' },
  { name: 'fsverity', debianPackage: 'fsverity', purpose: 'seal the files of a root: `--protect verity`' },
  {
    name: 'getfattr',
    debianPackage: 'attr',
    purpose: 'read file capabilities when an existing root is taken over',
  },
  { name: 'gpg', debianPackage: 'gpg', purpose: 'sign Gentoo packages: `pack --sign`' },
  { name: 'gpgv', debianPackage: 'gpgv', purpose: 'check the signatures of repositories' },
  {
    name: 'lz4',
    debianPackage: 'lz4',
    purpose: 'unpack Gentoo packages that are compressed with lz4',
  },
  {
    name: 'lzip',
    debianPackage: 'lzip',
    purpose: 'unpack Gentoo packages that are compressed with lzip',
  },
  {
    name: 'lzop',
    debianPackage: 'lzop',
    purpose: 'unpack Gentoo packages that are compressed with lzop',
  },
  { name: 'mcopy', debianPackage: 'mtools', purpose: 'fill EFI system partitions without root' },
  { name: 'mformat', debianPackage: 'mtools', purpose: 'make EFI system partitions' },
  { name: 'mke2fs', debianPackage: 'e2fsprogs', purpose: 'make data disks' },
  { name: 'mknod', debianPackage: 'coreutils', purpose: 'make device nodes in folder outputs, as root' },
  { name: 'mmd', debianPackage: 'mtools', purpose: 'make folders in EFI system partitions' },
  { name: 'mount', debianPackage: 'mount', purpose: 'protect a root: `--protect bind`' },
  { name: 'nsenter', debianPackage: 'util-linux', purpose: 'ask the systemd of a container' },
  { name: 'qemu-img', debianPackage: 'qemu-utils', purpose: 'give guests disks of their own over an image' },
  { name: 'qemu-system-aarch64', debianPackage: 'qemu-system-arm', purpose: 'boot arm64 guests' },
  {
    name: 'qemu-system-x86_64',
    debianPackage: 'qemu-system-x86',
    purpose: 'boot guests: `stage5 boot` and boot tests',
  },
  { name: 'resize2fs', debianPackage: 'e2fsprogs', purpose: 'grow data disks' },
  {
    name: 'setfattr',
    debianPackage: 'attr',
    purpose: 'put file capabilities into hard-linked and copied roots',
  },
  { name: 'ssh-keygen', debianPackage: 'openssh-client', purpose: 'make host keys of guests' },
  { name: 'sync', debianPackage: 'coreutils', purpose: 'make many files of the store durable at once' },
  { name: 'syslinux', debianPackage: 'syslinux', purpose: 'make disks that a BIOS can start' },
  { name: 'tar', debianPackage: 'tar', purpose: 'make native packages: `stage5 pack`' },
  { name: 'umount', debianPackage: 'mount', purpose: 'take the protection of a root away' },
  { name: 'unshare', debianPackage: 'util-linux', purpose: 'mount the root of a container for it alone' },
  { name: 'virsh', debianPackage: 'libvirt-clients', purpose: 'run guests under libvirt' },
  {
    name: 'xz',
    debianPackage: 'xz-utils',
    purpose: 'unpack packages and indexes that are compressed with xz',
  },
]

/** The line that installs a tool; undefined for a tool that is not in the table. */
export function installHint(name: string): string | undefined {
  const tool = TOOLS.find((known) => known.name === name)
  return tool && `apt install ${tool.debianPackage}`
}
