/** `stage5 pack DIR` and `stage5 index DIR`: a team's own packages, and the folder that holds them. */
import { readdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { indexDirectory } from '../../repo/index-directory.ts'
import { indexPkgdir, isPkgdir } from '../../repo/index-pkgdir.ts'
import { packGpkg } from '../../repo/pack-gpkg.ts'
import { packDirectory } from '../../repo/pack.ts'
import { type Command, listOption, textOption, type Words } from '../command.ts'
import { mebibytes } from '../render/progress.ts'
import { shownPath, type World } from '../world.ts'

/** Options of one format only. */
const GPKG_ONLY = ['eapi', 'iuse', 'keywords', 'license', 'pdepend', 'sign', 'slot']
const NATIVE_ONLY = ['provides']

export const pack: Command = {
  name: 'pack',
  summary: 'make a package, native or of Gentoo, of a folder that holds a root',
  arguments: [
    {
      name: '<dir>',
      description: 'what is below it goes into the guest as it is: usr/bin/shop, etc/shop.conf',
    },
  ],
  options: [
    { flags: '--format <format>', description: 'native (default), or gpkg: a Gentoo package (GLEP 78)' },
    { flags: '--name <category/name>', description: 'name of the package (required)' },
    {
      flags: '--version <version>',
      description: 'semantic version, or with gpkg a version of ebuilds such as 1.2.3-r1 (required)',
    },
    { flags: '--build <n>', description: 'number of the build, to tell builds of one version apart' },
    { flags: '--arch <arch>', description: 'architecture in the words of Debian, or any (default)' },
    { flags: '--use <flags>', description: "how it was built: 'ssl -ldap'" },
    {
      flags: '--depends <atom>',
      description:
        'needed beside it: `app/lib ^1.2 [ssl]` or `deb:libssl3 (>= 3.0)`; with gpkg RDEPEND: `dev-libs/openssl:0/3=`',
      many: true,
    },
    { flags: '--conflicts <atom>', description: 'must not be beside it', many: true },
    { flags: '--provides <name>', description: 'another name that it answers to', many: true },
    { flags: '--summary <text>', description: 'one line for people' },
    { flags: '--slot <slot>', description: 'gpkg: slot, such as 0/1.2 (default: 0)' },
    { flags: '--iuse <flags>', description: "gpkg: IUSE, such as '+ssl ldap' (default: the flags of --use)" },
    { flags: '--eapi <n>', description: 'gpkg: EAPI (default: 8)' },
    { flags: '--keywords <words>', description: 'gpkg: KEYWORDS (default: the stable one of --arch)' },
    { flags: '--license <words>', description: 'gpkg: LICENSE' },
    { flags: '--pdepend <atom>', description: 'gpkg: PDEPEND', many: true },
    { flags: '--sign <key>', description: 'gpkg: key of gpg that signs members and Manifest' },
    { flags: '--keep-owners', description: 'keep the numbers of users and groups instead of 0:0' },
    { flags: '-o, --out <dir>', description: 'folder to write into (default: the current one)' },
  ],
  examples: [
    "stage5 pack build/shop --name app/shop --version 2.1.0 --use 'ssl -ldap' --out packages && stage5 index packages",
    'stage5 pack build/shop --format gpkg --name app-misc/shop --version 2.1.0-r1 --depends dev-libs/openssl:0= --out pkgdir',
  ],
  run: async (world, words) => {
    const made = await packed(world, words)
    return { data: { ...made }, text: `${shownPath(made.file)} ${mebibytes(made.size)} ${made.sha256}\n` }
  },
}

async function packed(world: World, words: Words): ReturnType<typeof packDirectory> {
  const build = textOption(words, 'build')
  if (build !== undefined && !/^[1-9]\d{0,8}$/.test(build))
    throw new Stage5Error('S5_USAGE', `--build expects a number from 1, found ${JSON.stringify(build)}`)
  const format = textOption(words, 'format') ?? 'native'
  if (format !== 'native' && format !== 'gpkg')
    throw new Stage5Error('S5_USAGE', `--format expects native or gpkg, found ${JSON.stringify(format)}`)
  const strange = (format === 'gpkg' ? NATIVE_ONLY : GPKG_ONLY).find(
    (name) => textOption(words, name) !== undefined || listOption(words, name).length > 0,
  )
  if (strange !== undefined)
    throw new Stage5Error('S5_USAGE', `--${strange} does not belong to --format ${format}`, {
      hint: 'stage5 pack --help',
    })
  const directory = resolve(world.directory, words.arguments[0] as string)
  const common = {
    name: required(words, 'name'),
    version: required(words, 'version'),
    use: textOption(words, 'use') ?? '',
    depends: listOption(words, 'depends'),
    conflicts: listOption(words, 'conflicts'),
    summary: textOption(words, 'summary') ?? '',
    keepOwners: words.options['keepOwners'] === true,
    out: resolve(world.directory, textOption(words, 'out') ?? '.'),
    date: Number(process.env['SOURCE_DATE_EPOCH'] ?? 0),
    signal: world.signal,
  }
  const sign = textOption(words, 'sign')
  if (format === 'gpkg')
    return await packGpkg(directory, {
      ...common,
      ...(sign !== undefined && { sign }),
      build: Number(build ?? 1),
      arch: textOption(words, 'arch') ?? 'amd64',
      slot: textOption(words, 'slot') ?? '0',
      iuse: textOption(words, 'iuse') ?? '',
      eapi: textOption(words, 'eapi') ?? '8',
      keywords: textOption(words, 'keywords') ?? '',
      license: textOption(words, 'license') ?? '',
      pdepend: listOption(words, 'pdepend'),
    })
  return await packDirectory(directory, {
    ...common,
    build: Number(build ?? 0),
    arch: textOption(words, 'arch') ?? 'any',
    provides: listOption(words, 'provides'),
  })
}

export const index: Command = {
  name: 'index',
  summary: 'write the index of a folder of packages: index.yaml, or Packages for Gentoo packages',
  arguments: [
    {
      name: '<dir>',
      description: 'folder with *.tar.zst made by `stage5 pack`, or a PKGDIR (*.gpkg.tar, *.xpak)',
    },
  ],
  options: [],
  examples: ['stage5 index packages'],
  run: async (world, words) => {
    const directory = resolve(world.directory, words.arguments[0] as string)
    const gentoo = (await isPkgdir(directory)) ? await indexPkgdir(directory, world.signal) : undefined
    const native =
      !gentoo || (await readdir(directory)).some((name) => name.endsWith('.tar.zst'))
        ? await indexDirectory(directory, world.signal)
        : undefined
    const all = [native, gentoo].filter((made) => made !== undefined)
    return {
      data: all.length === 1 ? { ...(all[0] as (typeof all)[0]) } : { indexes: all },
      text: all.map((made) => `${shownPath(made.file)}: ${made.packages} packages\n`).join(''),
    }
  },
}

function required(words: Words, name: string): string {
  const value = textOption(words, name)
  if (value === undefined)
    throw new Stage5Error('S5_USAGE', `pack needs --${name}`, { hint: 'stage5 pack --help' })
  return value
}
