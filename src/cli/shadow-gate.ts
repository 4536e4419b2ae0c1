/** Holds a guest back from a base whose changes its overlays would hide: at the last moment before it is led there. */
import { Stage5Error } from '../base/errors.ts'
import type { DriverGeneration, DriverGuest, GuestDriver } from '../deploy/driver.ts'
import type { Group } from '../resolve/group.ts'
import { groupDriver } from './groups.ts'
import { hiddenChanges, runningBase } from './guest-shadows.ts'
import { guestsOf } from './guests.ts'
import type { World } from './world.ts'

/**
 * The driver of a group. In one with `shadows: hold`, what a guest changed since the rollout began counts too: preparing
 * it for a base that would be hidden throws S5_ROLLOUT_REFUSED. The way back is never held.
 */
export function gatedDriver(world: World, group: Group): GuestDriver {
  const driver = groupDriver(world, group)
  if (group.shadows !== 'hold') return driver
  return {
    ...driver,
    prepare: async (guest, generation, signal) => {
      const { hidden, isBack } = await hiddenFrom(world, group, guest, generation)
      if (hidden.length > 0 && !isBack)
        throw new Stage5Error('S5_ROLLOUT_REFUSED', hidden.slice(0, 3).join('; '), {
          hint: `stage5 guest status ${guest.name} --to ${generation.name}`,
          data: { guest: guest.name, generation: generation.name, hidden },
        })
      await driver.prepare(guest, generation, signal)
    },
  }
}

/** What of a generation would be hidden from a guest, as lines; `isBack`: it is older than what the guest runs. */
export async function hiddenFrom(
  world: World,
  group: Group,
  { name }: DriverGuest,
  generation: DriverGeneration,
): Promise<{ readonly hidden: readonly string[]; readonly isBack: boolean }> {
  const alone = { ...group, guests: group.guests.filter((guest) => guest.name === name) }
  const { warnings, problems } = await hiddenChanges(world, [alone], generation)
  const [found] = guestsOf(world, [alone])
  const before = found && (await runningBase(world, found))
  return { hidden: [...warnings, ...problems], isBack: before !== undefined && before.seq > generation.seq }
}
