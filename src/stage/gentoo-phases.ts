/** Which merge phases of Gentoo packages need no word: stages do their work, or there is no work in a fresh root. */

/** Packages whose phases are replaced as a whole: which stages do their work, and what is left undone. */
const PACKAGES: { readonly [name: string]: string } = {
  'acct-group/*': 'users',
  'acct-user/*': 'users, acct',
  'app-alternatives/*': 'nothing, as their links are files of the packages',
  'app-misc/ca-certificates': 'certs',
  'app-shells/bash': 'eselect',
  'dev-lang/php': 'eselect',
  'sys-apps/baselayout': 'baselayout, users',
  'sys-apps/openrc': 'init',
  'sys-apps/systemd': 'init, users (udev and journalctl do without hardware database and message catalog)',
  'sys-apps/sysvinit': 'nothing, as no init runs that would have to start anew',
  'sys-devel/binutils': 'nothing, as no linker is chosen in a guest',
  'sys-devel/binutils-config': 'nothing, as no linker is chosen in a guest',
  'sys-devel/gcc': 'envd',
  'sys-devel/gcc-config': 'envd',
  'sys-libs/glibc': 'ldcache, etc (no locale is compiled: C, POSIX and C.UTF-8 are in the library)',
}

/** Eclasses that export a merge phase which stages replace, or which only looks or speaks. */
const REPLACED_ECLASSES = new Set(
  'acct-group acct-user fcaps kernel-build kernel-install linux-mod linux-mod-r1 mount-boot savedconfig toolchain'.split(
    ' ',
  ),
)

/** Eclasses that export neither `pkg_preinst` nor `pkg_postinst`. */
const QUIET_ECLASSES = new Set(
  `autotools bash-completion-r1 cargo check-reqs cmake cmake-multilib db-use desktop dist-kernel-utils distutils-r1 docs
dot-a eapi8-dosym eapi9-pipestatus eapi9-ver edo edos2unix elisp-common epatch estack eutils flag-o-matic fortran-2 git-r3
gnome.org gnome2-utils gnuconfig go-env go-module gstreamer-meson guile-utils java-utils-2 l10n libtool linux-info
linux-mod-r1-utils llvm llvm-r1 llvm-r2 llvm-utils llvm.org ltprune lua lua-single lua-utils meson meson-multilib
mount-boot-utils multibuild multilib multilib-build multilib-minimal multiprocessing ninja-utils optfeature out-of-source
out-of-source-utils pam pax-utils perl-functions perl-module plocale portability prefix preserve-libs pypi python-any-r1
python-r1 python-single-r1 python-utils-r1 qmake-utils readme.gentoo-r1 rust rust-toolchain scons-utils secureboot
sec-keys shell-completion ssl-cert strip-linguas sysroot systemd tmpfiles toolchain-autoconf toolchain-funcs udev unpacker
user-info usr-ldscript vcs-clean vcs-snapshot verify-sig versionator virtualx waf-utils wrapper xdg-utils`.split(
    /\s+/,
  ),
)

/** Calls that stages replace (file capabilities, libraries, modules), or that reach for what does not run in an image. */
const REPLACED_CALLS = new Set(
  `fcaps fcaps_pkg_postinst ldconfig env-update depmod mount-boot_pkg_preinst mount-boot_pkg_postinst
kernel-install_pkg_preinst kernel-install_pkg_postinst savedconfig_pkg_postinst tmpfiles_process udev_reload
systemd_update_catalog optfeature optfeature_header readme.gentoo_print_elog`.split(/\s+/),
)

/** What replaces every phase of a package. */
export function phasesReplacedBy(name: string): string | undefined {
  const wildcard = `${name.split('/', 1)[0]}/*`
  return Object.hasOwn(PACKAGES, name)
    ? PACKAGES[name]
    : Object.hasOwn(PACKAGES, wildcard)
      ? PACKAGES[wildcard]
      : undefined
}

/** Those eclasses whose merge phases nobody here knows. */
export function strangeEclasses(inherited: readonly string[]): string[] {
  return inherited.filter((name) => !REPLACED_ECLASSES.has(name) && !QUIET_ECLASSES.has(name))
}

/** Whether a line (without blanks around it) is one call that stages replace, and starts nothing else. */
export function isReplacedCall(line: string): boolean {
  const [first = ''] = line.split(/\s/, 1)
  return REPLACED_CALLS.has(first) && !/\$\(|`|[;&|<>]/.test(line.replace(/"[^"$`]*"|'[^']*'/g, ''))
}

/**
 * Whether a line only says when others run: `if use ssl; then`, `fi`, `local x`. A condition that starts a program by a
 * substitution is none.
 */
export function isStructure(line: string): boolean {
  if (/^(?:then|else|fi|do|done|esac|;;|\{|\}|return(?: 0)?|default)$/.test(line)) return true
  if (/^local(?: [A-Za-z_][A-Za-z0-9_]*)+$/.test(line)) return true
  const condition = /^(?:if|elif) (.*?)\s*;\s*then$/.exec(line)?.[1]
  return condition !== undefined && isCondition(condition)
}

/** `use x`, `has_version y`, `ver_…`, and tests in `[[ ]]`, joined by `&&` and `||`. */
function isCondition(text: string): boolean {
  return !/\$\(|`|;/.test(text) && text.split(/\s+(?:&&|\|\|)\s+/).every((part) => CONDITION.test(part))
}

const CONDITION =
  /^(?:! )?(?:(?:use|in_iuse|has_version|ver_test|ver_replacing|has) [^;&|<>]*|\[\[ .* \]\]|\[ .* \])$/

/** The rest of a line behind conditions on one line: `use ssl && elog "x"` is `elog "x"`. */
export function behindConditions(line: string): string {
  const parts = line.split(/\s+(?:&&|\|\|)\s+/)
  let at = 0
  while (at < parts.length - 1 && isCondition(parts[at] as string)) at++
  return at === 0 ? line : parts.slice(at).join(' && ')
}
