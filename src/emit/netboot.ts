/** The iPXE script that starts a guest from a web or TFTP server: kernel, initramfs, and the base beside it in memory. */

interface NetbootFiles {
  /** Names beside the script. */
  readonly kernel: string
  readonly initrd: string
  readonly base: string
  readonly cmdline: string
}

/** iPXE puts a file that has a path into the initramfs at that path (ipxe.org/cmd/initrd). */
export function ipxeScript({ kernel, initrd, base, cmdline }: NetbootFiles): string {
  return [
    '#!ipxe',
    `kernel ${kernel} initrd=${initrd} ${cmdline}`,
    `initrd ${initrd}`,
    `initrd ${base} /squashfs.img mode=0644`,
    'boot',
  ]
    .map((line) => `${line}\n`)
    .join('')
}
