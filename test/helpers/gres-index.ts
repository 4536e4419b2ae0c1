/** A generated `Packages` index as a file: entries with the fields and the weight of real ones. */

const HEADER = [
  'ACCEPT_KEYWORDS: amd64',
  'ACCEPT_LICENSE: *',
  'ARCH: amd64',
  'CHOST: x86_64-pc-linux-gnu',
  'IUSE_IMPLICIT: abi_x86_64 prefix prefix-guest prefix-stack',
  'REPO: gentoo',
  'TIMESTAMP: 1755820800',
  'USE_EXPAND: ABI_X86 CPU_FLAGS_X86 ELIBC KERNEL L10N PYTHON_TARGETS',
  'USE_EXPAND_HIDDEN: ABI_X86 CPU_FLAGS_X86 ELIBC KERNEL',
  'USE_EXPAND_IMPLICIT: ARCH ELIBC KERNEL',
  'USE_EXPAND_UNPREFIXED: ARCH',
  'USE_EXPAND_VALUES_ARCH: alpha amd64 arm arm64 hppa loong m68k mips ppc ppc64 riscv s390 sparc x86',
  'USE_EXPAND_VALUES_ELIBC: glibc musl',
  'USE_EXPAND_VALUES_KERNEL: linux',
  'VERSION: 0',
]

const IMPLICIT = 'abi_x86_64 amd64 elibc_glibc kernel_linux'

/** @param entries what matters to a choice; each gets about 1 KB of what real ones say besides */
export function generatedIndex(entries: readonly ReadonlyMap<string, string>[]): string {
  const blocks = entries.map((entry, at) => {
    const cpv = entry.get('CPV') as string
    const [category = '', rest = ''] = cpv.split('/')
    const name = rest.replace(/-[0-9]+$/, '')
    const build = entry.get('BUILD_ID') as string
    const hex = (digits: number, salt: number): string =>
      ((at + 1) * 2_654_435_761 * salt).toString(16).replace('.', '').padEnd(digits, '5c').slice(0, digits)
    const more = {
      BDEPEND:
        '>=dev-build/meson-1.2.3 >=dev-build/ninja-1.8.2 virtual/pkgconfig >=app-portage/elt-patches-20240116',
      DEFINED_PHASES: 'compile configure install postinst prepare test',
      DEPEND: `${entry.get('RDEPEND')} >=sys-kernel/linux-headers-4.11 virtual/os-headers`,
      DESC: `Package ${at} of a generated index, which says as much of itself as real ones do`,
      INHERITED: 'eutils flag-o-matic meson multilib-minimal python-utils-r1 toolchain-funcs verify-sig',
      IUSE: `flag other +abi_x86_64 -debug doc examples static-libs test verify-sig`,
      LICENSE: 'GPL-2+ LGPL-2.1+',
      MD5: hex(32, 3),
      MTIME: String(1_700_000_000 + at),
      PATH: `${category}/${name}/${rest}-${build}.gpkg.tar`,
      PROVIDES: `x86_64: lib${name}.so.1 lib${name}-util.so.1`,
      REQUIRES: `x86_64: lib${name}.so.1`,
      RESTRICT: 'test',
      SHA1: hex(40, 5),
      SIZE: String(20_480 + at * 7),
      USE: `${entry.get('USE')} ${IMPLICIT}`,
    }
    const fields = new Map([...entry, ...Object.entries(more)])
    return [...fields]
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([key, value]) => `${key}: ${value}\n`)
      .join('')
  })
  return `${[...HEADER, `PACKAGES: ${entries.length}`].sort().join('\n')}\n\n${blocks.join('\n')}\n`
}
