/** `stage5 diff A B`: two generations, two outputs or two locks; `--group`: what an update would change for guests. */
import { Stage5Error } from '../../base/errors.ts'
import { type Command, textOption } from '../command.ts'
import { compare } from '../compare.ts'
import { diffGroup } from '../diff-group.ts'
import { comparisonJson, comparisonMarkdown, comparisonText } from '../render/compare.ts'
import { FLEET_OPTIONS } from '../rollout-world.ts'
import { readSide } from '../sides.ts'

const WHAT = 'a generation (www-nginx/g3), an output folder, a lock file, or a profile (its lock)'

export const diff: Command = {
  name: 'diff',
  summary: 'compare two generations or locks: packages, flags, files, users, services, kernel, sizes',
  arguments: [
    { name: '[a]', description: WHAT },
    { name: '[b]', description: 'the same' },
  ],
  options: [
    { flags: '--markdown', description: 'as tables for a ticket' },
    {
      flags: '--group <name>',
      description:
        'instead of A and B: each generation that guests of this group run, with the newest of its line',
    },
    { flags: '--to <generation>', description: 'group: compare with this one, such as g3' },
    ...FLEET_OPTIONS,
  ],
  examples: [
    'stage5 diff www-nginx www-nginx@php',
    'stage5 diff www-nginx/g3 www-nginx/latest --markdown',
    'stage5 diff out/www-nginx_1_amd64 out/www-nginx',
    'stage5 diff --group web --to g7 --markdown',
  ],
  run: async (world, words) => {
    const group = textOption(words, 'group')
    const [a, b] = words.arguments
    if (group !== undefined) {
      if (a !== undefined)
        throw new Stage5Error('S5_USAGE', `diff --group compares what guests run, found ${a} besides`, {
          hint: `stage5 diff --group ${group} --to GENERATION`,
        })
      return await diffGroup(world, words, group)
    }
    if (a === undefined || b === undefined)
      throw new Stage5Error('S5_USAGE', 'diff compares two things, or what the guests of a group run', {
        hint: 'stage5 diff A B, or stage5 diff --group GROUP',
      })
    const found = await compare(await readSide(world, a), await readSide(world, b), await world.store())
    return {
      data: comparisonJson(found),
      text: words.options['markdown'] === true ? comparisonMarkdown(found) : comparisonText(found),
    }
  },
}
