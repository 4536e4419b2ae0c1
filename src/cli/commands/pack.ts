/** `stage5 pack DIR` and `stage5 index DIR`: a team's own packages, and the folder that holds them. */
import { resolve } from 'node:path'
import { Stage5Error } from '../../base/errors.ts'
import { indexDirectory } from '../../repo/index-directory.ts'
import { packDirectory } from '../../repo/pack.ts'
import { type Command, listOption, textOption, type Words } from '../command.ts'
import { mebibytes } from '../render/progress.ts'
import { shownPath } from '../world.ts'

export const pack: Command = {
  name: 'pack',
  summary: 'make a native package of a folder that holds a root',
  arguments: [
    {
      name: '<dir>',
      description: 'what is below it goes into the guest as it is: usr/bin/shop, etc/shop.conf',
    },
  ],
  options: [
    { flags: '--name <category/name>', description: 'name of the package (required)' },
    { flags: '--version <semver>', description: 'version (required)' },
    { flags: '--build <n>', description: 'number of the build, to tell builds of one version apart' },
    { flags: '--arch <arch>', description: 'architecture in the words of Debian, or any (default)' },
    { flags: '--use <flags>', description: "how it was built: 'ssl -ldap'" },
    {
      flags: '--depends <atom>',
      description: 'needed beside it: `app/lib ^1.2 [ssl]` or `deb:libssl3 (>= 3.0)`',
      many: true,
    },
    { flags: '--conflicts <atom>', description: 'must not be beside it', many: true },
    { flags: '--provides <name>', description: 'another name that it answers to', many: true },
    { flags: '--summary <text>', description: 'one line for people' },
    { flags: '--keep-owners', description: 'keep the numbers of users and groups instead of 0:0' },
    { flags: '-o, --out <dir>', description: 'folder to write into (default: the current one)' },
  ],
  examples: [
    "stage5 pack build/shop --name app/shop --version 2.1.0 --use 'ssl -ldap' --out packages && stage5 index packages",
  ],
  run: async (world, words) => {
    const build = textOption(words, 'build')
    if (build !== undefined && !/^[1-9]\d*$/.test(build))
      throw new Stage5Error('S5_USAGE', `--build expects a number from 1, found ${JSON.stringify(build)}`)
    const made = await packDirectory(resolve(world.directory, words.arguments[0] as string), {
      name: required(words, 'name'),
      version: required(words, 'version'),
      build: build === undefined ? 0 : Number(build),
      arch: textOption(words, 'arch') ?? 'any',
      use: textOption(words, 'use') ?? '',
      depends: listOption(words, 'depends'),
      conflicts: listOption(words, 'conflicts'),
      provides: listOption(words, 'provides'),
      summary: textOption(words, 'summary') ?? '',
      keepOwners: words.options['keepOwners'] === true,
      out: resolve(world.directory, textOption(words, 'out') ?? '.'),
      date: Number(process.env['SOURCE_DATE_EPOCH'] ?? 0),
    })
    return { data: { ...made }, text: `${shownPath(made.file)} ${mebibytes(made.size)} ${made.sha256}\n` }
  },
}

export const index: Command = {
  name: 'index',
  summary: 'write index.yaml of a folder of native packages',
  arguments: [{ name: '<dir>', description: 'folder with *.tar.zst made by `stage5 pack`' }],
  options: [],
  examples: ['stage5 index packages'],
  run: async (world, words) => {
    const made = await indexDirectory(resolve(world.directory, words.arguments[0] as string))
    return { data: { ...made }, text: `${shownPath(made.file)}: ${made.packages} packages\n` }
  },
}

function required(words: Words, name: string): string {
  const value = textOption(words, name)
  if (value === undefined)
    throw new Stage5Error('S5_USAGE', `pack needs --${name}`, { hint: 'stage5 pack --help' })
  return value
}
