/** A PKGDIR as a build host has it: busybox of this machine, a library, users, nginx, and PHP in two builds. */
import { readFileSync } from 'node:fs'
import { type BinhostPackage, type Signer, writeBinhost } from './gentoo-packages.ts'
import { makeElf } from './make-elf.ts'
import type { TarSpec } from './pack.ts'

/** Where Debian's busybox-static is. */
export const BUSYBOX = '/bin/busybox'

function dirs(...names: readonly string[]): TarSpec[] {
  return names.map((name) => ({ name: `${name}/` }))
}

const LAYOUT = dirs('usr', 'usr/bin', 'usr/lib64')

const NGINX_EBUILD = `# Copyright
EAPI=8
inherit systemd
DESCRIPTION="web server"
pkg_postinst() {
	elog "Read the \${PN} manual"
	# a page for the first visitor
	ln -s index.html "\${EROOT}"/var/www/localhost/htdocs/start.html
}
`

export function pkgdirPackages(): BinhostPackage[] {
  const library = makeElf({ soname: 'libz.so.1' })
  const program = makeElf({ needed: ['libz.so.1'] })
  return [
    {
      cpv: 'sys-apps/busybox-1.36.1-r3',
      use: 'static',
      iuse: 'static make-symlinks',
      files: [...LAYOUT, { name: 'usr/bin/busybox', data: readFileSync(BUSYBOX), mode: 0o755 }],
    },
    {
      cpv: 'sys-libs/zlib-1.3.1-r1',
      slot: '0/1',
      format: 'xpak',
      packing: 'xz',
      fields: { PROVIDES: 'x86_64: libz.so.1' },
      files: [
        ...LAYOUT,
        { name: 'usr/lib64/libz.so.1.3.1', data: library, mode: 0o755 },
        { name: 'usr/lib64/libz.so.1', type: '2', link: 'libz.so.1.3.1' },
      ],
    },
    {
      cpv: 'acct-group/nginx-0-r3',
      fields: { DEFINED_PHASES: 'install pretend' },
      files: [
        ...dirs('usr', 'usr/lib', 'usr/lib/sysusers.d'),
        { name: 'usr/lib/sysusers.d/acct-group-nginx.conf', data: 'g\tnginx\t82\n' },
      ],
    },
    {
      cpv: 'acct-user/nginx-0-r4',
      fields: { RDEPEND: 'acct-group/nginx', DEFINED_PHASES: 'install pretend' },
      files: [
        ...dirs('usr', 'usr/lib', 'usr/lib/sysusers.d'),
        {
          name: 'usr/lib/sysusers.d/acct-user-nginx.conf',
          data: 'u\tnginx\t82:nginx\tThe\\ web\\ server\t/var/lib/nginx\t/sbin/nologin\n',
        },
      ],
    },
    {
      cpv: 'www-servers/nginx-1.27.4',
      slot: 'mainline',
      use: 'http2',
      iuse: '+http2 debug',
      fields: {
        RDEPEND: 'acct-user/nginx acct-group/nginx sys-libs/zlib:0/1=',
        REQUIRES: 'x86_64: libz.so.1',
        DEFINED_PHASES: 'install postinst',
        'nginx-1.27.4.ebuild': NGINX_EBUILD,
      },
      listed: { 'nginx-1.27.4.ebuild': undefined },
      files: [
        ...LAYOUT,
        { name: 'usr/bin/nginx', data: program, mode: 0o755 },
        ...dirs('var', 'var/www', 'var/www/localhost'),
        { name: 'var/www/localhost/index.html', data: '<p>hello</p>\n', uid: 82, gid: 82 },
      ],
    },
    ...(['fpm', 'apache2'] as const).map(
      (use, at): BinhostPackage => ({
        cpv: 'dev-lang/php-8.3.9',
        build: at + 1,
        slot: '8.3',
        use,
        iuse: 'apache2 fpm debug',
        packing: at === 0 ? 'zst' : 'gz',
        fields: { RDEPEND: '>=sys-libs/zlib-1.2:0/1=' },
        files: [...LAYOUT, { name: `usr/bin/php-${use}`, data: program, mode: 0o755 }],
      }),
    ),
  ]
}

export function writePkgdir(folder: string, sign?: Signer): void {
  writeBinhost(folder, { packages: pkgdirPackages(), ...(sign ? { sign } : {}) })
}
