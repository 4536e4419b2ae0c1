/** Says when a step of the main path begins and ends. */
import { monotonicMs } from '../host/clock.ts'
import type { World } from './world.ts'

export async function timed<T>(world: World, step: string, work: () => Promise<T>): Promise<T> {
  world.report({ kind: 'step.started', step })
  const start = monotonicMs()
  const result = await work()
  world.report({ kind: 'step.finished', step, ms: monotonicMs() - start })
  return result
}
