/** `stage5 repo check NAME`: what of a whole repository can be installed at all. */
import type { Json } from '../../base/json.ts'
import { Stage5Error } from '../../base/errors.ts'
import { checkRepository } from '../../resolve/check-repository.ts'
import { type Command, textOption } from '../command.ts'
import { timed } from '../timed.ts'

/** Lines of each kind that people are shown; `--json` has all. */
const SHOWN = 20

export const repo: Command = {
  name: 'repo',
  summary: 'look at a whole repository: which of its builds can be installed at all, and what is missing',
  arguments: [
    { name: '<action>', description: 'check' },
    { name: '<repository>', description: 'name of a file in repos/' },
  ],
  options: [{ flags: '--arch <arch>', description: "architecture in Debian's words (default: amd64)" }],
  examples: ['stage5 repo check gentoo', 'stage5 repo check house --json'],
  run: async (world, words) => {
    const [action = '', name = ''] = words.arguments
    if (action !== 'check')
      throw new Stage5Error('S5_USAGE', `repo expects check, found ${JSON.stringify(action)}`, {
        hint: 'stage5 repo --help',
      })
    const arch = textOption(words, 'arch') ?? 'amd64'
    const repository = await world.repository(name)
    const index = await timed(world, 'index', () => repository.index(arch, world.signal))
    const found = await timed(world, 'check', async () => checkRepository(index, arch))
    const { builds, installable, broken, missing, sonames } = found
    const lines = [
      ...shown(missing, ({ demand, breaks, builds: commands }) => [
        `missing ${demand}: ${counted(breaks.length, 'build')} cannot be installed, ${some(breaks)}\n`,
        ...commands.map((command) => `  ${command}\n`),
      ]),
      ...shown(
        broken.filter(({ pkg }) => !missing.some(({ breaks }) => breaks.includes(pkg))),
        ({ pkg, because }) => [`${pkg} cannot be installed: ${because.join('; ')}\n`],
      ),
      ...shown(sonames, ({ abi, soname, neededBy }) => [
        `no build brings ${soname} (${abi}), needed by ${some(neededBy)}\n`,
      ]),
      `${name}: ${installable} of ${counted(builds, 'build')} can be installed\n`,
    ]
    return {
      data: { repository: name, arch, ...found } as unknown as Json,
      text: lines.join(''),
      exitCode: broken.length === 0 ? 0 : 1,
    }
  },
}

function shown<T>(items: readonly T[], print: (item: T) => readonly string[]): string[] {
  const lines = items.slice(0, SHOWN).flatMap(print)
  return items.length > SHOWN ? [...lines, `and ${items.length - SHOWN} more (--json has all)\n`] : lines
}

function some(titles: readonly string[]): string {
  return titles.length > 3
    ? `${titles.slice(0, 2).join(', ')} and ${titles.length - 2} more`
    : titles.join(', ')
}

function counted(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`
}
