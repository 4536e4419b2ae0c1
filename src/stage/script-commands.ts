/** What commands of maintainer scripts come to in a base: nothing, work that a stage does, or something unknown. */
import { lookup, type Tree } from '../tree/tree.ts'
import { follow } from '../tree/resolve-path.ts'
import type { FileTest, Value } from './script-values.ts'
import { type Call, VOLATILE } from './script-walk.ts'

/** Commands that look, ask or speak, and change nothing by themselves. */
const LOOKS = new Set(
  (
    '[ awk basename cat cd cmp command cut date dirname dpkg-architecture dpkg-query dpkg-realpath dpkg-vendor echo egrep ' +
    'env expr fgrep file getconf getent gettext grep hash head hostname id ischroot logger ls md5sum mktemp pathfind ' +
    'pgrep pidof printf ps pwd readlink realpath runlevel seq sha256sum sleep sort ss stat sync tail tempfile test tput tr ' +
    'trap true tty type ulimit umask uname uniq wait wc which xargs'
  ).split(' '),
)

/** Commands whose work is done otherwise, and by what. */
const REPLACED: { readonly [command: string]: string } = {
  'deb-systemd-helper': 'services of the profile',
  'deb-systemd-invoke': 'services of the profile',
  depmod: 'stage modules',
  'dpkg-maintscript-helper': 'upgrades only',
  'dpkg-trigger': 'no triggers in an image',
  'gtk-update-icon-cache': 'cache, made when missing',
  'install-info': 'index of documentation',
  'invoke-rc.d': 'services of the profile',
  ldconfig: 'stage ldcache',
  'linux-update-symlinks': 'kernel of the image',
  'linux-check-removal': 'removal only',
  mandb: 'index of documentation',
  py3clean: 'removal only',
  py3compile: 'cache, made when missing',
  pyclean: 'removal only',
  pycompile: 'cache, made when missing',
  pypy3compile: 'cache, made when missing',
  'rc-update': 'services of the profile',
  restorecon: 'no SELinux labels at build',
  service: 'services of the profile',
  systemctl: 'services of the profile',
  'systemd-sysusers': 'stage users',
  'systemd-tmpfiles': 'stage files',
  telinit: 'nothing runs at build',
  ucfr: 'registry of a package manager',
  udevadm: 'nothing runs at build',
  'update-ca-certificates': 'stage certs',
  'update-desktop-database': 'cache, made when missing',
  'update-icon-caches': 'cache, made when missing',
  'update-initramfs': 'initrd of the image',
  'update-menus': 'menus of desktops',
  'update-mime-database': 'cache, made when missing',
  'update-rc.d': 'services of the profile',
}

/** Commands that change files, and have nothing to do where their files are no part of the base. */
const CHANGES = new Set('chgrp chmod chown cp install ln mkdir mv rm rmdir touch'.split(' '))

/** Kernel packages leave a mark from preinst to postinst. */
const FRESH_KERNEL = /^\/lib\/modules\/[^/]+\/\.fresh-install$/

/** What a guest has when no script has run: answers to `[ -e … ]`, and whether a change is one. */
export interface Present {
  readonly test: FileTest
  /** Whether doing this would change nothing. */
  isDone(words: readonly string[]): boolean
}

/** Nothing is known: before the packages are merged, and for a preinst. */
export const NOTHING_KNOWN: Present = { test: untold, isDone: () => false }

function untold(_operator: string, path: string): boolean | undefined {
  return path === '/run/systemd/system' ? false : undefined
}

/** Where only packages put files: what none of them brings is absent. Elsewhere another script may have made it. */
const PACKAGED =
  /^\/(?:usr\/(?!local\/)|s?bin\/|lib[0-9ox]*\/|boot\/|etc\/(?:init\.d|rc[0-9S]\.d|cron\.[a-z]+|logrotate\.d)\/)/

/**
 * Answers from the merged packages.
 * @param unpacked whether they are there already when the script asks: not for a preinst
 */
export function presentIn(tree: Tree, unpacked = true): Present {
  const test: FileTest = (operator, path) => {
    if (!path.startsWith('/') || VOLATILE.test(path)) return untold(operator, path)
    const inode = spellings(path)
      .map((each) =>
        /[Lh]/.test(operator) ? lookup(tree, each.slice(1).replace(/\/+$/, '')) : follow(tree, each),
      )
      .find((entry) => entry !== undefined)?.inode
    if (!inode) return PACKAGED.test(path) ? false : undefined
    switch (operator) {
      case '-L':
      case '-h':
        return inode.type === 'symlink'
      case '-d':
        return inode.type === 'dir'
      case '-f':
        return inode.type === 'file'
      case '-s':
        return inode.type !== 'file' || inode.size > 0
      case '-x':
        return (inode.mode & 0o111) !== 0
      default:
        return true
    }
  }
  return {
    test: unpacked ? test : untold,
    isDone: ([command, ...words]) => {
      const paths = words.filter((word) => !word.startsWith('-'))
      if (command === 'rm' || command === 'rmdir')
        return paths.every(
          (path) => path.startsWith('/') && spellings(path).every((each) => !lookup(tree, each.slice(1))),
        )
      if (command === 'mkdir' && !words.some((word) => word.startsWith('-m')))
        return paths.every((path) => test('-d', path) === true)
      return false
    },
  }
}

/** A path as it is written and with the other spelling of merged directories. */
function spellings(path: string): string[] {
  const merged = /^(?:\/usr)?(\/(?:bin|sbin|lib[0-9ox]*)\/.*)$/.exec(path)?.[1]
  return merged === undefined ? [path] : [merged, `/usr${merged}`]
}

/** `ucf` on a first installation copies one file. */
export function ucfCopy(words: readonly Value[]): { from: string; to: string } | undefined {
  if (baseName(words[0]) !== 'ucf' || words.includes(undefined)) return undefined
  const [from, to, ...more] = (words as readonly string[]).slice(1).filter((word) => !word.startsWith('-'))
  return from?.startsWith('/') && to?.startsWith('/') && more.length === 0 ? { from, to } : undefined
}

export interface Link {
  /** Absolute path of the generic name. */
  readonly link: string
  /** File name below /etc/alternatives. */
  readonly name: string
  /** Absolute path of the real file. */
  readonly path: string
}

export interface Alternative extends Link {
  readonly priority: number
  readonly slaves: readonly Link[]
}

/** `update-alternatives … --install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]…` @see update-alternatives(1) */
export function parseInstall(words: readonly Value[]): Alternative | undefined {
  if (!/^(?:(?:\/usr)?\/s?bin\/)?update-alternatives$/.test(words[0] ?? '') || words.includes(undefined))
    return undefined
  const rest = (words as readonly string[]).slice(1)
  const at = rest.indexOf('--install')
  const priority = Number(rest[at + 4])
  const main = at < 0 ? undefined : linkOf(rest.slice(at + 1))
  if (!main || !Number.isSafeInteger(priority)) return undefined
  const slaves = rest.flatMap((word, index) => (word === '--slave' ? [linkOf(rest.slice(index + 1))] : []))
  return { ...main, priority, slaves: slaves.filter((slave) => slave !== undefined) }
}

function linkOf([link, name, path]: readonly string[]): Link | undefined {
  if (!link?.startsWith('/') || !path?.startsWith('/') || !name || /[/\n]|^\.\.?$/.test(name))
    return undefined
  return { link, name, path }
}

/** Whether a call of a preinst or postinst needs nobody's attention. */
export function isKnown({ words, writes }: Call, member: string, present: Present): boolean {
  if (writes) return false
  const name = baseName(words[0])
  if (name === undefined) return false
  if (LOOKS.has(name) || Object.hasOwn(REPLACED, name) || /^db_[a-z]+$/.test(name))
    return !runsMore(name, words)
  const options = words.slice(1)
  switch (name) {
    case '.':
    case 'source':
      return /^\/(?:usr\/share\/debconf\/confmodule|(?:usr\/)?lib\/lsb\/init-functions)$/.test(words[1] ?? '')
    case 'dpkg':
      return /^(?:--(?:compare-versions|print-.*|assert-.*|validate-.*|status|listfiles|list|search|verify)|-[slLS])$/.test(
        options[0] ?? '',
      )
    case 'dpkg-divert':
      return options.some((word) => /^--(?:list|listpackage|truename|remove)$/.test(word ?? ''))
    case 'dpkg-statoverride':
      return options.some((word) => /^--(?:list|remove)$/.test(word ?? ''))
    case 'find':
      return !options.some(
        (word) => word === undefined || /^-(?:delete|exec|execdir|ok|okdir|fprint.*|fls)$/.test(word),
      )
    case 'run-parts':
      return options
        .filter((word) => !word?.startsWith('-'))
        .every((word) => word?.startsWith('/etc/kernel/'))
    case 'sed':
      return !options.some((word) => word === undefined || /^(?:-[a-zA-Z]*i.*|--in-place.*)$/.test(word))
    case 'ucf':
      return ucfCopy(words) !== undefined
    case 'update-alternatives':
      if (options.includes('--install')) return parseInstall(words) !== undefined
      return options.some((word) =>
        /^--(?:remove|remove-all|auto|query|list|display|get-selections)$/.test(word ?? ''),
      )
    default:
      return (
        CHANGES.has(name) &&
        !words.includes(undefined) &&
        isIdle(name, options as readonly string[], member, present)
      )
  }
}

/** Commands that only look may still be told to run others. */
function runsMore(name: string, words: readonly Value[]): boolean {
  if (name === 'env' || name === 'xargs') return words.length > 1
  return name === 'command' && words[1] !== '-v' && words[1] !== '-V'
}

/** A change of files that comes to nothing in a base: only volatile paths, or done already, or too early to matter. */
function isIdle(name: string, words: readonly string[], member: string, present: Present): boolean {
  const paths = words.filter((word) => word.startsWith('/'))
  if (paths.length > 0 && paths.every((path) => VOLATILE.test(path) || FRESH_KERNEL.test(path))) return true
  if (member === 'preinst' && (name === 'rm' || name === 'rmdir')) return true
  return paths.length > 0 && present.isDone([name, ...words])
}

function baseName(word: Value): string | undefined {
  return word?.replace(/^(?:\/usr)?\/s?bin\//, '')
}
