/**
 * Drops generations that guests no longer need when a rollout has ended: those older than what a guest runs, but for the one
 * before it and pinned ones. What fails or is missed is done after the next rollout.
 */
import type { Limit } from '../base/limit.ts'
import { ACTIVE, type RolloutState } from '../fleet/documents.ts'
import type { View } from '../fleet/view.ts'
import type { DriverGeneration } from './driver.ts'

interface CollectorOptions {
  readonly collect: (guest: string, keep: readonly string[]) => Promise<void>
  readonly limit: Limit
  readonly isPinned: (generation: string) => boolean
}

export interface Collector {
  /** Looks for rollouts that ended since the last look. */
  look(
    view: Pick<View, 'groups' | 'guests' | 'rollouts'>,
    generations: ReadonlyMap<string, DriverGeneration>,
  ): void
  /** Resolves when nothing is being dropped. */
  idle(): Promise<void>
}

const TIDY: ReadonlySet<RolloutState> = new Set(['completed', 'rolled-back'])

export function collectOld({ collect, limit, isPinned }: CollectorOptions): Collector {
  const active = new Set<string>()
  const running = new Set<Promise<void>>()

  function start(guest: string, keep: readonly string[]): void {
    const end = limit(() => collect(guest, keep))
      .catch(() => undefined)
      .finally(() => running.delete(end))
    running.add(end)
  }

  return {
    look: ({ groups, guests, rollouts }, generations) => {
      for (const { document } of rollouts.values()) {
        const { id, state } = document
        if (ACTIVE.has(state)) active.add(id)
        else if (active.delete(id) && TIDY.has(state))
          for (const { name } of document.groups.flatMap((group) => groups.get(group)?.guests ?? [])) {
            const found = guests.get(name)?.document
            const runs = found && generations.get(found.good)
            if (!runs || found.state !== 'steady') continue
            // Newer ones stay: another rollout may be bringing them now.
            const keep = [...generations.values()].filter(
              (one) =>
                one.line === runs.line &&
                (one.seq >= runs.seq || one.name === found.previous || isPinned(one.name)),
            )
            start(
              name,
              keep.map((one) => one.name),
            )
          }
      }
    },
    idle: async () => {
      await Promise.all(running)
    },
  }
}
