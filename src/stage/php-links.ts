/** Links that `eselect php` would make: the newest slot of PHP that has a SAPI stands behind the usual name of that SAPI. */
import { compareEbuildVersions } from '../pkg/ebuild-version.ts'
import { namesBelow } from '../tree/below.ts'
import { type Entry, lookup, type Tree } from '../tree/tree.ts'
import { landing, type Maker } from './generated.ts'

/** A slot is a folder of its own: `usr/lib64/php8.3/bin/php-fpm`, `usr/lib64/php8.3/apache2/libphp8.so`. */
const SLOTTED = /^usr\/(lib[a-z0-9]*)\/php([0-9]+(?:\.[0-9]+)*)\/(bin|apache2)\/([^/]+)$/
/** Programs by the SAPI that chooses their slot. */
const PROGRAMS: { readonly [sapi: string]: readonly string[] } = {
  php: ['php', 'phar', 'phpize', 'php-config'],
  'php-cgi': ['php-cgi'],
  'php-fpm': ['php-fpm'],
  phpdbg: ['phpdbg'],
}
const MODULE = /^libphp[0-9]*\.so$/
/** What app-eselect/eselect-php has Apache include. */
const MODULE_CONF = 'var/lib/eselect-php/mod_php.conf'

interface Found {
  readonly library: string
  readonly slot: string
  readonly path: string
}

/** Names that something has already are left alone. */
export async function phpLinks(tree: Tree, make: Maker): Promise<Entry[]> {
  const newest = new Map<string, Found>()
  for (const { path } of namesBelow(tree, 'usr')) {
    const [, library = '', slot = '', folder, name = ''] = SLOTTED.exec(path) ?? []
    const sapi =
      folder === 'bin' && Object.hasOwn(PROGRAMS, name)
        ? name
        : folder === 'apache2' && MODULE.test(name)
          ? 'apache2'
          : undefined
    if (sapi === undefined) continue
    const known = newest.get(sapi)
    if (!known || compareEbuildVersions(known.slot, slot) < 0) newest.set(sapi, { library, slot, path })
  }
  const wanted: Entry[] = []
  for (const [sapi, { library, slot, path }] of newest)
    if (sapi === 'apache2') wanted.push(...(await apacheModule(tree, library, slot, path, make)))
    else
      for (const name of PROGRAMS[sapi] ?? []) {
        const program = `${library}/php${slot}/bin/${name}`
        if (lookup(tree, `usr/${program}`))
          wanted.push(make.link(landing(tree, `usr/bin/${name}`, 'eselect'), `../${program}`))
      }
  return wanted.filter(({ path }) => !lookup(tree, path))
}

/** PHP 5 and 7 have their number in the name of the module, later ones have none. */
async function apacheModule(
  tree: Tree,
  library: string,
  slot: string,
  path: string,
  make: Maker,
): Promise<Entry[]> {
  const major = slot.split('.', 1)[0] as string
  const module = `php${major === '5' || major === '7' ? major : ''}_module`
  const link = landing(tree, `usr/${library}/apache2/modules/mod_php.so`, 'eselect')
  const conf = landing(tree, MODULE_CONF, 'eselect')
  return [
    make.link(link, `../../${path.slice(`usr/${library}/`.length)}`),
    await make.file(conf, `LoadModule ${module} modules/mod_php.so\n`),
  ]
}
