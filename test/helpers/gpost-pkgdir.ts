/**
 * A PKGDIR as Portage leaves it: packages in the shape of real ones, with their phases and build-info, around programs and
 * libraries of this Debian machine, so that what is composed of them can be checked and run.
 */
import { readFileSync } from 'node:fs'
import { type BinhostPackage, writeBinhost } from './gentoo-packages.ts'
import { makeElf } from './make-elf.ts'
import type { TarSpec } from './pack.ts'

export const CHOST = 'x86_64-pc-linux-gnu'
const LIBRARIES = '/lib/x86_64-linux-gnu'
const GCC = `usr/lib/gcc/${CHOST}/14`

function dirs(...names: readonly string[]): TarSpec[] {
  return names.map((name) => ({ name: `${name}/` }))
}

/** A file with the folders above it. */
function file(name: string, data: string | Uint8Array, more: Partial<TarSpec> = {}): TarSpec[] {
  const parts = name.split('/').slice(0, -1)
  return [...dirs(...parts.map((_, at) => parts.slice(0, at + 1).join('/'))), { name, data, ...more }]
}

function program(name: string, data: string | Uint8Array): TarSpec[] {
  return file(name, data, { mode: 0o755 })
}

function link(name: string, target: string): TarSpec[] {
  return file(name, '', { type: '2', link: target })
}

/** Entries in their order, each name once. */
function files(...groups: readonly (readonly TarSpec[])[]): TarSpec[] {
  const seen = new Set<string>()
  return groups.flat().filter(({ name }) => !seen.has(name) && seen.add(name))
}

function library(name: string): Buffer {
  return readFileSync(`${LIBRARIES}/${name}`)
}

/** Build-info that only the package has, and its index does not: the ebuild and its eclasses. */
function phases(
  full: string,
  defined: string,
  inherited: string,
  ebuild: string,
): Pick<BinhostPackage, 'fields' | 'listed'> {
  return {
    fields: { DEFINED_PHASES: defined, INHERITED: inherited, [`${full}.ebuild`]: ebuild },
    listed: { INHERITED: undefined, [`${full}.ebuild`]: undefined },
  }
}

function withFields(
  one: Pick<BinhostPackage, 'fields' | 'listed'>,
  fields: { readonly [key: string]: string },
): Pick<BinhostPackage, 'fields' | 'listed'> {
  return { ...one, fields: { ...one.fields, ...fields } }
}

const MAKEFILE =
  'KEEP_DIRS = \\\n\t/boot \\\n\t/home \\\n\t/media \\\n\t/usr/local/bin \\\n\t/var/empty\n\nlayout:\n'
const PASSWD =
  'root:x:0:0:root:/root:/bin/bash\nbin:x:1:1:bin:/bin:/bin/false\nnobody:x:65534:65534:nobody:/var/empty:/bin/false\n'
const GROUP = 'root:x:0:root\nbin:x:1:root,bin\nwheel:x:10:root\nnogroup:x:65533:\nnobody:x:65534:\n'
const PROFILE = `if [ -e /etc/profile.env ] ; then
	. /etc/profile.env
fi
export PS1='# '
`

const BASELAYOUT: BinhostPackage = {
  cpv: 'sys-apps/baselayout-2.17',
  iuse: 'build +split-usr',
  ...phases(
    'baselayout-2.17',
    'install postinst preinst prepare setup',
    'multilib prefix',
    'inherit multilib prefix\npkg_preinst() {\n\tmultilib_layout\n\temake -C "${ED}/usr/share/${PN}" layout\n}\npkg_postinst() {\n\tcp -p passwd "${EROOT}"/etc\n}\n',
  ),
  files: files(
    file('usr/share/baselayout/Makefile', MAKEFILE),
    file('usr/share/baselayout/passwd', PASSWD),
    file('usr/share/baselayout/group', GROUP),
    file('usr/share/baselayout/shadow', 'root:*:10770:0:::::\n'),
    file('usr/share/baselayout/fstab', '# /dev/BOOT /boot ext4 noauto 1 2\n'),
    file(
      'etc/env.d/50baselayout',
      'PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin"\nROOTPATH="/usr/local/sbin:/usr/sbin:/sbin"\nMANPATH="/usr/local/share/man:/usr/share/man"\nCONFIG_PROTECT_MASK="/etc/gentoo-release /etc/env.d"\nLDPATH=\'/lib64:/usr/lib64:/usr/local/lib64:/lib:/usr/lib:/usr/local/lib\'\n',
    ),
    file('etc/profile', PROFILE),
    file('etc/gentoo-release', 'Gentoo Base System release 2.17\n'),
    file('usr/lib/os-release', 'NAME=Gentoo\nID=gentoo\nPRETTY_NAME="Gentoo Linux"\nVERSION_ID=2.17\n'),
    link('etc/os-release', '../usr/lib/os-release'),
  ),
}

/** Some flags that the profile asks for; www-servers/nginx asks for its accounts. */
function accounts(name: string, id: number, comment: string): BinhostPackage[] {
  return [
    {
      cpv: `acct-group/${name}-0-r3`,
      ...phases(
        `${name}-0-r3`,
        'install preinst pretend',
        'acct-group user-info',
        `inherit acct-group\nACCT_GROUP_ID=${id}\n`,
      ),
      files: file(`usr/lib/sysusers.d/acct-group-${name}.conf`, `g\t${name}\t${id}\n`),
    },
    {
      cpv: `acct-user/${name}-0-r4`,
      ...withFields(
        phases(
          `${name}-0-r4`,
          'install postinst preinst pretend prerm',
          'acct-user user-info',
          `inherit acct-user\nACCT_USER_ID=${id}\nACCT_USER_GROUPS=( ${name} bin )\nACCT_USER_HOME=/var/lib/${name}\nACCT_USER_HOME_PERMS=0750\n`,
        ),
        { RDEPEND: `acct-group/${name}` },
      ),
      files: files(
        file(
          `usr/lib/sysusers.d/acct-user-${name}.conf`,
          `u\t${name}\t${id}:${name}\t${comment}\t/var/lib/${name}\t/sbin/nologin\nm\t${name}\tbin\n`,
        ),
        file(`var/lib/${name}/.keep`, ''),
      ),
    },
  ]
}

const GCC_ENV = `PATH="/usr/${CHOST}/gcc-bin/14"
ROOTPATH="/usr/${CHOST}/gcc-bin/14"
GCC_PATH="/usr/${CHOST}/gcc-bin/14"
LDPATH="/${GCC}:/${GCC}/32"
MANPATH="/usr/share/gcc-data/${CHOST}/14/man"
CTARGET="${CHOST}"
GCC_SPECS=""
`

function system(): BinhostPackage[] {
  return [
    BASELAYOUT,
    {
      cpv: 'sys-libs/glibc-2.40-r8',
      slot: '2.2',
      iuse: 'multilib',
      ...withFields(
        phases(
          'glibc-2.40-r8',
          'compile configure install postinst preinst pretend setup',
          'eapi9-ver toolchain-funcs',
          'pkg_postinst() {\n\tlocale-gen\n}\n',
        ),
        { PROVIDES: 'x86_64: ld-linux-x86-64.so.2 libc.so.6 libm.so.6' },
      ),
      files: files(
        program('lib64/ld-linux-x86-64.so.2', library('ld-linux-x86-64.so.2')),
        program('lib64/libc.so.6', library('libc.so.6')),
        program('lib64/libm.so.6', library('libm.so.6')),
        file('usr/include/stdio.h', '/* c */\n'),
        file('etc/env.d/00glibc', "LDPATH='include ld.so.conf.d/*.conf'\n"),
      ),
    },
    {
      cpv: 'sys-devel/gcc-14.2.1_p20241221',
      slot: '14',
      iuse: '+cxx',
      use: 'cxx',
      ...withFields(
        phases(
          'gcc-14.2.1_p20241221',
          'compile configure install postinst',
          'toolchain flag-o-matic',
          'inherit toolchain\n',
        ),
        {
          RDEPEND: 'sys-libs/zlib:0/1=',
          PROVIDES: 'x86_64: libgcc_s.so.1 libstdc++.so.6',
          REQUIRES: 'x86_64: ld-linux-x86-64.so.2 libc.so.6 libm.so.6',
        },
      ),
      files: files(
        program(`${GCC}/libgcc_s.so.1`, library('libgcc_s.so.1')),
        program(`${GCC}/libstdc++.so.6.0.30`, readFileSync('/usr/lib/x86_64-linux-gnu/libstdc++.so.6')),
        link(`${GCC}/libstdc++.so.6`, 'libstdc++.so.6.0.30'),
        link(`${GCC}/libstdc++.so`, 'libstdc++.so.6.0.30'),
        file(`${GCC}/libgcc.a`, '!<arch>\n'),
        file(`${GCC}/crtbegin.o`, 'x'),
        file(`${GCC}/include/stddef.h`, '/* c */\n'),
        program(`usr/libexec/gcc/${CHOST}/14/cc1`, makeElf({ needed: ['libc.so.6'] })),
        program(`usr/${CHOST}/gcc-bin/14/${CHOST}-gcc`, makeElf({ needed: ['libc.so.6'] })),
        link(`usr/bin/${CHOST}-gcc-14`, `../${CHOST}/gcc-bin/14/${CHOST}-gcc`),
        file(`etc/env.d/gcc/${CHOST}-14`, GCC_ENV),
      ),
    },
    {
      cpv: 'sys-libs/zlib-1.3.1-r1',
      slot: '0/1',
      format: 'xpak',
      packing: 'xz',
      fields: { PROVIDES: 'x86_64: libz.so.1', REQUIRES: 'x86_64: libc.so.6' },
      files: files(
        program('usr/lib64/libz.so.1.3.1', library('libz.so.1')),
        link('usr/lib64/libz.so.1', 'libz.so.1.3.1'),
      ),
    },
    {
      cpv: 'sys-libs/ncurses-6.5_p20250125',
      slot: '0/6',
      fields: { PROVIDES: 'x86_64: libtinfo.so.6', REQUIRES: 'x86_64: libc.so.6' },
      files: program('usr/lib64/libtinfo.so.6', library('libtinfo.so.6')),
    },
    {
      cpv: 'app-shells/bash-5.2_p37',
      ...withFields(
        phases(
          'bash-5.2_p37',
          'postinst preinst',
          'flag-o-matic',
          'pkg_postinst() {\n\tln -sf bash "${EROOT}"/bin/sh\n}\n',
        ),
        { RDEPEND: '>=sys-libs/ncurses-5.2-r2:=', REQUIRES: 'x86_64: libc.so.6 libtinfo.so.6' },
      ),
      files: program('bin/bash', readFileSync('/bin/bash')),
    },
    {
      cpv: 'sys-apps/busybox-1.36.1-r3',
      use: 'static',
      iuse: 'static make-symlinks',
      files: program('bin/busybox', readFileSync('/bin/busybox')),
    },
    { cpv: 'virtual/libc-1-r1', fields: { RDEPEND: 'elibc_glibc? ( sys-libs/glibc:2.2 )' } },
    {
      cpv: 'virtual/libcrypt-2-r1',
      slot: '0/2',
      fields: { RDEPEND: '|| ( sys-libs/libxcrypt[system(-)] sys-libs/glibc[crypt(-)] )' },
    },
  ]
}

function web(certificate: string): BinhostPackage[] {
  const program1 = makeElf({ needed: ['libz.so.1', 'libc.so.6'] })
  return [
    {
      cpv: 'app-misc/ca-certificates-20240203.3.98',
      ...phases(
        'ca-certificates-20240203.3.98',
        'compile install postinst setup',
        'python-any-r1',
        'pkg_postinst() {\n\tupdate-ca-certificates\n}\n',
      ),
      files: files(
        file('usr/share/ca-certificates/mozilla/Test_Root.crt', certificate),
        file('usr/share/ca-certificates/mozilla/Gone_Root.crt', certificate),
        file('etc/ca-certificates.conf', '# c\nmozilla/Test_Root.crt\n!mozilla/Gone_Root.crt\n'),
      ),
    },
    {
      cpv: 'net-misc/iputils-20240905',
      use: 'filecaps',
      iuse: '+filecaps',
      ...phases(
        'iputils-20240905',
        'compile configure install postinst',
        'fcaps meson',
        'inherit fcaps\nFILECAPS=(\n\tcap_net_raw bin/ping\n)\n',
      ),
      files: program('bin/ping', makeElf({ needed: ['libc.so.6'] })),
    },
    ...accounts('nginx', 82, String.raw`Added\ by\ portage\ for\ nginx`),
    {
      cpv: 'www-servers/nginx-1.27.4',
      slot: 'mainline',
      use: 'http2 ssl',
      iuse: '+http2 ssl debug',
      ...withFields(
        phases(
          'nginx-1.27.4',
          'install postinst',
          'systemd tmpfiles',
          'inherit systemd tmpfiles\npkg_postinst() {\n\ttmpfiles_process nginx.conf\n\t# a page for the first visitor\n\tln -s index.html "${EROOT}"/var/www/localhost/htdocs/start.html\n}\n',
        ),
        {
          RDEPEND: 'acct-user/nginx acct-group/nginx sys-libs/zlib:0/1= virtual/libcrypt:0/2=',
          REQUIRES: 'x86_64: libz.so.1 libc.so.6',
        },
      ),
      files: files(
        program('usr/sbin/nginx', program1),
        program('etc/init.d/nginx', '#!/sbin/openrc-run\ncommand=/usr/sbin/nginx\n'),
        file('etc/conf.d/nginx', '# c\n'),
        file(
          'usr/lib/systemd/system/nginx.service',
          '[Service]\nExecStart=/usr/sbin/nginx\n[Install]\nWantedBy=multi-user.target\n',
        ),
        file('var/www/localhost/htdocs/index.html', '<p>hello</p>\n', { uid: 82, gid: 82 }),
      ),
    },
    {
      cpv: 'sys-libs/libxcrypt-4.4.36-r3',
      use: 'system',
      iuse: '+system',
      fields: { PROVIDES: 'x86_64: libcrypt.so.2' },
    },
    ...(['fpm', 'apache2'] as const).map(
      (use, at): BinhostPackage => ({
        cpv: 'dev-lang/php-8.3.9',
        build: at + 1,
        slot: '8.3',
        use: `cli ${use}`,
        iuse: 'apache2 +cli fpm debug',
        packing: at === 0 ? 'zst' : 'gz',
        ...withFields(
          phases(
            'php-8.3.9',
            'compile configure install postinst postrm prepare test',
            'autotools flag-o-matic multilib systemd',
            'pkg_postinst() {\n\teselect php set "${m}" php${SLOT} || die\n}\n',
          ),
          {
            RDEPEND: `app-eselect/eselect-php[apache2?,fpm?] >=sys-libs/zlib-1.2:0/1=`,
            REQUIRES: 'x86_64: libz.so.1 libc.so.6 libstdc++.so.6',
          },
        ),
        files: php(use),
      }),
    ),
    {
      cpv: 'app-eselect/eselect-php-0.9.9',
      use: 'apache2 fpm',
      iuse: 'apache2 fpm',
      ...phases(
        'eselect-php-0.9.9',
        'configure postinst',
        'tmpfiles',
        'pkg_postinst() {\n\tuse fpm && tmpfiles_process php-fpm.conf\n}\n',
      ),
      files: files(
        file('usr/lib/tmpfiles.d/php-fpm.conf', 'd /run/php-fpm 0755 root root\n'),
        file('usr/share/eselect/modules/php.eselect', '# c\n'),
      ),
    },
  ]
}

/** The slotted layout of dev-lang/php: no name without a number outside of its own folder. */
function php(use: 'fpm' | 'apache2'): TarSpec[] {
  const home = 'usr/lib64/php8.3'
  const elf = makeElf({ needed: ['libz.so.1', 'libc.so.6', 'libstdc++.so.6'] })
  const own =
    use === 'apache2'
      ? program(`${home}/apache2/libphp8.so`, elf)
      : [
          ...program(`${home}/bin/php-fpm`, elf),
          ...link('usr/bin/php-fpm8.3', '../lib64/php8.3/bin/php-fpm'),
          ...file('etc/php/fpm-php8.3/php-fpm.conf', 'include=/etc/php/fpm-php8.3/fpm.d/*.conf\n'),
        ]
  return files(
    program(`${home}/bin/php`, elf),
    link('usr/bin/php8.3', '../lib64/php8.3/bin/php'),
    program(`${home}/bin/phpize`, '#!/bin/sh\n'),
    dirs('usr/lib64/apache2', 'usr/lib64/apache2/modules'),
    own,
  )
}

/** @param certificate PEM of one certificate */
export function writeGentooPkgdir(
  folder: string,
  certificate: string,
  more: readonly BinhostPackage[] = [],
): void {
  writeBinhost(folder, { packages: [...system(), ...web(certificate), ...more] })
}

/** A kernel in the shape of sys-kernel/gentoo-kernel-bin, with everything that booting needs built in. */
export function builtInKernel(release: string): BinhostPackage {
  const drivers = ['virtio_pci', 'virtio_blk', 'virtio_net', 'squashfs', 'overlay', 'ext4', 'loop']
  return {
    cpv: `sys-kernel/gentoo-kernel-bin-${release}`,
    slot: release,
    ...phases(
      `gentoo-kernel-bin-${release}`,
      'compile configure install postinst postrm preinst prerm pretend setup test',
      'kernel-install dist-kernel-utils mount-boot toolchain-funcs',
      'inherit kernel-install toolchain-funcs\n',
    ),
    files: files(
      file(`lib/modules/${release}/modules.builtin`, drivers.map((name) => `kernel/${name}.ko\n`).join('')),
      file(`lib/modules/${release}/modules.order`, ''),
      file(`usr/src/linux-${release}/arch/x86/boot/bzImage`, 'kernel image\n'),
      link(`lib/modules/${release}/vmlinuz`, `../../../usr/src/linux-${release}/arch/x86/boot/bzImage`),
    ),
  }
}
