/** Holds a guest back from a base whose changes its overlays would hide: at the last moment before it is led there. */
import type { DriverGeneration, DriverGuest, GuestDriver, WhileOff } from '../deploy/driver.ts'
import type { Group } from '../resolve/group.ts'
import { groupDriver } from './groups.ts'
import { type Hidden, hiddenChanges, refuseHidden, readyOverlays, runningBase } from './guest-shadows.ts'
import { type FoundGuest, guestsOf } from './guests.ts'
import type { World } from './world.ts'

/**
 * The driver of a group. In one that holds, what a guest changed since the rollout began counts too: preparing it for a
 * base that would be hidden throws S5_ROLLOUT_REFUSED. The way back is never held. Its layers are looked at again, and with
 * `shadows: reset-unmodified` mended, while it is off to be switched: nothing is written between that look and the switch.
 */
export function gatedDriver(world: World, group: Group): GuestDriver {
  const { shadows } = group
  if (shadows === undefined) return groupDriver(world, group)
  const driver = groupDriver(world, group, readyOf(world, group, shadows))
  return {
    ...driver,
    prepare: async (guest, generation, signal, data) => {
      const { problems, isBack } = await hiddenFrom(world, group, guest, generation)
      if (!isBack) refuseHidden(guest.name, generation.name, problems)
      await driver.prepare(guest, generation, signal, data)
    },
  }
}

/** Tells what was reset, or why a switch is taken back. */
function readyOf(world: World, group: Group, policy: 'hold' | 'reset-unmodified'): WhileOff {
  return async ({ name }, generation, signal) => {
    const say = (text: string): void => world.report({ kind: 'rollout.moved', rollout: '', text })
    try {
      const lines = await readyOverlays({ ...world, signal }, alone(world, group, name), generation, policy)
      for (const line of lines) say(`reset: ${line}`)
    } catch (error) {
      say(`${name} stays as it is: ${error instanceof Error ? error.message : String(error)}`)
      throw error
    }
  }
}

/** What of a generation would be hidden from a guest; `isBack`: it is older than what the guest runs. */
export async function hiddenFrom(
  world: World,
  group: Group,
  { name }: DriverGuest,
  generation: DriverGeneration,
): Promise<Hidden & { readonly isBack: boolean }> {
  const found = alone(world, group, name)
  const before = await runningBase(world, found)
  const hidden = await hiddenChanges(world, [found.group], generation)
  return { ...hidden, isBack: before !== undefined && before.seq > generation.seq }
}

function alone(world: World, group: Group, name: string): FoundGuest {
  const guests = group.guests.filter((guest) => guest.name === name)
  return guestsOf(world, [{ ...group, guests }])[0] as FoundGuest
}
