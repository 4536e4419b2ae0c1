/** `stage5 group list|check`: what the groups say, and whether it holds together with the profiles. */
import { Stage5Error } from '../../base/errors.ts'
import { some } from '../../fleet/progress.ts'
import { portsTakenTwice } from '../../resolve/forward.ts'
import type { Group, Quantity } from '../../resolve/group.ts'
import { loadProfile } from '../../resolve/load-profile.ts'
import { type Command, type Result, textOption } from '../command.ts'
import { loadGroups } from '../groups.ts'
import { columns } from '../../base/columns.ts'
import type { World } from '../world.ts'

export const group: Command = {
  name: 'group',
  summary: 'list the groups of guests, or check them against their profiles',
  arguments: [{ name: '<action>', description: 'list or check' }],
  options: [{ flags: '--groups <dir>', description: 'folder of the groups (default: groups)' }],
  examples: ['stage5 group list', 'stage5 group check --groups site/groups'],
  run: async (world, words) => {
    const [action = ''] = words.arguments
    if (action !== 'list' && action !== 'check')
      throw new Stage5Error('S5_USAGE', `group expects list or check, found ${JSON.stringify(action)}`, {
        hint: 'stage5 group --help',
      })
    const groups = await loadGroups(world, textOption(words, 'groups'))
    return action === 'list' ? list(groups) : await check(world, groups)
  },
}

function list(groups: readonly Group[]): Result {
  const rows = groups.map(({ name, line, driver, guests, maxUnavailable, minAvailable, waves }) => [
    name,
    line,
    driver.kind,
    `${guests.length}`,
    quantity(maxUnavailable),
    quantity(minAvailable),
    waves.length === 0 ? '1 10% 40% 100%' : waves.map(quantity).join(' '),
  ])
  const head = ['group', 'profile', 'driver', 'guests', 'may be away', 'must stay', 'waves']
  return {
    data: groups.map((one) => JSON.parse(JSON.stringify(one)) as { [key: string]: string }),
    text: columns([head, ...rows]),
  }
}

function quantity(value: Quantity): string {
  return 'count' in value ? `${value.count}` : `${value.percent}%`
}

/** Loading has checked every group by itself; here it meets its profile. */
async function check(world: World, groups: readonly Group[]): Promise<Result> {
  for (const { name, line, data = {} } of groups) {
    const { profile } = await loadProfile(line, world.read, world.list)
    const known = profile.data.map((area) => area.name)
    const unknown = Object.keys(data).find((area) => !known.includes(area))
    if (unknown !== undefined)
      throw new Stage5Error(
        'S5_PROFILE_INVALID',
        `group ${name}: data: expected an area of ${line}, found ${JSON.stringify(unknown)}`,
        { hint: `${line} has ${known.join(', ') || 'none'}`, data: { group: name, area: unknown } },
      )
  }
  const [twice] = portsTakenTwice(groups)
  if (twice)
    throw new Stage5Error(
      'S5_PROFILE_INVALID',
      `port ${twice.port} of this host is forwarded to ${twice.guests.length} guests: ${some(twice.guests)}`,
      {
        hint: 'make it differ by guest, such as forward: ["{index+8080}:80"]',
        data: { port: twice.port, guests: [...twice.guests] },
      },
    )
  const guests = groups.reduce((sum, one) => sum + one.guests.length, 0)
  return {
    data: { groups: groups.length, guests },
    text: `${groups.length} groups, ${guests} guests: every guest in one group, every template filled\n`,
  }
}
