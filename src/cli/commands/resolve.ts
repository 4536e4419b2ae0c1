/** `stage5 resolve`: a question of the resolver as one JSON file, answered without fetching anything. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve as resolvePath } from 'node:path'
import type { Json } from '../../base/json.ts'
import { Stage5Error } from '../../base/errors.ts'
import { loadProfile } from '../../resolve/load-profile.ts'
import { type Universe, universeOf, universeOfProfile, withRequests } from '../../resolve/universe.ts'
import { answerUniverse, invalidAnswer } from '../../resolve/universe-answer.ts'
import { type Command, listOption, type Result, textOption } from '../command.ts'
import { readPackagesIndex } from '../library.ts'
import type { World } from '../world.ts'

export const resolve: Command = {
  name: 'resolve',
  summary: 'answer a question of the resolver that is one JSON file (exit 0: solved, 1: no, 2: malformed)',
  arguments: [{ name: '[atom...]', description: 'asked for besides what the profile asks for' }],
  options: [
    { flags: '--universe <file>', description: 'the question, in the format stage5-universe/1; - for stdin' },
    {
      flags: '--index <file>',
      description:
        'a Packages file of a binhost, or its folder, instead of the repositories of the profile; the first is preferred',
      many: true,
    },
    { flags: '--profile <name>', description: 'profile whose packages, flags, masks and licences hold' },
    {
      flags: '--dump-universe <profile>',
      description: 'print the question of a profile as one file for --universe, instead of its answer',
    },
  ],
  examples: [
    'stage5 resolve --universe question.json --json',
    'stage5 resolve --index pkgdir/Packages --profile web --json net-misc/curl',
    'stage5 resolve --dump-universe web > question.json',
  ],
  run: async (world, words) => {
    const path = textOption(words, 'universe')
    const indexes = listOption(words, 'index')
    const dumped = textOption(words, 'dumpUniverse')
    const name = dumped ?? textOption(words, 'profile')
    const isUsage =
      (path === undefined) === (name === undefined) || (path !== undefined && indexes.length > 0)
    if (isUsage || (dumped !== undefined && textOption(words, 'profile') !== undefined))
      throw new Stage5Error(
        'S5_USAGE',
        'resolve needs --universe FILE, or --profile NAME or --dump-universe NAME, with --index FILE or without',
        { hint: 'stage5 resolve --help' },
      )
    if (path === undefined) {
      const universe = await ofProfile(world, name as string, indexes, words.arguments)
      if (dumped === undefined) return answered(universe)
      const { universeJson } = await import('../../resolve/universe-dump.ts')
      const data = universeJson(universe.input, universe.indexes)
      return { data, text: `${JSON.stringify(data, null, 2)}\n` }
    }
    const file = path === '-' ? 0 : resolvePath(world.directory, path)
    const folder = path === '-' ? world.directory : dirname(resolvePath(world.directory, path))
    try {
      const universe = universeOf(readJson(file), (index) => readPackagesIndex(resolvePath(folder, index)))
      return answered(universe)
    } catch (error) {
      const data = invalidAnswer(error)
      return { data, text: printed(data), exitCode: 2 }
    }
  },
}

/** With `paths` nothing is fetched: the indexes are files, the profile is YAML. */
async function ofProfile(
  world: World,
  name: string,
  paths: readonly string[],
  atoms: readonly string[],
): Promise<Universe> {
  const id = name.replace(/^(?:.*\/)?profiles\/|\.yaml$/g, '')
  const profile = withRequests((await loadProfile(id, world.read, world.list)).profile, atoms)
  if (paths.length > 0)
    return universeOfProfile(
      profile,
      paths.map((path) => ({
        name: path,
        ...readPackagesIndex(indexAt(resolvePath(world.directory, path))),
      })),
    )
  const indexes = await Promise.all(
    profile.repositories.map(async (repo) =>
      (await world.repository(repo)).index(profile.arch, world.signal),
    ),
  )
  return { name: profile.name, input: profile, indexes, problems: [] }
}

/** The index of a PKGDIR, where that is named instead of a file in it. */
function indexAt(path: string): string {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
  return isFolder ? join(path, 'Packages') : path
}

function answered(universe: Universe): Result {
  const { ok, data } = answerUniverse(universe, true)
  return { data, text: printed(data), exitCode: ok ? 0 : 1 }
}

function readJson(file: string | 0): unknown {
  const text = readText(file)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Stage5Error('S5_UNIVERSE_INVALID', `not JSON: ${(error as Error).message}`, { cause: error })
  }
}

function readText(file: string | 0): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code, path = 'stdin' } = error as NodeJS.ErrnoException
    throw new Stage5Error('S5_UNIVERSE_INVALID', `${path} cannot be read: ${code}`, { cause: error })
  }
}

function printed(data: Json): Result['text'] {
  const answer = data as {
    readonly ok: boolean
    readonly order?: readonly string[]
    readonly packages?: readonly { readonly why: readonly { readonly by: string; readonly dep: string }[] }[]
    readonly sonameMissing?: readonly { readonly soname: string; readonly neededBy: readonly string[] }[]
    readonly error?: { readonly message: string; readonly relaxations?: readonly { readonly text: string }[] }
  }
  if (!answer.ok) {
    const helps = (answer.error?.relaxations ?? []).map((one) => `  it can be solved ${one.text}\n`)
    return `${answer.error?.message ?? ''}\n${helps.join('')}`
  }
  const rows = (answer.order ?? []).map((title, at) => {
    const [why] = answer.packages?.[at]?.why ?? []
    return `${title}  (${why ? `${why.by}: ${why.dep}` : ''})\n`
  })
  const missing = (answer.sonameMissing ?? []).map(
    ({ soname, neededBy }) => `nothing brings ${soname}, needed by ${neededBy.join(', ')}\n`,
  )
  return [...rows, ...missing].join('')
}
